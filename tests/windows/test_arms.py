"""Propensities: by arm, how likely it was in each decision and whether it was drawn."""

from collections import Counter

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdwatch.records import Decision, encode
from birdwatch.streams import Message
from birdwatch.windows.arms import MOST_ARMS
from birdwatch.windows.build import Grid, build, join_columns
from birdwatch.windows.decode import Decoder
from birdwatch.windows.names import Names
from birdwatch.windows.pane import Series

START = 1_700_000_040.0


def decision(number, model, propensities, drawn=""):
    return Decision(
        request_id=f"r{number}",
        request_ts=START,
        ts=START,
        latency_seconds=0.01,
        deadline_seconds=1,
        model=model,
        version="1",
        tier=0,
        reason="first choice",
        within_sla=True,
        propensities=propensities,
        drawn=drawn,
    )


def count(*parts):
    """Count decisions that come in several batches, as one pane; give what was counted of propensities, by arm."""
    names = Names()
    decoder = Decoder("metrics", names, now=lambda: START)
    columns = []
    for part in parts:
        values = [each if isinstance(each, bytes) else encode(each) for each in part]
        found, _, faults = decoder([Message("metrics", 0, i, b"", value) for i, value in enumerate(values)])
        assert faults == []
        columns.append(found)
    pane = build({"metrics": join_columns(columns)}, names, Grid("probability", 1.0)).pane
    return {
        s.model: dict(zip(c.bins.tolist(), c.counts.tolist(), strict=True))
        for s, c in pane.items()
        if s.measure == "propensity"
    }


def plainly(decisions):
    """Count as the contract says, one by one."""
    found = {}
    for each in decisions:
        for arm, theta in each.propensities.items():
            selected = arm == (each.drawn if each.drawn in each.propensities else each.model)
            found.setdefault(arm, Counter())[2 * round(theta * 1024) + selected] += 1
    return found


ODDS = st.dictionaries(st.sampled_from(["a", "b", "c", "ü"]), st.integers(0, 1024).map(lambda n: n / 1024), max_size=4)


@hypothesis.settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from("abcz"), ODDS, st.sampled_from(["", "a", "b", "z"])), min_size=1, max_size=20),
    st.randoms(use_true_random=False),
)
def test_any_order_parting_and_repetition_gives_what_a_plain_loop_counts(drawn, random):
    decisions = [decision(i, *each) for i, each in enumerate(drawn)]
    again = decisions + decisions[::2]
    random.shuffle(again)
    cut = random.randrange(len(again))
    parts = [part for part in (again[:cut], again[cut:]) if part]
    assert count(*parts) == plainly(decisions)


@hypothesis.settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("ab"), ODDS), min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_a_decision_that_is_there_twice_with_other_odds_counts_once_and_as_the_same_one(drawn, random):
    decisions = [decision(0, *each) for each in drawn]
    plain = count(decisions)
    random.shuffle(decisions)
    assert count(decisions[:1], decisions[1:]) == plain


def test_the_arm_drawn_is_the_one_selected_also_where_another_was_faster():
    odds = {"slow": 0.25, "fast": 0.75}
    assert count([decision(0, "fast", odds, drawn="slow")]) == {"slow": {513: 1}, "fast": {1536: 1}}


def test_an_override_of_the_only_arm_says_nothing():
    assert count([decision(0, "forced", {"forced": 1.0}, drawn="champion")]) == {"forced": {2049: 1}}


@pytest.mark.parametrize("odds", [{}, {f"arm{i}": 1 / 65 for i in range(MOST_ARMS + 1)}])
def test_decisions_without_odds_or_among_too_many_are_decisions_all_the_same(odds):
    assert count([decision(0, "a", odds)], [decision(1, "a", {"a": 1.0})]) == {"a": {2049: 1}}


def test_odds_beyond_0_to_1_and_odds_that_are_null_stop_nothing():
    value = encode(decision(0, "a", {"a": 1.5, "b": -1.0})).replace(b'"b":-1.0', b'"b":null,"c":-1.0')
    assert count([value]) == {"a": {2049: 1}, "b": {0: 1}, "c": {0: 1}}


def test_odds_and_draws_add_up_over_many_decisions():
    rng = np.random.default_rng(3)
    decisions = []
    for i in range(5000):
        theta = float(rng.integers(0, 1025)) / 1024
        decisions.append(decision(i, "a" if rng.random() < theta else "b", {"a": theta, "b": 1 - theta}))
    found = count(decisions)
    assert found == plainly(decisions)
    for arm in "ab":
        expected = sum((bin_ >> 1) / 1024 * n for bin_, n in found[arm].items())
        selected = sum(n for bin_, n in found[arm].items() if bin_ & 1)
        assert selected == pytest.approx(expected, abs=4 * 5000**0.5 / 2)


def test_a_series_of_an_arm_has_no_version():
    names = Names()
    columns, _, _ = Decoder("metrics", names, now=lambda: START)(
        [Message("metrics", 0, 0, b"", encode(decision(0, "a", {"a": 1.0})))]
    )
    assert Series("propensity", "a") in build({"metrics": columns}, names, Grid("probability", 1.0)).pane
