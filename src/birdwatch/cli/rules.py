"""``birdwatch rules``: see that the rules are right before they run, and have an editor help to write them."""

import json
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from birdwatch.cli.options import SettingsFile
from birdwatch.config import load_settings

if TYPE_CHECKING:
    from birdwatch.detect.kind import Rule
    from birdwatch.detect.plugin import Kinds
    from birdwatch.detect.rules import RuleSet

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


Folder = Annotated[
    Path | None, typer.Argument(help="A folder of rules; that of the settings, or the starter set, by default.")
]


@app.callback()
def _rules() -> None:
    """Check the rules, and help to write them."""


@app.command()
def check(
    folder: Folder = None,
    settings: SettingsFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the rules of a folder, or what is wrong with them, by file and line. Exits 1 if something is."""
    from birdwatch.detect.rules import check_rules, load_kinds  # noqa: PLC0415 - help should not wait for the work

    place = _place(folder, settings)
    rules, mistakes = check_rules(place)
    # Plug-ins that no rule asks for are tried too.
    kinds, more = load_kinds(place)
    mistakes = sorted({*mistakes, *more})
    if as_json:
        found = {
            "budget": rules.budget.model_dump(),
            "rules": [rule.model_dump(mode="json", by_alias=True) for rule in rules.rules],
            "plugins": [
                {"kind": p.kind, "file": str(p.file), "needs": kinds.lacking(p.kind)} for p in kinds.plugins.values()
            ],
            "mistakes": [{"file": str(m.file), "line": m.line, "message": m.message} for m in mistakes],
        }
        typer.echo(json.dumps(found))
    elif mistakes:
        for mistake in mistakes:
            typer.echo(str(mistake), err=True)
    else:
        _print_table(rules)
        _print_plugins(kinds)
    if mistakes:
        raise typer.Exit(1)


@app.command()
def schema(folder: Folder = None, settings: SettingsFile = None) -> None:
    """Print the JSON Schema of a folder's files of rules, its plug-ins' kinds included, for editors."""
    from birdwatch.detect.rules import load_kinds  # noqa: PLC0415
    from birdwatch.detect.schema import rules_schema  # noqa: PLC0415

    kinds, _ = load_kinds(_place(folder, settings))
    typer.echo(json.dumps(rules_schema(kinds.loaded()), indent=2))
    for kind in kinds.plugins:
        if kinds.lacking(kind):
            typer.echo(f"the kind {kind!r} is left out: it needs the package {kinds.lacking(kind)!r}", err=True)


def _place(folder: Path | None, settings: Path | None) -> Path:
    from birdwatch.content import content  # noqa: PLC0415

    return folder or load_settings(settings).rules or content("detectors")


def _print_table(rules: "RuleSet") -> None:
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from birdwatch.detect.duration import say_duration  # noqa: PLC0415

    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("rule", "kind", "models", "window", "weight", "at most"):
        table.add_column(column, min_width=6, no_wrap=True)
    table.add_column("what for")
    for rule in rules.rules:
        weight = f"{rule.weight:g}" if rule.spends else ""
        table.add_row(
            rule.name, rule.kind, rule.model, say_duration(rule.window), weight, _loudness(rule), rule.description
        )
    Console().print(table)
    budget = rules.budget
    typer.echo(
        f"{len(rules.rules)} rules; at most {budget.pages:g} expected false pages in {say_duration(budget.per)},"
        " for all models together"
    )


def _loudness(rule: "Rule") -> str:
    if rule.muted:
        return "muted"
    return rule.severity + (", dry run" if rule.dry_run else "") + (", must have data" if rule.must_have_data else "")


def _print_plugins(kinds: "Kinds") -> None:
    for file, found in groupby(sorted(kinds.plugins.values(), key=lambda p: (p.file, p.kind)), key=lambda p: p.file):
        names = [plugin.kind for plugin in found]
        needs = kinds.lacking(names[0])
        typer.echo(
            f"{file.name} adds the kind{'s' * (len(names) > 1)} {', '.join(names)}"
            + (f", but needs the package {needs!r}" if needs else "")
        )
