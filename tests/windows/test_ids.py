"""An id has one number however it is read, and two ids have two."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birdwatch.windows.ids import ids_of_column, ids_of_texts

TEXTS = st.lists(st.text(max_size=40) | st.sampled_from(["", "a", "a\x00", "x" * 8, "x" * 9, "é" * 256]), max_size=30)


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.integers(0, 30), st.sampled_from([pa.string(), pa.large_string()]))
def test_texts_and_columns_give_the_same_whatever_stands_beside(texts, cut, kind):
    numbers, names = ids_of_texts(texts)
    # Cut in two, and each a slice of something longer.
    parts = [pa.array(["before", *part, "behind"], kind).slice(1, len(part)) for part in (texts[:cut], texts[cut:])]
    others, columns = ids_of_column(pa.chunked_array(parts))
    assert numbers.tolist() == others.tolist()
    assert names.tolist() == columns.tolist()
    for text, number in zip(texts, numbers.tolist(), strict=True):
        assert ids_of_texts([text])[0].tolist() == [number]
    assert [text.encode().rstrip(b"\x00") for text in texts] == names.tolist()
    assert len(set(numbers.tolist())) == len(set(texts))


@pytest.mark.parametrize("name", ["{:d}", "{:036d}", "{:08d}-0000-4000-8000-000000000000", "0000-{:x}", "{:08d}{:08d}"])
def test_ids_that_are_nearly_alike_never_meet(name):
    texts = [name.format(n, n) for n in range(100_000)]
    numbers = np.sort(ids_of_texts(texts)[0])
    assert (np.diff(numbers) != 0).all()
    # As spread as random numbers are: each bit is set in half of them.
    bits = np.unpackbits(numbers.view(np.uint8)).reshape(len(texts), 64).mean(axis=0)
    assert np.abs(bits - 0.5).max() < 0.01
