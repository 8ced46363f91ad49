"""What has been raised: for dashboards, the command line and notebooks; read from the store alone."""

from typing import Any, Final, Literal

import msgspec

from birdwatch.alerts.acknowledgements import Acknowledgement, read_acknowledgements
from birdwatch.alerts.held import read_held
from birdwatch.alerts.watchdog import WATCHDOG_FINGERPRINT
from birdwatch.records import Alert, decode
from birdwatch.windows.store import Store

__all__ = ["AlertRow", "Change", "Delivery", "read_alerts", "read_changes"]


class _Marked(msgspec.Struct, kw_only=True, frozen=True):
    """What people and other alerts have made of one that fired.

    Attributes
    ----------
    inhibited_by, silenced_by
        The fingerprint of an alert that explains it, the number of a silence: what keeps it back, or did.
    inhibited, silenced
        It does so now, or did until the alert resolved.
    acknowledged
        Who looks after it.
    """

    inhibited_by: str = ""
    silenced_by: str = ""
    inhibited: bool = False
    silenced: bool = False
    acknowledged: Acknowledgement | None = None


class AlertRow(_Marked, kw_only=True, frozen=True):
    """One episode of an alert, from firing to resolved.

    Attributes
    ----------
    started, fired, resolved
        Event time of the first evidence, of the alert, and of its end (None while it fires).
    reason
        Why it fired; ``statistic``, ``value``, ``tolerance``, ``n`` and the rest are of that moment, see
        `birdwatch.records.Alert`.
    delivered
        By sink, the wall time at which it took the news that this fires; None while it has not.
    """

    fingerprint: str
    rule: str
    severity: Literal["page", "ticket", "info"]
    attribution: str
    model: str
    version: str
    partner: str
    feature: str
    state: Literal["firing", "resolved"]
    started: float
    fired: float
    resolved: float | None
    reason: str
    statistic: str
    value: float | None
    tolerance: float | None
    n: int
    delivered: dict[str, float | None]
    effect: float = 0.0
    since: float | None = None
    evidence: float | None = None
    cost: float | None = None
    runbook: str = ""


class Delivery(msgspec.Struct, frozen=True):
    """How a change came to a sink: when (None: not yet), after how many attempts, and what the last one failed of."""

    sink: str
    delivered: float | None
    attempts: int
    error: str


class Change(_Marked, frozen=True):
    """One change of an alert, its deliveries, and of a firing what keeps it back, or did, and who looks after it."""

    alert: Alert
    deliveries: list[Delivery]


# An episode counts as seen in [since, until) when it fired before the end and had not resolved before the start.
_EPISODES: Final = """
SELECT f.id, f.record, r.ts FROM alerts f LEFT JOIN alerts r ON r.id = (
    SELECT min(id) FROM alerts n WHERE n.fingerprint = f.fingerprint AND n.id > f.id AND n.state = 'resolved')
WHERE f.state = 'firing' AND f.ts < ? AND (r.ts IS NULL OR r.ts >= ?) AND f.fingerprint != ? ORDER BY f.ts, f.id
"""


def read_alerts(store: Store, since: float, until: float, at: float | None = None) -> list[AlertRow]:
    """Give the alerts that fired at some time in [since, until) of event time, the oldest first.

    Empty where nothing was judged yet. The watchdog (`birdwatch.alerts.watchdog`) is not among them. What keeps them
    back, and who looks after them, is as it stood ``at`` a moment of event time, or by default as it stands now.
    """
    if not store.connection.table_exists(None, "outbox"):
        return []
    rows: Any = store.connection.execute(_EPISODES, (until, since, WATCHDOG_FINGERPRINT)).fetchall()
    marks = _marks(store, at)
    return [
        msgspec.structs.replace(_episode(store, number, decode(record, Alert), resolved), **marks.get(number, {}))
        for number, record, resolved in rows
    ]


def _marks(store: Store, at: float | None = None) -> dict[int, dict[str, Any]]:
    """Give what keeps firings back, and who looks after them, by number and by the names of `AlertRow`."""
    marks: dict[int, dict[str, Any]] = {number: held._asdict() for number, held in read_held(store, at).items()}
    for number, seen in read_acknowledgements(store, at).items():
        marks.setdefault(number, {})["acknowledged"] = seen
    return marks


def _episode(store: Store, number: int, alert: Alert, resolved: float | None) -> AlertRow:
    return AlertRow(
        fingerprint=alert.fingerprint,
        rule=alert.rule,
        severity=alert.severity,
        attribution=alert.attribution,
        model=alert.model,
        version=alert.version,
        partner=alert.partner,
        feature=alert.feature,
        state="firing" if resolved is None else "resolved",
        started=alert.started,
        fired=alert.ts,
        resolved=resolved,
        reason=alert.reason,
        statistic=alert.statistic,
        value=alert.value,
        tolerance=alert.tolerance,
        n=alert.n,
        effect=alert.effect,
        since=alert.since,
        evidence=alert.evidence,
        cost=alert.cost,
        runbook=alert.runbook,
        delivered={delivery.sink: delivery.delivered for delivery in _deliveries(store, number)},
    )


def read_changes(store: Store, fingerprint: str) -> list[Change]:
    """Give every change of the alerts whose fingerprint starts so, the oldest first."""
    if not store.connection.table_exists(None, "outbox"):
        return []
    rows: Any = store.connection.execute(
        "SELECT id, record FROM alerts WHERE substr(fingerprint, 1, ?) = ? ORDER BY id", (len(fingerprint), fingerprint)
    ).fetchall()
    marks = _marks(store)
    return [
        Change(decode(record, Alert), _deliveries(store, number), **marks.get(number, {})) for number, record in rows
    ]


def _deliveries(store: Store, number: int) -> list[Delivery]:
    rows: Any = store.connection.execute(
        "SELECT sink, delivered, attempts, error FROM outbox WHERE alert = ? ORDER BY sink", (number,)
    )
    return [Delivery(*row) for row in rows]
