"""``birdwatch rules``: see that the rules are right before they run."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from birdwatch.config import load_settings

if TYPE_CHECKING:
    from birdwatch.detect.rules import RuleSet

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def _rules() -> None:
    """Check the rules."""


@app.command()
def check(
    folder: Annotated[
        Path | None, typer.Argument(help="A folder of rules; that of the settings, or the starter set, by default.")
    ] = None,
    settings: Annotated[Path | None, typer.Option(help="A YAML file of settings; ./birdwatch.yaml by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the rules of a folder, or what is wrong with them, by file and line. Exits 1 if something is."""
    from birdwatch.content import content  # noqa: PLC0415 - help should not wait for what only the work needs
    from birdwatch.detect.rules import check_rules  # noqa: PLC0415

    rules, mistakes = check_rules(folder or load_settings(settings).rules or content("detectors"))
    if as_json:
        found = {
            "budget": rules.budget.model_dump(),
            "rules": [rule.model_dump(mode="json", by_alias=True) for rule in rules.rules],
            "mistakes": [{"file": str(m.file), "line": m.line, "message": m.message} for m in mistakes],
        }
        typer.echo(json.dumps(found))
    elif mistakes:
        for mistake in mistakes:
            typer.echo(str(mistake), err=True)
    else:
        _print_table(rules)
    if mistakes:
        raise typer.Exit(1)


def _print_table(rules: "RuleSet") -> None:
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from birdwatch.detect.duration import say_duration  # noqa: PLC0415

    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("rule", "kind", "models", "window", "at most"):
        table.add_column(column, min_width=6, no_wrap=True)
    table.add_column("what for")
    for rule in rules.rules:
        loud = "muted" if rule.muted else rule.severity
        table.add_row(rule.name, rule.kind, rule.model, say_duration(rule.window), loud, rule.description)
    Console().print(table)
    budget = rules.budget
    typer.echo(
        f"{len(rules.rules)} rules; at most {budget.pages:g} expected false pages in {say_duration(budget.per)},"
        " for all models together"
    )
