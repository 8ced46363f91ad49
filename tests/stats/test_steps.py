"""What stays within the tolerance never pages; what leaves it does, and the report can say where."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, norm

from birdwatch.stats.evidence import accumulate
from birdwatch.stats.grid import bins_of, upper_edges
from birdwatch.stats.shapes import dkw, remember
from birdwatch.stats.steps import MULTIPLES, Steps
from birdwatch.windows.pane import Counts

values = st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=60)
few = st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0]), min_size=1, max_size=60)


def histogram(x):
    return Counts.of(bins_of(np.asarray(x, dtype=np.float64)))


def evenly(m, distribution=norm):
    """Give m quantiles of a distribution: a sample without chance."""
    return histogram(distribution.ppf((np.arange(m) + 0.5) / m))


@pytest.fixture(scope="module")
def normal():
    return Steps.of(evenly(50_000), 0.02)


def test_limits_are_the_reference_with_tolerance_and_the_error_of_a_sample(normal):
    at = upper_edges(normal.cuts)[normal.places]
    share = np.where(normal.above, norm.sf(at), norm.cdf(at))
    assert normal.limits == pytest.approx(share + 0.02 + dkw(50_000), abs=2e-5)
    assert (normal.limits < 0.98).all()


def test_rates_are_counted_at_or_below_and_above_each_cut(normal):
    x = np.random.default_rng(1).normal(size=300)
    found, n = normal._rates(normal.counts(histogram(x)))
    at = upper_edges(normal.cuts)[normal.places]
    by_hand = [(x >= edge).sum() if above else (x < edge).sum() for edge, above in zip(at, normal.above, strict=True)]
    assert found.tolist() == by_hand
    assert n == 300


def test_each_alternative_is_a_fair_bet_at_the_limit_and_a_losing_one_below():
    steps = Steps.of(evenly(20_000), 0.05)
    limits = steps.limits
    n = 12
    hits = np.arange(n + 1)
    for rate in (0, 7, limits.size - 1):
        ratios = hits[:, None] * steps.gains[rate] + (n - hits)[:, None] * steps.losses[rate]
        at_limit = binom.pmf(hits, n, limits[rate]) @ np.exp(ratios)
        below = binom.pmf(hits, n, limits[rate] * 0.9) @ np.exp(ratios)
        assert at_limit == pytest.approx(1)
        assert (below < 1).all()


def test_of_a_few_values_each_has_rates_of_its_own():
    steps = Steps.of(histogram([0.1] * 300 + [0.2] * 300 + [0.3] * 400), 0.02)
    assert sorted({float(upper_edges(steps.cuts)[place].round(2)) for place in steps.places}) == [0.1, 0.2, 0.3]


@given(values | few, values | few, st.sampled_from([0.0, 0.02, 0.3, 0.97]))
def test_evidence_is_finite_whatever_the_reference_and_the_window(x, window, tolerance):
    steps = Steps.of(histogram(x), tolerance)
    recent = np.zeros(steps.cuts.size + 1)
    kept = np.zeros(len(steps.names))
    for _ in range(3):
        counts = steps.counts(histogram(window))
        evidence, kept = accumulate(kept, steps.log_ratios(counts, recent), steps.weights)
        assert np.isfinite(evidence)
        recent = remember(recent, counts)


def test_a_window_without_events_says_nothing(normal):
    ratios = normal.log_ratios(normal.counts(Counts.of([])), normal.counts(evenly(100)))
    assert (ratios == 0).all()


def test_a_reference_too_small_for_its_tolerance_leaves_nothing_to_bet_on():
    steps = Steps.of(histogram([0.1, 0.2]), 0.02)
    assert steps.names == ()
    evidence, _ = accumulate(np.zeros(0), steps.log_ratios(steps.counts(histogram([9.0] * 50)), np.zeros(3)), [])
    assert evidence < 0


@pytest.mark.parametrize("tolerance", [-0.1, 1.0, np.nan])
def test_a_tolerance_that_is_no_distance_is_refused(tolerance):
    with pytest.raises(ValueError, match="distance between 0 and 1"):
        Steps.of(evenly(100), tolerance)


def run(steps, distribution, n, panes, level, seed=2):
    """Give at which panes evidence reached the level, and what was found there."""
    rng = np.random.default_rng(seed)
    truth = np.diff(np.concatenate([[0.0], distribution.cdf(upper_edges(steps.cuts)), [1.0]]))
    kept, recent, found = np.zeros(len(steps.names)), np.zeros(truth.size), []
    for pane, counts in enumerate(rng.multinomial(n, truth, size=panes)):
        evidence, kept = accumulate(kept, steps.log_ratios(counts, recent), steps.weights)
        recent = remember(recent, counts)
        if evidence >= np.log(level):
            found.append((pane, steps.names[int(kept.argmax())]))
            kept = np.zeros_like(kept)
    return found


@pytest.mark.parametrize("n", [200, 10_000])
def test_a_shift_within_the_tolerance_never_alarms_however_many_events(normal, n):
    within = norm(0.05)  # whose Kolmogorov distance is 2·Φ(0.025) - 1 = .0199
    assert run(normal, within, n, 2_000, 2_000.0) == []


def test_at_the_very_edge_of_the_tolerance_the_budget_holds():
    level = 200.0
    alarms, panes = 0, 0
    for seed in range(20):
        steps = Steps.of(histogram(np.random.default_rng(seed).normal(size=5_000)), 0.1)
        worst = norm(2 * norm.ppf((1 + 0.1) / 2))  # at this distance from the reference's source
        alarms += len(run(steps, worst, 1_000, 500, level, seed))
        panes += 500
    assert alarms <= panes / level + 3 * np.sqrt(panes / level)


def test_a_shift_beyond_the_tolerance_is_found_and_placed(normal):
    (first, where), *_ = run(normal, norm(0.5), 1_000, 5, 525_600.0)
    assert first == 0
    assert "among what was the highest" in where
    (_, where), *_ = run(normal, norm(-0.5), 1_000, 5, 525_600.0)
    assert "among what was the lowest" in where


def test_the_adaptive_alternatives_find_in_time_what_the_fixed_ones_do_not(normal):
    changed = norm(0.1)
    alone = normal._replace(
        weights=np.where(np.arange(normal.weights.size) % (len(MULTIPLES) + 1) == len(MULTIPLES), normal.weights, 1e-30)
    )
    assert run(alone, changed, 10_000, 20, 525_600.0)


def test_the_adaptive_alternatives_lose_while_nothing_happens(normal):
    counts = normal.counts(evenly(1_000))
    adaptive = normal.log_ratios(counts, 5 * counts)[len(MULTIPLES) :: len(MULTIPLES) + 1]
    assert (adaptive < 0).all()


def test_a_score_that_never_varied_is_found_to_move():
    steps = Steps.of(histogram([0.25] * 5_000), 0.02)
    recent = np.zeros(steps.cuts.size + 1)
    for x, side in ((0.24, "lower"), (0.26, "higher")):
        ratios = steps.log_ratios(steps.counts(histogram([x] * 100)), recent)
        assert accumulate(np.zeros(len(steps.names)), ratios, steps.weights)[0] > np.log(1e6)
        assert f"{side} than anything in the reference" in steps.names[int(ratios.argmax())]


def test_models_side_by_side_have_the_evidence_that_each_would_alone(normal):
    rng = np.random.default_rng(3)
    counts, recent = rng.integers(0, 50, (2, 2, 3, normal.cuts.size + 1))
    together = normal.log_ratios(counts, recent)
    assert together.shape == (2, 3, len(normal.names))
    assert together[1, 2] == pytest.approx(normal.log_ratios(counts[1, 2], recent[1, 2]))
