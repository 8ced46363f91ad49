"""Acknowledgements: somebody has seen an alert and looks after it, until it resolves; if it fires again, it is new."""

from typing import Any, Final

import msgspec

from birdwatch.alerts.marked import mark, read_marked
from birdwatch.errors import BirdwatchError, SettingsError
from birdwatch.windows.store import Store

__all__ = ["Acknowledgement", "acknowledge", "read_acknowledgements"]

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS acknowledgements (
    alert INTEGER PRIMARY KEY REFERENCES alerts (id), author TEXT NOT NULL, at REAL NOT NULL, note TEXT NOT NULL)
"""

_LAST: Final = """
SELECT id, fingerprint, state FROM alerts a WHERE substr(fingerprint, 1, ?) = ?
AND id = (SELECT max(id) FROM alerts b WHERE b.fingerprint = a.fingerprint) ORDER BY fingerprint
"""


class Acknowledgement(msgspec.Struct, frozen=True):
    """Who has seen an alert, when (wall time, Unix seconds), and what they say of it."""

    author: str
    at: float
    note: str = ""


def acknowledge(store: Store, fingerprint: str, *, author: str, now: float, note: str = "") -> str:
    """Keep that somebody looks after an alert that fires; a later one takes the place of an earlier.

    Parameters
    ----------
    store
        Open for writing, beside the process that counts into it.
    fingerprint
        Its fingerprint, or the first digits of it.
    author, note
        Who, and what they say.
    now
        Wall time.

    Returns
    -------
    str
        The whole fingerprint.

    Raises
    ------
    BirdwatchError
        No alert, or more than one, has it; or it does not fire.
    """
    if not author.strip():
        raise SettingsError("an acknowledgement needs an author: say who looks after the alert")
    with store.transaction():
        rows: list[Any] = []
        if store.connection.table_exists(None, "outbox"):
            rows = store.connection.execute(_LAST, (len(fingerprint), fingerprint)).fetchall()
        if not rows:
            raise BirdwatchError(
                f"no alert's fingerprint starts with {fingerprint!r}: `birdwatch alerts list` has them all"
            )
        if len(rows) > 1:
            found = ", ".join(row[1] for row in rows)
            raise BirdwatchError(f"{fingerprint!r} is not clear, it could be {found}: give more digits")
        number, whole, state = rows[0]
        if state != "firing":
            raise BirdwatchError(f"{whole} does not fire: there is nothing to acknowledge")
        store.connection.execute(_TABLE)
        store.connection.execute(
            "INSERT OR REPLACE INTO acknowledgements VALUES (?, ?, ?, ?)", (number, author, now, note)
        )
        mark(store, number, "acknowledged", msgspec.json.encode(Acknowledgement(author, now, note)).decode())
    return str(whole)


def read_acknowledgements(store: Store, at: float | None = None) -> dict[int, Acknowledgement]:
    """Give all acknowledgements, by the firing's place in the history; as they stood at a moment of event time, or now."""
    if not store.connection.table_exists(None, "acknowledgements"):
        return {}
    rows: Any = store.connection.execute("SELECT alert, author, at, note FROM acknowledgements")
    found = {number: Acknowledgement(author, made, note) for number, author, made, note in rows}
    for (number, what), said in ({} if at is None else read_marked(store, at)).items():
        if what == "acknowledged":
            if said is None:
                del found[number]
            else:
                found[number] = msgspec.json.decode(said.by, type=Acknowledgement)
    return found
