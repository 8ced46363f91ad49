"""What a section of the benchmark is: figures measured by a plan, and the tables that show them."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from rich import box
from rich.progress import Progress
from rich.table import Table

__all__ = ["FULL", "QUICK", "SIZES", "Figures", "Plan", "Section", "table"]

Figures = dict[str, Any]

SIZES: Final = (200, 1_000, 10_000)
"""Events a pane."""


class Plan(NamedTuple):
    """How much is simulated. Everything is seeded: the same plan gives the same figures, but for times."""

    streams: int
    """On which our delays are measured, each with a reference of its own."""

    rivals: int
    """On which those of others are."""

    rival_panes: int
    """Unchanged, on which the false alarms of others are counted."""

    unchanged_panes: int
    """On which our false alarms are counted, at each size."""

    repeats: int
    """Of each thing that is timed."""


FULL: Final = Plan(streams=400, rivals=15, rival_panes=1_000, unchanged_panes=1_000_000, repeats=30)
QUICK: Final = Plan(streams=60, rivals=3, rival_panes=50, unchanged_panes=20_000, repeats=5)


class Section(NamedTuple):
    """One part of the benchmark."""

    name: str
    measure: Callable[[Plan, Progress], Figures]
    """Gives figures that JSON can carry."""

    tables: Callable[[Figures], Sequence[Table | str]]


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Lay out a table that is Markdown when it is printed."""
    laid = Table(title=title, title_justify="left", title_style="bold", box=box.MARKDOWN)
    for i, name in enumerate(head):
        laid.add_column(name, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        laid.add_row(*row)
    return laid
