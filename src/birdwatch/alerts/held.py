"""What is kept in the history and not told: alerts that another explains, and alerts that somebody silenced.

Held back is the news that an alert fires, from every receiver that has not taken it yet; whoever has not heard that hears
nothing of its end either; whoever may have (the answer was lost) hears it. Once nothing holds it any more and it still fires, it is told. The marks stay.
"""

from typing import Any, Final, Literal, NamedTuple

from birdwatch.alerts.marked import mark, read_marked, unmark
from birdwatch.alerts.outbox import create_tables
from birdwatch.records import Alert, decode
from birdwatch.windows.store import Store

__all__ = ["Firing", "Held", "free", "hold", "read_firing", "read_held"]

Why = Literal["inhibited", "silenced"]

# What fires now: the last that was said of a fingerprint is "firing".
_FIRING: Final = """
SELECT a.id, a.record, coalesce(h.inhibited, 0), coalesce(h.silenced, 0)
FROM alerts a LEFT JOIN held h ON h.alert = a.id
WHERE a.state = 'firing' AND a.id = (SELECT max(id) FROM alerts b WHERE b.fingerprint = a.fingerprint) ORDER BY a.id
"""

_WITHDRAW: Final = "DELETE FROM outbox WHERE alert = ? AND delivered IS NULL"

# The end of an episode is withdrawn from whom its beginning was withdrawn from.
_WITHDRAW_END: Final = """
DELETE FROM outbox WHERE delivered IS NULL AND sink NOT IN (
    SELECT sink FROM outbox WHERE alert = ?1 UNION SELECT sink FROM doubts WHERE alert = ?1) AND alert = (
    SELECT min(r.id) FROM alerts f JOIN alerts r ON r.fingerprint = f.fingerprint AND r.id > f.id AND r.state = 'resolved'
    WHERE f.id = ?1)
"""

_TELL: Final = """
INSERT OR IGNORE INTO outbox (sink, alert) SELECT name, ?1 FROM sinks
WHERE EXISTS (SELECT 1 FROM held WHERE alert = ?1 AND NOT inhibited AND NOT silenced)
"""


class Firing(NamedTuple):
    """An alert that fires: its place in the history, and whether something holds it back."""

    number: int
    alert: Alert
    inhibited: bool
    silenced: bool


class Held(NamedTuple):
    """What holds an alert back, or did: the fingerprint of the alert that explains it, the number of a silence.

    ``inhibited`` and ``silenced`` say what does so now, or did so until its end.
    """

    inhibited_by: str = ""
    silenced_by: str = ""
    inhibited: bool = False
    silenced: bool = False


def read_firing(store: Store) -> list[Firing]:
    """Give what fires now, in the order in which it began to."""
    rows: Any = store.connection.execute(_FIRING)
    return [Firing(number, decode(record, Alert), bool(i), bool(s)) for number, record, i, s in rows]


def hold(store: Store, number: int, why: Why, by: str, at: float | None = None) -> None:
    """Hold an alert back from every receiver that has not taken it yet.

    Parameters
    ----------
    store
        Open for writing.
    number
        The firing's place in the history.
    why, by
        What holds it: the fingerprint of another alert, or the number of a silence.
    at
        Since when, in event time; by default since where it stands.
    """
    with store.transaction():
        create_tables(store)
        store.connection.execute(
            f"INSERT INTO held (alert, {why}_by, {why}) VALUES (?1, ?2, 1)"  # noqa: S608 - one of two words
            f" ON CONFLICT DO UPDATE SET {why}_by = ?2, {why} = 1",
            (number, by),
        )
        mark(store, number, why, by, at)
        store.connection.execute(_WITHDRAW, (number,))
        store.connection.execute(_WITHDRAW_END, (number,))


def free(store: Store, number: int, why: Why, at: float | None = None) -> None:
    """Let go of an alert that fires: if nothing else holds it, whoever has not heard of it does now."""
    with store.transaction():
        store.connection.execute(f"UPDATE held SET {why} = 0 WHERE alert = ?", (number,))  # noqa: S608 - one of two
        unmark(store, number, why, at)
        store.connection.execute(_TELL, (number,))


def read_held(store: Store, at: float | None = None) -> dict[int, Held]:
    """Give what was ever held back, by its place in the history; as it stood at a moment of event time, or now."""
    if not store.connection.table_exists(None, "held"):
        return {}
    rows: Any = store.connection.execute("SELECT alert, inhibited_by, silenced_by, inhibited, silenced FROM held")
    found = {alert: Held(by, silence, bool(i), bool(s)) for alert, by, silence, i, s in rows}
    for (number, what), was in ({} if at is None else read_marked(store, at)).items():
        if what != "acknowledged":
            by, holds = was or ("", False)
            known = found[number]
            found[number] = (
                known._replace(inhibited_by=by, inhibited=holds)
                if what == "inhibited"
                else known._replace(silenced_by=by, silenced=holds)
            )
    return found
