"""Whatever the reference, its alternatives are densities, and what they promise is kept."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from scipy.stats import chi2, norm

from birdwatch.stats.evidence import accumulate
from birdwatch.stats.grid import bins_of
from birdwatch.stats.shapes import FEWEST, LEVELS, UNSEEN, Shapes, dkw, rank_cuts, remember
from birdwatch.windows.pane import Counts

values = st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=90)
few = st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0]), min_size=1, max_size=90)


def histogram(x):
    return Counts.of(bins_of(np.asarray(x, dtype=np.float64)))


def evenly(m, distribution=norm):
    """Give m quantiles of a distribution: a sample without chance."""
    return histogram(distribution.ppf((np.arange(m) + 0.5) / m))


@pytest.fixture(scope="module")
def normal():
    return Shapes.of(evenly(50_000))


def log_ratio(shapes, name, counts, recent=None):
    ratios = shapes.log_ratios(counts, np.zeros(shapes.masses.size) if recent is None else recent)
    return ratios[..., shapes.names.index(name)]


@given(values | few)
def test_alternatives_are_densities_on_any_reference(x):
    shapes = Shapes.of(histogram(x))
    assert np.exp(shapes.logs) @ shapes.masses == pytest.approx(1.0)
    assert shapes.masses.sum() == pytest.approx(1.0)
    assert (shapes.masses > 0).all()
    assert shapes.weights.sum() == pytest.approx(1.0)
    assert len(shapes.names) == len(shapes.weights) == len(shapes.logs) + 1


@given(values | few, values | few)
def test_evidence_is_finite_whatever_the_window(x, window):
    shapes = Shapes.of(histogram(x))
    recent = np.zeros(shapes.masses.size)
    for _ in range(3):
        counts = shapes.counts(histogram(window))
        assert counts.sum() == len(window)
        assert np.isfinite(shapes.log_ratios(counts, recent)).all()
        recent = remember(recent, counts)


def test_a_window_without_events_says_nothing(normal):
    empty = normal.counts(Counts.of([]))
    lately = normal.counts(evenly(1_000, norm(1)))
    assert (normal.log_ratios(empty, lately) == 0).all()


def test_a_reference_without_events_is_refused():
    with pytest.raises(ValueError, match="freeze it from a stretch that has some"):
        Shapes.of(Counts.of([]))


def test_cuts_are_the_quantiles_that_numpy_gives():
    x = np.random.default_rng(1).gamma(2.0, size=60_000)
    found = rank_cuts(histogram(x))
    quantiles = bins_of(np.quantile(x, LEVELS, method="inverted_cdf"))
    assert found.tolist() == np.unique([bins_of([x.min()])[0] - 1, *quantiles, bins_of([x.max()])[0]]).tolist()


@given(values | few)
def test_no_cut_leaves_so_few_events_that_chance_alone_would_tell(x):
    reference = histogram(x)
    inner = Shapes.of(reference).counts(reference)[1:-1]
    assert inner.sum() == len(x)
    assert (inner >= FEWEST).all() or inner.size == 1


def test_values_so_common_that_they_are_several_quantiles_are_one_cut():
    reference = histogram([0.0] * 300 + [1.0] * 700)
    zero, one = bins_of([0.0, 1.0])
    assert rank_cuts(reference).tolist() == [zero - 1, zero, one]
    assert Shapes.of(reference).masses[1:-1] == pytest.approx(np.array([300, 700]) / (1000 + 2 * UNSEEN))


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("location +0.25 sd", norm(0.25)),
        ("location -1 sd", norm(-1)),
        ("scale 1.25", norm(0, 1.25)),
        ("scale 0.8", norm(0, 0.8)),
    ],
)
def test_locations_and_scales_are_those_of_the_normal(normal, name, changed):
    upto = np.concatenate([[0.0], np.cumsum(normal.masses)[:-1], [1.0]])
    found = np.exp(normal.logs[normal.names.index(name)]) * normal.masses
    # But for bins where less would be bet than ever is.
    assert found == pytest.approx(np.diff(changed.cdf(norm.ppf(upto))), abs=2e-5)


def test_skew_is_the_mean_of_the_third_hermite_polynomial(normal):
    z = norm.ppf(np.concatenate([[0.0], np.cumsum(normal.masses)[:-1], [1.0]]))
    found = np.exp(normal.logs[normal.names.index("skew +0.05")])
    by_bin = [
        1 + 0.05 * integrate.quad(lambda x: (x**3 - 3 * x) * norm.pdf(x), low, high)[0] / mass
        for low, high, mass in zip(z[:-1], z[1:], normal.masses, strict=True)
    ]
    middle = slice(6, -1)  # below, the polynomial falls under 0 and is clipped
    assert found[middle] / found[15] == pytest.approx(np.array(by_bin)[middle] / by_bin[15], rel=1e-4)


@pytest.mark.parametrize(("tail", "bins"), [("lowest 1%", slice(0, 4)), ("highest 5%", slice(-6, None))])
def test_tails_are_contaminated_by_the_share_they_are_named_for(normal, tail, bins):
    found = np.exp(normal.logs[normal.names.index(f"5% more in the {tail}")])
    assert (found[bins] * normal.masses[bins]).sum() == pytest.approx(0.05 + 0.95 * normal.masses[bins].sum())
    assert normal.masses[bins].sum() == pytest.approx(float(tail.split()[1].rstrip("%")) / 100, rel=0.1)


def test_every_bin_of_two_per_cent_may_hold_a_spike(normal):
    spikes = [name for name in normal.names if "quantiles" in name]
    assert len(spikes) == (normal.masses >= 0.02).sum()
    at = normal.names.index("5% more between the 50% and 55% quantiles")
    assert (np.exp(normal.logs[at]) > 1).sum() == 1


def test_a_window_is_the_sum_over_its_events():
    x = np.random.default_rng(2).normal(size=2_000)
    shapes = Shapes.of(histogram(x))
    window = np.random.default_rng(3).normal(0.3, 1.2, size=50)
    one_by_one = sum(shapes.log_ratios(shapes.counts(histogram([v])), np.zeros(shapes.masses.size)) for v in window)
    whole = shapes.log_ratios(shapes.counts(histogram(window)), np.zeros(shapes.masses.size))
    assert whole == pytest.approx(one_by_one)


def test_each_event_pays_for_the_reference_being_a_sample(normal):
    for name, log_r, price in zip(normal.names[:-1], normal.logs, normal.prices, strict=True):
        r = np.exp(log_r)
        deviation = np.sqrt(normal.masses @ r**2 - 1)
        by_variation = np.sqrt(np.log(2000) / 100_000) * sum(abs(b - a) for a, b in pairwise(r))
        assert price == pytest.approx(np.log(1 + min(by_variation, 4.2 * deviation / np.sqrt(50_000)))), name


def test_the_dkw_bound_fails_once_in_a_thousand():
    """Kolmogorov's own distribution, of which the bound is the first term."""
    from scipy.stats import kstwo

    assert kstwo.sf(dkw(5_000), 5_000) == pytest.approx(0.001, rel=0.1)


def test_the_adaptive_alternative_bets_that_what_was_seen_goes_on(normal):
    changed = normal.counts(evenly(1_000, norm(0, 2)))
    before = log_ratio(normal, "as of late", changed)
    after = log_ratio(normal, "as of late", changed, remember(np.zeros(changed.size), changed))
    assert before == pytest.approx(0, abs=1e-9)  # having seen nothing, it bets on nothing
    assert after > 100


def test_the_adaptive_alternative_pays_for_all_directions_at_once(normal):
    lately = 1e6 * np.random.default_rng(4).dirichlet(1_000 * normal.masses)
    mixed = lately + 200 * normal.masses
    r = mixed / mixed.sum() / normal.masses
    price = np.sqrt(chi2.isf(0.001, r.size - 1) / 50_000) * np.sqrt(normal.masses @ (r - 1) ** 2)
    counts = normal.counts(evenly(500))
    assert log_ratio(normal, "as of late", counts, lately) == pytest.approx(counts @ np.log(r) - 500 * np.log1p(price))


def test_half_of_what_was_seen_is_forgotten_after_five_windows():
    recent = np.array([8.0, 4.0])
    for _ in range(5):
        recent = remember(recent, [0, 0])
    assert recent == pytest.approx([4.0, 2.0])


def test_models_side_by_side_have_the_evidence_that_each_would_alone(normal):
    rng = np.random.default_rng(5)
    counts = rng.multinomial(100, normal.masses, size=(2, 3))
    recent = rng.multinomial(500, normal.masses, size=(2, 3)).astype(float)
    together = normal.log_ratios(counts, recent)
    assert together.shape == (2, 3, len(normal.names))
    assert together[1, 2] == pytest.approx(normal.log_ratios(counts[1, 2], recent[1, 2]))


def test_references_of_several_models_may_be_stacked():
    rng = np.random.default_rng(6)
    alone = [Shapes.of(evenly(5_000, norm(0, s))) for s in (1, 2)]
    stacked = alone[0]._replace(
        masses=np.stack([s.masses for s in alone]),
        logs=np.stack([s.logs for s in alone]),
        prices=np.stack([s.prices for s in alone]),
    )
    counts, recent = rng.integers(0, 50, (2, 2, alone[0].masses.size))
    together = stacked.log_ratios(counts, recent)
    for i in range(2):
        assert together[i] == pytest.approx(alone[i].log_ratios(counts[i], recent[i]))


def alarms(normal_panes, level, references=150, panes=100, m=2_000, free=False):
    """Count alarms over unchanged panes, each stream with a reference of its own drawn from the same source."""
    rng = np.random.default_rng(7)
    found = 0
    for _ in range(references):
        shapes = Shapes.of(histogram(rng.normal(size=m)))
        if free:
            shapes = shapes._replace(prices=np.zeros_like(shapes.prices))
        upto = norm.cdf(lower_ends(shapes))
        truth = np.diff(np.concatenate([[0.0], upto, [1.0]]))
        kept, recent = np.zeros(len(shapes.names)), np.zeros(truth.size)
        for counts in rng.multinomial(normal_panes, truth, size=panes):
            evidence, kept = accumulate(kept, shapes.log_ratios(counts, recent), shapes.weights)
            recent = remember(recent, counts)
            if evidence >= np.log(level):
                found, kept = found + 1, np.zeros_like(kept)
    return found, references * panes / level


def lower_ends(shapes):
    from birdwatch.stats.grid import upper_edges

    return upper_edges(shapes.cuts)


@pytest.mark.parametrize(("n", "m"), [(10, 2_000), (1_000, 2_000), (1_000, 30)])
def test_unchanged_scores_keep_the_budget_though_the_reference_is_a_sample(n, m):
    found, budget = alarms(n, 200.0, m=m)
    assert found <= budget + 3 * np.sqrt(budget)


def test_the_simulation_would_notice_that_nobody_pays_for_the_sample():
    found, budget = alarms(1_000, 200.0, references=20, free=True)
    assert found > budget + 3 * np.sqrt(budget)


def test_a_score_that_never_varied_is_found_to_move():
    shapes = Shapes.of(histogram([0.25] * 5_000))
    same, moved = (shapes.counts(histogram([x] * 100)) for x in (0.25, 0.26))
    recent = np.zeros(shapes.masses.size)
    assert accumulate(np.zeros(len(shapes.names)), shapes.log_ratios(same, recent), shapes.weights)[0] < 1
    assert accumulate(np.zeros(len(shapes.names)), shapes.log_ratios(moved, recent), shapes.weights)[0] > np.log(1e6)


def test_scores_beyond_anything_in_the_reference_are_found_at_once(normal):
    wild = normal.counts(histogram([*norm.ppf((np.arange(195) + 0.5) / 195), *[1e4] * 5]))
    ratios = normal.log_ratios(wild, np.zeros(normal.masses.size))
    assert accumulate(np.zeros(len(normal.names)), ratios, normal.weights)[0] > np.log(10_000)


def test_what_has_changed_is_named(normal):
    for name, changed in [("location +0.5 sd", norm(0.5)), ("scale 1.25", norm(0, 1.25))]:
        ratios = normal.log_ratios(normal.counts(evenly(1_000, changed)), np.zeros(normal.masses.size))
        assert normal.names[int(ratios.argmax())] == name
