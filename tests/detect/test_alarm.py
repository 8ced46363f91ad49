import json

import numpy as np
import pytest

from birdwatch.detect.alarm import HOLD, Measured, Window, step

LEVEL = 5.0
TOLERANCE, FLOOR = 0.1, 0.05
STRONG, WEAK, AGAINST = 9.0, 0.1, -1.0


def window(start, ratios, share, n=100, floor=FLOOR):
    """Give a window of n events, a share of which is counted."""

    def measure(counted, _which):
        return Measured(float(counted[0] / counted[1]), TOLERANCE, floor)

    return Window(start, n, np.atleast_1d(np.asarray(ratios, dtype=float)), [share * n, n], measure)


def run(windows, *, state=None, threshold=LEVEL, **more):
    """Give the steps over windows, each (ratios, share) or (ratios, share, n)."""
    state, steps = state or {}, []
    for start, one in enumerate(windows):
        found = step(state, window(start, *one), threshold=threshold, **more)
        state = found.state
        steps.append(found)
    return steps


def drifting(windows, **more):
    return [found.drifting for found in run(windows, **more)]


def alarmed(windows, **more):
    return [found.alarmed for found in run(windows, **more)]


def test_it_takes_evidence_and_an_effect_that_matters():
    assert alarmed([(STRONG, 0.2)]) == [True]
    assert alarmed([(WEAK, 0.2)]) == [False]
    assert alarmed([(STRONG, 0.14)]) == [False]


def test_weak_evidence_adds_up_over_windows():
    assert alarmed([(2.0, 0.2)] * 4) == [False, False, True, False]


def test_evidence_starts_again_at_nothing_once_it_has_alarmed():
    first, second = run([(LEVEL, 0.2), (WEAK, 0.2)])
    assert first.alarmed
    assert first.state["kept"] == [0.0]
    assert second.evidence == pytest.approx(WEAK)


def test_an_effect_too_small_to_matter_spends_the_evidence():
    first, second = run([(STRONG, 0.12), (WEAK, 0.9)])
    assert first.evidence >= LEVEL
    assert not first.alarmed
    assert first.state["kept"] == [0.0]
    assert not second.alarmed


def test_the_effect_is_that_of_all_windows_since_it_began():
    # By the last window alone it would alarm, and by the first alone it would not.
    calm, mild, bad = (AGAINST, 0.05), (2.0, 0.11), (3.5, 0.16)
    steps = run([calm, mild, bad])
    assert steps[-1].since == 1
    assert steps[-1].evidence >= LEVEL
    assert not steps[-1].alarmed
    steps = run([calm, (2.0, 0.2), bad])
    assert steps[-1].alarmed
    assert steps[-1].measured.value == pytest.approx(0.18)
    assert steps[-1].n == 200


def test_with_too_few_events_to_tell_how_large_it_is_it_waits_and_then_alarms():
    few = [(3.0, 0.2, 30)] * 5
    steps = run(few, min_events=100)
    assert [found.alarmed for found in steps] == [False, False, False, True, False]
    assert steps[2].evidence >= LEVEL
    assert steps[2].state["kept"] != [0.0]
    assert steps[3].n == 120


def test_an_alarm_holds_while_windows_are_beyond_the_tolerance_evidence_or_not():
    assert drifting([(STRONG, 0.2), (AGAINST, 0.11), (AGAINST, 0.11)]) == [True, True, True]


def test_three_windows_in_order_one_after_the_other_end_it():
    alarm, calm, beyond = (STRONG, 0.2), (AGAINST, 0.05), (AGAINST, 0.11)
    assert HOLD == 3
    assert drifting([alarm, calm, calm, beyond, calm, calm, beyond]) == [True, False, False, True, False, False, True]
    assert drifting([alarm, calm, calm, calm, beyond]) == [True, False, False, False, False]


def test_when_it_is_over_it_takes_new_evidence_and_dates_what_is_new():
    over = [(STRONG, 0.2), *[(AGAINST, 0.05)] * 3]
    steps = run([*over, (2.0, 0.2), (STRONG, 0.3)])
    assert drifting([*over, (2.0, 0.2), (STRONG, 0.3)])[-2:] == [False, True]
    assert steps[-1].since == 4
    assert steps[-1].measured.value == pytest.approx(0.25)


@pytest.mark.parametrize(("n", "goes_on"), [(19, True), (20, False)])
def test_a_window_of_few_events_says_nothing_about_an_alarm_that_is_on(n, goes_on):
    calm = (AGAINST, 0.0, n)
    steps = run([(STRONG, 0.2), *[calm] * 10])
    assert {found.drifting for found in steps[1:]} == {goes_on}
    assert ("hold" in steps[-1].state) == goes_on


def test_windows_of_few_events_do_not_interrupt_the_row_that_ends_it():
    calm, few = (AGAINST, 0.05), (AGAINST, 0.9, 5)
    steps = run([(STRONG, 0.2), calm, few, calm, few, calm, (AGAINST, 0.9)])
    assert [found.drifting for found in steps] == [True, False, True, False, True, False, False]


@pytest.mark.parametrize("seed", range(8))
def test_it_says_since_when_and_by_how_much_as_all_starts_tried_one_by_one_do(seed):
    rng = np.random.default_rng(seed)
    length, k = 60, 4
    ratios = rng.normal(-0.2, 1, (length, k)) + (np.arange(length) >= 40)[:, None] * rng.uniform(0, 0.8, k)
    shares, sizes = rng.uniform(0.1, 0.4, length), rng.integers(50, 200, length)
    state, since_last = {}, 0
    for t in range(length):
        found = step(state, window(t, ratios[t], shares[t], int(sizes[t])), threshold=7.0)
        state = found.state
        # R is the sum over starts of what would have been won since; the change point the start that won most.
        starts = range(since_last, t + 1)
        grown = [np.logaddexp.reduce([ratios[s : t + 1, i].sum() for s in starts]) for i in range(k)]
        leading = int(np.argmax(grown))
        assert found.evidence == pytest.approx(np.logaddexp.reduce(grown) - np.log(k))
        if found.alarmed or not found.drifting:
            assert found.leading == leading
            since = max(range(t + 1), key=lambda s: ratios[s : t + 1, leading].sum())
            assert found.since == since
        if found.alarmed:
            told = np.average(shares[since : t + 1], weights=sizes[since : t + 1])
            assert found.measured.value == pytest.approx(told)
            assert found.n == sizes[since : t + 1].sum()
            return
        if found.evidence >= 7.0:
            since_last = t + 1
    pytest.fail("nothing was found, and so nothing was tested")


def test_the_state_may_be_put_away_as_json_after_any_window():
    rng = np.random.default_rng(5)
    state, kept = {}, {}
    seen = set()
    for t in range(200):
        bad = t % 50 > 35
        one = window(t, rng.normal(0.6 if bad else -0.4, 0.8, 5), 0.3 if bad else 0.08, int(rng.integers(5, 60)))
        plain, put_away = (step(s, one, threshold=LEVEL, min_events=60) for s in (state, kept))
        assert plain == put_away
        seen.add((plain.alarmed, plain.drifting))
        state, kept = plain.state, json.loads(json.dumps(put_away.state))
    assert seen == {(False, False), (False, True), (True, True)}


def test_what_is_remembered_does_not_grow_for_ever():
    # Evidence that neither alarms nor falls would otherwise keep all windows since it began.
    assert len(run([(0.01, 0.2)] * 500, threshold=1e9)[-1].state["past"]) == 72


def test_of_other_alternatives_than_todays_nothing_is_gone_on_with():
    before = run([(STRONG, 0.2)])[-1].state
    found = step(before, window(9, [WEAK, WEAK], 0.2), threshold=LEVEL)
    assert found == step({}, window(9, [WEAK, WEAK], 0.2), threshold=LEVEL)
    assert not found.drifting


def test_shares_of_the_budget_weigh_the_evidence():
    loud = window(0, [STRONG, AGAINST], 0.2)
    even = step({}, loud._replace(weights=[0.5, 0.5]), threshold=LEVEL)
    little = step({}, loud._replace(weights=[0.001, 0.999]), threshold=LEVEL)
    assert even.evidence == pytest.approx(np.log(0.5 * np.exp(STRONG) + 0.5 * np.exp(AGAINST)))
    assert little.evidence == pytest.approx(np.log(0.001 * np.exp(STRONG) + 0.999 * np.exp(AGAINST)))
    assert (even.alarmed, little.alarmed) == (True, False)


def test_evidence_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        step({}, window(0, [np.nan, 1.0], 0.2), threshold=LEVEL)
