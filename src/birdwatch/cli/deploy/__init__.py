"""``birdwatch deploy``: write a change to the control stream: ordered, kept, and in force at the next request."""

import typer

from birdwatch.cli.deploy import changes, swap, views, warm

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)

for _command in (
    changes.register,
    warm.warm,
    changes.ramp,
    changes.hold,
    changes.champion,
    changes.schedule,
    changes.override,
    changes.rollback,
    changes.retire,
):
    app.command()(_command)
app.add_typer(swap.app, name="swap")
app.command()(views.status)
app.command()(views.history)
