"""When an alert was silenced, explained by another, or looked after: so that the past is shown as it stood then.

Silences and acknowledgements go by the wall clock, the past that people look at by event time, and a replay of the past
has the two years apart. So each mark is kept with where event time stood when it was made, and when it was taken away.
"""

from typing import Any, Final, Literal, NamedTuple

from birdwatch.windows.store import Store

__all__ = ["Mark", "mark", "read_marked", "unmark"]

What = Literal["inhibited", "silenced", "acknowledged"]

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS marked (
    alert INTEGER NOT NULL REFERENCES alerts (id), what TEXT NOT NULL, by TEXT NOT NULL, since REAL NOT NULL, until REAL);
CREATE INDEX IF NOT EXISTS marked_by_alert ON marked (alert);
"""

_SAME: Final = "SELECT 1 FROM marked WHERE alert = ? AND what = ? AND by = ? AND until IS NULL"

_LIFT: Final = "UPDATE marked SET until = ? WHERE alert = ? AND what = ? AND until IS NULL"


class Mark(NamedTuple):
    """The last mark of its kind on an alert by some moment: whose, and whether it was still there."""

    by: str
    holds: bool


def mark(store: Store, number: int, what: What, by: str, at: float | None = None) -> None:
    """Keep that an alert is marked from now on; a mark takes the place of an earlier one of its kind.

    Parameters
    ----------
    store
        Open for writing, with the tables of alerts.
    number
        The firing's place in the history.
    what, by
        Which mark, and by whom or what.
    at
        Since when, in event time; by default since where it stands.
    """
    if not store.connection.table_exists(None, "marked"):
        store.connection.execute(_TABLE)
    if store.connection.execute(_SAME, (number, what, by)).fetchone():
        return
    since = _stands(store) if at is None else at
    store.connection.execute(_LIFT, (since, number, what))
    store.connection.execute("INSERT INTO marked VALUES (?, ?, ?, ?, NULL)", (number, what, by, since))


def unmark(store: Store, number: int, what: What, at: float | None = None) -> None:
    """Keep that an alert is marked so no longer."""
    if store.connection.table_exists(None, "marked"):
        store.connection.execute(_LIFT, (_stands(store) if at is None else at, number, what))


def read_marked(store: Store, at: float) -> dict[tuple[int, What], Mark | None]:
    """Give the marks of each alert that ever had one, as they stood at a moment of event time.

    Returns
    -------
    dict
        By the firing's place in the history and the kind of mark; None where the first came later. What was marked before
        there was this history is not among them.
    """
    if not store.connection.table_exists(None, "marked"):
        return {}
    rows: Any = store.connection.execute("SELECT alert, what, by, since, until FROM marked ORDER BY rowid")
    found: dict[tuple[int, What], Mark | None] = {}
    for number, what, by, since, until in rows:
        before = found.setdefault((number, what), None)
        found[number, what] = Mark(by, until is None or at < until) if since <= at else before
    return found


def _stands(store: Store) -> float:
    """Say where event time stands: at the end of what is counted, or of what has fired."""
    fired: Any = store.connection.execute("SELECT max(ts) FROM alerts").fetchone()
    return max((store.closed_range() or (0, 0))[1], fired[0] or 0.0)
