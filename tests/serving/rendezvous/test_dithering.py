import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from birdwatch.serving.rendezvous.dithering import dither

N = 50
RANKINGS = 2000


def places(epsilon):
    """Give where each item of many rankings came to stand, by ranking and original place."""
    found = np.empty((RANKINGS, N), dtype=int)
    for ranking in range(RANKINGS):
        found[ranking, dither(range(N), epsilon, f"request {ranking}")] = np.arange(N)
    return found


@pytest.fixture(scope="module")
def dithered():
    return places(1.5)


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(), st.text(), st.none())), st.floats(1, 100), st.text())
def test_the_items_stay_the_same(items, epsilon, seed):
    assert sorted(map(repr, dither(items, epsilon, seed))) == sorted(map(repr, items))


@settings(deadline=None)
@given(st.lists(st.integers()), st.text())
def test_epsilon_1_leaves_the_order(items, seed):
    assert dither(items, 1.0, seed) == items


def test_a_seed_gives_one_order_and_another_seed_another():
    assert dither(range(N), 2.0, "r1") == dither(range(N), 2.0, "r1") != dither(range(N), 2.0, "r2")


def test_the_mean_displacement_grows_with_the_rank(dithered):
    moved = np.abs(dithered - np.arange(N)).mean(axis=0)
    # The last ones cannot go further down, so those are looked at that have as much again below them.
    by_depth = [moved[low:high].mean() for low, high in [(0, 1), (1, 3), (3, 6), (6, 12), (12, 25)]]
    assert by_depth == sorted(by_depth)
    assert by_depth[-1] > 4 * by_depth[0]


def test_a_larger_epsilon_moves_more(dithered):
    moved = [np.abs(each - np.arange(N)).mean() for each in (places(1.1), dithered, places(3.0))]
    assert moved == sorted(moved)


@pytest.mark.parametrize("k", [1, 2, 5, 10, 25])
def test_an_item_twice_as_deep_comes_first_as_often_at_every_depth(dithered, k):
    """The noise of two items differs by N(0, 2 log ε), and must outweigh log 2."""
    expected = norm.sf(math.log(2) / math.sqrt(2 * math.log(1.5)))
    seen = (dithered[:, 2 * k - 1] < dithered[:, k - 1]).mean()
    assert abs(seen - expected) < 4 * math.sqrt(expected * (1 - expected) / RANKINGS)


def test_every_item_is_seen_on_the_first_page_at_times():
    first = {item for ranking in range(3000) for item in dither(range(30), 3.0, str(ranking))[:10]}
    assert first == set(range(30))


def test_the_best_item_mostly_stays_first(dithered):
    assert statistics.mode(dithered[:, 0].tolist()) == 0


@pytest.mark.parametrize("epsilon", [0.99, 0.0, -1.0, math.nan, math.inf])
def test_an_epsilon_that_is_none_is_refused(epsilon):
    with pytest.raises(ValueError, match=f"not {epsilon}"):
        dither(["a"], epsilon, "r1")
