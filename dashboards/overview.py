"""Fleet at a glance: who serves, how fast, how far from the reference and from the canary, and what fires."""

import time
from collections.abc import Callable
from typing import Any, Final

import pandas as pd
import streamlit as st
from facts import Facts, load, load_stage
from inputs import inputs
from view import REFRESH, View, choose, opened
from why import reasons
from words import against, ago, duration, length, share

from birdwatch.alerts.standing import in_words, to_json
from birdwatch.alerts.tables import alert_in_words, fleet_state
from birdwatch.charts import (
    Drawing,
    Marks,
    difference_chart,
    drift_chart,
    evidence_chart,
    latency_chart,
    other_choices_chart,
    pair_chart,
    selection_chart,
)
from birdwatch.errors import BirdwatchError
from birdwatch.windows.pane import LATENCIES
from birdwatch.windows.store import Source
from birdwatch.windows.tables import Span, timestamp, written

_STAGES: Final = tuple(stage.removeprefix("latency.") for stage in reversed(LATENCIES))
_STATUS: Final = {"ok": "✓ ok", "drifting": "▲ drifting", "no data": "? no data", "error": "✕ error"}
_STATUS_COLOURS: Final = ["green", "red", "gray", "orange"]
_LEVELS: Final = {
    "page": (st.error, ":material/notifications_active:"),
    "ticket": (st.warning, ":material/confirmation_number:"),
    "no data": (st.info, ":material/question_mark:"),
    "ok": (st.success, ":material/check_circle:"),
}
_PAIRED: Final = ("disagreement", "mean", "crossed")
_MOST_TOLD: Final = 5
_MOST_ALERTS: Final = 20
_CLOCK: Final = "%a %d %b %Y %H:%M UTC"


def draw(view: View) -> None:
    """Draw all that changes with time."""
    try:
        with opened(view.store) as store:
            span, closed, sources = view.span(store), store.closed_range(), store.sources()
            age = time.time() - written(store)
        if span is None or closed is None:
            st.info("The store has been emptied; waiting for its first closed pane.", icon=":material/hourglass_top:")
            return
        facts = load(view.store, span, closed)
    except BirdwatchError as error:
        st.info(str(error), icon=":material/info:")
        return
    status(facts, span, min(closed[1], span.until), age, sources)
    tiles(facts)
    fleet(facts, view)
    charts(facts, view, span, closed)
    inputs(facts, view)
    alerts(facts, view, min(closed[1], span.until))
    budget(facts)


def status(facts: Facts, span: Span, as_of: int, age: float, sources: list[Source]) -> None:
    """Say in words how the fleet is, and how fresh that is."""
    state = fleet_state(facts.alerts, facts.fleet)
    box, icon = _LEVELS[state.level]
    lines = [f"**{state.headline}**"]
    firing = facts.alerts[facts.alerts["state"] == "firing"]
    told = firing.head(_MOST_TOLD)
    lines += [f"- {alert['reason']} *(since {alert['started']:{_CLOCK}})*" for _, alert in told.iterrows()]
    if len(firing) > len(told):
        lines.append(f"- and {len(firing) - len(told)} more, see below")
    box("\n".join(lines), icon=icon)
    silent = sorted({source.model or source.stream for source in sources if source.idle})
    if silent and len(silent) == len({source.model or source.stream for source in sources}):
        st.warning(
            "All streams have fallen silent: what is below ends where they did.", icon=":material/signal_disconnected:"
        )
    elif silent:
        st.warning(f"Fallen silent: {', '.join(silent)}.", icon=":material/signal_disconnected:")
    st.caption(
        f"Data as of **{timestamp(as_of):{_CLOCK}}** (event time) · store written {ago(age)} ·"
        f" a point on a chart is {length(span.step)} · :grey[┆] deployment · bar along the top: alert firing"
        " (vermillion: page, orange: ticket)"
    )


def tiles(facts: Facts) -> None:
    """Draw the figures that one looks at first, each over time."""
    steps = facts.counts[facts.counts["model"] == ""].set_index("time")
    answers = facts.selection.groupby("time")["n"].sum()
    chosen = facts.selection[facts.selection["reason"] == "first choice"].groupby("time")["n"].sum()
    in_time = steps["decisions"] - steps["sla_misses"]
    overall = dict(zip(facts.answer_overall["percentile"], facts.answer_overall["seconds"], strict=True))
    p99 = facts.answer[facts.answer["percentile"] == 0.99]["seconds"]
    raised = facts.alerts["severity"].value_counts().sort_index()
    known, positives = steps["outcomes"].sum(), steps["positives"].sum()
    row = st.container(horizontal=True)
    for label, value, beside, trend in (
        ("Requests", f"{steps['requests'].sum():,.0f}", None, steps["requests"].fillna(0)),
        ("Answered in time", share(in_time.sum(), steps["decisions"].sum()), None, in_time / steps["decisions"]),
        ("First choice answered", share(chosen.sum(), answers.sum()), None, chosen / answers),
        ("Answer, p99", duration(overall.get(0.99)), f"p50 {duration(overall.get(0.5))}", p99),
        (
            "Outcomes known",
            f"{known:,.0f}",
            f"{share(positives, known)} positive",
            steps["positives"] / steps["outcomes"],
        ),
        ("Alerts", f"{raised.sum()}", " · ".join(f"{n} {s}{'s' * (n > 1)}" for s, n in raised.items()) or None, None),
    ):
        row.metric(
            label,
            value,
            beside,
            delta_color="off",
            delta_arrow="off",
            chart_data=None if trend is None else trend.dropna().tolist(),
            border=True,
            width=168,
            height="stretch",
        )


def fleet(facts: Facts, view: View) -> None:
    """Draw the table of the fleet, a row for each version of a model."""
    st.subheader("Fleet", anchor="fleet")
    table = _of(view, facts.fleet)
    shown = pd.DataFrame(
        {
            "Model": table["model"] + " " + table["version"],
            "Role": table["role"].mask(table["gone"].astype(bool), "(" + table["role"] + ")"),
            "Last verdicts": [[_STATUS[status]] for status in table["status"]],
            "Scores": table["events"],
            "Traffic": table["traffic"],
            "Answers": table["share"],
            "p50": table["p50"] * 1e3,
            "p99": table["p99"] * 1e3,
            "Distance": against(table["distance"], table["distance_tolerance"], "{:.2f}"),
            "÷ tolerance": table["drift"],
            "Disagrees": against(table["disagreement"], table["disagreement_tolerance"], "{:.0%}"),
            "Difference": [
                "–" if pd.isna(mean) else f"{mean:+.3f} ± {sd:.3f}"
                for mean, sd in zip(table["mean"], table["sd"], strict=True)
            ],
            "Last seen": table["seen"],
        }
    )
    config = st.column_config
    st.dataframe(
        shown,
        hide_index=True,
        key="fleet",
        column_config={
            "Model": config.TextColumn(pinned=True, help="Model and version", width=100),
            "Role": config.TextColumn(width=85, help="In brackets: it has stopped scoring while others went on"),
            "Last verdicts": config.MultiselectColumn(
                help="The worst of the last verdicts, one a rule, of those that could judge",
                options=list(_STATUS.values()),
                color=_STATUS_COLOURS,
                width=95,
            ),
            "Scores": config.NumberColumn(format="localized", help="Scores given in this time", width=60),
            "Traffic": config.AreaChartColumn(help="Scores over time", y_min=0, width=90),
            "Answers": config.NumberColumn(format="percent", help="Share of all answers", width=70),
            "p50": config.NumberColumn(format="%.1f ms", help="Median time inside the model", width=70),
            "p99": config.NumberColumn(format="%.1f ms", help="99th percentile of the time inside the model", width=75),
            "Distance": config.TextColumn(
                help="Last distance of the scores from their reference, and what is tolerated", width=90
            ),
            "÷ tolerance": config.LineChartColumn(
                help="That distance over time, in multiples of what is tolerated", y_min=0, y_max=2, width=90
            ),
            "Disagrees": config.TextColumn(
                help="Last share of requests on which it is further from its partner than on nine in ten before, and what is in"
                " order",
                width=90,
            ),
            "Difference": config.TextColumn(
                help="Score minus the partner's by request, mean ± standard deviation: challengers and fallbacks are"
                " compared with the champion, the champion with the canary",
                width=100,
            ),
            "Last seen": config.DatetimeColumn(format="D MMM HH:mm", timezone="UTC", help="Last scores, UTC", width=95),
        },
    )
    unjudged = [
        f"{m} {v} ({rules})"
        for m, v, rules in zip(table["model"], table["version"], table["unjudged"], strict=True)
        if rules
    ]
    last = facts.last_verdicts
    latest = last["time"] == last.groupby("rule")["time"].transform("max")
    waiting = last[latest & (last["model"] == "") & (last["feature"] == "") & (last["status"] == "no data")]
    unjudged += [f"{rule}: {why}" for rule, why in zip(waiting["rule"], waiting["reason"], strict=True)]
    if unjudged:
        st.caption(f"Not judged for want of data: {'; '.join(unjudged)}")


def charts(facts: Facts, view: View, span: Span, closed: tuple[int, int]) -> None:
    """Draw the charts over time, two in a row."""
    marks, colours = facts.marks, facts.colours
    pairs = _of(view, facts.pairs)
    canaries = set(facts.fleet.loc[facts.fleet["role"] == "canary", "model"])
    others = facts.selection[facts.selection["reason"] != "first choice"]

    left, right = st.columns(2, gap="medium")
    with left:
        title = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
        title.subheader(
            "Latency",
            anchor="latency",
            help="p50, p99 and p99.9 of the answer, or p50 and p99 of each model. Where a step has too few events to tell"
            " p99.9 from p99, the thick line lies under the thin one.",
        )
        stage = title.segmented_control(
            "Stage",
            _STAGES,
            default=_STAGES[0],
            required=True,
            key="stage",
            bind="query-params",
            label_visibility="collapsed",
        )
        latency = load_stage(view.store, span, closed, stage)
        latency = latency[latency["model"].isin({*view.models, ""})]
        _chart(latency, latency_chart, "No latency has been measured in this time.", marks, colours)
    with right:
        title = st.container(horizontal=True, vertical_alignment="center")
        title.subheader("Score drift", anchor="drift", help="Distance of each model's scores from its reference")
        _chart(
            _of(view, facts.drift),
            drift_chart,
            "No rule has compared scores with a reference in this time.",
            marks,
            colours,
        )
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Champion − canary", anchor="canary", help="Mean difference by request ± standard deviation")
        _chart(
            pairs[pairs["partner"].isin(canaries)],
            difference_chart,
            "No request was scored by both champion and canary.",
            marks,
            colours,
        )
    with right:
        st.subheader(
            "Evidence against a pair",
            anchor="evidence",
            help="How much each rule has gathered that a model and its partner differ beyond what is usual, as a share of"
            " what raises an alarm (ln R over ln A). ▲: it alarmed, and the evidence starts again at nothing.",
        )
        evidence = _of(view, facts.evidence)
        _chart(evidence, evidence_chart, "No rule has compared models by request in this time.", marks, colours)
    pair(_of(view, facts.judged_pairs), marks)
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Who answers", anchor="selection")
        _chart(facts.selection, selection_chart, "No decision was seen in this time.", marks, colours)
    with right:
        st.subheader("Not the first choice", anchor="others")
        _chart(others, other_choices_chart, "Every answer was the first choice.", marks)


def pair(judged: pd.DataFrame, marks: Marks) -> None:
    """Draw what was measured of one pair that is chosen, upon what is in order: the one with most evidence by default."""
    judged = judged[judged["value"].notna()]
    if judged.empty:
        return
    named = judged["model"] + " " + judged["version"] + " against " + judged["partner"]
    names = judged["level"].groupby(named).max().sort_values(ascending=False, kind="stable").index.tolist()
    title = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
    title.subheader(
        "A pair in detail",
        anchor="pair",
        help="Each mark is what was measured in one window, the worst of a step, and faint where few requests tell; grey: what is in order; red: the alarm is"
        " on; ▲: it alarmed. Disagreement is the share of requests on which the two are further apart than on nine in"
        " ten before; crossed, how much the share above a cut differs; mean, how far the mean difference has strayed.",
    )
    chosen = title.selectbox("Pair", names, key="pair", label_visibility="collapsed", width=300)
    of_pair = judged[named == chosen]
    known = [statistic for statistic in _PAIRED if (of_pair["statistic"] == statistic).any()]
    alarmed = of_pair.loc[of_pair["alarmed"], "statistic"]
    statistic = title.segmented_control(
        "Measured",
        known,
        default=alarmed.iloc[-1] if len(alarmed) else known[0],
        required=True,
        key=f"statistic-{chosen}",
        label_visibility="collapsed",
    )
    _chart(of_pair[of_pair["statistic"] == statistic], pair_chart, "Nothing was measured in this time.", marks)


def alerts(facts: Facts, view: View, until: int) -> None:
    """Draw what fires, with what lies behind it, and what fired."""
    st.subheader("Alerts", anchor="alerts")
    reasons(facts.alerts, view, until)
    table = facts.alerts
    if table.empty:
        st.markdown("None fired in this time.")
        return
    shown = table.head(_MOST_ALERTS)
    until = shown["resolved"].dt.strftime("%d %b %H:%M").fillna("now")
    st.table(
        pd.DataFrame(
            {
                "Alert": [
                    f"{_state(alert)} **{alert_in_words(alert)}**{_by_rule(alert)}  \n{alert['reason']}"
                    for _, alert in shown.iterrows()
                ],
                "UTC": shown["fired"].dt.strftime("%d %b %H:%M") + "  \nto " + until,
            }
        ),
        hide_index=True,
        border="horizontal",
    )
    if len(table) > len(shown):
        st.caption(f"and {len(table) - len(shown)} earlier ones: choose a shorter time")


def budget(facts: Facts) -> None:
    """Draw what was promised of false pages, what of it is spent, and how much evidence it takes."""
    found = facts.budget
    if found is None:
        return
    told = to_json(found)
    st.subheader(
        "Page budget",
        anchor="budget",
        help="Spent are pages that were to be expected although nothing had changed: each look of a rule costs 1 divided"
        " by the evidence that it must reach. Pages that fired are not deducted.",
    )
    st.progress(min(1.0, told["spent"] / told["promised"]), in_words(found))
    rules = pd.DataFrame.from_dict(told["rules"], orient="index")
    shown = pd.DataFrame(
        {
            "Rule": rules.index,
            "Watches": rules["subjects"],
            "Evidence must reach": rules["level"],
            "Share of the promise": rules["promised"].mask(rules["tried"]),
            "Looked": rules["looks"],
            "Spent": rules["spent"],
            "Fired": [told["fired"].get(rule, 0) for rule in rules.index],
        }
    )
    config = st.column_config
    st.dataframe(
        shown,
        hide_index=True,
        key="budget",
        column_config={
            "Watches": config.NumberColumn(format="localized", help="Models, or pairs of them", width=80),
            "Evidence must reach": config.NumberColumn(
                format="%.0f", help="A: how much likelier than “within tolerance” it has to be, to alarm"
            ),
            "Share of the promise": config.NumberColumn(
                format="%.2g", help="Expected false pages in a whole period; none for a rule that is only tried"
            ),
            "Looked": config.NumberColumn(format="localized", help="Windows judged, of all that it watches", width=80),
            "Spent": config.NumberColumn(format="%.2g", width=80),
            "Fired": config.NumberColumn(help="Pages that fired in the same time", width=80),
        },
    )


def _chart(table: pd.DataFrame, chart: Callable[..., Drawing], otherwise: str, *arguments: Any) -> None:
    """Draw a chart, or say why there is none."""
    if table.empty:
        st.info(otherwise, icon=":material/question_mark:")
    else:
        drawing = chart(table, *arguments)
        st.vega_lite_chart(spec={**drawing.spec, "datasets": drawing.data}, key=chart.__name__)


def _of(view: View, table: pd.DataFrame) -> pd.DataFrame:
    return table[table["model"].isin(view.models)]


def _by_rule(alert: "pd.Series[str]") -> str:
    return f" ({alert['rule']})" if alert["attribution"] else ""


def _state(alert: "pd.Series[str]") -> str:
    if alert["state"] == "resolved":
        return f":gray-badge[:material/check: {alert['severity']}, resolved]"
    colour = "red" if alert["severity"] == "page" else "orange"
    return f":{colour}-badge[:material/notifications_active: {alert['severity']}, firing]"


st.title("Fleet at a glance", anchor=False)
view = choose()
st.fragment(draw, run_every=REFRESH if view.live else None)(view)
