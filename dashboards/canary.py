"""Canary: models beside their partners, request by request; the canary never changes, so what differs is the champion's."""

from typing import Final

import facts
import pandas as pd
import streamlit as st
from below import below
from frame import Shown, chart, everything, page

from birdwatch.alerts.tables import alert_in_words
from birdwatch.charts import difference_chart, evidence_chart, joint_drawing, pair_chart

_KINDS: Final = ("paired", "disagreement")
_MEASURED: Final = ("disagreement", "mean", "crossed")
_FEW: Final = 10
_BAND: Final = (
    "The mean difference by request, over all requests since the beginning of the range, or since the version's first one."
    " The band is good at all times at once: however often one looks, what the difference really was has left it for one pair in"
    " twenty, ever. Where it has left the line of zero, the two differ. Faint: the mean of each step. Choose the range before"
    " you look: one that is chosen to begin where something happened is no longer one in twenty."
)


def draw(shown: Shown) -> None:
    """Draw differences and evidence of all pairs, then one pair in detail."""
    pairs = facts.pairs(shown.asked)
    roles = facts.roles(shown.asked)
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Champion − canary", anchor="canary", help=_BAND)
        canaries = tuple(sorted(partner for partner in set(pairs["partner"]) if roles.get(partner) == "canary"))
        chart(
            shown.of(facts.differences(shown.asked, canaries)),
            difference_chart,
            "No request was scored by both champion and canary.",
            shown.marks,
            shown.colours,
        )
    with right:
        st.subheader(
            "Evidence against a pair",
            anchor="evidence",
            help="How much each rule has gathered that a model and its partner differ beyond what is usual, as a share of"
            " what raises an alarm (ln R over ln A). ▲: it alarmed, and the evidence starts again at nothing.",
        )
        everything(shown, "Evidence")
        chart(
            shown.of(facts.worst(shown.asked, _KINDS, "level")),
            evidence_chart,
            "No rule has compared models by request in this time.",
            shown.marks,
            shown.colours,
        )
    _causes(shown)
    _pair(shown, shown.of_all(facts.worst(shown.asked, _KINDS)), shown.of_all(pairs))


def _causes(shown: Shown) -> None:
    """Say which causes were found when pairs came apart."""
    raised = facts.alerts(shown.asked)
    raised = raised[(raised["attribution"] != "") & raised["model"].isin(shown.view.models)]
    for _, alert in raised.head(3).iterrows():
        st.markdown(
            f":material/troubleshoot: **{alert_in_words(alert)}** ({alert['fired']:%d %b %H:%M}, {alert['state']}): {alert['reason']}"
        )


def _pair(shown: Shown, judged: pd.DataFrame, pairs: pd.DataFrame) -> None:
    """Draw one pair that is chosen: that with most evidence by default."""
    judged = judged[judged["value"].notna()]
    named = _named(judged)
    names = judged["level"].groupby(named).max().sort_values(ascending=False, kind="stable").index.tolist()
    names += [name for name in _named(pairs).unique() if name not in names]
    title = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
    title.subheader(
        "A pair in detail",
        anchor="pair",
        help="Each mark is what was measured in one window, the worst of a step, and faint where few requests tell; grey: what is in order; red: the alarm is"
        " on; ▲: it alarmed. Disagreement is the share of requests on which the two are further apart than on nine in"
        " ten before; crossed, how much the share above a cut differs; mean, how far the mean difference has strayed.",
    )
    if not names:
        st.info("No two models have scored the same requests in this time.", icon=":material/question_mark:")
        return
    chosen = title.selectbox("Pair", names, key="pair", bind="query-params", label_visibility="collapsed", width=300)
    of_pair = judged[named == chosen]
    known = [statistic for statistic in _MEASURED if (of_pair["statistic"] == statistic).any()]
    if known:
        alarmed = of_pair.loc[of_pair["alarmed"], "statistic"]
        statistic = title.segmented_control(
            "Measured",
            known,
            default=alarmed.iloc[-1] if len(alarmed) else known[0],
            required=True,
            key=f"statistic-{chosen}",
            label_visibility="collapsed",
        )
        of_pair = of_pair[of_pair["statistic"] == statistic]
    first = pairs[_named(pairs) == chosen].head(1) if of_pair.empty else of_pair.head(1)
    below(lambda: _in_detail(shown, first.iloc[0], of_pair))


def _in_detail(shown: Shown, pair: "pd.Series[str]", judged: pd.DataFrame) -> None:
    """Draw the mean difference of a pair, what rules measured of it, and the requests behind both."""
    model, partner, version = pair["model"], pair["partner"], pair["version"]
    left, right = st.columns(2, gap="medium")
    usual = facts.usual(shown.asked, model, partner)
    with left:
        st.markdown("**Mean difference so far**", help=f"{_BAND} Grey: what is in order by the rules.")
        so_far = facts.differences(shown.asked, (partner,), model)
        chart(
            so_far[so_far["version"] == version],
            difference_chart,
            "They scored no request both in this time.",
            shown.marks,
            shown.colours,
            usual[usual["version"] == version],
            key="pair-difference",
        )
    with right:
        st.markdown("**What rules measured, window by window**")
        everything(shown, "What rules measured")
        chart(judged, pair_chart, "No rule has judged this pair in this time.", shown.marks)
    _requests(shown, model, partner)


def _requests(shown: Shown, model: str, partner: str) -> None:
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown(f"**The requests on which {model} and {partner} differ most**")
        everything(shown, "Which requests they are")
        table = facts.extremes(shown.asked, model, partner)
        if table.empty:
            st.info("None were kept in this time.", icon=":material/question_mark:")
        else:
            config = st.column_config
            st.dataframe(
                table,
                hide_index=True,
                key="extremes",
                height=38 + 35 * min(len(table), _FEW),
                column_config={
                    "time": config.DatetimeColumn("UTC", format="D MMM HH:mm", timezone="UTC", width=95),
                    "version": config.TextColumn("Version", width=65),
                    "request_id": config.TextColumn("Request"),
                    "score": config.NumberColumn(model, format="%.3f", width=80),
                    "partner_score": config.NumberColumn(partner, format="%.3f", width=80),
                    "difference": config.NumberColumn("Difference", format="%+.3f", width=80),
                },
            )
    with right:
        st.markdown(
            f"**{model} against {partner}, request by request**",
            help="The darker, the more requests were scored thus by one and so by the other. On the dashed line they agree.",
        )
        everything(shown, "How both scored a request")
        joint = facts.joint(shown.asked, model, partner)
        if joint.empty:
            st.info("Their scores were not counted together in this time.", icon=":material/question_mark:")
        else:
            drawing = joint_drawing(joint, model, partner)
            st.vega_lite_chart(spec={**drawing.spec, "datasets": drawing.data}, key="joint")


def _named(table: pd.DataFrame) -> "pd.Series[str]":
    return table["model"] + " " + table["version"] + " against " + table["partner"]


page(draw)
