"""``birdwatch budget``: what was promised of false alarms, what of it is spent, and how much evidence it takes to alarm."""

import json
from typing import TYPE_CHECKING, Annotated, Final

import typer

from birdwatch.cli.options import SettingsFile, StoreFile
from birdwatch.config import load_settings

if TYPE_CHECKING:
    from birdwatch.alerts.standing import Standing

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_BAR: Final = 30


@app.command()
def budget(
    settings: SettingsFile = None,
    store: StoreFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the budgets of false alarms over their last period: the promise, what is spent and left, and what fired.

    Spent are alarms that were to be expected although nothing had changed, not those that fired. A rule's evidence must
    reach its A.
    """
    from birdwatch.alerts.standing import standings, to_json  # noqa: PLC0415 - help should not wait for the work
    from birdwatch.windows.store import Store  # noqa: PLC0415

    kept = Store(load_settings(settings, store=store).store, readonly=True)
    try:
        found = standings(kept)
    finally:
        kept.close()
    if as_json:
        typer.echo(json.dumps([to_json(one) for one in found]))
    elif not found:
        typer.echo("nothing is spent: no rule that alarms by evidence has judged a window yet")
    for one in () if as_json else found:
        _print(one)


def _print(standing: "Standing") -> None:
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from birdwatch.alerts.standing import count, to_json  # noqa: PLC0415
    from birdwatch.detect.duration import say_duration, say_moment  # noqa: PLC0415

    account = standing.account
    promised, severity = account.spending.alarms, account.severity
    fired = ", ".join(f"{rule} {n}" for rule, n in standing.fired.items())
    filled = min(_BAR, round(_BAR * account.expected / promised))
    typer.echo(
        f"At most {count(promised, f'false {severity}')} to be expected in {say_duration(account.spending.per_seconds)},"
        " of all models and rules together\n"
        f"{'█' * filled}{'░' * (_BAR - filled)} {account.expected:.2g} spent, {account.left:.2g} left,"
        f" from {say_moment(account.since)} to {say_moment(account.until)} (UTC)\n"
        f"{count(sum(standing.fired.values()), severity)} fired in that time{f': {fired}' if fired else ''}"
    )
    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("rule", no_wrap=True)
    for column in ("watches", "evidence must reach", "share of the promise", "looked", "spent"):
        table.add_column(column, justify="right", no_wrap=True)
    for rule, row in to_json(standing)["rules"].items():
        share = "none: it is only tried" if row["tried"] else f"{row['promised']:.2g}"
        level = "gone" if row["level"] is None else f"{row['level']:,.0f}"
        table.add_row(rule, f"{row['subjects']:,}", level, share, f"{row['looks']:,}", f"{row['spent']:.2g}")
    Console().print(table)
