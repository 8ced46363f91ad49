import json

import numpy as np
import pytest

from birdwatch.stats.change import Cusum, change_points
from birdwatch.stats.rates import bernoulli


def brute_force(ratios):
    """Try every start and every alternative; a later start wins where two are as likely."""
    windows, alternatives = ratios.shape
    tries = [(ratios[s:, k].sum(), s, k) for k in range(alternatives) for s in range(windows)]
    return max(tries, key=lambda t: (round(t[0], 9), -t[2], t[1]))


@pytest.mark.parametrize("seed", range(30))
def test_it_is_the_likeliest_of_all_starts_and_alternatives(seed):
    rng = np.random.default_rng(seed)
    ratios = rng.normal(-0.1, 1, (rng.integers(1, 25), 4))
    evidence, since, alternative = brute_force(ratios)
    found = change_points(ratios)
    assert float(found.evidence) == pytest.approx(evidence)
    assert (int(found.since), int(found.alternative)) == (since, alternative)


def test_subjects_do_not_mix():
    ratios = np.random.default_rng(1).normal(0, 1, (12, 5, 3))
    starts = 1_000 + 60 * np.arange(12)
    found = change_points(ratios, starts)
    for i in range(5):
        alone = change_points(ratios[:, i], starts)
        assert [np.asarray(x)[i] for x in found] == [np.asarray(x) for x in alone]


def test_the_start_of_a_change_is_found_to_the_window():
    """200 events a minute, 2 % of which fail until the 40th minute, and 6 % from then on."""
    errors = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        k = np.concatenate([rng.binomial(200, 0.02, 40), rng.binomial(200, 0.06, 10)])
        errors.append(int(change_points(bernoulli(k, 200, 0.02)).since) - 40)
    assert np.median(np.abs(errors)) <= 1
    assert np.quantile(np.abs(errors), 0.9) <= 3


def test_what_is_kept_between_windows_is_json_and_goes_on_as_if_nothing_had_been():
    ratios = np.random.default_rng(2).normal(0, 1, (20, 3))
    whole, kept = Cusum.none(3), None
    for i, row in enumerate(ratios):
        whole = whole.add(row, i)
        kept = json.loads(json.dumps(Cusum.of_state(kept, 3).add(row, i).as_state()))
    assert kept == whole.as_state()


def test_other_alternatives_than_before_begin_anew():
    kept = Cusum.none(3).add([1.0, 2.0, 3.0], 7).as_state()
    assert Cusum.of_state(kept, 2).sums.tolist() == [0.0, 0.0]
    assert Cusum.of_state(kept, 3).since.tolist() == [7, 7, 7]


def test_windows_without_evidence_move_no_start():
    cusum = Cusum.none(1).add([2.0], 5).add([0.0], 6).add([1.0], 7)
    assert int(cusum.change_point().since) == 5


def test_a_change_that_is_over_is_forgotten():
    cusum = Cusum.none(1)
    for start, ratio in enumerate([3.0, -2.0, -2.0, 0.5]):
        cusum = cusum.add([ratio], start)
    assert cusum.change_point() == (3, 0, 0.5)


def test_evidence_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        Cusum.none(2).add([0.0, np.nan], 0)


def test_nothing_has_no_change_point():
    with pytest.raises(ValueError, match="without alternatives"):
        Cusum.none(0).change_point()
    with pytest.raises(ValueError, match="needs windows"):
        change_points([])
