"""The figures as Markdown, beside what they should be; ratios are those of one round each, and of them the median."""

from statistics import median
from typing import Any, Final

from benchmarks.tables import Row, about, met, table

__all__ = ["PACKAGES", "markdown", "ratio"]

PACKAGES: Final = ("birdwatch", "confluent-kafka", "msgspec", "numpy", "pyarrow", "apsw")

_OF_READING: Final = 0.4
"""The tail's rate, as a share of that of reading and discarding, is to be at least this."""

_OF_JSON: Final = 5.0
"""The rate of Arrow payloads, as a multiple of that of JSON, is to be at least this."""

_PARQUET: Final = 5e6  # rows in a second of CPU time
_COUNTS: Final = 1e8  # numbers in a second of CPU time
_MERGE: Final = 0.05  # seconds

_NAMES: Final = {
    "discard": "read and discard",
    "decode": "read, and decode plain structs",
    "tail": "the tail",
    "arrow": "the tail, Arrow payloads of 1,000 rows",
    "parquet": "the tail, `files:` of Parquet",
}
_PLACES: Final = {"kafka": "Kafka", "sqlite": "SQLite", "files": "files"}

Rounds = list[dict[str, float]]


def markdown(figures: dict[str, Any]) -> str:
    """Give all tables."""
    told = (
        f"{about(figures['machine'])} {figures['events']:,} events a side, {figures['a_pane']:,} in a pane; medians of"
        f" {len(figures['panes'])} rounds.\n"
    )
    sides, bounds = [], []
    for place in _PLACES:
        for models, found in figures.get(place, {}).items():
            for side, rounds in found.items():
                sides.append(_side(f"{_PLACES[place]}, {int(models):,} models", side, rounds))
            bounds += _bounds(f"{_PLACES[place]}, {int(models):,} models", found)
    return "\n".join(
        [
            told,
            table(("", "", "events/s", "events/s of CPU", "CPU an event"), sides, left=2),
            table(("", "by the clock", "by CPU time", "target", "met"), bounds + _of_panes(figures["panes"])),
            _memory(figures["panes"][0]),
        ]
    )


def ratio(ours: Rounds, theirs: Rounds, measure: str) -> float:
    """Give how many times as many events a second are those of the one as of the other, in the median of the rounds."""
    return median((a["events"] / a[measure]) / (b["events"] / b[measure]) for a, b in zip(ours, theirs, strict=True))


def _side(where: str, side: str, rounds: Rounds) -> Row:
    clock, cpu = (median(one["events"] / one[measure] for one in rounds) for measure in ("wall", "cpu"))
    return where, _NAMES[side], f"{clock:,.0f}", f"{cpu:,.0f}", f"{1e6 / cpu:.2f} µs"


def _bounds(where: str, found: dict[str, Rounds]) -> list[Row]:
    rows = []
    for name, side, beside, least in (
        ("the tail beside reading and discarding", "tail", "discard", _OF_READING),
        ("the tail beside decoding plain structs", "tail", "decode", None),
        ("Arrow payloads beside JSON", "arrow", "tail", _OF_JSON),
    ):
        if side in found and beside in found:
            clock, cpu = (ratio(found[side], found[beside], measure) for measure in ("wall", "cpu"))
            target = ("", "") if least is None else (f"≥ {least:g}", met(clock >= least))
            rows.append((f"{where}: {name}", f"{clock:.2f}", f"{cpu:.2f}", *target))
    if "parquet" in found:
        clock, cpu = (median(one["events"] / one[measure] for one in found["parquet"]) for measure in ("wall", "cpu"))
        target = (f"≥ {_PARQUET / 1e6:g} M a core", met(cpu >= _PARQUET))
        rows.append((f"{where}: rows of Parquet a second", f"{clock / 1e6:.2f} M", f"{cpu / 1e6:.2f} M", *target))
    return rows


def _of_panes(rounds: Rounds) -> list[Row]:
    rows = []
    for name, part in (("`bins_of`", "bins"), ("`Counts.of`", "counts"), ("both, one after the other", "both")):
        rate = median(one["numbers"] / one[part] for one in rounds)
        rows.append(
            (f"{name}, numbers a second", "", f"{rate / 1e6:,.0f} M", f"≥ {_COUNTS / 1e6:g} M", met(rate >= _COUNTS))
        )
    a_day = "a day of minutes of 100 models"
    for name, seconds, bound in (
        (f"{a_day}, added up in memory", [one["merge"] for one in rounds], True),
        (f"{a_day}, read from a store's minutes and added up", [one["store"]["minutes"] for one in rounds], False),
        (f"{a_day}, read from the store that rolled them up", [one["store"]["rolled_up"] for one in rounds], True),
    ):
        took = median(seconds)
        target = (f"≤ {_MERGE * 1000:g} ms", met(took <= _MERGE)) if bound else ("", "")
        rows.append((name, "", f"{took * 1000:.0f} ms", *target))
    return rows


def _memory(one: dict[str, float]) -> str:
    return (
        f"A day of minutes of one model's scores, 100 a minute, takes {one['held'] / 1e6:.1f} MB in memory, of which"
        f" {one['arrays'] / 1e6:.1f} MB are bins and counts.\n"
    )
