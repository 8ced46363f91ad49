"""An alert's life: pending, firing, resolved; it fires once and resolves once, however often a window is told again.

The decision is a pure function (`birdwatch.alerts.condition`); the table keeps what it knows between windows, so that a
restart changes nothing.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import msgspec

from birdwatch.alerts.condition import FLAPS, Condition, decide, end, fingerprint
from birdwatch.alerts.inhibition import inhibit
from birdwatch.alerts.outbox import create_tables, put, subscribe
from birdwatch.alerts.silences import settle
from birdwatch.detect.verdict import Finding, Subject
from birdwatch.records import Alert
from birdwatch.windows.store import Store

__all__ = ["advance"]


def advance(
    store: Store, findings: Sequence[Finding], *, sinks: Sequence[str] = (), now: Callable[[], float] = time.time
) -> list[Alert]:
    """Take findings into account and write what changes: to the history, and to the outbox for every sink.

    What another alert explains (`birdwatch.alerts.inhibition`) or somebody silenced (`birdwatch.alerts.silences`) is in
    the history alone.

    All or nothing is kept; called inside the store's transaction, it is part of that.

    A window judged clean carries no cause. So what a rule says of a subject counts for every condition of that rule
    and subject: those whose cause is not among the active findings of the window have a clean window.

    Parameters
    ----------
    store
        The store, open for writing.
    findings
        What the judge found, in any order.
    sinks
        Sinks to subscribe first (see `birdwatch.alerts.outbox.subscribe`); those subscribed earlier stay.
    now
        The wall clock, in Unix seconds, by which silences begin and end; nothing else goes by it.

    Returns
    -------
    list[Alert]
        The changes, by event time.
    """
    changes: list[Alert] = []
    with store.transaction():
        create_tables(store)
        _create_table(store)
        for sink in sinks:
            subscribe(store, sink)
        for ts, at_once in groupby(sorted(findings, key=_window), key=lambda finding: finding.ts):
            fresh = list(_at(store, at_once))
            for alert in fresh:
                put(store, alert)
            if fresh:
                inhibit(store, ts)
            changes += fresh
        settle(store, now())
    return changes


def _at(store: Store, findings: Iterable[Finding]) -> Iterator[Alert]:
    """Take the findings of one moment into account; give what changes."""
    for (_, rule, subject), group in groupby(findings, key=_window):
        for cause, condition, alert in _step(_read(store, rule, subject), list(group)):
            _write(store, rule, subject, cause, condition)
            if alert is not None:
                yield alert


def _window(finding: Finding) -> tuple[int, str, Subject]:
    return finding.ts, finding.rule, finding.subject


def _step(known: dict[str, Condition], group: list[Finding]) -> Iterator[tuple[str, Condition, Alert | None]]:
    """Give (cause, condition, alert) of all that one rule says of one subject in one window."""
    shown = {finding.attribution: finding for finding in group if finding.active}
    last = next((finding for finding in group if finding.over), None)
    for cause in sorted(known.keys() | shown.keys()):
        finding = shown.get(cause, group[0])
        before = known.get(cause, Condition())
        after = decide(
            before,
            finding.ts,
            shown=cause in shown,
            severity=finding.severity,
            for_windows=finding.for_windows,
            keep_firing_for=finding.keep_firing_for,
            flap_windows=finding.flap_windows,
        )
        yield cause, after, _announce(before, after, finding, cause)
        # A version that misbehaves in its last window fires, and is over at once: nobody should miss it.
        if last is not None:
            gone = end(after, last.ts)
            yield cause, gone, _announce(after, gone, last, cause)


def _announce(before: Condition, after: Condition, finding: Finding, cause: str) -> Alert | None:
    """Give the alert that a change of state calls for."""
    firing = after.state == "firing"
    if firing == (before.state == "firing"):
        return None
    reason = finding.reason
    if firing and after.flapping:
        stretch = max(finding.flap_windows, finding.keep_firing_for)
        reason += (
            f"; flapping: it has fired more than {FLAPS} times in {finding.flap_windows} windows, and goes on firing"
            f" until {stretch} in a row are clean"
        )
    if not firing and not finding.over:
        clean = before.streak + 1
        reason = f"{clean} clean window{'s' * (clean > 1)} in a row; {reason}"
    return Alert(
        fingerprint=fingerprint(finding.rule, finding.subject, cause),
        ts=finding.ts,
        started=after.started,
        state="firing" if firing else "resolved",
        rule=finding.rule,
        severity=after.severity,
        attribution=cause,
        model=finding.subject.model,
        version=finding.subject.version,
        partner=finding.subject.partner,
        feature=finding.subject.feature,
        reason=reason,
        statistic=finding.statistic,
        value=finding.value,
        tolerance=finding.tolerance,
        n=finding.n,
        effect=finding.effect,
        since=finding.since,
        evidence=finding.evidence,
        cost=finding.cost,
        runbook=finding.runbook,
    )


_TABLE: Final = """
CREATE TABLE IF NOT EXISTS conditions (
    rule TEXT NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL, partner TEXT NOT NULL, feature TEXT NOT NULL,
    attribution TEXT NOT NULL, state TEXT NOT NULL, started INTEGER NOT NULL, streak INTEGER NOT NULL, seen INTEGER,
    severity TEXT NOT NULL, windows INTEGER NOT NULL DEFAULT 0, fires TEXT NOT NULL DEFAULT '[]',
    flapping INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (rule, model, version, partner, feature, attribution)) WITHOUT ROWID;
"""

# A store of before alerts could flap lacks what tells that.
_ADDED: Final = {
    "windows": "INTEGER NOT NULL DEFAULT 0",
    "fires": "TEXT NOT NULL DEFAULT '[]'",
    "flapping": "INTEGER NOT NULL DEFAULT 0",
}


def _create_table(store: Store) -> None:
    store.connection.execute(_TABLE)
    columns = {column[1] for column in store.connection.execute("PRAGMA table_info(conditions)")}
    for name, kind in _ADDED.items():
        if name not in columns:
            store.connection.execute(f"ALTER TABLE conditions ADD COLUMN {name} {kind}")


def _read(store: Store, rule: str, subject: Subject) -> dict[str, Condition]:
    """Give what is known of a rule and subject, by cause."""
    rows: Any = store.connection.execute(
        "SELECT attribution, state, started, streak, seen, severity, windows, fires, flapping FROM conditions"
        " WHERE rule = ? AND model = ? AND version = ? AND partner = ? AND feature = ?",
        (rule, *msgspec.structs.astuple(subject)),
    )
    return {
        cause: Condition(
            state=state,
            started=started,
            streak=streak,
            seen=seen,
            severity=severity,
            windows=windows,
            fires=tuple(msgspec.json.decode(fires)),
            flapping=bool(flapping),
        )
        for cause, state, started, streak, seen, severity, windows, fires, flapping in rows
    }


def _write(store: Store, rule: str, subject: Subject, cause: str, condition: Condition) -> None:
    name = (rule, *msgspec.structs.astuple(subject), cause)
    *known, fires, flapping = msgspec.structs.astuple(condition)
    store.connection.execute(
        "INSERT OR REPLACE INTO conditions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*name, *known, msgspec.json.encode(fires).decode(), int(flapping)),
    )
