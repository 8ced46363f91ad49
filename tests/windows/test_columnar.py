"""Whole columns of an Arrow payload give the same as its rows one by one, and the same faults where a row has one."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birdwatch.config import Mapping
from birdwatch.streams import Message
from birdwatch.streams.arrow import encode_table
from birdwatch.windows.decode import Decoder
from birdwatch.windows.names import Names

NOW = 1_700_000_000.0
OURS = {
    "request_id": pa.array(["a", "b", "ü"]),
    "request_ts": pa.array([NOW - 3, NOW - 2, NOW - 1]),
    "ts": pa.array([NOW, NOW, NOW]),
    "model": pa.array(["m", "m", "n"]),
    "version": pa.array(["1", "2", "1"]),
    "score": pa.array([0.25, 0.5, 0.75]),
}
THEIRS = Mapping(
    fields={"request_id": "trace", "request_ts": "when", "model": "who", "score": "p", "elapsed_seconds": "ms"},
    constants={"version": "7", "queue_seconds": 0.5},
    units={"elapsed_seconds": 0.001},
)
RENAMED = {"trace": "request_id", "when": "request_ts", "who": "model", "p": "score", "ms": "elapsed_seconds"}


class Spy:
    """Reads as the decoder's own, but message by message if so asked; keeps which messages were taken."""

    def __init__(self, read, *, at_once):
        self.read, self.at_once, self.taken, self.took_all = read, at_once, [], False

    def all_of(self, *given):
        found = self.read.all_of(*given) if self.at_once else None
        self.took_all = found is not None
        return found

    def __call__(self, *given):
        found = self.read(*given)
        self.taken.append(found is not None)
        return found


def decoded(tables, mapping=None, stream="scores", *, how="by message"):
    decoder = Decoder(stream, Names(), mapping, now=lambda: NOW)
    assert decoder._columnar is not None
    spy = Spy(decoder._columnar, at_once=how == "at once")
    decoder._columnar = spy if how != "by rows" else None
    messages = [Message(stream, 0, i, b"", encode_table(table)) for i, table in enumerate(tables)]
    columns, origin, faults = decoder(messages)
    who = [decoder._names.pairs[code] for code in columns.pop("who").tolist()] if "who" in columns else []
    return columns, who, origin.tolist(), faults, spy


def assert_same(tables, mapping=None, stream="scores"):
    """See that all ways of reading give the same; say which messages were taken by columns."""
    slow, *others, _ = decoded(tables, mapping, stream, how="by rows")
    by_message = decoded(tables, mapping, stream)
    at_once = decoded(tables, mapping, stream, how="at once")
    for fast, *rest, _ in (by_message, at_once):
        assert fast.keys() == slow.keys()
        for name, column in slow.items():
            wide = np.promote_types(fast[name].dtype, column.dtype)
            assert fast[name].astype(wide).tobytes() == column.astype(wide).tobytes(), name
        assert rest == others
    taken = by_message[-1].taken
    alike = len({tuple(table.schema) for table in tables}) == 1
    assert at_once[-1].took_all == (alike and all(taken) and len(taken) > 0)
    return taken


def test_plain_scores_are_read_by_columns_and_give_the_same():
    assert assert_same([pa.table(OURS), pa.table(OURS).slice(1, 1)]) == [True, True]


def test_somebody_elses_names_units_and_constants_give_the_same():
    table = pa.table({theirs: OURS[ours] for theirs, ours in RENAMED.items() if ours in OURS} | {"ms": [1, None, 3]})
    assert assert_same([table], THEIRS) == [True]
    columns = decoded([table], THEIRS, how="at once")[0]
    assert columns["queue_seconds"].tolist() == [0.5] * 3
    np.testing.assert_array_equal(columns["elapsed_seconds"], [0.001, math.nan, 0.003])


def test_requests_and_outcomes_are_read_by_columns_too():
    requests = pa.table({"id": ["a", "b"], "ts": [NOW, NOW], "features": [{"x": 1}, {"x": 2}]})
    assert assert_same([requests], stream="requests") == [True]
    outcomes = pa.table({"request_id": ["a"], "ts": [NOW], "reward": [1]})
    assert assert_same([outcomes], stream="outcomes") == [True]


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("request_id", ["a", None, "c"]),
        ("request_id", ["a", "b" * 257, "c"]),
        ("request_id", [1, 2, 3]),
        ("request_ts", [NOW, None, NOW]),
        ("request_ts", [NOW, math.nan, NOW]),
        ("request_ts", [NOW, NOW * 1000, NOW]),
        ("request_ts", [NOW, 0.0, NOW]),
        ("ts", [NOW, math.inf, NOW]),
        ("model", ["m", None, "n"]),
        ("score", [0.1, math.inf, 0.2]),
        ("score", ["0.1", "0.2", "x"]),
        ("score", [True, False, True]),
        ("error", [1, 2, 3]),
    ],
)
def test_what_is_wrong_with_one_row_is_that_rows_fault(field, values):
    assert assert_same([pa.table(OURS | {field: pa.array(values)})]) == [False]


def test_a_field_that_is_not_there_is_every_rows_fault():
    assert assert_same([pa.table({name: column for name, column in OURS.items() if name != "ts"})]) == [False]


def test_two_columns_of_one_name_are_left_to_whoever_reads_rows():
    table = pa.table(OURS)
    assert assert_same([table.append_column("score", pa.array([1.0, 1.0, 1.0]))]) == [False]


NUMBERS = st.one_of(
    st.none(),
    st.floats(-1e6, 1e6),
    st.integers(-(2**62), 2**62),
    st.sampled_from([math.nan, math.inf, NOW, NOW + 1e9, 0.1, -0.0]),
)
TEXTS = st.one_of(st.none(), st.text(max_size=5), st.sampled_from(["m", "a\x00", "é" * 256]))


def column(values, kinds):
    """A column of values in one of the types that hold all of them."""

    def made(drawn):
        found, kind = drawn
        try:
            return pa.array(found, kind)
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            return pa.array([None] * len(found), kind)

    return st.tuples(st.lists(values, min_size=4, max_size=4), st.sampled_from(kinds)).map(made)


NUMBER_COLUMN = column(NUMBERS, [pa.float64(), pa.float32(), pa.int64(), pa.uint8(), pa.null()])
TEXT_COLUMN = column(TEXTS, [pa.string(), pa.large_string(), pa.null()])
TIME_COLUMN = st.one_of(NUMBER_COLUMN, st.just(pa.array([NOW, NOW - 1, NOW - 2, NOW - 3])))
NAME_COLUMN = st.one_of(TEXT_COLUMN, st.just(pa.array(["w", "x", "y", "z"])))


@settings(max_examples=150, deadline=None)
@given(
    st.fixed_dictionaries(
        {"request_id": NAME_COLUMN, "request_ts": TIME_COLUMN, "model": NAME_COLUMN, "score": NUMBER_COLUMN},
        optional={
            "ts": TIME_COLUMN,
            "version": NAME_COLUMN,
            "error": TEXT_COLUMN,
            "elapsed_seconds": NUMBER_COLUMN,
        },
    ),
    st.booleans(),
)
def test_any_table_gives_the_same(fields, foreign):
    if foreign:
        back = {ours: theirs for theirs, ours in RENAMED.items()}
        table = pa.table({back.get(name, name): values for name, values in fields.items()})
        if "ms" in table.column_names:
            assert_same([table, table], THEIRS)
    else:
        assert_same([pa.table(fields), pa.table(OURS)])
