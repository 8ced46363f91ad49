"""``birdwatch check``: the gate for CI."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from birdwatch.cli.options import RulesFolder, SettingsFile
from birdwatch.config import load_settings

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_STYLES = {"pass": "green", "fail": "red", "inconclusive": "yellow"}


@app.command()
def check(
    reference: Annotated[Path, typer.Option(help="What was in order: a file of scores, or a folder of streams.")],
    current: Annotated[Path, typer.Option(help="What is to be judged, likewise.")],
    settings: SettingsFile = None,
    rules: RulesFolder = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
) -> None:
    """Compare two stretches of scores by the rules. Exits 0 pass, 1 fail, 2 misuse, 3 inconclusive.

    Files are CSV, Parquet or JSON lines; their field names are mapped in the settings. Folders of streams hold the
    watched inputs too. Rules of severity info explain, and decide nothing; how much came, and how fast, is not compared.
    """
    from rich.console import Console  # noqa: PLC0415 - help should not wait for what only the work needs
    from rich.table import Table  # noqa: PLC0415

    from birdwatch.check import gate  # noqa: PLC0415
    from birdwatch.content import content  # noqa: PLC0415
    from birdwatch.detect.rules import load_rules  # noqa: PLC0415
    from birdwatch.detect.words import about  # noqa: PLC0415
    from birdwatch.streams import open_streams  # noqa: PLC0415

    chosen = load_settings(settings, rules=rules)
    rule_set = load_rules(chosen.rules or content("detectors"))
    with tempfile.TemporaryDirectory(prefix="birdwatch-check-") as folder:
        letters = open_streams(f"sqlite:{folder}/letters")
        first, unread_first = gate.count(reference, chosen, Path(folder, "reference.db"), letters)
        second, unread_second = gate.count(current, chosen, Path(folder, "current.db"), letters)
        report = gate.check(first, second, rule_set, chosen)
        why = gate.first_letter(letters)
        first.close()
        second.close()
    console = Console(stderr=as_json)
    if unread_first or unread_second:
        console.print(
            f"rows that could not be read: {unread_first:,} of the reference, {unread_second:,} of the current data;"
            f" the first: {why}",
            style="yellow",
            markup=False,
        )
    if as_json:
        typer.echo(gate.to_json(report))
    else:
        table = Table("rule", "of", "n", "statistic", "value", "in order up to", "verdict", box=None)
        for v in report.verdicts:
            value, most = (f"{x:.3g}" if x is not None else "–" for x in (v.value, v.tolerance))
            table.add_row(v.rule, about(v.subject), f"{v.n:,}", v.statistic, value, most, v.status)
        console.print(table)
        for v in report.verdicts:
            for line in gate.why(v) if v.status == "drifting" else ():
                console.print(f"  {v.rule}, {about(v.subject)}: {line}", markup=False, highlight=False)
        answer = report.exit.name.lower()
        console.print(f"{answer.upper()}: {report.reason}", style=_STYLES[answer], markup=False)
    raise typer.Exit(int(report.exit))
