"""``birdwatch judge``: adds up what the tails of a group count, judges it, and raises alerts."""

from typing import Annotated

import typer

from birdwatch.cli.following import follow
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
from birdwatch.signals import until_signalled

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def judge(
    settings: SettingsFile = None,
    streams: StreamsPlace = None,
    store: StoreFile = None,
    rules: RulesFolder = None,
    reference: ReferenceFiles = None,
    pane_seconds: PaneSeconds = None,
    group: Annotated[str, typer.Option(help="The tails whose counts are added up.")] = "tail",
    health_port: HealthPort = None,
    health_host: HealthHost = "127.0.0.1",
) -> None:
    """Add up what `birdwatch tail --group` counts, judge it by the rules, raise alerts. Ends on SIGTERM.

    However many tails there are, and whatever happens to them, the store is the one that a single tail would have made.
    Killed at any moment and started again with the same store, it goes on without a loss and without counting twice.
    """
    from birdwatch.alerts.metrics import StoreMetrics  # noqa: PLC0415 - help should not wait for what only the work needs
    from birdwatch.cli.judging import Watched, claimed, judging, watchdog  # noqa: PLC0415
    from birdwatch.streams import open_streams  # noqa: PLC0415
    from birdwatch.windows.merge import Merge  # noqa: PLC0415

    chosen = load_settings(
        settings, streams=streams, store=store, rules=rules, references=reference, pane_seconds=pane_seconds
    )
    with until_signalled() as stopping:
        place = open_streams(chosen.streams)
        kept = claimed(chosen, stopping)

        dog = watchdog(kept, chosen)

        def make() -> Watched:
            # The judge is made anew as well: what it remembers of windows may have been undone with the transaction.
            return Watched(Merge(place, kept, chosen, group=group, on_closed=judging(kept, chosen)), dog)

        follow(make, stopping, component="judge", port=health_port, host=health_host, shown=[StoreMetrics(kept.path)])
        place.close()
        kept.close()
