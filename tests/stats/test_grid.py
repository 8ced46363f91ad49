"""The grid keeps order, is fine enough, and its edges never move."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdwatch.stats.grid import bins_of, lower_edges, midpoints, upper_edges

numbers = st.floats(allow_nan=False, allow_infinity=False)
probabilities = st.floats(0, 1)


@given(numbers, numbers)
def test_bins_are_ordered_as_the_numbers_are(a, b):
    low, high = bins_of(sorted([a, b]))
    assert low <= high


@given(probabilities, probabilities)
def test_bins_of_probabilities_are_ordered_as_the_numbers_are(a, b):
    low, high = bins_of(sorted([a, b]), "probability")
    assert low <= high


@given(numbers)
def test_a_number_lies_between_the_edges_of_its_bin(x):
    bin_ = bins_of([x])
    assert lower_edges(bin_)[0] <= x <= upper_edges(bin_)[0]


@given(probabilities)
def test_a_probability_lies_between_the_edges_of_its_bin(x):
    bin_ = bins_of([x], "probability")
    assert lower_edges(bin_, "probability")[0] <= x <= upper_edges(bin_, "probability")[0]


@given(st.floats(1e-300, 1e300))
def test_a_bin_is_less_than_one_per_cent_wide(x):
    bin_ = bins_of([x])
    assert (upper_edges(bin_) - lower_edges(bin_))[0] / x < 0.01


def test_near_certainty_is_seen_as_finely_as_near_impossibility():
    few = bins_of([0.001, 0.0011], "probability")
    many = bins_of([0.999, 0.9989], "probability")
    assert abs(few[1] - few[0]) == pytest.approx(abs(many[1] - many[0]), abs=1)


def test_zero_has_one_bin_whatever_its_sign():
    assert bins_of([0.0]) == bins_of([-0.0])


def test_edges_follow_from_the_bits_of_ieee_754():
    assert lower_edges(bins_of([1.0])) == 1.0
    assert upper_edges(bins_of([1.0])) == 1.0 + 2**-7
    assert math.isclose(midpoints(bins_of([1.0]))[0], 1.0 + 2**-8)


def test_nan_is_refused():
    with pytest.raises(ValueError, match="1 of 2 values are NaN"):
        bins_of([1.0, np.nan])


def bin_by_hand(x):
    """Read the bin off the bytes: sign, exponent and seven bits of the mantissa."""
    bits = int.from_bytes(struct.pack(">d", abs(x)), "big") >> 45
    return -1 - bits if x < 0 else bits


@given(st.lists(st.floats(allow_nan=False)))
def test_bins_are_the_leading_bits_of_each_number(values):
    assert bins_of(values).tolist() == [bin_by_hand(x) for x in values]


@given(st.lists(st.floats(min_value=0, exclude_min=True)))
def test_positive_numbers_alone_have_the_same_bins(values):
    assert bins_of(values).tolist() == [bin_by_hand(x) for x in values]


@given(st.lists(st.floats(-2, 2) | probabilities))
def test_probabilities_are_mirrored_at_a_half(values):
    half = bin_by_hand(0.5)
    by_hand = [bin_by_hand(x) if x <= 0.5 else 2 * half - bin_by_hand(1.0 - x) for x in values]
    assert bins_of(values, "probability").tolist() == by_hand
