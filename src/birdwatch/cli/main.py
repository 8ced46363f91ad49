"""The root of the command line: gathers the groups and turns errors into plain words."""

import sys
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from birdwatch.errors import BirdwatchError

__all__ = ["app", "main"]

# Where each command lives. A module is imported only when its command runs (or helps), so that `birdwatch --help` does
# not wait for pandas and librdkafka to load.
_COMMANDS: dict[str, tuple[str, str]] = {
    "alerts": ("birdwatch.cli.alerts", "Deliver alerts, and list them."),
    "archive": ("birdwatch.cli.archive", "Keep streams as Parquet; list, verify, compact and expire what is kept."),
    "budget": ("birdwatch.cli.budget", "Show the budgets of false alarms: promised, spent, left, and what fired."),
    "check": (
        "birdwatch.cli.check",
        "The CI gate: compare a shadow with the champion, or two stretches, and exit 0, 1, 2 or 3.",
    ),
    "dashboard": ("birdwatch.cli.dashboard", "Open the dashboard over a store."),
    "demo": ("birdwatch.cli.demo", "The whole story on a year of real flights, on this machine."),
    "deploy": ("birdwatch.cli.deploy", "Write a change to the control stream."),
    "evaluate": (
        "birdwatch.cli.evaluate",
        "Ask the records: what changed, other policies, deadlines, leaks, losses, quality.",
    ),
    "gate": ("birdwatch.cli.gate", "The check as a service, for Argo Rollouts and Flagger."),
    "init": ("birdwatch.cli.init", "Copy the rules, dashboards and notebooks out as your own deployment."),
    "judge": ("birdwatch.cli.judge", "Add up what the tails of a group count, judge it, raise alerts."),
    "reference": ("birdwatch.cli.reference", "Freeze a stretch of a stream as the reference, and look at it."),
    "replay": ("birdwatch.cli.replay", "Put recorded streams, or an archive, back on streams."),
    "report": ("birdwatch.cli.report", "Write what happened in a period as one page: each question with its answer."),
    "rules": ("birdwatch.cli.rules", "Check the rules."),
    "serve": ("birdwatch.cli.serve", "Run one part of the serving pipeline."),
    "streams": ("birdwatch.cli.streams", "Look at streams: list, cat, lag, mend."),
    "tail": ("birdwatch.cli.tail", "Follow the streams: count panes, judge them, raise alerts."),
}


class _Lazy(TyperGroup):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: Any, name: str) -> Any:
        del ctx
        if name not in _COMMANDS:
            return None
        module, about = _COMMANDS[name]
        group: Any = import_module(module).app
        command = typer.main.get_command(group)
        command.name = name
        command.help = command.help or about
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in _COMMANDS.items()])


app = typer.Typer(cls=_Lazy, no_args_is_help=True, add_completion=False, rich_markup_mode=None)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"birdwatch {version('birdwatch')}")
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Serve machine-learning models by rendezvous, and watch them while they serve."""


def main() -> None:
    """Run the command line; what goes wrong on purpose ends in one line on standard error and exit code 2."""
    try:
        app(prog_name="birdwatch")  # also when it is run as `python -m birdwatch`
    except BirdwatchError as error:
        typer.echo(f"birdwatch: {error}", err=True)
        sys.exit(2)
