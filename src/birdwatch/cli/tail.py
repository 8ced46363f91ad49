"""``birdwatch tail``: the observing side in one process, or the counting of it in one of several."""

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from birdwatch.cli.following import Following, serving_health, until_asked_to_stop
from birdwatch.config import load_settings
from birdwatch.errors import SettingsError, StreamError

if TYPE_CHECKING:
    from birdwatch.config import Settings
    from birdwatch.windows.store import Store

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
    group: Annotated[
        str | None,
        typer.Option(
            help="Share Kafka's partitions with the other tails of this group; `birdwatch judge` does the rest."
        ),
    ] = None,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="Stop when all that the streams hold has been counted.")
    ] = False,
    health_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Answer /healthz, /readyz and /metrics on this port; 0 takes a free one."),
    ] = None,
    health_host: Annotated[
        str, typer.Option(help="The address of --health-port; in a container, 0.0.0.0.")
    ] = "127.0.0.1",
    as_json: Annotated[bool, typer.Option("--json", help="Print what was counted as JSON at the end.")] = False,
) -> None:
    """Follow the streams: count panes, judge them by the rules, raise alerts. Ends on SIGTERM, or with --until-end.

    Killed at any moment and started again with the same store, it goes on without a loss and without counting twice.
    Dead letters go to the stream `deadletters`; those of recorded streams, which are only read, to a folder beside the
    store.

    With --group it is one of as many as there are partitions: it counts those that it is given into the stream `panes`,
    and has no store; one `birdwatch judge` adds up what they count.
    """
    chosen = load_settings(
        settings, streams=streams, store=store, rules=rules, references=reference, pane_seconds=pane_seconds
    )
    if group is None:
        _alone(chosen, until_end=until_end, health_port=health_port, health_host=health_host, as_json=as_json)
    elif until_end or as_json:
        raise SettingsError("--group shares streams that do not end: leave out --until-end and --json")
    else:
        _one_of(group, chosen, health_port=health_port, health_host=health_host)


def _alone(chosen: "Settings", *, until_end: bool, health_port: int | None, health_host: str, as_json: bool) -> None:
    """Read, judge and alert in this process."""
    from rich.console import Console  # noqa: PLC0415 - help should not wait for what only the work needs

    from birdwatch.alerts.metrics import StoreMetrics  # noqa: PLC0415
    from birdwatch.cli.judging import claimed, judging  # noqa: PLC0415
    from birdwatch.streams import open_streams  # noqa: PLC0415
    from birdwatch.windows.metrics import ReadingMetrics  # noqa: PLC0415
    from birdwatch.windows.tail import Tail  # noqa: PLC0415

    place = open_streams(chosen.streams)
    recorded = chosen.streams.startswith("files:")
    letters = open_streams(f"sqlite:{chosen.store.with_suffix('.deadletters')}") if recorded else place
    stopping = until_asked_to_stop()
    kept = claimed(chosen, stopping)
    tailing: Tail

    def make() -> Tail:
        nonlocal tailing
        # The judge is made anew as well: what it remembers of windows may have been undone with the transaction.
        tailing = Tail(place, kept, chosen, on_closed=judging(kept, chosen), letters=letters, finite=until_end)
        return tailing

    following = Following(make, insist=not until_end)
    collectors = [ReadingMetrics(lambda: following.reading), StoreMetrics(kept.path)]
    with (
        closing(following),
        serving_health(health_port, health_host, "tail", collectors, following.why, quiet=until_end) as health,
        Console(stderr=True).status("reading") as status,
    ):
        if not until_end:
            typer.echo("ready")
        damaged: list[str] = []
        while not stopping():
            health.pulse.beat()
            try:
                read = following.step()
            except StreamError as error:
                if not until_end or str(error) in damaged:
                    raise
                damaged.append(str(error))  # a recorded file says so once, and the rest can be read
                typer.echo(f"birdwatch: {error}", err=True)
                continue
            if until_end and not read:
                tailing.finish()
                break
            if read:
                status.update(f"{following.reading.messages:,} messages read")
    place.close()
    if until_end or as_json:
        reading = following.reading
        found = {"messages": reading.messages, "dead_letters": reading.dead_letters, "store": str(kept.path)}
        _report(found | _closed(kept), letters.address, as_json=as_json)
    kept.close()
    if damaged:
        raise typer.Exit(2)


def _one_of(group: str, chosen: "Settings", *, health_port: int | None, health_host: str) -> None:
    """Count the partitions that the group gives this process."""
    from birdwatch.streams import open_streams  # noqa: PLC0415
    from birdwatch.windows.metrics import ReadingMetrics  # noqa: PLC0415
    from birdwatch.windows.worker import Worker  # noqa: PLC0415

    stopping = until_asked_to_stop()
    place = open_streams(chosen.streams)
    following = Following(lambda: Worker(place, chosen, group=group))
    collectors = [ReadingMetrics(lambda: following.reading)]
    with (
        closing(following),
        serving_health(health_port, health_host, "tail", collectors, following.why) as health,
    ):
        typer.echo("ready")
        while not stopping():
            health.pulse.beat()
            following.step()
    place.close()


def _closed(store: "Store") -> dict[str, int | None]:
    since, until = store.closed_range() or (None, None)
    return {"since": since, "until": until}


def _report(found: dict[str, Any], letters: str, *, as_json: bool) -> None:
    """Print what was counted."""
    if as_json:
        typer.echo(json.dumps(found))
        return
    unread = f", {found['dead_letters']:,} rows of them could not be read (see {letters})"
    typer.echo(f"{found['messages']:,} messages counted into {found['store']}{unread if found['dead_letters'] else ''}")
