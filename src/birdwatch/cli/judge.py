"""``birdwatch judge``: adds up what the tails of a group count, judges it, and raises alerts."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from birdwatch.cli.following import Following, serving_health, until_asked_to_stop
from birdwatch.config import load_settings

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def judge(
    settings: Annotated[Path | None, typer.Option(help="A YAML file of settings; ./birdwatch.yaml by default.")] = None,
    streams: Annotated[str | None, typer.Option(help="Where the streams live.")] = None,
    store: Annotated[Path | None, typer.Option(help="The file for panes, verdicts and alerts.")] = None,
    rules: Annotated[Path | None, typer.Option(help="The folder of rules; the starter set by default.")] = None,
    reference: Annotated[
        list[Path] | None, typer.Option(help="A frozen reference, used in place of trailing ones; may be repeated.")
    ] = None,
    pane_seconds: Annotated[int | None, typer.Option(help="Event time in one pane; that of the tails.")] = None,
    group: Annotated[str, typer.Option(help="The tails whose counts are added up.")] = "tail",
    health_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Answer /healthz, /readyz and /metrics on this port; 0 takes a free one."),
    ] = None,
    health_host: Annotated[
        str, typer.Option(help="The address of --health-port; in a container, 0.0.0.0.")
    ] = "127.0.0.1",
) -> None:
    """Add up what `birdwatch tail --group` counts, judge it by the rules, raise alerts. Ends on SIGTERM.

    However many tails there are, and whatever happens to them, the store is the one that a single tail would have made.
    Killed at any moment and started again with the same store, it goes on without a loss and without counting twice.
    """
    from birdwatch.alerts.metrics import StoreMetrics  # noqa: PLC0415 - help should not wait for what only the work needs
    from birdwatch.cli.judging import claimed, judging  # noqa: PLC0415
    from birdwatch.streams import open_streams  # noqa: PLC0415
    from birdwatch.windows.merge import Merge  # noqa: PLC0415
    from birdwatch.windows.metrics import ReadingMetrics  # noqa: PLC0415

    chosen = load_settings(
        settings, streams=streams, store=store, rules=rules, references=reference, pane_seconds=pane_seconds
    )
    stopping = until_asked_to_stop()
    place = open_streams(chosen.streams)
    kept = claimed(chosen, stopping)

    def make() -> Merge:
        # The judge is made anew as well: what it remembers of windows may have been undone with the transaction.
        return Merge(place, kept, chosen, group=group, on_closed=judging(kept, chosen))

    following = Following(make)
    collectors = [ReadingMetrics(lambda: following.reading), StoreMetrics(kept.path)]
    with (
        closing(following),
        serving_health(health_port, health_host, "judge", collectors, following.why) as health,
    ):
        typer.echo("ready")
        while not stopping():
            health.pulse.beat()
            following.step()
    place.close()
    kept.close()
