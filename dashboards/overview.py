"""Overview: who serves, how fast, how far from the reference and from the canary, what fires, and what that may cost."""

import facts
import pandas as pd
import streamlit as st
from asked import Asked
from below import below
from frame import Shown, everything, page
from why import alert_list
from words import STATUS, STATUS_COLOURS, against, duration, share

from birdwatch.alerts.standing import in_words, to_json
from birdwatch.alerts.tables import open_alerts
from birdwatch.windows.tables import PERCENTILES


def draw(shown: Shown) -> None:
    """Draw the figures, the fleet, what fires, and the budget."""
    everything(shown, "What is below")
    tiles(shown.asked)
    fleet(shown)
    below(lambda: _rest(shown.asked))


def _rest(asked: Asked) -> None:
    st.subheader("Open alerts", anchor="alerts")
    alert_list(open_alerts(facts.alerts(asked)), "None is firing.")
    budget(asked)


def tiles(asked: Asked) -> None:
    """Draw the figures that one looks at first, each over time."""
    counts, selection = facts.counts(asked._replace(segment="")), facts.selection(asked)
    steps = counts[counts["model"] == ""].set_index("time")
    answers = selection.groupby("time")["n"].sum()
    chosen = selection[selection["reason"] == "first choice"].groupby("time")["n"].sum()
    in_time = steps["decisions"] - steps["sla_misses"]
    overall = facts.slowness(asked)
    answer = facts.latency(asked, "answer", PERCENTILES)
    p99 = answer[answer["percentile"] == 0.99]["seconds"]
    raised = facts.alerts(asked)["severity"].value_counts().sort_index()
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


def fleet(shown: Shown) -> None:
    """Draw the table of the fleet, a row for each version of a model."""
    st.subheader("Fleet", anchor="fleet")
    table = shown.of_all(facts.fleet(shown.asked))
    told = pd.DataFrame(
        {
            "Model": table["model"] + " " + table["version"],
            "Role": table["role"].mask(table["gone"].astype(bool), "(" + table["role"] + ")"),
            "Last verdicts": [[STATUS[status]] for status in table["status"]],
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
        told,
        hide_index=True,
        key="fleet",
        column_config={
            "Model": config.TextColumn(pinned=True, help="Model and version", width=100),
            "Role": config.TextColumn(width=85, help="In brackets: it has stopped scoring while others went on"),
            "Last verdicts": config.MultiselectColumn(
                help="The worst of the last verdicts, one a rule, of those that could judge",
                options=list(STATUS.values()),
                color=STATUS_COLOURS,
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
    last = facts.last_verdicts(shown.asked)
    latest = last["time"] == last.groupby("rule")["time"].transform("max")
    waiting = last[latest & (last["model"] == "") & (last["feature"] == "") & (last["status"] == "no data")]
    unjudged += [f"{rule}: {why}" for rule, why in zip(waiting["rule"], waiting["reason"], strict=True)]
    if unjudged:
        st.caption(f"Not judged for want of data: {'; '.join(unjudged)}")


def budget(asked: Asked) -> None:
    """Draw what was promised of false pages, what of it is spent, and how much evidence it takes."""
    found = facts.budget(asked)
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


page(draw, in_full=True)
