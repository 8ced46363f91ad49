"""What was spent of the budgets: a ledger by day of event time, kept in the transaction of the panes.

A look is one subject judged over one window. At the level A it costs at most 1/A expected false alarms, so the sum of
1/A over the looks of a stretch of time is what was to be expected of it, whatever the levels were at the time. Spent
are expected false alarms, not alarms that fired: fleets that are really unwell are told so at no cost.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from birdwatch.detect.budget import Spending
from birdwatch.detect.verdict import Severity
from birdwatch.windows.store import Store

__all__ = [
    "Account",
    "Spent",
    "account",
    "create_table",
    "put_spending",
    "read_spending",
    "write_looks",
]

_DAY: Final = 86_400

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS spending (
    day INTEGER NOT NULL, severity TEXT NOT NULL, rule TEXT NOT NULL, looks INTEGER NOT NULL, expected REAL NOT NULL,
    PRIMARY KEY (day, severity, rule)) WITHOUT ROWID;
"""


class Spent(NamedTuple):
    """How often a rule looked, and how many false alarms were to be expected of that at the most."""

    looks: int
    expected: float


class Account(NamedTuple):
    """The budget of one severity over the last ``per``, in whole days of event time (UTC).

    Attributes
    ----------
    since, until
        Event time of the days that are counted, [since, until).
    spending
        The promise, and the level of each rule at present.
    spent
        By rule, those that are no longer in force too.
    """

    severity: Severity
    since: int
    until: int
    spending: Spending
    spent: Mapping[str, Spent]

    @property
    def expected(self) -> float:
        """How many false alarms were to be expected, at the most."""
        return sum(spent.expected for spent in self.spent.values())

    @property
    def left(self) -> float:
        """What is left of the promise; 0 at least."""
        return max(0.0, self.spending.alarms - self.expected)


def create_table(store: Store) -> None:
    """Make the ledger if it is not there."""
    store.connection.execute(_TABLE)


def put_spending(store: Store, spending: Mapping[Severity, Spending]) -> None:
    """Keep what the levels are from now on."""
    store.note("spending", spending)


def read_spending(store: Store) -> dict[Severity, Spending]:
    """Give the levels as of the last window; none before anything was judged."""
    return msgspec.convert(store.noted("spending", {}), dict[Severity, Spending])


def write_looks(store: Store, end: int, severity: Severity, rule: str, *, looks: int, level: float) -> None:
    """Enter what looking at a window that ends at ``end`` costs, under the day on which it ends."""
    store.connection.execute(
        "INSERT INTO spending VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
        " SET looks = looks + excluded.looks, expected = expected + excluded.expected",
        ((end - 1) // _DAY * _DAY, severity, rule, looks, looks / level),
    )


def account(store: Store, severity: Severity = "page", until: int | None = None) -> Account | None:
    """Add up the ledger over the budget's time before ``until``, by default the last look; None while there is none.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from birdwatch.detect.budget import Budget, Watch
    >>> store = Store(pathlib.Path(tempfile.mkdtemp()) / "store.db", pane_seconds=3600)
    >>> create_table(store)
    >>> put_spending(store, {"page": Budget().spend([Watch("pairs", 3, 86_400)])})
    >>> write_looks(store, 86_400, "page", "pairs", looks=3, level=90.0)
    >>> found = account(store)
    >>> round(found.expected, 3), round(found.left, 3), found.spent["pairs"].looks
    (0.033, 0.967, 3)
    """
    spending = read_spending(store).get(severity)
    if spending is None or not store.connection.table_exists(None, "spending"):
        return None
    if until is None:
        row: Any = store.connection.execute("SELECT max(day) FROM spending").fetchone()
        if row[0] is None:
            return None
        until = int(row[0]) + _DAY
    days = -(-spending.per_seconds // _DAY)
    last = -(-until // _DAY) * _DAY
    since = last - days * _DAY
    rows: Any = store.connection.execute(
        "SELECT rule, sum(looks), sum(expected) FROM spending WHERE severity = ? AND day >= ? AND day < ? GROUP BY rule",
        (severity, since, last),
    )
    return Account(severity, since, last, spending, {rule: Spent(*spent) for rule, *spent in rows})
