"""What lies behind an alert: one drawing, the same on the dashboard's page and in the picture that receivers are shown."""

import math
from typing import Final, NamedTuple

import pandas as pd

from birdwatch.alerts.history import AlertRow
from birdwatch.alerts.tables import alert_table
from birdwatch.charts.latency import PERCENTILES, latency_chart
from birdwatch.charts.marks import Colours, Drawing, Marks, said_at
from birdwatch.charts.measured import measured_chart
from birdwatch.charts.scores import drift_chart
from birdwatch.charts.values import values_chart
from birdwatch.detect.measured import measured_table, verdict_of
from birdwatch.detect.past import NUMBER
from birdwatch.detect.tables import value_table, verdict_table, worst_by_step
from birdwatch.detect.verdict import Subject, Verdict
from birdwatch.records import Alert
from birdwatch.stats.grid import Scale
from birdwatch.windows.heat import shape_table
from birdwatch.windows.roles import models
from birdwatch.windows.store import Store
from birdwatch.windows.tables import control_table, latency_table, step_for, timestamp

__all__ = ["Fired", "draw_behind"]

_DAY: Final = 86_400
_BEFORE: Final = 28 * _DAY
_WINDOWS: Final = 48
_MOST_MODELS: Final = 6


class Fired(NamedTuple):
    """An alert that fired, and up to when what lay behind it is asked for.

    Attributes
    ----------
    fingerprint, rule, subject
        Which one.
    started
        Event time of the first window that showed it.
    until
        Nothing that became known later is drawn.
    """

    fingerprint: str
    rule: str
    subject: Subject
    started: float
    until: float

    @classmethod
    def of(cls, alert: Alert | AlertRow) -> "Fired":
        """Ask for what lay behind an alert when it fired."""
        subject = Subject(alert.model, alert.version, alert.partner, alert.feature)
        fired = alert.ts if isinstance(alert, Alert) else alert.fired
        return cls(alert.fingerprint, alert.rule, subject, alert.started, fired)


def draw_behind(store: Store, fired: Fired, scale: Scale = "probability") -> Drawing | None:
    """Draw what an alert rests on; None where nothing was measured that could be drawn, or it is no longer kept.

    Distributions are drawn beside the reference of their rule, latency as its percentiles upon the objective, inputs
    that changed as the distances of the models that moved together, and all else as what was measured window by window
    upon what is in order.

    Parameters
    ----------
    scale
        How scores are counted, see the settings.
    """
    verdict = verdict_of(store, fired.rule, fired.subject, fired.started, fired.until)
    if verdict is None or verdict.value is None:
        return None
    if verdict.subject != fired.subject:
        drawn = _together(store, fired, verdict)
    elif verdict.kind == "distribution" and verdict.statistic == "ks":
        drawn = _values(store, verdict, scale)
    elif verdict.kind == "latency":
        drawn = _latency(store, fired, verdict)
    else:
        drawn = None
    return drawn or _measured(store, fired, verdict)


def _values(store: Store, verdict: Verdict, scale: Scale) -> Drawing | None:
    """Draw values since they moved beside those of the reference that the rule compared them with."""
    subject, pane = verdict.subject, store.pane_seconds
    since = int(min(verdict.details.get("since", verdict.start), verdict.start)) // pane * pane
    now, (before, against) = (since, verdict.end), _before(store, verdict, since)
    if subject.feature:
        table = shape_table(store, "", now, before=before, measure=NUMBER + subject.feature)
        if table.empty:  # a category
            table = value_table(store, subject.feature, now, before)
    else:
        table = shape_table(store, subject.model, now, before=before, scale=scale)
    if table.empty:
        return None
    drawing = values_chart(table)
    told = f"Now: {said_at(timestamp(since))} to {said_at(timestamp(verdict.end))}; before: {against}."
    return drawing._replace(says=f"{drawing.says} {told}")


def _before(store: Store, verdict: Verdict, since: int) -> tuple[tuple[int, int], str]:
    """Give the stretch of the reference that a rule compared with, as far as the store still has it, and say what it is.

    What has moved since then is no part of it, though it may be of a reference that trails.
    """
    kept = verdict.details.get("reference")
    if not kept:  # verdicts of before that was kept
        return (since - _BEFORE, since), "the four weeks before that"
    first, _ = store.closed_range() or (since, since)
    start, end = max(kept["since"], first), min(kept["until"], since)
    if start >= end:
        return (since - _BEFORE, since), f"the four weeks before that, for {kept['name']} is not in this store"
    return (start, end), f"{kept['name']}, {said_at(timestamp(start))} to {said_at(timestamp(end))}"


def _latency(store: Store, fired: Fired, verdict: Verdict) -> Drawing | None:
    """Draw the percentile that has an objective, and the median, upon the objective."""
    stage, percentile = verdict.details.get("stage"), verdict.statistic
    if stage is None or percentile not in PERCENTILES:
        return None
    marks, levels = _marks(store, fired, verdict), sorted({0.5, round(float(percentile[1:]) / 100, 6)})
    table = latency_table(store, marks.span, f"latency.{stage}", levels, by_model=True)
    ours = (table["model"] == verdict.subject.model) & (table["version"] == verdict.subject.version)
    shown = table[ours].assign(model="")
    if shown["seconds"].isna().all():
        return None
    return latency_chart(shown, marks, Colours.of(()), verdict.tolerance)


def _together(store: Store, fired: Fired, verdict: Verdict) -> Drawing | None:
    """Draw the distances of those models that lay furthest from their reference when the inputs changed."""
    marks = _marks(store, fired, verdict)
    judged = verdict_table(store, marks.span.since, math.floor(fired.until), fired.rule)
    judged = judged[(judged["model"] != "") & (judged["tolerance"] > 0)]
    last = judged[judged["time"] == pd.Timestamp(verdict.end, unit="s", tz="UTC")]
    furthest = (last["value"] / last["tolerance"]).sort_values(ascending=False).index[:_MOST_MODELS]
    shown = judged[judged["model"].isin(last.loc[furthest, "model"])]
    if shown.empty:
        return None
    return drift_chart(worst_by_step(shown, marks.span.step), marks, Colours.of(models(store)))


def _measured(store: Store, fired: Fired, verdict: Verdict) -> Drawing | None:
    """Draw what was measured, window by window, upon what is in order."""
    marks = _marks(store, fired, verdict)
    table = measured_table(
        store, verdict.rule, verdict.subject, marks.span.since, fired.until, statistic=verdict.statistic
    )
    return None if table.empty else measured_chart(table, marks, verdict.statistic)


def _marks(store: Store, fired: Fired, verdict: Verdict) -> Marks:
    """Choose a stretch that shows what was before, and mark deployments and this alert in it."""
    window = verdict.end - verdict.start
    began = min(fired.started, verdict.details.get("since", verdict.start))
    back = max(min(_WINDOWS * window, _BEFORE), 2 * (fired.until - began), 2 * window)
    # A little beyond the alert, so that its bar is seen.
    first, _ = store.closed_range() or (fired.until, fired.until)
    since = max(fired.until - back, min(first, fired.started - window))
    span = step_for(since, fired.until + (fired.until - since) / 40, store.pane_seconds)
    raised = alert_table(store, span.since, span.until)
    return Marks.of(
        span, control_table(store, span.since, span.until), raised[raised["fingerprint"] == fired.fingerprint]
    )
