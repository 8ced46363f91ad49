"""``birdwatch evaluate changed``: a period against others like it."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from birdwatch.cli.counted import counted
from birdwatch.cli.options import SettingsFile, StreamsPlace
from birdwatch.cli.printing import as_records, print_json, print_table
from birdwatch.config import load_settings
from birdwatch.errors import SettingsError

if TYPE_CHECKING:
    from birdwatch.config import Settings
    from birdwatch.evaluate.changed import Changes
    from birdwatch.evaluate.periods import Period
    from birdwatch.windows.store import Store

__all__ = ["changed", "compare", "read_periods", "span_of"]

_TOP: Final = 15
_WIDE: Final = 120


def changed(
    settings: SettingsFile = None,
    streams: StreamsPlace = None,
    store: Annotated[
        Path | None, typer.Option(help="In place of streams: the store of a tail, which has counted them already.")
    ] = None,
    period: Annotated[
        str | None,
        typer.Option(
            help="A day, such as 2013-06-07; FROM..TO (UTC); or 6h for the last six hours. The last whole day."
        ),
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Likewise, or 28d for so long before. By default 28 periods before it.")
    ] = None,
    reference: Annotated[
        list[Path] | None, typer.Option(help="A frozen reference, for what lies before the streams; may be repeated.")
    ] = None,
    alpha: Annotated[
        float,
        typer.Option(min=1e-6, max=0.5, help="The share of what is called changed that may not have."),
    ] = 0.05,
    top: Annotated[int, typer.Option(min=1, help="How many measurements to print.")] = _TOP,
    picture: Annotated[Path | None, typer.Option(help="Draw it, as a PNG: needs `birdwatch[pictures]`.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, of all measurements.")] = False,
) -> None:
    """Say what changed: a period against others of its length, ranked by how unlike usual it is.

    Scores by model and segment, differences of pairs, latencies, rates, volume and inputs. Days differ, so that all is held
    against how the other periods differ from one another; of what is called changed, a share of --alpha may not have. With
    fewer than 8 others nobody can know, and nothing is called changed.
    """
    chosen = load_settings(settings, streams=streams, store=store)
    with counted(chosen, None if store is not None else chosen.streams) as kept:
        asked, before = read_periods(kept, chosen, period, against)
        try:
            found = compare(kept, chosen, asked, before, [*(reference or []), *chosen.references], alpha)
        except ValueError as error:
            raise SettingsError(str(error)) from error
    if picture is not None:
        _draw(found, picture)
    _tell(found, top, as_json=as_json)


def read_periods(kept: "Store", chosen: "Settings", period: str | None, against: str | None) -> "tuple[Period, Period]":
    """Read which period is asked about, and with what it is compared.

    Raises
    ------
    SettingsError
        One of them is none, or nothing was counted at all.
    """
    from birdwatch.evaluate import periods  # noqa: PLC0415 - help should not wait for what only the work needs

    closed = kept.closed_range()
    if closed is None:
        raise SettingsError("nothing was counted: name streams that have requests or scores, or a tail's --store")
    starts_at = chosen.windows_start_seconds
    try:
        asked = periods.read_period(period, closed, starts_at=starts_at, pane_seconds=kept.pane_seconds)
    except ValueError as error:
        raise SettingsError(f"the period: {error}") from error
    try:
        return asked, periods.read_against(against, asked, starts_at=starts_at)
    except ValueError as error:
        raise SettingsError(f"--against: {error}") from error


def compare(
    kept: "Store", chosen: "Settings", asked: "Period", before: "Period", references: list[Path], alpha: float
) -> "Changes":
    """Compare a period of a store with others.

    Raises
    ------
    ValueError
        There is nothing in it, or nothing to compare it with.
    """
    from birdwatch.detect.frozen import load  # noqa: PLC0415
    from birdwatch.evaluate.changed import changed as compared  # noqa: PLC0415
    from birdwatch.evaluate.periods import gather  # noqa: PLC0415

    blocks = gather(kept, asked, before, [load(path) for path in references])
    try:
        return compared(blocks, asked.since, asked.seconds, scale=chosen.scale, alpha=alpha)
    except ValueError as error:
        raise ValueError(
            f"{asked}, against {len(blocks) - 1} like it from {before}: {error}; there are panes from {span_of(kept)}"
        ) from error


def span_of(kept: "Store") -> str:
    """Say from when to when there are panes."""
    from birdwatch.evaluate.periods import Period  # noqa: PLC0415

    return str(Period(*(kept.closed_range() or (0, 0))))


def _tell(found: "Changes", top: int, *, as_json: bool) -> None:
    import pandas as pd  # noqa: PLC0415 - help should not wait for it

    from birdwatch.evaluate.cause import what_happened  # noqa: PLC0415
    from birdwatch.evaluate.periods import Period  # noqa: PLC0415

    said, period = what_happened(found), Period(found.period, found.period + found.seconds)
    if as_json:
        about = {"since": period.since, "until": period.until, "others": found.others, "alpha": found.alpha}
        print_json({**about, "said": said, "measurements": as_records(found.table)})
        return
    typer.echo(f"{period} (UTC), against {len(found.others)} like it")
    for line in said:
        typer.echo(line)
    shown = found.table.head(top)
    judged = shown["changed"].map({True: "yes", False: "no"}).fillna("?")
    numbers = shown[["effect", "usual", "most", "q"]].map(lambda x: f"{x:.2g}" if x == x else "–")  # noqa: PLR0124 - NaN
    numbers[["usual", "most"]] = numbers[["usual", "most"]].where(judged != "?", "–")
    wide = {"now": shown["told"]} if shutil.get_terminal_size().columns >= _WIDE else {}
    print_table(pd.DataFrame({"changed": judged, "what": shown["name"], **numbers, **wide}))
    if len(found.table) > top:
        typer.echo(f"{len(found.table) - top:,} more: --top, or all in the --json")


def _draw(found: "Changes", picture: Path) -> None:
    from birdwatch.cli.picturing import can_draw  # noqa: PLC0415
    from birdwatch.evaluate.cause import what_happened  # noqa: PLC0415
    from birdwatch.evaluate.periods import Period  # noqa: PLC0415

    if not can_draw():
        raise SettingsError("--picture: what draws pictures is not installed: pip install 'birdwatch[pictures]'")
    from birdwatch.charts import unusual_chart  # noqa: PLC0415
    from birdwatch.charts.picture import picture_of  # noqa: PLC0415

    period = Period(found.period, found.period + found.seconds)
    drawing = unusual_chart(found)
    png = picture_of(drawing, "What changed?", [f"{period} UTC", *what_happened(found)[:2]], frame="bounds")
    try:
        picture.write_bytes(png)
    except OSError as error:
        raise SettingsError(f"--picture: {picture} cannot be written: {error.strerror}") from error
