"""Groups that are counted together have what each would have alone."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from birdwatch.windows.tally import tallies

rows = st.lists(
    st.tuples(
        st.integers(0, 5) | st.just(2**30), st.integers(-4, 4) | st.integers(-(2**45), 2**45), st.integers(-3, 3)
    ),
    max_size=60,
)


def added_up(groups, bins, amounts):
    sums = {}
    for group, bin_, amount in zip(groups, bins, amounts, strict=True):
        sums[group, bin_] = sums.get((group, bin_), 0) + amount
    return {at: n for at, n in sorted(sums.items()) if n}


@given(rows)
@example([(2**30, 2**45, 1), (0, -(2**45), 2)])  # more than one number holds
@example([(1, 5, 1), (1, 5, -1)])  # nothing is left
def test_each_group_has_its_own_sums_by_bin_in_order(found):
    groups, bins, amounts = (
        (np.array(column, dtype=np.int64) for column in zip(*found, strict=True))
        if found
        else [np.empty(0, np.int64)] * 3
    )
    for given_amounts, expected in ((None, np.ones_like(amounts)), (amounts, amounts)):
        told = [
            ((group, bin_), n)
            for group, counts in tallies(groups, bins, given_amounts)
            for bin_, n in zip(counts.bins.tolist(), counts.counts.tolist(), strict=True)
        ]
        assert told == list(added_up(groups.tolist(), bins.tolist(), expected.tolist()).items())
