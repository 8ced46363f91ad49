"""The outbox: every change of an alert, once for each sink, written in the transaction that decided it.

What the transaction keeps is delivered, and what it doesn't was never said. Delivery is at least once, so each change
carries an id that is the same over all attempts, and over a replay of the same streams.
"""

from typing import Any, Final

import msgspec

from birdwatch.records import Alert, decode, encode
from birdwatch.windows.store import Store

__all__ = [
    "BACKOFF_SECONDS",
    "JITTER",
    "Due",
    "create_tables",
    "due",
    "mark_delivered",
    "mark_failed",
    "put",
    "standing",
    "subscribe",
    "waiting",
]

BACKOFF_SECONDS: Final = (5.0, 300.0, 1800.0, 7200.0)
"""How long to wait after the first, second … failure; the last wait repeats until the sink is well."""

JITTER: Final = 0.2
"""By how much of itself a wait is longer at the most, so that a receiver that comes back is not asked by all at once."""

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS alerts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, fingerprint TEXT NOT NULL, state TEXT NOT NULL, ts REAL NOT NULL,
    record BLOB NOT NULL, UNIQUE (fingerprint, state, ts));
CREATE INDEX IF NOT EXISTS alerts_by_ts ON alerts (ts);
CREATE TABLE IF NOT EXISTS sinks (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox (
    sink TEXT NOT NULL, alert INTEGER NOT NULL REFERENCES alerts (id), attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0, delivered REAL, error TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (sink, alert)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS outbox_waiting ON outbox (sink, due) WHERE delivered IS NULL;
CREATE TABLE IF NOT EXISTS receivers (
    sink TEXT PRIMARY KEY, place TEXT NOT NULL DEFAULT '', resume REAL NOT NULL DEFAULT 0, disabled REAL,
    why TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
"""

# What is kept back, and why: see `birdwatch.alerts.held`.
_HELD: Final = """
CREATE TABLE IF NOT EXISTS held (
    alert INTEGER PRIMARY KEY REFERENCES alerts (id), inhibited_by TEXT NOT NULL DEFAULT '',
    silenced_by TEXT NOT NULL DEFAULT '', inhibited INTEGER NOT NULL DEFAULT 0, silenced INTEGER NOT NULL DEFAULT 0)
"""

# What a sink may have taken though it did not say so: kept back from then on, its end is told nevertheless.
_DOUBTS: Final = """
CREATE TABLE IF NOT EXISTS doubts (sink TEXT NOT NULL, alert INTEGER NOT NULL, PRIMARY KEY (sink, alert)) WITHOUT ROWID
"""

# Whoever has not heard that an alert fires, since it is kept back, hears nothing of its end.
_PUT: Final = """
INSERT INTO outbox (sink, alert) SELECT name, ?1 FROM sinks WHERE ?2 = 'firing' OR NOT EXISTS (
    SELECT 1 FROM held h WHERE (h.inhibited OR h.silenced)
    AND h.alert = (SELECT max(id) FROM alerts WHERE fingerprint = ?3 AND state = 'firing' AND id < ?1)
    AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.alert = h.alert AND o.sink = name)
    AND NOT EXISTS (SELECT 1 FROM doubts d WHERE d.alert = h.alert AND d.sink = name))
"""

# A change of an alert waits for the ones before it: nobody should hear "resolved" and then "firing".
_DUE: Final = """
SELECT o.alert, o.attempts, a.record FROM outbox o JOIN alerts a ON a.id = o.alert
WHERE o.sink = ?1 AND o.delivered IS NULL AND o.due <= ?2 AND NOT EXISTS (
    SELECT 1 FROM outbox p JOIN alerts b ON b.id = p.alert
    WHERE p.sink = o.sink AND p.delivered IS NULL AND p.alert < o.alert AND b.fingerprint = a.fingerprint)
AND NOT EXISTS (SELECT 1 FROM receivers r WHERE r.sink = ?1 AND (r.disabled IS NOT NULL OR r.resume > ?2))
ORDER BY o.due, o.alert LIMIT ?3
"""

# The last that a sink has taken of each fingerprint, if that fires or was taken of late.
_STANDING: Final = """
SELECT a.record FROM outbox o JOIN alerts a ON a.id = o.alert
WHERE o.sink = ?1 AND o.delivered IS NOT NULL AND (a.state = 'firing' OR o.delivered > ?2) AND NOT EXISTS (
    SELECT 1 FROM outbox p JOIN alerts b ON b.id = p.alert
    WHERE p.sink = ?1 AND p.delivered IS NOT NULL AND p.alert > o.alert AND b.fingerprint = a.fingerprint)
ORDER BY o.alert
"""

# What fires now: the last that was said of a fingerprint is "firing".
_FIRING: Final = """
INSERT INTO outbox (sink, alert) SELECT ?, id FROM alerts a WHERE state = 'firing' AND id = (
    SELECT max(id) FROM alerts b WHERE b.fingerprint = a.fingerprint)
AND NOT EXISTS (SELECT 1 FROM held h WHERE h.alert = a.id AND (h.inhibited OR h.silenced))
"""

# Taken is taken, even if it was kept back from then on while it was on its way.
_DELIVERED: Final = """
INSERT INTO outbox (sink, alert, attempts, delivered) SELECT ?1, id, ?3, ?4 FROM alerts WHERE id = ?2
ON CONFLICT DO UPDATE SET attempts = excluded.attempts, delivered = excluded.delivered, error = ''
"""


class Due(msgspec.Struct, frozen=True):
    """A change that waits for a sink.

    Attributes
    ----------
    sink, number
        The place in the outbox.
    attempts
        How often it has failed so far.
    alert
        What to say.
    """

    sink: str
    number: int
    attempts: int
    alert: Alert

    @property
    def message_id(self) -> str:
        """The same over all attempts and replays: a receiver that keeps the ids it has seen takes each change once.

        >>> alert = Alert(fingerprint="ab12", ts=60.0, started=0.0, state="firing", rule="silence", severity="page",
        ...               attribution="", model="m", version="1", reason="no scores")
        >>> Due("webhook", 1, 0, alert).message_id
        'ab12-60-firing'
        """
        return f"{self.alert.fingerprint}-{self.alert.ts:.0f}-{self.alert.state}"


def create_tables(store: Store) -> None:
    """Make the tables of alerts and their deliveries if they are not there."""
    if not store.connection.table_exists(None, "receivers"):  # the youngest of them
        store.connection.execute(_TABLES)
    if not store.connection.table_exists(None, "held"):
        store.connection.execute(_HELD)
    if not store.connection.table_exists(None, "doubts"):
        store.connection.execute(_DOUBTS)


def subscribe(store: Store, sink: str) -> None:
    """Have a sink told of all changes from now on; a sink new to the store is first told what fires now."""
    with store.transaction():
        create_tables(store)
        store.connection.execute("INSERT OR IGNORE INTO sinks VALUES (?)", (sink,))
        if store.connection.changes():
            store.connection.execute(_FIRING, (sink,))


def put(store: Store, alert: Alert) -> None:
    """Write a change to the history, and to the outbox for every sink subscribed that knows, or may know, what it ends."""
    with store.transaction():
        store.connection.execute(
            "INSERT OR IGNORE INTO alerts (fingerprint, state, ts, record) VALUES (?, ?, ?, ?)",
            (alert.fingerprint, alert.state, alert.ts, encode(alert)),
        )
        if store.connection.changes():
            store.connection.execute(_PUT, (store.connection.last_insert_rowid(), alert.state, alert.fingerprint))


def due(store: Store, sink: str, now: float, most: int = 100) -> list[Due]:
    """Give what a sink should be told now, the longest overdue first."""
    rows: Any = store.connection.execute(_DUE, (sink, now, most))
    return [Due(sink, number, attempts, decode(record, Alert)) for number, attempts, record in rows]


def mark_delivered(store: Store, item: Due, now: float) -> None:
    """Keep that a sink has taken a change."""
    store.connection.execute(_DELIVERED, (item.sink, item.number, item.attempts + 1, now))


def mark_failed(
    store: Store,
    item: Due,
    now: float,
    error: str,
    *,
    retry_after: float | None = None,
    jitter: float = 0.0,
    unsure: bool = False,
) -> float:
    """Keep that a sink did not take a change, and why; give the seconds until it is tried again.

    Parameters
    ----------
    store, item, now
        What failed, and when (wall time).
    error
        Why, for people.
    retry_after
        How long the receiver wants to be left alone, in seconds; by default the schedule decides.
    jitter
        In 0 to 1: by how much of `JITTER` the wait is longer.
    unsure
        It may have taken it nevertheless: should it be kept back from now on, its end is told.
    """
    wait = BACKOFF_SECONDS[min(item.attempts, len(BACKOFF_SECONDS) - 1)] if retry_after is None else retry_after
    wait *= 1 + JITTER * jitter
    store.connection.execute(
        "UPDATE outbox SET attempts = ?, due = ?, error = ? WHERE sink = ? AND alert = ?",
        (item.attempts + 1, now + wait, error, item.sink, item.number),
    )
    if unsure:
        store.connection.execute("INSERT OR IGNORE INTO doubts VALUES (?, ?)", (item.sink, item.number))
    return wait


def standing(store: Store, sink: str, since: float) -> list[Alert]:
    """Give what a sink has been told that fires, or that resolved and was taken after a moment of wall time."""
    rows: Any = store.connection.execute(_STANDING, (sink, since))
    return [decode(record, Alert) for (record,) in rows]


def waiting(store: Store) -> dict[str, int]:
    """Count what no attempt has delivered yet, by sink; sinks that no process serves are among them."""
    if not store.connection.table_exists(None, "outbox"):
        return {}
    rows: Any = store.connection.execute(
        "SELECT sink, count(*) FROM outbox WHERE delivered IS NULL GROUP BY sink ORDER BY sink"
    )
    return dict(rows)
