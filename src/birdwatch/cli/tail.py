"""``birdwatch tail``: the observing side in one process, from streams to alerts."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from birdwatch.config import load_settings

if TYPE_CHECKING:
    from birdwatch.alerts.metrics import TailMetrics
    from birdwatch.health import Health
    from birdwatch.windows.store import Store

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_STILL_SECONDS: Final = 60.0
"""A tail that has fallen behind judges weeks at once."""


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
    """
    from rich.console import Console  # noqa: PLC0415 - help should not wait for what only the work needs

    from birdwatch.alerts.lifecycle import advance  # noqa: PLC0415
    from birdwatch.alerts.metrics import Read, TailMetrics  # noqa: PLC0415
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
    messages = 0
    metrics = TailMetrics(kept.path, lambda: Read(messages, tailing.dead_letters))
    with (
        _health(health_port, health_host, metrics, quiet=until_end) as health,
        Console(stderr=True).status("reading") as status,
    ):
        if not until_end:
            typer.echo("ready")
        while not stopping:
            health.pulse.beat()
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
        found = {"messages": messages, "dead_letters": tailing.dead_letters, "store": str(kept.path)}
        _report(found | _closed(kept), letters.address, as_json=as_json)
    kept.close()


@contextmanager
def _health(port: int | None, host: str, metrics: "TailMetrics", *, quiet: bool) -> Iterator["Health"]:
    """Answer /healthz, /readyz and /metrics meanwhile, where that is wanted."""
    from prometheus_client import CollectorRegistry  # noqa: PLC0415

    from birdwatch.health import Health  # noqa: PLC0415

    registry = CollectorRegistry()
    registry.register(metrics)
    with closing(Health(port, "tail", host, still_seconds=_STILL_SECONDS)) as health:
        health.show(Counter, registry)
        if health.port is not None:
            typer.echo(f"health on http://{host}:{health.port}", err=quiet)
        yield health


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
