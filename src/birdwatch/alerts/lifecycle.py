"""An alert's life: pending, firing, resolved; it fires once and resolves once, however often a window is told again.

The decision is a pure function from what was known and what a window shows to what is known now; the table keeps that
between windows, so that a restart changes nothing.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final, Literal

import msgspec

from birdwatch.alerts.outbox import create_tables, put, subscribe
from birdwatch.detect.verdict import Finding, Severity, Subject
from birdwatch.records import Alert
from birdwatch.windows.store import Store

__all__ = ["CLEAN_WINDOWS", "Condition", "advance", "decide", "end", "fingerprint"]

CLEAN_WINDOWS: Final = 3
"""How many clean windows in a row resolve an alert."""


class Condition(msgspec.Struct, kw_only=True, frozen=True):
    """What is known of one fingerprint between windows.

    Attributes
    ----------
    state
        ``inactive`` before it is seen and after it has resolved; ``pending`` until it was seen often enough.
    started
        Event time of the first active window of this episode.
    streak
        Windows in a row that showed it while it is pending, that were clean while it fires.
    seen
        The last window taken into account: what comes again at or before it changes nothing.
    severity
        How urgent it was when it fired; it resolves as urgently.
    """

    state: Literal["inactive", "pending", "firing"] = "inactive"
    started: int = 0
    streak: int = 0
    seen: int | None = None
    severity: Severity = "info"


def fingerprint(rule: str, subject: Subject, attribution: str) -> str:
    """Name an alert for all time: the same rule, subject and cause give the same 16 hex digits.

    >>> fingerprint("disagreement", Subject("challenger", "2", "champion"), "the model changed")
    'd02f88c1e01db82b'
    """
    # The unit separator stands in no name, so ("ab", "c") and ("a", "bc") differ.
    name = f"{rule}\x1f{subject.model}\x1f{subject.version}\x1f{subject.partner}\x1f{attribution}"
    name += f"\x1f{subject.feature}" if subject.feature else ""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def decide(before: Condition, ts: int, *, shown: bool, windows: int = 1, severity: Severity = "info") -> Condition:
    """Say what one more window, ending at ``ts``, makes of a condition.

    It fires with the ``windows``-th active window in a row, and a clean one starts that count again; it ends with the
    third clean window in a row, and an active one starts *that* count again. A window already taken into account
    changes nothing.

    >>> decide(Condition(), 60, shown=True, windows=2)
    Condition(state='pending', started=60, streak=1, seen=60, severity='info')
    >>> decide(_, 120, shown=True, windows=2, severity="page")
    Condition(state='firing', started=60, streak=0, seen=120, severity='page')
    """
    if before.seen is not None and ts <= before.seen:
        return before
    if before.state == "firing":
        clean = 0 if shown else before.streak + 1
        state: Literal["inactive", "firing"] = "inactive" if clean == CLEAN_WINDOWS else "firing"
        return msgspec.structs.replace(before, state=state, streak=clean, seen=ts)
    if not shown:
        return Condition(seen=ts)
    active = before.streak + 1 if before.state == "pending" else 1
    started = before.started if before.state == "pending" else ts
    if active < windows:
        return Condition(state="pending", started=started, streak=active, seen=ts)
    return Condition(state="firing", started=started, seen=ts, severity=severity)


def end(before: Condition, ts: int) -> Condition:
    """Say what is left of a condition once its subject is gone: nothing fires any more, and nothing is pending.

    >>> end(Condition(state="firing", started=60, seen=120, severity="page"), 120)
    Condition(state='inactive', started=60, streak=0, seen=120, severity='page')
    """
    seen = ts if before.seen is None else max(ts, before.seen)
    return msgspec.structs.replace(before, state="inactive", streak=0, seen=seen)


def advance(store: Store, findings: Sequence[Finding], *, sinks: Sequence[str] = ()) -> list[Alert]:
    """Take findings into account and write what changes: to the history, and to the outbox for every sink.

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

    Returns
    -------
    list[Alert]
        The changes, by event time.
    """
    changes: list[Alert] = []
    with store.transaction():
        create_tables(store)
        store.connection.execute(_TABLE)
        for sink in sinks:
            subscribe(store, sink)
        for (_, rule, subject), group in groupby(sorted(findings, key=_window), key=_window):
            for cause, condition, alert in _step(_read(store, rule, subject), list(group)):
                _write(store, rule, subject, cause, condition)
                if alert is not None:
                    put(store, alert)
                    changes.append(alert)
    return changes


def _window(finding: Finding) -> tuple[int, str, Subject]:
    return finding.ts, finding.rule, finding.subject


def _step(known: dict[str, Condition], group: list[Finding]) -> Iterator[tuple[str, Condition, Alert | None]]:
    """Give (cause, condition, alert) of all that one rule says of one subject in one window."""
    shown = {finding.attribution: finding for finding in group if finding.active}
    last = next((finding for finding in group if finding.over), None)
    for cause in sorted(known.keys() | shown.keys()):
        finding = shown.get(cause, group[0])
        before = known.get(cause, Condition())
        after = decide(before, finding.ts, shown=cause in shown, windows=finding.windows, severity=finding.severity)
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
    if not firing and not finding.over:
        reason = f"{CLEAN_WINDOWS} clean windows in a row; {reason}"
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
    )


_TABLE: Final = """
CREATE TABLE IF NOT EXISTS conditions (
    rule TEXT NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL, partner TEXT NOT NULL, feature TEXT NOT NULL,
    attribution TEXT NOT NULL, state TEXT NOT NULL, started INTEGER NOT NULL, streak INTEGER NOT NULL, seen INTEGER,
    severity TEXT NOT NULL, PRIMARY KEY (rule, model, version, partner, feature, attribution)) WITHOUT ROWID;
"""


def _read(store: Store, rule: str, subject: Subject) -> dict[str, Condition]:
    """Give what is known of a rule and subject, by cause."""
    rows: Any = store.connection.execute(
        "SELECT attribution, state, started, streak, seen, severity FROM conditions"
        " WHERE rule = ? AND model = ? AND version = ? AND partner = ? AND feature = ?",
        (rule, *msgspec.structs.astuple(subject)),
    )
    return {
        cause: Condition(state=state, started=started, streak=streak, seen=seen, severity=severity)
        for cause, state, started, streak, seen, severity in rows
    }


def _write(store: Store, rule: str, subject: Subject, cause: str, condition: Condition) -> None:
    name = (rule, *msgspec.structs.astuple(subject), cause)
    store.connection.execute(
        "INSERT OR REPLACE INTO conditions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*name, *msgspec.structs.astuple(condition)),
    )
