"""The figures as Markdown, beside what they should be."""

from pathlib import Path
from statistics import median
from typing import Any, Final

import apsw
from benchmarks.machine import machine

__all__ = ["markdown", "measured_on"]

_OPENED: Final = 1.5
_REFRESHED: Final = 0.3
_POINTS: Final = 2000
_HEAD: Final = (
    "page",
    "range",
    "opened, the first to ask",
    "opened",
    "refreshed",
    "refreshed, a pane closed",
    "scrolled: the rest",
    "all of it refreshed, a pane closed",
    "server: again",
    "server: a pane closed",
    "charts",
    "points, at most",
)


def measured_on(store: Path) -> dict[str, Any]:
    """Say on what is measured."""
    packages = ("birdwatch", "streamlit", "pandas", "altair", "pyarrow")
    return machine(packages) | {
        "sqlite": apsw.sqlite_lib_version(),
        "store_gigabytes": round(store.stat().st_size / 1e9, 1),
    }


def markdown(figures: dict[str, Any]) -> str:
    """Give the table: medians, in bold what is not as it should be."""
    about = figures["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in about["packages"].items())
    told = (
        f"{about['cores']} cores ({about['cpu']}), {about['system']}, Python {about['python']}, SQLite {about['sqlite']},"
        f" {packages}; a store of {about['store_gigabytes']} GB; load average at the start {about['load_at_start']}.\n"
    )
    lines = [
        told,
        f"| {' | '.join(_HEAD)} |",
        f"| --- | --- |{' ---: |' * (len(_HEAD) - 2)}",
    ]
    lines.append(f"| an empty one | | | {median(figures['empty']):.2f} s |{' |' * (len(_HEAD) - 4)}")
    for page, ranges in figures["pages"].items():
        for stretch, found in ranges.items():
            server = found["server"]
            cells = (
                page,
                stretch,
                f"{found['first']:.2f} s",
                _seconds(median(found["opened"]), _OPENED),
                _seconds(median(found["refreshed"]), _REFRESHED),
                _seconds(median(found["refreshed, new pane"]), _REFRESHED),
                f"{found['scrolled']:.2f} s",
                _seconds(median(found["all refreshed, new pane"]), _REFRESHED),
                f"{median(server['again']):.2f} s",
                f"{median(server['new pane']):.2f} s",
                str(found["charts"]),
                _bold(f"{server['points']:,}", server["points"] <= _POINTS),
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _seconds(value: float, most: float) -> str:
    return _bold(f"{value:.2f} s", value <= most)


def _bold(text: str, good: bool) -> str:
    return text if good else f"**{text}**"
