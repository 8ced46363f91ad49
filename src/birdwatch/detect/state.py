"""What the judge remembers in the store, in the transaction of the panes: states, and windows in which a model was bad."""

from typing import Any, Final

import msgspec

from birdwatch.detect.kind import State
from birdwatch.detect.verdict import Subject
from birdwatch.windows.store import Store

__all__ = ["blame", "blamed_windows", "create_tables", "drop_state", "put_state", "read_states"]

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS states (
    rule TEXT NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL, partner TEXT NOT NULL, feature TEXT NOT NULL,
    state BLOB NOT NULL, PRIMARY KEY (rule, model, version, partner, feature)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blamed (
    model TEXT NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL, PRIMARY KEY (model, start, "end")) WITHOUT ROWID;
"""


def create_tables(store: Store) -> None:
    """Make the tables if they are not there."""
    store.connection.execute(_TABLES)


def read_states(store: Store, rule: str) -> dict[Subject, State]:
    """Give what a rule remembers, by subject."""
    rows: Any = store.connection.execute(
        "SELECT model, version, partner, feature, state FROM states WHERE rule = ?", (rule,)
    )
    return {Subject(*subject): msgspec.json.decode(state) for *subject, state in rows}


def put_state(store: Store, rule: str, subject: Subject, state: State) -> None:
    """Keep what a rule remembers of a subject."""
    store.connection.execute(
        "INSERT OR REPLACE INTO states VALUES (?, ?, ?, ?, ?, ?)",
        (rule, *msgspec.structs.astuple(subject), msgspec.json.encode(state)),
    )


def drop_state(store: Store, rule: str, subject: Subject) -> None:
    """Forget a subject that has ended."""
    store.connection.execute(
        "DELETE FROM states WHERE rule = ? AND model = ? AND version = ? AND partner = ? AND feature = ?",
        (rule, *msgspec.structs.astuple(subject)),
    )


def blame(store: Store, model: str, start: int, end: int) -> None:
    """Keep that a model itself was bad in a window: trailing references leave it out."""
    store.connection.execute("INSERT OR IGNORE INTO blamed VALUES (?, ?, ?)", (model, start, end))


def blamed_windows(store: Store, start: int, end: int) -> list[tuple[str, int, int]]:
    """Give (model, start, end) of the windows in [start, end) in which a model was bad, as they were known at its end."""
    if not store.connection.table_exists(None, "blamed"):
        return []
    rows: Any = store.connection.execute('SELECT * FROM blamed WHERE "end" > ? AND "end" <= ?', (start, end))
    return [(model, since, until) for model, since, until in rows]
