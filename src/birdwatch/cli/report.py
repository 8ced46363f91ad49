"""``birdwatch report``: the meta-analysis of a period as one page."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from birdwatch.cli.changed import compare, read_periods, span_of
from birdwatch.cli.counted import counted
from birdwatch.cli.options import SettingsFile, StreamsPlace
from birdwatch.cli.picturing import can_draw
from birdwatch.cli.printing import as_records, print_json
from birdwatch.config import load_settings
from birdwatch.errors import SettingsError

if TYPE_CHECKING:
    from birdwatch.config import Settings
    from birdwatch.evaluate.changed import Changes
    from birdwatch.evaluate.periods import Period
    from birdwatch.report.section import Section
    from birdwatch.windows.store import Store

__all__ = ["app"]

_DAY: Final = 86_400
_FOOTING: Final = (
    "Written by birdwatch report. Days differ: what is called changed lies further from the other days than these from one"
    " another, and a share of it that the command was given may be chance."
)

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def report(
    period: Annotated[
        str, typer.Argument(help="A day, such as 2013-06-07; FROM..TO (UTC); or 6h for the last six hours.")
    ],
    output: Annotated[Path, typer.Option(help="The file to write.")] = Path("report.html"),
    settings: SettingsFile = None,
    streams: StreamsPlace = None,
    store: Annotated[
        Path | None,
        typer.Option(help="The store of a tail: its panes need not be counted again, and its alerts are told."),
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="Which models; all by default.")] = None,
    against: Annotated[
        str | None, typer.Option(help="What it is compared with, likewise. By default 28 periods before it.")
    ] = None,
    reference: Annotated[
        list[Path] | None, typer.Option(help="A frozen reference, for what lies before the streams; may be repeated.")
    ] = None,
    alpha: Annotated[
        float, typer.Option(min=1e-6, max=0.5, help="The share of what is called changed that may not have.")
    ] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, and write no page.")] = False,
) -> None:
    """Write what happened in a period as one page of HTML, which needs no network and is the same whenever it is written.

    What changed, alerts, deployments, quality by late labels, value of policies, deadlines, losses, and what was rejected:
    each a question with its data, picture and answer. What does not apply says why.
    """
    from rich.console import Console  # noqa: PLC0415 - help should not wait for what only the work needs
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    from birdwatch.report.report import PARTS, sections  # noqa: PLC0415

    chosen = load_settings(settings, streams=streams, store=store)
    screen = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        ExitStack() as held,
        Progress(*columns, console=screen, disable=not screen.is_terminal, transient=True) as progress,
    ):
        bar = progress.add_task("counting", total=PARTS + 1)
        kept = held.enter_context(counted(chosen, None if store is not None else chosen.streams))
        asked, before = read_periods(kept, chosen, period, against)
        if not kept.pane(asked.since, asked.until):
            raise SettingsError(f"nothing was counted from {asked}; there are panes from {span_of(kept)}")
        changed = _changed(kept, chosen, asked, before, [*(reference or []), *chosen.references], alpha)
        progress.update(bar, advance=1, description="asking")
        watched = kept if store is not None else None
        found: list[Section] = []
        for section in sections(asked, changed, kept, chosen.streams, watched=watched, models=tuple(model or ())):
            found.append(section)
            progress.update(bar, advance=1, description=section.question)
    if as_json:
        print_json({"since": asked.since, "until": asked.until, "sections": [_data(section) for section in found]})
        return
    _write(found, asked, chosen.streams, output)


def _changed(
    kept: "Store", chosen: "Settings", asked: "Period", before: "Period", references: list[Path], alpha: float
) -> "Changes | str":
    """Compare the period, or say why that cannot be done: the rest of the report does not need it."""
    try:
        return compare(kept, chosen, asked, before, references, alpha)
    except ValueError as error:
        return f"It cannot be told: {error}."


def _data(section: "Section") -> dict[str, Any]:
    tables = {one.title: as_records(one.table) for one in section.tables}
    told = {name: getattr(section, name) for name in ("name", "question", "data", "answer", "absent")}
    return {**told, "pictures": [figure.drawing.says for figure in section.figures], "tables": tables}


def _title(asked: "Period") -> str:
    from birdwatch.detect.duration import say_moment  # noqa: PLC0415

    return f"What happened on {say_moment(asked.since)[:10]}" if asked.seconds <= _DAY else "What happened"


def _write(found: "list[Section]", asked: "Period", place: str, output: Path) -> None:
    from birdwatch.report.html import drawn, write  # noqa: PLC0415

    draw = drawn if can_draw() else None
    text = write(_title(asked), f"{asked} (UTC), {place}", found, footing=_FOOTING, draw=draw)
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"--output: {output} cannot be written: {error.strerror}") from error
    for section in found:
        typer.echo(f"{section.question} {section.absent or section.answer[0]}")
    typer.echo(str(output))
