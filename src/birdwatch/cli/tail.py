"""``birdwatch tail``: the observing side in one process, or the counting of it in one of several."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from birdwatch.cli.following import follow, serving_health
from birdwatch.cli.options import (
    HealthHost,
    HealthPort,
    PaneSeconds,
    ReferenceFiles,
    RulesFolder,
    SettingsFile,
    StoreFile,
    StreamsPlace,
)
from birdwatch.config import load_settings
from birdwatch.errors import SettingsError, StreamError
from birdwatch.signals import until_signalled

if TYPE_CHECKING:
    from collections.abc import Callable

    from birdwatch.config import Settings
    from birdwatch.health import Pulse
    from birdwatch.windows.store import Store
    from birdwatch.windows.tail import Tail

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def tail(
    settings: SettingsFile = None,
    streams: StreamsPlace = None,
    store: StoreFile = None,
    rules: RulesFolder = None,
    reference: ReferenceFiles = None,
    pane_seconds: PaneSeconds = None,
    group: Annotated[
        str | None,
        typer.Option(
            help="Share Kafka's partitions with the other tails of this group; `birdwatch judge` does the rest."
        ),
    ] = None,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="Stop when all that the streams hold has been counted.")
    ] = False,
    health_port: HealthPort = None,
    health_host: HealthHost = "127.0.0.1",
    as_json: Annotated[bool, typer.Option("--json", help="Print what was counted as JSON at the end.")] = False,
) -> None:
    """Follow the streams: count panes, judge them by the rules, raise alerts. Ends on SIGTERM, or with --until-end.

    Killed at any moment and started again with the same store, it goes on without a loss and without counting twice.
    Dead letters go to the stream `deadletters`; those of recorded streams and archives, which are only read, to a folder
    beside the store.

    With --group it is one of as many as there are partitions: it counts those that it is given into the stream `panes`,
    and has no store; one `birdwatch judge` adds up what they count.
    """
    chosen = load_settings(
        settings, streams=streams, store=store, rules=rules, references=reference, pane_seconds=pane_seconds
    )
    if group is None:
        _alone(chosen, until_end=until_end, port=health_port, host=health_host, as_json=as_json)
    elif until_end or as_json:
        raise SettingsError("--group shares streams that do not end: leave out --until-end and --json")
    else:
        _one_of(group, chosen, port=health_port, host=health_host)


def _alone(chosen: "Settings", *, until_end: bool, port: int | None, host: str, as_json: bool) -> None:
    """Read, judge and alert in this process."""
    from birdwatch.alerts.metrics import StoreMetrics  # noqa: PLC0415 - help should not wait for what only the work needs
    from birdwatch.cli.judging import Watched, claimed, judging, watchdog  # noqa: PLC0415
    from birdwatch.streams import is_recorded, open_streams  # noqa: PLC0415
    from birdwatch.windows.metrics import ReadingMetrics  # noqa: PLC0415
    from birdwatch.windows.tail import Tail  # noqa: PLC0415

    place = open_streams(chosen.streams)
    only_read = is_recorded(chosen.streams)
    letters = open_streams(f"sqlite:{chosen.store.with_suffix('.deadletters')}") if only_read else place
    with until_signalled() as stopping:
        kept = claimed(chosen, stopping)
        shown = [StoreMetrics(kept.path)]

        def make() -> Tail:
            # The judge is made anew as well: what it remembers of windows may have been undone with the transaction.
            return Tail(place, kept, chosen, on_closed=judging(kept, chosen), letters=letters, finite=until_end)

        whole = True
        if until_end:
            tailing = make()
            reading = tailing.reading
            with serving_health(port, host, "tail", [ReadingMetrics(lambda: reading), *shown], quiet=True) as health:
                whole = _to_the_end(tailing, stopping, health.pulse)
            tailing.close()
        else:
            dog = watchdog(kept, chosen)
            reading = follow(
                lambda: Watched(make(), dog), stopping, component="tail", port=port, host=host, shown=shown
            )
    place.close()
    if until_end or as_json:
        found = {"messages": reading.messages, "dead_letters": reading.dead_letters, "store": str(kept.path)}
        _report(found | _closed(kept), letters.address, as_json=as_json)
    kept.close()
    if not whole:
        raise typer.Exit(2)


def _to_the_end(tailing: "Tail", stopping: "Callable[[], bool]", pulse: "Pulse") -> bool:
    """Count all there is; tell whether all of it could be read. A recorded file that is damaged says so once."""
    from rich.console import Console  # noqa: PLC0415 - help should not wait for it

    damaged: list[str] = []
    with Console(stderr=True).status("reading") as status:
        while not stopping():
            pulse.beat()
            try:
                read = tailing.step()
            except StreamError as error:
                if str(error) in damaged:
                    raise
                damaged.append(str(error))  # and the rest can be read
                typer.echo(f"birdwatch: {error}", err=True)
                continue
            if not read:
                tailing.finish()
                break
            status.update(f"{tailing.reading.messages:,} messages read")
    return not damaged


def _one_of(group: str, chosen: "Settings", *, port: int | None, host: str) -> None:
    """Count the partitions that the group gives this process."""
    from birdwatch.streams import open_streams  # noqa: PLC0415 - help should not wait for what only the work needs
    from birdwatch.windows.worker import Worker  # noqa: PLC0415

    place = open_streams(chosen.streams)
    with until_signalled() as stopping:
        follow(lambda: Worker(place, chosen, group=group), stopping, component="tail", port=port, host=host)
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
