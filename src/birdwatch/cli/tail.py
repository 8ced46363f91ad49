"""``birdwatch tail``: the observing side in one process, from streams to alerts."""

import json
import signal
from pathlib import Path
from typing import Annotated

import typer

from birdwatch.config import load_settings

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def tail(
    settings: Annotated[Path | None, typer.Option(help="A YAML file of settings; ./birdwatch.yaml by default.")] = None,
    streams: Annotated[str | None, typer.Option(help="Where the streams live.")] = None,
    store: Annotated[Path | None, typer.Option(help="The file for panes, verdicts and alerts.")] = None,
    rules: Annotated[Path | None, typer.Option(help="The folder of rules; the starter set by default.")] = None,
    reference: Annotated[
        list[Path] | None, typer.Option(help="A frozen reference, used in place of trailing ones; may be repeated.")
    ] = None,
    pane_seconds: Annotated[int | None, typer.Option(help="Event time in one pane.")] = None,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="Stop when all that the streams hold has been counted.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was counted as JSON at the end.")] = False,
) -> None:
    """Follow the streams: count panes, judge them by the rules, raise alerts. Ends on SIGTERM, or with --until-end.

    Killed at any moment and started again with the same store, it goes on without a loss and without counting twice.
    Dead letters go to the stream `deadletters`; those of recorded streams, which are only read, to a folder beside the
    store.
    """
    from rich.console import Console  # noqa: PLC0415 - help should not wait for what only the work needs

    from birdwatch.alerts.lifecycle import advance  # noqa: PLC0415
    from birdwatch.alerts.sinks import sink_names  # noqa: PLC0415
    from birdwatch.content import content  # noqa: PLC0415
    from birdwatch.detect.judge import Judge  # noqa: PLC0415
    from birdwatch.detect.rules import load_rules  # noqa: PLC0415
    from birdwatch.streams import open_streams  # noqa: PLC0415
    from birdwatch.windows.store import Store  # noqa: PLC0415
    from birdwatch.windows.tail import Tail  # noqa: PLC0415

    chosen = load_settings(
        settings, streams=streams, store=store, rules=rules, references=reference, pane_seconds=pane_seconds
    )
    place = open_streams(chosen.streams)
    recorded = chosen.streams.startswith("files:")
    letters = open_streams(f"sqlite:{chosen.store.with_suffix('.deadletters')}") if recorded else place
    kept = Store(chosen.store, pane_seconds=chosen.pane_seconds)
    judge = Judge(
        kept,
        load_rules(chosen.rules or content("detectors")),
        windows_start_seconds=chosen.windows_start_seconds,
        judge_from=chosen.judge_from,
        references=chosen.references,
        scale=chosen.scale,
        unit=chosen.unit,
        canary=chosen.canary,
    )
    sinks = sink_names(chosen)

    def judge_and_alert(until: int) -> None:
        advance(kept, judge.step(until), sinks=sinks)

    tailing = Tail(place, kept, chosen, on_closed=judge_and_alert, letters=letters, finite=until_end)
    stopping = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if not until_end:
        typer.echo("ready")
    messages = 0
    with Console(stderr=True).status("reading") as status:
        while not stopping:
            read = tailing.step()
            messages += read
            if until_end and not read:
                tailing.finish()
                break
            if read:
                status.update(f"{messages:,} messages read")
    tailing.close()
    place.close()
    if until_end or as_json:
        closed = kept.closed_range()
        found = {
            "messages": messages,
            "dead_letters": tailing.dead_letters,
            "store": str(kept.path),
            "since": closed and closed[0],
            "until": closed and closed[1],
        }
        unread = f", {tailing.dead_letters:,} rows of them could not be read (see {letters.address})"
        told = f"{messages:,} messages counted into {kept.path}{unread if tailing.dead_letters else ''}"
        typer.echo(json.dumps(found) if as_json else told)
    kept.close()
