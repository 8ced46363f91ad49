import gzip
import math
import random

import msgspec
import pyarrow as pa
import pytest

from birdwatch.errors import SettingsError, StreamError
from birdwatch.records import encode
from birdwatch.streams import Message
from birdwatch.streams.files import FileStreams
from birdwatch.streams.replay import Recorded, append, merge, pace, parse_speed
from birdwatch.testing import FakeClock, MemoryStreams, a_decision, a_request, a_score, an_outcome


def at(*times):
    return [(b"", msgspec.json.encode({"ts": ts})) for ts in times]


def merged(streams, *names):
    return [(record.ts, record.message.stream, record.message.offset) for record in merge(streams, names)]


def test_streams_are_merged_in_order_of_event_time():
    streams, chance = MemoryStreams(), random.Random(3)
    times = sorted(chance.uniform(0, 1000) for _ in range(3000))
    homes = [chance.choice(["requests", "scores", "metrics"]) for _ in times]
    for home, ts in zip(homes, times, strict=True):
        streams.append(home, at(ts))
    records = list(merge(streams, ["metrics", "requests", "scores"]))
    assert [record.ts for record in records] == times
    assert [record.message.stream for record in records] == homes


def test_a_stream_keeps_its_own_order_where_event_time_goes_back():
    streams = MemoryStreams()
    streams.append("scores", at(10, 30, 20, 40))
    streams.append("metrics", at(25, 35))
    assert merged(streams, "scores", "metrics") == [
        (10, "scores", 0),
        (25, "metrics", 0),
        (30, "scores", 1),
        (30, "scores", 2),
        (35, "metrics", 1),
        (40, "scores", 3),
    ]


def test_at_the_same_event_time_the_stream_named_first_goes_first():
    streams = MemoryStreams()
    streams.append("scores", at(10))
    streams.append("requests", at(10))
    assert merged(streams, "requests", "scores") == [(10, "requests", 0), (10, "scores", 0)]


def test_what_cannot_be_read_goes_along_with_its_neighbours_unchanged():
    streams, target = MemoryStreams(), MemoryStreams()
    torn = [b'{"ts":', b"\xff\xfe", b'{"ts":"noon"}', b"[]"]
    streams.append("scores", [*at(10), *((b"", value) for value in torn), *at(30)])
    streams.append("metrics", at(20))
    records = list(merge(streams, ["scores", "metrics"]))
    append(target, records)
    assert [message.value for message in target.reader(["scores"]).poll()][1:5] == torn
    assert [record.dated for record in records] == [True, False, False, False, False, True, True]
    assert [record.message.stream for record in records][-2:] == ["metrics", "scores"]


@pytest.mark.parametrize(
    ("record", "key"),
    [
        (a_request(id="r7", key="user 3"), b"r7"),
        (a_score(request_id="r7"), b"r7"),
        (a_decision(request_id="r7"), b"r7"),
        (an_outcome(request_id="r7"), b"r7"),
    ],
)
def test_all_that_belongs_to_a_request_has_its_key(record, key):
    streams = MemoryStreams()
    streams.append("scores", [(b"", encode(record))])
    assert [found.key for found in merge(streams, ["scores"])] == [key]


def test_a_key_that_was_recorded_is_kept():
    streams = MemoryStreams()
    streams.append("scores", [(b"mine", encode(a_score()))])
    assert [found.key for found in merge(streams, ["scores"])] == [b"mine"]


@pytest.mark.parametrize(("column", "ts"), [("ts", 20.0), ("when", -math.inf)])
def test_a_table_is_as_old_as_its_first_row(column, ts):
    table = pa.table({column: [20.0, 21.0]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    streams = MemoryStreams()
    streams.append("scores", [(b"", sink.getvalue().to_pybytes())])
    assert [record.ts for record in merge(streams, ["scores"])] == [ts]


def test_a_damaged_stream_is_reported_and_the_others_go_on(tmp_path):
    (tmp_path / "scores.jsonl.gz").write_bytes(gzip.compress(b'{"ts":1}\n' * 1000)[:-9])
    (tmp_path / "metrics.jsonl").write_bytes(b'{"ts":5}\n')
    streams, faults = FileStreams(f"files:{tmp_path}"), []
    records = list(merge(streams, ["scores", "metrics"], on_fault=faults.append))
    assert records[-1].message.stream == "metrics"
    assert len(faults) == 1
    assert "scores.jsonl.gz is damaged" in str(faults[0])
    with pytest.raises(StreamError, match="is damaged"):
        list(merge(streams, ["scores", "metrics"]))


def dated(*times):
    return [Recorded(ts, dated=True, key=b"", message=Message("scores", 0, 0, b"", b"")) for ts in times]


def paced(records, speed, clock, **options):
    return [
        (clock(), [record.ts for record in batch])
        for batch in pace(records, speed, clock=clock, sleep=clock.sleep, **options)
    ]


def test_event_time_passes_at_the_speed_asked_for():
    clock = FakeClock(50.0)
    assert paced(dated(1000, 1000, 1060, 1120), 60.0, clock) == [
        (50.0, [1000, 1000]),
        (51.0, [1060]),
        (52.0, [1120]),
    ]


def test_delays_do_not_add_up():
    clock = FakeClock(0.0)
    seen = []
    for batch in pace(dated(0, 10, 20, 30, 40), 10.0, clock=clock, sleep=clock.sleep):
        seen.append((clock(), [record.ts for record in batch]))
        if len(seen) == 1:
            clock.sleep(2.5)  # the target was slow
    assert seen == [(0.0, [0]), (2.5, [10, 20]), (3.0, [30]), (4.0, [40])]


def test_the_highest_speed_never_waits():
    clock = FakeClock(0.0)
    assert paced(dated(0, 1e6, 1e9), math.inf, clock) == [(0.0, [0, 1e6, 1e9])]


def test_batches_have_a_limit():
    assert [len(batch) for _, batch in paced(dated(*range(7)), math.inf, FakeClock(), limit=3)] == [3, 3, 1]


def test_messages_before_any_event_time_go_at_once():
    clock = FakeClock(0.0)
    assert paced(dated(-math.inf, 100, 110), 10.0, clock) == [(0.0, [-math.inf, 100]), (1.0, [110])]


@pytest.mark.parametrize("text", ["0", "-1x", "fast", "", "nan", "x"])
def test_what_is_no_speed_is_refused(text):
    with pytest.raises(SettingsError, match="write 60x, 1x or max"):
        parse_speed(text)
