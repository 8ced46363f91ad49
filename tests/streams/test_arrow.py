"""A damaged Arrow payload is refused; it never ends the process."""

import subprocess
import sys
import textwrap

import pyarrow as pa
import pytest

from birdwatch.errors import RecordError
from birdwatch.streams.arrow import encode_table, is_arrow, read_rows

ROWS = [
    {"id": "a", "ts": 1.0, "tags": ["x"]},
    {"id": "bb", "ts": 2.5, "tags": []},
    {"id": None, "ts": None, "tags": None},
]


def test_rows_come_back_as_they_were():
    payload = encode_table(pa.Table.from_pylist(ROWS))
    assert is_arrow(payload)
    assert read_rows(payload) == ROWS


def test_json_is_no_arrow():
    assert not is_arrow(b'{"id": "a"}')


@pytest.mark.parametrize("value", [b"\xff\xff\xff\xff", b"\xff\xff\xff\xff\x10", b"\xff\xff\xff\xff\xff\xff\xff\x7f"])
def test_what_only_begins_like_arrow_is_refused(value):
    with pytest.raises(RecordError, match="not an Arrow stream"):
        read_rows(value)


def test_damaged_in_any_place_it_is_refused_or_read_and_nothing_worse():
    # In a process of its own: what this is about would end the one it happens in.
    program = """
        import random
        import pyarrow as pa
        from birdwatch.errors import RecordError
        from birdwatch.streams.arrow import encode_table, read_rows
        payload = encode_table(pa.table({"id": ["a", "bb", "c"], "ts": [1.0, 2.0, 3.0], "tags": [["x"], [], None]}))
        draw = random.Random(1)
        refused = 0
        for _ in range(5000):
            damaged = bytearray(payload)
            for _ in range(draw.randint(1, 6)):
                damaged[draw.randrange(4, len(damaged))] = draw.randrange(256)
            try:
                read_rows(bytes(damaged))
            except RecordError:
                refused += 1
        print(refused)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert int(found.stdout) > 1000
