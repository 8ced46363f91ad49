import numpy as np
import pytest
from scipy import stats

from birdwatch.stats.contrast import BANDS, band_contrast, g_squared
from birdwatch.stats.discordance import cuts_of
from birdwatch.stats.grid import bins_of


def histogram(values):
    bins, counts = np.unique(bins_of(values), return_counts=True)
    return bins, counts.astype(np.int64)


def test_the_golden_table():
    assert float(g_squared([[10, 90], [20, 80]])) == pytest.approx(3.98656, abs=5e-6)


@pytest.mark.parametrize("seed", range(8))
def test_it_is_scipys_log_likelihood_ratio(seed):
    table = np.random.default_rng(seed).integers(1, 500, (2, 2 + seed % 4))
    expected = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood").statistic
    assert float(g_squared(table)) == pytest.approx(expected)


def test_empty_cells_rows_and_columns_say_nothing():
    assert float(g_squared([[5, 0, 5], [3, 0, 7]])) == pytest.approx(float(g_squared([[5, 5], [3, 7]])))
    assert float(g_squared([[0, 0], [3, 7]])) == pytest.approx(0, abs=1e-9)
    assert float(g_squared([[0, 0], [0, 0]])) == 0.0
    exact = stats.chi2_contingency([[0, 9], [4, 6]], correction=False, lambda_="log-likelihood").statistic
    assert float(g_squared([[0, 9], [4, 6]])) == pytest.approx(exact)


def test_many_tables_at_once_are_each_of_them_alone():
    tables = np.random.default_rng(3).integers(0, 90, (4, 3, 2, 5))
    found = g_squared(tables)
    assert found.shape == (4, 3)
    assert found[2, 1] == pytest.approx(float(g_squared(tables[2, 1])))


def test_twenty_of_a_thousand_from_the_tail_are_found():
    """Dunning's own: against 100,000 of N(0, 1), windows of 1,000, 20 of which come from N(3, 1) where shifted."""
    rng = np.random.default_rng(12)
    reference = histogram(rng.normal(0, 1, 100_000))
    cuts = cuts_of(*reference, BANDS)

    def found(shifted):
        values = np.concatenate([rng.normal(0, 1, 1_000 - shifted), rng.normal(3, 1, shifted)])
        return band_contrast(histogram(values), reference, cuts)[0] > 12

    assert np.mean([found(20) for _ in range(300)]) >= 0.95
    assert np.mean([found(0) for _ in range(300)]) <= 0.02


def test_bands_count_a_window_beside_its_reference():
    cuts = np.array([2, 4])
    _, counts = band_contrast((np.array([1, 9]), np.array([5, 6])), (np.array([2, 3]), np.array([7, 8])), cuts)
    assert counts.tolist() == [[5, 0, 6], [7, 8, 0]]


def test_a_reference_of_one_value_has_one_band_and_no_contrast():
    one = histogram(np.full(100, 0.5))
    cuts = cuts_of(*one, BANDS)
    assert cuts.size == 0
    assert band_contrast(histogram([0.1, 0.9]), one, cuts)[0] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("wrong", [[[1, -1], [1, 1]], [[1, np.nan], [1, 1]]])
def test_what_is_no_count_is_refused(wrong):
    with pytest.raises(ValueError, match="0 or more"):
        g_squared(wrong)
