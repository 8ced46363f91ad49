"""The figures as Markdown, beside what they should be."""

from statistics import median
from typing import Any, Final

from benchmarks.tables import about, met

__all__ = ["CHECK", "HELP", "JOIN", "NOTHING", "PACKAGES", "TINY", "markdown"]

HELP: Final = "`birdwatch check --help`"
NOTHING: Final = "a check up to where files are opened (there are none)"
TINY: Final = "a check of 1,000 pairs"
CHECK: Final = "the check"
JOIN: Final = "DuckDB joins the same files, and nothing else"

PACKAGES: Final = ("birdwatch", "numpy", "pyarrow", "scipy", "duckdb")

_AT_MOST: Final = {HELP: (0.6, None), NOTHING: (0.6, None), CHECK: (20.0, 1e9)}
"""Wall seconds and bytes that are to be reached: of the check with ten million pairs."""

_HEAD: Final = ("", "wall", "CPU", "peak memory", "target", "met")


def markdown(figures: dict[str, Any]) -> str:
    """Give the table: medians of the rounds, in bold what is not as it should be."""
    told = (
        f"{about(figures['machine'])} {figures['rows']:,} pairs over {figures['days']:g} days, files of"
        f" {figures['bytes'] / 1e6:,.0f} MB; medians of {len(figures['took'][CHECK])} rounds.\n"
    )
    lines = [told, f"| {' | '.join(_HEAD)} |", f"| --- |{' ---: |' * (len(_HEAD) - 1)}"]
    for name, rounds in figures["took"].items():
        wall, cpu, peak = (median(one[key] for one in rounds) for key in ("wall", "cpu", "peak"))
        seconds, memory = _AT_MOST.get(name, (None, None))
        targets = [f"≤ {seconds:g} s"] if seconds else []
        targets += [f"≤ {memory / 1e9:g} GB"] if memory else []
        reached = (seconds is None or wall <= seconds) and (memory is None or peak <= memory)
        said = met(reached) if targets else ""
        lines.append(f"| {name} | {wall:.2f} s | {cpu:.2f} s | {peak / 1e6:,.0f} MB | {', '.join(targets)} | {said} |")
    check, join = (figures["took"][name] for name in (CHECK, JOIN))
    ratio = median(a["cpu"] / b["cpu"] for a, b in zip(check, join, strict=True))
    return "\n".join([*lines, "", f"The check takes {ratio:.1f} times the CPU time of the join.", ""])
