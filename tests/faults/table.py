"""The table of faults: what was broken, how often, what was lost or doubled, and how soon all was alive again.

``BIRDWATCH_FAULTS=nightly`` (`make test-faults`) asks for the long form of every fault, and keeps the table in
docs/reliability.md. A row that is measured again replaces the one of its name; the others stay, with their dates.
"""

import datetime as dt
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

__all__ = ["ALIVE_SECONDS", "NIGHTLY", "Row", "Table", "chosen"]

NIGHTLY = os.environ.get("BIRDWATCH_FAULTS") == "nightly"
"""Whether the long form is wanted, and kept."""

ALIVE_SECONDS = 30.0
"""So soon after the end of a fault the first answer, or the first pane, is there again."""

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
HEAD = ("fault", "rounds", "ids", "lost", "doubled", "alive again: median", "worst", "what else was seen", "measured")


def chosen(ci, nightly):
    """Give what a fault's short form needs, or what its long form does."""
    return nightly if NIGHTLY else ci


@dataclass(frozen=True)
class Row:
    """What came of one fault.

    Attributes
    ----------
    fault
        What was broken, in a few words; the row's name.
    rounds
        How often.
    ids
        How many acknowledged ids were looked for.
    lost, doubled
        How many of them were missing, or there twice, after the join.
    alive
        Seconds from the end of each fault to the first answer, pane or message that needed what was broken; may be
        empty where nothing had stopped.
    note
        What else was seen.
    """

    fault: str
    rounds: int
    ids: int
    lost: int
    doubled: int
    alive: list[float] = field(default_factory=list)
    note: str = ""

    def cells(self) -> list[str]:
        """Give the row as text."""
        median, worst = (
            (f"{f(self.alive):.1f} s" for f in (statistics.median, max)) if self.alive else ("not stopped", "")
        )
        numbers = [f"{number:,}" for number in (self.rounds, self.ids, self.lost, self.doubled)]
        return [self.fault, *numbers, median, worst, self.note.replace("|", "/"), dt.date.today().isoformat()]  # noqa: DTZ011 - of whoever reads it


class Table:
    """The rows of one session of tests."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}

    def __bool__(self) -> bool:
        """Whether anything was measured."""
        return bool(self._rows)

    def survived(
        self,
        fault: str,
        *,
        rounds: int,
        ids: int,
        lost: Iterable[object] = (),
        doubled: Iterable[object] = (),
        alive: Iterable[float] = (),
        note: str = "",
    ) -> None:
        """Write a row, then assert what it must say: nothing lost, nothing doubled, alive again in time.

        Parameters
        ----------
        fault, rounds, ids, alive, note
            As in `Row`.
        lost, doubled
            The ids themselves: an assertion that fails shows some of them.
        """
        missing, twice, seconds = sorted(map(str, lost)), sorted(map(str, doubled)), list(alive)
        assert fault not in self._rows, f"there is a row {fault!r} already"
        self._rows[fault] = Row(fault, rounds, ids, len(missing), len(twice), seconds, note)
        assert ids > 0, "no id was looked for"
        assert missing[:10] == [], f"{len(missing)} of {ids} were lost"
        assert twice[:10] == [], f"{len(twice)} of {ids} were doubled"
        assert [round(s, 1) for s in seconds if s > ALIVE_SECONDS] == [], "alive again too late"

    def text(self) -> str:
        """Give the table for people at a terminal."""
        rows = [list(HEAD), *(row.cells() for row in self._rows.values())]
        widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)

    def keep(self, page: Path = PAGE) -> None:
        """Write the table into the page, between its marks; rows of this machine that were not measured now stay."""
        text = page.read_text()
        before, inside, after = re.split(f"(?s){BEGIN}(.*){END}", text)
        rows = [row.cells() for row in self._rows.values()]
        if machine() in inside:
            measured = {row[0]: row for row in rows}
            kept = [row for row in map(_cells, inside.splitlines()) if len(row) == len(HEAD)][2:]
            rows = [measured.pop(row[0], row) for row in kept] + list(measured.values())
        lines = [HEAD, ("---", *("---:",) * 6, "---", "---"), *rows]
        table = "\n".join(f"| {' | '.join(row)} |" for row in lines)
        said = f"By `make test-faults` on {machine()}; Birdwatch {version('birdwatch')} at {commit()}, {versions()}."
        page.write_text(f"{before}{BEGIN}\n{said}\n\n{table}\n{END}{after}")


def machine() -> str:
    """Say on what this runs: cores and memory."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return f"{len(os.sched_getaffinity(0))} cores with {pages * size / 2**30:.0f} GiB"


def versions() -> str:
    """Say which versions of what matters were there."""
    broker = re.search(
        r"<artifactId>kafka_.*\s*<version>(.+?)<", (PAGE.parents[1] / "tests/integration/kafka/pom.xml").read_text()
    )
    kafka = broker[1] if broker else "of the pom"
    return (
        f"Apache Kafka {kafka}, confluent-kafka {version('confluent-kafka')}, apsw {version('apsw')}, "
        f"Python {platform.python_version()}, {platform.system()} {platform.release().split('-')[0]}"
    )


def commit() -> str:
    """Name the commit, where this is a checkout."""
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=PAGE.parent, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or "no commit"


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
