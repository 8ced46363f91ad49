"""Histograms come back from their bytes as they were, and take little room."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdwatch.windows.packed import pack, unpack
from birdwatch.windows.pane import Counts

LEAST, MOST = -(2**63), 2**63 - 1
edges = st.sampled_from([0, 1, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**41])
bins = edges | edges.map(int.__neg__) | st.integers(-(2**50), 2**50)
counts = edges | st.integers(LEAST, MOST) | st.sampled_from([LEAST, MOST, -1])


@st.composite
def histograms(draw):
    found = sorted(draw(st.sets(bins, min_size=1, max_size=20)))
    sums = draw(st.lists(counts, min_size=len(found), max_size=len(found)))
    return Counts(np.array(found, dtype=np.int64), np.array(sums, dtype=np.int64))


def unpacked(packed):
    edges, bins, counts = unpack(packed)
    return [Counts(bins[begin:end], counts[begin:end]) for begin, end in pairwise(edges.tolist())]


@given(st.lists(histograms(), max_size=6))
def test_what_is_packed_comes_back_as_it_was(many):
    found = unpacked(pack(many))
    assert [[each.tolist() for each in both] for both in found] == [[each.tolist() for each in both] for both in many]
    assert {each.dtype for both in found for each in both} <= {np.dtype(np.int64)}


def test_scores_of_a_minute_take_a_fifth_of_what_their_numbers_do():
    scores = Counts.of(np.random.default_rng(5).integers(130_000, 131_000, size=500))
    [packed] = pack([scores])
    assert len(packed) < (scores.bins.nbytes + scores.counts.nbytes) / 5


@pytest.mark.parametrize("cut", range(12))
def test_what_was_cut_off_is_no_histogram_and_takes_no_room_among_others(cut):
    packed, other = pack([Counts.of([1, 300], [1, 70_000]), Counts.of([7, 9], [2, 1])])
    first, second = unpacked([packed[:cut], other])
    assert (first.bins.size, second.bins.tolist(), second.counts.tolist()) == (0, [7, 9], [2, 1])


@pytest.mark.parametrize("head", [0x40, 0x04, 0x44, 0xFF])
def test_what_begins_with_another_byte_is_no_histogram(head):
    [packed] = pack([Counts.of([1, 2])])
    assert unpacked([bytes([head]) + packed[1:]])[0].bins.size == 0
