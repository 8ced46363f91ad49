import numpy as np
import pytest
from scipy import stats

from birdwatch.stats.discordance import LAMBDAS, cuts_of, discordances, mcnemar
from birdwatch.stats.means import bounded_mean

from .simulation import A, alarms_by_stream, keeps_budget


def joint(x, y):
    """The cells of a joint histogram of whole numbers."""
    cells, counts = np.unique(np.stack([x, y]), axis=1, return_counts=True)
    return cells[0], cells[1], counts


def test_discordances_are_those_of_the_requests_themselves():
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 30, (2, 5_000))
    cuts = np.array([0, 4, 5, 17, 28])
    above, below, n = discordances(*joint(x, y), cuts)
    assert n == 5_000
    assert above.tolist() == [int(((y <= q) & (x > q)).sum()) for q in cuts]
    assert below.tolist() == [int(((x <= q) & (y > q)).sum()) for q in cuts]


def test_discordances_add_up_over_panes():
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 9, (2, 400))
    whole = discordances(*joint(x, y), [2, 5])
    parts = [discordances(*joint(x[s], y[s]), [2, 5]) for s in (slice(0, 130), slice(130, 400))]
    assert [sum(p[i] for p in parts).tolist() for i in (0, 1)] == [whole[0].tolist(), whole[1].tolist()]


def test_their_difference_is_that_of_the_distribution_functions():
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 9, (2, 400))
    above, below, n = discordances(*joint(x, y), [4])
    assert (above - below) / n == pytest.approx([np.mean(y <= 4) - np.mean(x <= 4)])


def test_nothing_is_discordant_without_requests_or_without_cuts():
    above, below, n = discordances([], [], [], [3])
    assert (above.tolist(), below.tolist(), n) == ([0], [0], 0)
    assert discordances([1], [9], [4], [])[0].size == 0
    assert mcnemar([], [], 4).size == 0
    assert mcnemar([0], [0], 0).tolist() == [0.0] * (2 * len(LAMBDAS))


def test_cuts_lie_at_the_quantiles_of_the_reference():
    values = np.sort(np.random.default_rng(4).integers(0, 500, 3_001))
    bins, counts = np.unique(values, return_counts=True)
    levels = (0.1, 0.5, 0.99)
    assert cuts_of(bins, counts, levels).tolist() == np.quantile(values, levels, method="inverted_cdf").tolist()


def test_atoms_and_few_valued_scores_have_fewer_cuts():
    assert cuts_of([0, 1], [990, 10]).tolist() == [0]
    assert cuts_of([7], [50]).tolist() == []
    assert cuts_of([0, 7], [50, 0], [0.5]).tolist() == [0]


@pytest.mark.parametrize("levels", [[0.0], [1.0]])
def test_cuts_outside_of_the_reference_are_refused(levels):
    with pytest.raises(ValueError, match="between 0 and 1"):
        cuts_of([1, 2], [1, 1], levels)
    with pytest.raises(ValueError, match="no cuts"):
        cuts_of([1, 2], [0, 0])


def test_the_evidence_is_the_product_over_single_requests():
    rng = np.random.default_rng(5)
    x = rng.integers(-1, 2, 50)
    centre, margin = 0.1, 0.03
    up = np.array([np.prod(1 + share / (1 + 0.13) * (x - 0.13)) for share in LAMBDAS])
    down = np.array([np.prod(1 + share / (1 - 0.07) * (-x + 0.07)) for share in LAMBDAS])
    found = mcnemar([(x == 1).sum()], [(x == -1).sum()], 50, centre=centre, margin=margin)
    assert found == pytest.approx(np.log(np.concatenate([up, down])))


def test_many_subjects_at_once_are_each_of_them_alone():
    rng = np.random.default_rng(6)
    above, below = rng.integers(0, 40, (2, 7, 3))
    n, margin = rng.integers(90, 120, 7), rng.uniform(0, 0.1, (7, 3))
    found = mcnemar(above, below, n, margin=margin)
    alone = [mcnemar(above[i], below[i], n[i], margin=margin[i]) for i in range(7)]
    assert found.shape == (7, 2 * 3 * len(LAMBDAS))
    assert found == pytest.approx(np.array(alone))


@pytest.mark.parametrize("centre", [0.0, -0.2])
@pytest.mark.parametrize("discordant", [0.08, 0.7])
def test_the_budget_holds_at_the_very_margin(centre, discordant):
    """Three cuts whose difference is exactly the largest in order, on either side, whatever else is discordant."""
    margin = 0.02
    for mean in (centre + margin, centre - margin):
        share = max(discordant, abs(mean))
        p = [(share + mean) / 2, (share - mean) / 2, 1 - share]

        def draw(rng, streams, p=p):
            b, c, _ = np.moveaxis(rng.multinomial(100, p, (streams, 3)), -1, 0)
            return mcnemar(b, c, 100, centre=centre, margin=margin)

        assert keeps_budget(draw, windows=30)


def test_the_simulation_notices_a_margin_that_is_not_paid_for():
    def draw(rng, streams):
        b, c, _ = np.moveaxis(rng.multinomial(1_000, [0.06, 0.02, 0.92], (streams, 1)), -1, 0)
        return mcnemar(b, c, 1_000, margin=0.02)

    alarms, budget = alarms_by_stream(draw, streams=300, windows=20)
    assert alarms > 5 * budget


def test_a_wider_spread_is_found_by_the_cuts_and_not_by_the_mean():
    """A model that stretches the scores by a tenth: the mean of the difference is 0, and stays without evidence."""
    rng = np.random.default_rng(8)
    edges = stats.norm.ppf(np.linspace(0, 1, 41)[1:-1])
    cuts = np.array([0, 1, 3, 19, 35, 37, 38])
    by_cuts, by_mean = 0.0, 0.0
    for _ in range(6):
        partner = rng.normal(0, 1, 1_000)
        model = 1.1 * partner + rng.normal(0, 0.05, 1_000)
        above, below, n = discordances(*joint(np.searchsorted(edges, model), np.searchsorted(edges, partner)), cuts)
        by_cuts = by_cuts + mcnemar(above, below, n)
        d = np.clip(model - partner, -1, 1)
        by_mean = by_mean + bounded_mean(n, d.sum(), (d**2).sum())
    assert by_cuts.max() > np.log(A * by_cuts.size)
    assert by_mean.max() < np.log(A * by_mean.size)


@pytest.mark.parametrize(
    ("wrong", "how"),
    [
        ({"above": [3], "below": [3], "n": 5}, "not counts of 5"),
        ({"above": [-1], "below": [3], "n": 5}, "not counts of 5"),
        ({"above": [1], "below": [1], "n": 5, "margin": -0.1}, "strays by 0 or more"),
        ({"above": [1], "below": [1], "n": 5, "centre": 1.0}, "strays by 0 or more"),
        ({"above": [1], "below": [1], "n": 5, "lambdas": [1.0]}, "λ lies between 0 and 1"),
        ({"above": [1], "below": [1], "n": 5, "margin": np.nan}, "strays by 0 or more"),
    ],
)
def test_what_cannot_be_is_refused(wrong, how):
    with pytest.raises(ValueError, match=how):
        mcnemar(**wrong)
