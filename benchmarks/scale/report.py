"""The figures as Markdown, beside what they should be; medians of what was measured more than once."""

from itertools import pairwise
from math import log
from statistics import median
from typing import Any, Final

from benchmarks.tables import Row, about, met, table

__all__ = ["PACKAGES", "markdown", "slope"]

PACKAGES: Final = ("birdwatch", "confluent-kafka", "numpy", "pyarrow", "apsw")

_STARTED: Final = {
    "python": ("Python alone", None),
    "import": ("`import birdwatch`", 0.3),
    "help": ("`birdwatch --help`", 0.5),
}
_OF_A_CORE: Final = 0.1
"""The judge may take this share of a core."""

_MINUTE: Final = 60.0
_NAMED: Final = 6


def markdown(figures: dict[str, Any]) -> str:
    """Give all tables."""
    parts = [
        about(figures["machine"]) + "\n",
        table(("a start", "by the clock", "target", "met"), _starts(figures["started"])),
        _installed(figures["installed"]),
        _grown(figures),
        table(("days of minutes of ten models", "the store", "CPU of writing and adding up"), _kept(figures["kept"])),
        table(
            (
                "models",
                "five rules over a minute",
                "the champion has moved",
                "of a core",
                "target",
                "met",
            ),
            _judged(figures["judged"]),
        ),
    ]
    if "shared" in figures:
        parts.append(table(("tails", "events/s", "beside one", "CPU an event"), _shared(figures["shared"])))
    return "\n".join([*parts, _told(figures)])


def slope(sizes: list[float], costs: list[float]) -> list[float]:
    """Give the exponent of growth between neighbours: 1 where the cost grows as the size does.

    Examples
    --------
    >>> slope([1, 10, 100], [2, 20, 2000])
    [1.0, 2.0]
    """
    pairs = zip(pairwise(sizes), pairwise(costs), strict=True)
    return [round(log(cost / before) / log(size / smaller), 2) for (smaller, size), (before, cost) in pairs]


def _of(rounds: list[dict[str, float]], measure: str) -> float:
    return median(one[measure] for one in rounds)


def _starts(found: dict[str, list[float]]) -> list[Row]:
    rows = []
    for name, (said, most) in _STARTED.items():
        took = median(found[name])
        rows.append((said, f"{took:.3f} s", *(("", "") if most is None else (f"≤ {most:g} s", met(took <= most)))))
    return rows


def _installed(sizes: dict[str, int]) -> str:
    largest = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in list(sizes.items())[:_NAMED])
    return f"The core with all that it needs, {len(sizes)} packages, takes {sum(sizes.values()) / 1e6:.0f} MB: {largest}.\n"


def _grown(figures: dict[str, Any]) -> str:
    usual = figures["usual"]
    tables = []
    for what, by_size in figures["grown"].items():
        rest = ", ".join(f"{number:,} {name}" for name, number in usual.items() if name != what)
        sizes = [int(size) for size in by_size]
        cpu, peak, store = ([_of(rounds, m) for rounds in by_size.values()] for m in ("cpu", "peak", "store"))
        grows = ["", *(f"{each:g}" for each in slope([float(s) for s in sizes], cpu))]
        rows = [
            (f"{size:,}", f"{c:.2f} s", grow, f"{p / 1e6:,.0f} MB", f"{s / 1e6:,.1f} MB")
            for size, c, grow, p, s in zip(sizes, cpu, grows, peak, store, strict=True)
        ]
        tables.append(table((f"{what} ({rest})", "CPU", "exponent", "peak memory", "the store"), rows))
    return "\n".join(tables)


def _kept(by_days: dict[str, list[dict[str, float]]]) -> list[Row]:
    return [(days, f"{_of(r, 'store') / 1e6:,.0f} MB", f"{_of(r, 'cpu'):.1f} s") for days, r in by_days.items()]


def _judged(by_models: dict[str, dict[str, Any]]) -> list[Row]:
    rows = []
    for models, found in by_models.items():
        usual, moved = median(found["minutes"]), median(found["moved"])
        share = usual / _MINUTE
        target = f"≤ {_OF_A_CORE:.0%}"
        rows.append(
            (f"{int(models):,}", f"{usual:.2f} s", f"{moved:.2f} s", f"{share:.1%}", target, met(share <= _OF_A_CORE))
        )
    return rows


def _shared(by_processes: dict[str, dict[str, list[dict[str, float]]]]) -> list[Row]:
    rates = {n: _rate(found, "wall") for n, found in by_processes.items()}
    first = next(iter(rates.values()))
    return [
        (n, f"{rate:,.0f}", f"{rate / first:.2f}", f"{1e6 / _rate(by_processes[n], 'cpu'):.1f} µs")
        for n, rate in rates.items()
    ]


def _rate(by_count: dict[str, list[dict[str, float]]], measure: str) -> float:
    """Events a second, by what the larger stream took more than the smaller."""
    (few, small), (many, large) = by_count.items()
    return (int(many) - int(few)) / (_of(large, measure) - _of(small, measure))


def _told(figures: dict[str, Any]) -> str:
    """Say what grows fastest."""
    steepest = {
        what: max(
            slope([float(size) for size in by_size], [_of(rounds, "cpu") for rounds in by_size.values()]), default=0.0
        )
        for what, by_size in figures["grown"].items()
    }
    judged = figures["judged"]
    if len(judged) > 1:
        costs = [median(found["minutes"]) for found in judged.values()]
        steepest["models of the judge"] = max(slope([float(n) for n in judged], costs))
    fastest = max(steepest, key=lambda what: steepest[what])
    all_of = ", ".join(f"{what} {each:g}" for what, each in steepest.items())
    return f"The steepest exponents of CPU time: {all_of}; {fastest} first.\n"
