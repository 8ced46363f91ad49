"""Records travel as JSON and come back as they were; what they are not is said."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdwatch.errors import RecordError
from birdwatch.records import RECORDS, Request, Score, decode, encode, new_id
from birdwatch.testing import a_decision, a_request, a_score, an_outcome


@pytest.mark.parametrize("record", [a_request(), a_score(), a_decision(), an_outcome()])
def test_a_record_comes_back_as_it_was(record):
    assert decode(encode(record), type(record)) == record


def test_an_unknown_field_is_ignored():
    assert decode(encode(a_score())[:-1] + b',"colour":"red"}', Score) == a_score()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b'{"id": "a"', "truncated"),
        (b'{"id": "a"}', "missing required field `ts`"),
        (b'{"id": 7}', "`$.id`"),
        (b"\xff", "Request"),
    ],
)
def test_what_is_no_record_says_why(value, says):
    with pytest.raises(RecordError, match="not a Request") as error:
        decode(value, Request)
    assert says in str(error.value)


def test_nan_travels_as_null():
    assert decode(encode(a_score(score=float("nan"))), Score).score is None


@given(st.lists(st.integers(0, 2**41), min_size=2, max_size=2, unique=True))
def test_ids_are_uuids_of_version_7_that_sort_by_time(milliseconds):
    early, late = (new_id(ms / 1000) for ms in sorted(milliseconds))
    assert uuid.UUID(early).version == 7
    assert uuid.UUID(early).variant == uuid.RFC_4122
    assert early[:13] <= late[:13]


def test_each_stream_has_its_record():
    assert RECORDS["canary"] is RECORDS["scores"] is Score
