"""Panes merge by addition, exactly."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdwatch.windows.pane import Counts, Series, merge, selection_bin, selection_of, total

bins = st.lists(st.integers(-(2**40), 2**40), max_size=50) | st.lists(st.integers(-20, 20), max_size=50)


@given(bins)
def test_counts_are_what_a_counter_counts(values):
    found = Counts.of(values)
    assert dict(zip(found.bins.tolist(), found.counts.tolist(), strict=True)) == Counter(values)


@given(bins, st.data())
def test_sums_are_what_a_counter_adds_up(values, data):
    each = data.draw(st.lists(st.integers(-3, 2**60), min_size=len(values), max_size=len(values)))
    sums = Counter()
    for value, count in zip(values, each, strict=True):
        sums[value] += count
    found = Counts.of(values, each)
    assert found.bins.tolist() == sorted(value for value, total_ in sums.items() if total_)
    assert found.counts.tolist() == [sums[value] for value in found.bins.tolist()]


@given(st.lists(bins, max_size=6), st.randoms(use_true_random=False))
def test_parts_in_any_order_add_up_to_the_whole(parts, random):
    whole = Counts.of([value for part in parts for value in part])
    random.shuffle(parts)
    found = total(Counts.of(part) for part in parts)
    assert np.array_equal(found.bins, whole.bins)
    assert np.array_equal(found.counts, whole.counts)


def test_sums_that_cancel_leave_no_bin():
    assert total([Counts.of([1], [5]), Counts.of([1], [-5])]).bins.size == 0


def test_panes_of_other_series_stand_side_by_side():
    a, b = Series("score", "a"), Series("score", "b")
    found = merge([{a: Counts.of([1])}, {a: Counts.of([1]), b: Counts.of([2])}])
    assert found[a].counts.tolist() == [2]
    assert found[b].counts.tolist() == [1]


@pytest.mark.parametrize("tier", [-1, 0, 3])
@pytest.mark.parametrize("reason", ["first choice", "default"])
def test_a_selection_is_read_back_as_it_was_written(tier, reason):
    assert selection_of(selection_bin(tier, reason)) == (tier, reason)
