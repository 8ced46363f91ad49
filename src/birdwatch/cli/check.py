"""``birdwatch check``: the gate for CI."""

import os
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from birdwatch.cli.options import RulesFolder, SettingsFile
from birdwatch.config import load_settings
from birdwatch.errors import SettingsError

if TYPE_CHECKING:
    from birdwatch.check.report import Report
    from birdwatch.config import Settings

__all__ = ["app", "moment"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_STYLES: Final = {"pass": "green", "fail": "red", "inconclusive": "yellow"}
_FORMATS: Final = ("md", "html", "junit", "json", "github")


@app.command()
def check(
    data: Annotated[
        str | None,
        typer.Argument(
            help="What holds a champion and its shadow: a folder of streams, a file, or an address of streams.",
            show_default=False,
        ),
    ] = None,
    champion: Annotated[
        str | None, typer.Option(help="The model that answers; without DATA, the file of its scores.")
    ] = None,
    shadow: Annotated[
        str | None, typer.Option(help="The model that answers nobody, likewise: is it fit to answer?")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="In place of DATA: the store of a tail, which has counted them already.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="Of DATA or the store, only what came from then on: 2026-11-01T08:00 (UTC), or `2h` before now; by default since the shadow was last registered."
        ),
    ] = None,
    most_missing: Annotated[
        float,
        typer.Option(min=0, max=1, help="The share of the champion's requests that the shadow need not have scored."),
    ] = 0.01,
    reference: Annotated[
        Path | None, typer.Option(help="What was in order: a file of scores, or a folder of streams.")
    ] = None,
    current: Annotated[Path | None, typer.Option(help="What is to be compared with that, likewise.")] = None,
    settings: SettingsFile = None,
    rules: RulesFolder = None,
    alpha: Annotated[
        float,
        typer.Option(
            min=1e-12, max=0.5, help="The chance with which it may fail although all is within its tolerance."
        ),
    ] = 0.01,
    report: Annotated[
        list[str] | None,
        typer.Option(
            help="FORMAT or FORMAT=FILE, may be repeated: md, html, junit, json, or github (annotations, and the job's summary)."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Judge and report, and exit 0 whatever it comes to.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Compare a shadow with the champion, or current data with a reference, by the rules.

    Exits 0 pass, 1 fail, 2 misuse, 3 inconclusive: too few events, too few pairs, a reference or a shadow that is missing.

    With --champion and --shadow, both scored the same requests: they ought to agree. With --reference and --current, what is
    in order is learned from the one and held against the other. Files are CSV, Parquet or JSON lines; their field names are
    mapped in the settings. Folders of streams hold the watched inputs too. Rules of severity info explain, and decide nothing.
    """
    wanted = [_format(one) for one in [*(report or []), *(["json"] if as_json else [])]]
    mode = _mode(data, champion, shadow, store, reference, current)
    chosen = load_settings(settings, rules=rules)
    if mode == "stretches":
        assert reference is not None and current is not None  # noqa: S101, PT018 - `_mode` saw to it
        found = _stretches(reference, current, chosen, alpha)
    else:
        assert champion is not None and shadow is not None  # noqa: S101, PT018 - likewise
        found = _shadow(
            data, champion, shadow, chosen, store=store, since=since, alpha=alpha, most_missing=most_missing
        )
    _tell(found, wanted)
    raise typer.Exit(0 if dry_run else int(found.exit))


def _mode(
    data: str | None,
    champion: str | None,
    shadow: str | None,
    store: Path | None,
    reference: Path | None,
    current: Path | None,
) -> Literal["stretches", "shadow"]:
    """Find out what is to be compared with what.

    Raises
    ------
    SettingsError
        That is not told, or told twice.
    """
    if reference is not None or current is not None:
        if reference is None or current is None:
            raise SettingsError("give --reference and --current, both")
        if data is not None or champion is not None or shadow is not None or store is not None:
            raise SettingsError(
                "give --reference and --current, or --champion and --shadow: each is a check of its own"
            )
        return "stretches"
    if champion is None or shadow is None:
        raise SettingsError("say what is compared: --champion and --shadow, or --reference and --current")
    if data is not None and store is not None:
        raise SettingsError("give DATA or --store: what a store holds need not be counted again")
    return "shadow"


def _stretches(reference: Path, current: Path, chosen: "Settings", alpha: float) -> "Report":
    from birdwatch.check import gate  # noqa: PLC0415 - help should not wait for what only the work needs
    from birdwatch.content import content  # noqa: PLC0415
    from birdwatch.detect.rules import load_rules  # noqa: PLC0415
    from birdwatch.streams import open_streams  # noqa: PLC0415

    rule_set = load_rules(chosen.rules or content("detectors"))
    with tempfile.TemporaryDirectory(prefix="birdwatch-check-") as folder:
        letters = open_streams(f"sqlite:{folder}/letters")
        first, unread_first = gate.count(reference, chosen, Path(folder, "reference.db"), letters)
        second, unread_second = gate.count(current, chosen, Path(folder, "current.db"), letters)
        with closing(first), closing(second):
            found = gate.check(first, second, rule_set, chosen, alpha)
        if unread_first or unread_second:
            which = f"{unread_first:,} of the reference, {unread_second:,} of the current data"
            _warn(f"rows that could not be read: {which}; the first: {gate.first_letter(letters)}")
    return found


def _shadow(
    data: str | None,
    champion: str,
    shadow: str,
    chosen: "Settings",
    *,
    store: Path | None,
    since: str | None,
    alpha: float,
    most_missing: float,
) -> "Report":
    from birdwatch.check import gate  # noqa: PLC0415 - help should not wait for what only the work needs
    from birdwatch.check.shadow import check_shadow  # noqa: PLC0415
    from birdwatch.content import content  # noqa: PLC0415
    from birdwatch.detect.rules import load_rules  # noqa: PLC0415
    from birdwatch.streams import open_streams  # noqa: PLC0415
    from birdwatch.windows.store import Store  # noqa: PLC0415

    rule_set = load_rules(chosen.rules or content("detectors"))
    began = None if since is None else moment(since)

    def judged(kept: Store, champion: str, shadow: str) -> "Report":
        return check_shadow(
            kept, champion, shadow, rule_set, chosen, alpha=alpha, most_missing=most_missing, since=began
        )

    if store is not None:
        with closing(Store(store, readonly=True)) as kept:
            return judged(kept, champion, shadow)
    with tempfile.TemporaryDirectory(prefix="birdwatch-check-") as folder:
        letters, path = open_streams(f"sqlite:{folder}/letters"), Path(folder, "counted.db")
        if data is None:
            kept, unread = gate.count_two(Path(champion), Path(shadow), chosen, path, letters)
            champion, shadow = "champion", "shadow"
        else:
            named = chosen.model_copy(update={"champion": champion})
            kept, unread = gate.count_at(data, named, path, letters)
        with closing(kept):
            found = judged(kept, champion, shadow)
        if unread:
            _warn(f"rows that could not be read: {unread:,}; the first: {gate.first_letter(letters)}")
    return found


def moment(said: str) -> float:
    """Read a moment, or how long before now it was, as Unix seconds.

    Raises
    ------
    SettingsError
        It is neither.
    """
    from birdwatch.detect.duration import parse_duration, parse_moment  # noqa: PLC0415 - help should not wait for it

    try:
        return time.time() - parse_duration(said) if said[-1:].isalpha() else parse_moment(said)
    except ValueError as error:
        raise SettingsError(f"--since {said!r} is no moment: write 2026-11-01T08:00, or 2h") from error


def _format(said: str) -> tuple[str, Path | None]:
    name, _, file = said.partition("=")
    if name not in _FORMATS:
        raise SettingsError(f"--report {said!r}: there is no format {name!r}; there are {', '.join(_FORMATS)}")
    return name, Path(file) if file else None


def _tell(found: "Report", wanted: list[tuple[str, Path | None]]) -> None:
    """Write what is asked for, each to its file; people get a table where nothing else is printed."""
    from birdwatch.check.formats import FORMATS  # noqa: PLC0415 - help should not wait for what only the work needs

    for name, path in wanted:
        text = FORMATS[name](found)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        else:
            typer.echo(text, nl=not text.endswith("\n"))
        summary = os.environ.get("GITHUB_STEP_SUMMARY")
        if name == "github" and summary:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(FORMATS["md"](found))
    if all(path is not None for _, path in wanted):
        _table(found)


def _table(found: "Report") -> None:
    from rich.console import Console  # noqa: PLC0415 - help should not wait for what only the work needs
    from rich.table import Table  # noqa: PLC0415

    from birdwatch.check.formats.rows import rows  # noqa: PLC0415

    console = Console()
    table = Table("rule", "of", "n", "statistic", "value", "in order up to", "verdict", box=None)
    told = rows(found)
    for row in told:
        table.add_row(row.rule, row.of, row.n, row.statistic, row.value, row.tolerance, row.status)
    if told:
        console.print(table)
    for row in told:
        for line in row.because:
            console.print(f"  {row.rule}, {row.of}: {line}", markup=False, highlight=False)
    answer = found.exit.word
    console.print(f"{answer.upper()}: {found.reason}", style=_STYLES[answer], markup=False)


def _warn(text: str) -> None:
    from rich.console import Console  # noqa: PLC0415 - help should not wait for what only the work needs

    Console(stderr=True).print(text, style="yellow", markup=False)
