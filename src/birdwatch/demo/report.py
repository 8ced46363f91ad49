"""What came of a run: answers, latencies, scores, alerts, and the days that were called beside what they were really like."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from birdwatch.alerts.history import AlertRow
from birdwatch.demo.backfill import COMPONENT
from birdwatch.demo.feeder import Served
from birdwatch.demo.flights import day_of
from birdwatch.detect.attribution import INPUTS_CHANGED
from birdwatch.detect.verdict import Verdict
from birdwatch.serving.control.ledger import Ledger, read_ledger, say
from birdwatch.streams import Streams

__all__ = [
    "AlertLine",
    "CalledDays",
    "ChangeLine",
    "Day",
    "Latency",
    "Ramped",
    "Report",
    "call_days",
    "count_scores",
    "make_report",
    "read_answers",
    "write",
]


class Latency(msgspec.Struct, frozen=True):
    """Percentiles of the time from question to answer as the client sees it; None without an answer."""

    p50: float | None
    p99: float | None


class AlertLine(msgspec.Struct, frozen=True, kw_only=True):
    """An alert: when it fired and was over (event time), what it said of whom, and whether the receiver got it.

    ``after`` says how many requests were answered since the version it names came into service; None where it named
    none that did so in the run.
    """

    ts: float
    resolved: float | None
    rule: str
    severity: str
    attribution: str
    model: str
    version: str
    partner: str
    reason: str
    statistic: str
    value: float | None
    tolerance: float | None
    delivered: bool
    after: int | None = None


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """A day that was called by a ticket, or should have been; ``fired`` where the ticket is new."""

    day: str
    fired: bool
    called: bool
    disrupted: bool
    flights: int
    late: float
    cancelled: float


class CalledDays(msgspec.Struct, frozen=True, kw_only=True):
    """The tickets "inputs changed" as calls of disrupted days.

    Attributes
    ----------
    judged
        How many days there were.
    hits
        How many of the called days were disrupted.
    precision
        Share of the called days that were disrupted; None when none was called.
    recall
        Share of the disrupted days that were called; None when there was none.
    """

    judged: int
    called: int
    disrupted: int
    hits: int
    precision: float | None
    recall: float | None
    days: list[Day]


class ChangeLine(msgspec.Struct, frozen=True, kw_only=True):
    """A change on control: when (event time), what in a few words, by whom and why; ``refused`` if it is not in force."""

    ts: float
    action: str
    model: str
    version: str
    author: str
    reason: str
    what: str
    refused: str | None


class Ramped(msgspec.Struct, frozen=True, kw_only=True):
    """A version that was ramped up: its answers, among ``of`` given from its ramp to the last of them."""

    model: str
    version: str
    percent: float
    answers: int
    of: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it; written as JSON it has these keys.

    Attributes
    ----------
    answers_within_sla
        Given before the deadline, which counts from the gateway's receipt.
    scores
        How many each model gave, the canary among them, without the month before the first request.
    canary_answers
        Answers that were the canary's; there must be none.
    """

    since: float
    until: float
    requests: int
    answers: int
    answers_within_sla: int
    deadline_seconds: float
    latency_seconds: Latency
    first_choice_share: float | None
    answers_by_model: dict[str, int]
    answers_by_reason: dict[str, int]
    canary_answers: int
    scores: dict[str, int]
    incomplete_steps: int
    changes: list[ChangeLine]
    ramped: list[Ramped]
    alerts: list[AlertLine]
    days: CalledDays
    wall_seconds: float


class _Counted(msgspec.Struct):
    """What is needed of a Score to count it."""

    model: str
    provenance: dict[str, Any] = {}


class _Answered(msgspec.Struct):
    """What is needed of a Result to know whose it was."""

    request_id: str
    request_ts: float
    model: str
    version: str


def count_scores(streams: Streams) -> dict[str, int]:
    """Count the scores on the streams by model, without those of the backfill."""
    decoder = msgspec.json.Decoder(_Counted)
    found: Counter[str] = Counter()
    for value in _values(streams, ("scores", "canary")):
        score = decoder.decode(value)
        found[score.model] += score.provenance.get("component") != COMPONENT
    return dict(sorted(found.items()))


def read_answers(streams: Streams) -> list[_Answered]:
    """Give the answers on the streams, in order: the first result of a request is its answer."""
    decoder = msgspec.json.Decoder(_Answered)
    first: dict[str, _Answered] = {}
    for value in _values(streams, ("results",)):
        result = decoder.decode(value)
        first.setdefault(result.request_id, result)
    return list(first.values())


def list_changes(ledger: Ledger) -> list[ChangeLine]:
    """Give all that is on control."""
    return [
        ChangeLine(
            ts=control.ts,
            action=control.action,
            model=control.model,
            version=control.version,
            author=control.author,
            reason=control.reason,
            what=say(control),
            refused=refused,
        )
        for control, refused in ledger.entries
    ]


def count_ramped(ledger: Ledger, answers: list[_Answered]) -> list[Ramped]:
    """Count what each version answered that was ramped up."""
    found = []
    for control, refused in ledger.entries:
        if control.action != "ramp" or refused or not control.params["percent"]:
            continue
        whose = (control.model, control.version)
        mine = [answer.request_ts for answer in answers if (answer.model, answer.version) == whose]
        last = max(mine, default=control.ts)
        found.append(
            Ramped(
                model=control.model,
                version=control.version,
                percent=control.params["percent"],
                answers=len(mine),
                of=sum(control.ts <= answer.request_ts <= last for answer in answers),
            )
        )
    return found


def _values(streams: Streams, names: tuple[str, ...]) -> Iterable[bytes]:
    ends = streams.ends(names)
    reader = streams.reader(names)
    try:
        while any(reader.positions().get(at, 0) < end for at, end in ends.items()):
            for message in reader.poll(limit=10_000):
                yield message.value
    finally:
        reader.close()


def call_days(alerts: Iterable[AlertLine], truth: pd.DataFrame, verdicts: Iterable[Verdict] = ()) -> CalledDays:
    """Put the days that tickets "inputs changed" are about beside the truth.

    A ticket is about the day that ends when it fires, and, as long as it is open, about every later day on which its
    rule again saw two models moved: it does not fire anew for those.

    Parameters
    ----------
    truth
        As `birdwatch.demo.flights.days_of` gives it; its days are those that were judged.
    """
    moved: dict[tuple[str, int], set[str]] = {}
    for verdict in verdicts:
        if verdict.status == "drifting":
            moved.setdefault((verdict.rule, verdict.end), set()).add(verdict.subject.model)
    fired: set[str] = set()
    called: set[str] = set()
    for alert in alerts:
        if alert.severity == "ticket" and alert.attribution == INPUTS_CHANGED:
            fired.add(day_of(alert.ts - 1))
            until = math.inf if alert.resolved is None else alert.resolved
            called |= {
                day_of(end - 1)
                for (rule, end), models in moved.items()
                if rule == alert.rule and alert.ts < end < until and len(models) > 1
            }
    called |= fired
    days = [
        Day(
            day=str(day),
            fired=day in fired,
            called=day in called,
            disrupted=bool(disrupted),
            flights=int(flights),
            late=float(late),
            cancelled=float(cancelled),
        )
        for day, flights, late, cancelled, disrupted in truth.itertuples()
        if day in called or disrupted
    ]
    hits = sum(day.called and day.disrupted for day in days)
    calls, disruptions = sum(day.called for day in days), sum(day.disrupted for day in days)
    return CalledDays(
        judged=len(truth),
        called=calls,
        disrupted=disruptions,
        hits=hits,
        precision=hits / calls if calls else None,
        recall=hits / disruptions if disruptions else None,
        days=days,
    )


def make_report(
    served: Served,
    streams: Streams,
    alerts: Iterable[AlertRow],
    verdicts: Iterable[Verdict],
    took: Callable[[str, float], bool],
    truth: pd.DataFrame,
    *,
    since: float,
    until: float,
    deadline_seconds: float,
    canary: str,
    wall_seconds: float,
) -> Report:
    """Put the report together.

    Parameters
    ----------
    took
        Whether the receiver got the alert of this fingerprint that fired then.
    truth
        The days that were judged, as they really were.
    """
    answers = read_answers(streams)
    ledger, _ = read_ledger(streams)
    lines = [
        AlertLine(
            ts=alert.fired,
            resolved=alert.resolved,
            rule=alert.rule,
            severity=alert.severity,
            attribution=alert.attribution,
            model=alert.model,
            version=alert.version,
            partner=alert.partner,
            reason=alert.reason,
            statistic=alert.statistic,
            value=alert.value,
            tolerance=alert.tolerance,
            delivered=took(alert.fingerprint, alert.fired),
            after=_after(alert, ledger, answers),
        )
        for alert in alerts
    ]
    by_canary = sum(answer.model == canary for answer in answers)
    p50, p99 = np.percentile(served.latencies, [50, 99]).tolist() if served.answers else (None, None)
    return Report(
        since=since,
        until=until,
        requests=served.requests,
        answers=served.answers,
        answers_within_sla=served.answers_within_sla,
        deadline_seconds=deadline_seconds,
        latency_seconds=Latency(p50, p99),
        first_choice_share=served.reasons["first choice"] / served.answers if served.answers else None,
        answers_by_model=dict(sorted(served.models.items())),
        answers_by_reason=dict(sorted(served.reasons.items())),
        # What clients were told, and what the log says: the canary must be in neither.
        canary_answers=max(served.models[canary], by_canary),
        scores=count_scores(streams),
        incomplete_steps=served.incomplete_steps,
        changes=list_changes(ledger),
        ramped=count_ramped(ledger, answers),
        alerts=lines,
        days=call_days(lines, truth, verdicts),
        wall_seconds=wall_seconds,
    )


def _after(alert: AlertRow, ledger: Ledger, answers: list[_Answered]) -> int | None:
    """Count the requests since the version that an alert names came into service."""
    came = [
        control.ts
        for control, refused in ledger.entries
        if not refused and (control.action, control.model, control.version) == ("register", alert.model, alert.version)
    ]
    if not came or not alert.version:
        return None
    return sum(came[-1] <= answer.request_ts < alert.fired for answer in answers)


def write(report: Report, path: Path) -> None:
    """Write a report as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
