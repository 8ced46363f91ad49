"""Silences: for a while, nobody is told of alerts that somebody chose; the history keeps them, marked.

Times are the wall clock's, since it is people who are left in peace. A silence holds back the news that an alert fires,
not what a receiver has heard already: its end is then told too. When a silence is over, what still fires is told. The
judge sees to that for what it raises, the delivery while time passes, and the commands when they change something; each
by `settle`, in a short transaction beside the one that counts.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from birdwatch.alerts.held import free, hold, read_firing
from birdwatch.alerts.matchers import Matcher
from birdwatch.alerts.outbox import create_tables
from birdwatch.alerts.watchdog import WATCHDOG_FINGERPRINT
from birdwatch.detect.duration import say_moment
from birdwatch.errors import BirdwatchError, SettingsError
from birdwatch.records import Alert, decode
from birdwatch.windows.store import Store

__all__ = ["Silence", "add_silence", "expire_silence", "read_silences", "settle"]

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS silences (
    id INTEGER PRIMARY KEY AUTOINCREMENT, matchers TEXT NOT NULL, starts REAL NOT NULL, ends REAL NOT NULL,
    author TEXT NOT NULL, reason TEXT NOT NULL, made REAL NOT NULL)
"""

# What no receiver may have heard of yet, though it may be over.
_UNTOLD: Final = """
SELECT DISTINCT a.id, a.record FROM outbox o JOIN alerts a ON a.id = o.alert
WHERE o.delivered IS NULL AND a.state = 'firing' AND a.fingerprint != ? ORDER BY a.id
"""


class Silence(msgspec.Struct, kw_only=True, frozen=True):
    """A silence: alerts that meet all matchers are not told from ``starts`` until ``ends``.

    Attributes
    ----------
    starts, ends, made
        Wall time (Unix seconds).
    author, reason
        Who made it, and what for.
    """

    id: int
    matchers: tuple[Matcher, ...]
    starts: float
    ends: float
    author: str
    reason: str
    made: float

    def matches(self, alert: Alert) -> bool:
        """Tell whether it is about an alert."""
        return all(matcher.matches(alert) for matcher in self.matchers)

    def state(self, now: float) -> Literal["pending", "active", "expired"]:
        """Say where it stands."""
        return "expired" if now >= self.ends else "active" if now >= self.starts else "pending"


def add_silence(
    store: Store,
    matchers: Sequence[Matcher],
    *,
    until: float,
    author: str,
    reason: str,
    now: float,
    since: float | None = None,
) -> Silence:
    """Silence alerts that meet all matchers, and hold back at once what has not been told.

    Parameters
    ----------
    store
        Open for writing, beside the process that counts into it.
    matchers
        From `birdwatch.alerts.matchers.parse_matcher`.
    until, since
        When it ends and begins, in wall time; by default it begins now.
    author, reason
        Who, and what for; neither may be empty.
    now
        Wall time.

    Raises
    ------
    SettingsError
        It has no matcher, or only such as choose anything; it ends before it begins; author or reason are missing.
    """
    starts = now if since is None else since
    if all(matcher.takes_anything for matcher in matchers):
        raise SettingsError(
            f"a silence of {' '.join(map(str, matchers)) or 'nothing'!r} would hold back everything: name something that"
            " an alert has, such as model=challenger, severity=info or rule=~.+"
        )
    if until <= max(starts, now):
        raise SettingsError(f"a silence until {say_moment(until)} is over before it begins: let it end later")
    if not author.strip() or not reason.strip():
        raise SettingsError("a silence needs an author and a reason: whoever finds it must know whom to ask, and why")
    with store.transaction():
        create_tables(store)
        store.connection.execute(_TABLE)
        store.connection.execute(
            "INSERT INTO silences (matchers, starts, ends, author, reason, made) VALUES (?, ?, ?, ?, ?, ?)",
            (msgspec.json.encode(list(matchers)).decode(), starts, until, author, reason, now),
        )
        made = _read(store, "WHERE id = ?", store.connection.last_insert_rowid())[0]
        settle(store, now)
    return made


def expire_silence(store: Store, number: int, *, now: float) -> Silence:
    """End a silence now, and tell what it held back and still fires.

    Raises
    ------
    BirdwatchError
        There is none with this number, or it has ended.
    """
    with store.transaction():
        found = _read(store, "WHERE id = ?", number)
        if not found:
            raise BirdwatchError(f"there is no silence {number}: `birdwatch alerts silences` lists them")
        if found[0].state(now) == "expired":
            raise BirdwatchError(f"silence {number} ended at {say_moment(found[0].ends)} already")
        store.connection.execute("UPDATE silences SET ends = ? WHERE id = ?", (now, number))
        settle(store, now)
    return msgspec.structs.replace(found[0], ends=now)


def read_silences(store: Store, now: float, *, expired: bool = False) -> list[Silence]:
    """Give the silences that are in force or to come, those that have ended too if wanted; the oldest first."""
    return _read(store, "WHERE ? OR ends > ?", int(expired), now)


def settle(store: Store, now: float) -> None:
    """Hold back what is silenced, and tell what is so no longer; writes nothing where nothing changes.

    Parameters
    ----------
    store
        Open for writing.
    now
        Wall time.
    """
    if any(_due(store, now)):
        with store.transaction():
            due = _due(store, now)  # again: another process may have been quicker
            for number, silence in due.hold.items():
                hold(store, number, "silenced", str(silence))
            for number in due.free:
                free(store, number, "silenced")


class _Due(NamedTuple):
    hold: dict[int, int]
    free: list[int]


def _due(store: Store, now: float) -> _Due:
    """Say what is to be held back, by which silence, and what is to be told."""
    if not store.connection.table_exists(None, "silences") or not store.connection.table_exists(None, "held"):
        return _Due({}, [])
    active = _active(store, now)
    held: Any = store.connection.execute("SELECT 1 FROM held WHERE silenced LIMIT 1").fetchone()
    if not active and held is None:
        return _Due({}, [])
    firing = [f for f in read_firing(store) if f.alert.fingerprint != WATCHDOG_FINGERPRINT]
    rows: Any = store.connection.execute(_UNTOLD, (WATCHDOG_FINGERPRINT,))
    loud = {f.number: f.alert for f in firing if not f.silenced}
    loud |= {number: decode(record, Alert) for number, record in rows}
    found = {number: silence.id for number, alert in sorted(loud.items()) if (silence := _first(active, alert))}
    return _Due(found, [f.number for f in firing if f.silenced and _first(active, f.alert) is None])


def _active(store: Store, now: float) -> list[Silence]:
    return _read(store, "WHERE starts <= ? AND ends > ?", now, now)


def _first(silences: Sequence[Silence], alert: Alert) -> Silence | None:
    return next((silence for silence in silences if silence.matches(alert)), None)


def _read(store: Store, where: str, *values: float) -> list[Silence]:
    if not store.connection.table_exists(None, "silences"):
        return []
    rows: Any = store.connection.execute(
        f"SELECT id, matchers, starts, ends, author, reason, made FROM silences {where} ORDER BY id",  # noqa: S608
        values,
    )
    return [
        Silence(
            id=number,
            matchers=tuple(msgspec.json.decode(matchers, type=list[Matcher])),
            starts=starts,
            ends=ends,
            author=author,
            reason=reason,
            made=made,
        )
        for number, matchers, starts, ends, author, reason, made in rows
    ]
