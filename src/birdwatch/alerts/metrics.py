"""What ``birdwatch tail`` and ``judge`` show of their store at ``/metrics``: panes, verdicts, budgets, what waits for sinks.

It is read from the store when it is asked for, by a connection of its own: so the numbers are those of the last commit,
and asking never holds up the process.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from birdwatch.alerts.acknowledgements import read_acknowledgements
from birdwatch.alerts.held import Firing, read_firing
from birdwatch.alerts.outbox import waiting
from birdwatch.alerts.receivers import disabled
from birdwatch.alerts.standing import standings
from birdwatch.alerts.watchdog import WATCHDOG_FINGERPRINT
from birdwatch.detect.verdict import Severity, Status
from birdwatch.windows.store import Store

__all__ = ["StoreMetrics"]

_STATUSES: Final[tuple[Status, ...]] = get_args(Status)
_STATES: Final = ("active", "acknowledged", "inhibited", "silenced")
_SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)


class StoreMetrics(Collector):
    """Gives the metrics of a store.

    Parameters
    ----------
    path
        The store.
    now
        The wall clock, in Unix seconds.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now

    def describe(self) -> Iterator[Metric]:
        """Name nothing: who registers this need not wait for a store."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Ask the store."""
        store = Store(self._path, readonly=True)
        try:
            yield from self._progress(store)
            yield from _judged(store)
            yield from _deliveries(store)
            yield from _budgets(store)
        finally:
            store.close()

    def _progress(self, store: Store) -> Iterator[Metric]:
        row: Any = store.connection.execute("SELECT count(*) FROM closed").fetchone()
        yield CounterMetricFamily("birdwatch_tail_panes_closed", "panes that the store holds", row[0])
        damaged = "rows of panes that were found damaged, and put aside"
        yield GaugeMetricFamily("birdwatch_store_damaged_rows", damaged, store.damaged())
        closed = store.closed_range()
        if closed is not None:
            yield GaugeMetricFamily(
                "birdwatch_tail_closed_until_timestamp_seconds", "event time up to which panes are closed", closed[1]
            )
            yield GaugeMetricFamily(
                "birdwatch_tail_lag_seconds", "wall time since the end of the last closed pane", self._now() - closed[1]
            )
        latest: dict[str, float] = {}
        for source in store.sources():
            latest[source.stream] = max(source.latest, latest.get(source.stream, source.latest))
        family = GaugeMetricFamily(
            "birdwatch_tail_last_event_age_seconds", "wall time since the latest event of a stream", labels=["stream"]
        )
        for stream, moment in latest.items():
            family.add_metric([stream], self._now() - moment)
        yield family


def _judged(store: Store) -> Iterator[Metric]:
    """Count the verdicts of each rule's last window by status, and the alerts that fire by severity and state."""
    verdicts = GaugeMetricFamily(
        "birdwatch_verdicts", "verdicts of a rule's last window, by status", labels=["rule", "status"]
    )
    judged: dict[str, int] = store.noted("judged_until", {})
    for rule in sorted(judged) if store.connection.table_exists(None, "verdicts") else ():
        rows: Any = store.connection.execute(
            'SELECT status, count(*) FROM verdicts WHERE rule = ?1 AND "end" ='
            ' (SELECT max("end") FROM verdicts WHERE rule = ?1) GROUP BY status',
            (rule,),
        )
        found = dict(rows)
        for status in _STATUSES:
            verdicts.add_metric([rule, status], found.get(status, 0))
    yield verdicts
    firing = GaugeMetricFamily(
        "birdwatch_alerts_firing", "alerts that fire, by severity and state", labels=["severity", "state"]
    )
    known: Counter[tuple[str, str]] = Counter()
    if store.connection.table_exists(None, "held"):
        seen = read_acknowledgements(store)
        known.update(
            (one.alert.severity, _state(one, acknowledged=one.number in seen))
            for one in read_firing(store)
            if one.alert.fingerprint != WATCHDOG_FINGERPRINT
        )
    for severity in _SEVERITIES:
        for state in _STATES:
            firing.add_metric([severity, state], known[severity, state])
    yield firing


def _state(one: Firing, *, acknowledged: bool) -> str:
    """Say, in Alertmanager's words, why nobody hears of an alert that fires; else whether somebody looks after it."""
    if one.silenced:
        return "silenced"
    if one.inhibited:
        return "inhibited"
    return "acknowledged" if acknowledged else "active"


def _deliveries(store: Store) -> Iterator[Metric]:
    """Count what waits for each sink, and say which of them are disabled."""
    left = GaugeMetricFamily("birdwatch_alerts_waiting", "changes that a sink has not taken yet", labels=["sink"])
    gone = GaugeMetricFamily(
        "birdwatch_alerts_sink_disabled", "1 where a sink's receiver wants nothing any more", labels=["sink"]
    )
    if store.connection.table_exists(None, "outbox"):
        waits, shut = waiting(store), disabled(store)
        names: Any = store.connection.execute("SELECT name FROM sinks ORDER BY name").fetchall()
        for (name,) in names:
            left.add_metric([name], waits.get(name, 0))
            gone.add_metric([name], name in shut)
    yield from (left, gone)


def _budgets(store: Store) -> Iterator[Metric]:
    whole = {
        what: GaugeMetricFamily(f"birdwatch_budget_{what}", about, labels=["severity"])
        for what, about in (
            ("promised", "false alarms that may be expected in a period, at the most"),
            ("period_seconds", "length of the period, in event time"),
            ("spent", "false alarms that were to be expected in the last period, at the most"),
            ("left", "what is left of the promise"),
            ("fired", "alerts that fired in the last period"),
        )
    }
    level = GaugeMetricFamily(
        "birdwatch_budget_level", "evidence that a rule has to reach to alarm", labels=["severity", "rule"]
    )
    subjects = GaugeMetricFamily("birdwatch_budget_subjects", "how many a rule watches", labels=["severity", "rule"])
    for account, fired in standings(store):
        severity, spending = account.severity, account.spending
        for what, value in (
            ("promised", spending.alarms),
            ("period_seconds", spending.per_seconds),
            ("spent", account.expected),
            ("left", account.left),
            ("fired", sum(fired.values())),
        ):
            whole[what].add_metric([severity], value)
        for rule, share in spending.rules.items():
            level.add_metric([severity, rule], share.level)
            subjects.add_metric([severity, rule], share.subjects)
    yield from (*whole.values(), level, subjects)
