"""What Spark's machines do, without Spark: whatever they are given in whatever order, the panes are those of one tail."""

import json
from collections import defaultdict

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from birdwatch.config import Feature, Mapping, Segment, Settings
from birdwatch.records import encode
from birdwatch.streams.arrow import encode_table
from birdwatch.testing import FakeClock, MemoryStreams
from birdwatch.windows.pane import Counts, Series
from birdwatch.windows.store import Extreme, Store
from birdwatch.windows.tail import Tail

from ..windows.traffic import START, champion_named, shuffled, traffic, write  # noqa: TID252

pytest.importorskip("pyspark", reason="pip install 'birdwatch[spark]'")
from birdwatch.spark.parts import MESSAGES, Parts

NOW = START + 86_400
EVER = 1e9
SETTINGS = Settings(
    pane_seconds=60,
    lateness_seconds=EVER,
    features={"size": Feature(), "from": Feature(kind="category", most=2)},
    segments={"from": Segment(most=2), "size": Segment(kind="number")},
)


def memory():
    clock = FakeClock(START)
    return MemoryStreams(clock=clock, sleep=clock.sleep)


def by_a_tail(streams, path, settings=SETTINGS):
    store = Store(path, pane_seconds=60)
    tail = Tail(streams, store, settings, finite=True, now=lambda: NOW)
    while tail.step(500, 0.0):
        pass
    tail.finish()
    tail.close()
    return store, tail.dead_letters


def messages_of(streams):
    reader = streams.reader([name for name in streams.names() if name != "deadletters"])
    found = []
    while messages := reader.poll(1000, 0.0):
        found += messages
    return found


def by_parts(messages, parts, settings=SETTINGS, *, control=(), rng=None):
    """Do as Spark does: batches in any order, rows brought together by pane and part, and these by pane."""
    rng = rng or np.random.default_rng(1)
    rows = [(m.stream, m.partition, m.offset, m.key, m.value) for m in messages]
    rows = [rows[place] for place in rng.permutation(len(rows))]
    batches = [
        pa.RecordBatch.from_pylist(
            [dict(zip(MESSAGES.names, row, strict=True)) for row in rows[at : at + 300]], MESSAGES
        )
        for at in range(0, len(rows), 300)
    ]
    machine = lambda: Parts(settings, NOW, tuple(control), parts)  # noqa: E731 - what was sent to one machine is not on another
    placed = pa.Table.from_batches([out for batch in batches for out in machine().place([batch])])
    counted = pa.concat_tables(machine().count(group) for group in grouped(placed, "start", "part"))
    return [machine().add_up(group).to_pylist()[0] for group in grouped(counted, "start")]


def grouped(table, *names):
    at = defaultdict(list)
    for row, key in enumerate(zip(*(table[name].to_pylist() for name in names), strict=True)):
        at[key].append(row)
    return [table.take(pa.array(rows)) for rows in at.values()]


def digest(rows):
    return {
        (row["start"], Series(*list(one.values())[:5])): tuple(
            np.array(one[name], "<i8").tobytes() for name in Counts._fields
        )
        for row in rows
        for one in row["series"]
    }


@pytest.mark.parametrize(("seed", "parts"), [(1, 1), (2, 2), (3, 5)])
def test_messages_in_any_order_come_to_the_panes_of_one_tail(tmp_path, seed, parts):
    streams, champion = memory(), champion_named()
    events = traffic(rate=1.0, seed=seed)
    write(streams, [(START, "control", champion)])
    write(streams, shuffled(events + events[::7], within=400, seed=seed))
    store, _ = by_a_tail(streams, tmp_path / "one.db")
    rows = by_parts(messages_of(streams), parts, control=[champion], rng=np.random.default_rng(seed))
    assert digest(rows) == store.digest()
    assert {series.partner for _, series in store.digest()} == {"", "champion", "canary"}
    said = {row["start"]: [Extreme(**one) for one in row["extremes"] if one["model"] == "challenger"] for row in rows}
    for start, extremes in said.items():
        kept = [extreme for _, extreme in store.extremes(start, start + 60, "challenger", "champion", 100)]
        assert sorted(extremes) == sorted(kept)
    twice = {stream: sum(dict(row["duplicates"]).get(stream, 0) for row in rows) for stream in ("scores", "requests")}
    arrived = store.arrivals(0, 2**40)
    assert twice == {stream: arrived[stream].duplicates for stream in twice}
    assert twice["scores"] > 0


def test_the_champion_is_the_one_in_force_when_a_pane_began(tmp_path):
    streams = memory()
    first = champion_named()
    second = msgspec.structs.replace(champion_named(START + 360), model="challenger")
    write(streams, [(START, "control", first), (START, "control", second), *traffic(rate=1.0)])
    store, _ = by_a_tail(streams, tmp_path / "one.db")
    rows = by_parts(messages_of(streams), 2, control=[first, second])
    assert digest(rows) == store.digest()
    partners = {row["start"]: {one["partner"] for one in row["series"]} - {"", "canary"} for row in rows}
    assert [partners[int(START) + at] for at in (0, 240, 300, 540)] == [{"champion"}] * 2 + [{"challenger"}] * 2


def test_what_lies_twice_in_an_archive_counts_once_and_is_no_duplicate_of_a_record():
    streams = memory()
    write(streams, traffic(seconds=60))
    streams.append("scores", [(b"", b"nonsense")])
    messages = messages_of(streams)
    once, twice = by_parts(messages, 2), by_parts(messages + messages, 2)
    assert digest(once) == digest(twice)
    assert [row["unreadable"] for row in twice if row["unreadable"]] == [
        row["unreadable"] for row in once if row["unreadable"]
    ]
    assert not any(row["duplicates"] for row in twice)


def test_what_cannot_be_read_comes_back_with_its_place_and_why(tmp_path):
    streams = memory()
    write(streams, traffic(seconds=120))
    streams.append("scores", [(b"k", b"not a record"), (b"", b"{}")])
    streams.append("control", [(b"", b"what?")])
    _, dead = by_a_tail(streams, tmp_path / "one.db")
    messages = messages_of(streams)
    rows = by_parts(messages, 3)
    letters = [letters for row in rows for letters in row["unreadable"]]
    assert [row["start"] for row in rows if row["unreadable"]] == [None]
    assert sum(one["n"] for one in letters) == dead == 3
    assert {(one["stream"], one["kind"]) for one in letters} == {("scores", "unreadable"), ("control", "unreadable")}
    batch = pa.RecordBatch.from_pylist(
        [{"topic": "scores", "partition": 4, "offset": 9, "key": b"k", "value": b"no"}], MESSAGES
    )
    nothing, [row] = (out.to_pylist() for out in Parts(SETTINGS, NOW, (), 3).place([batch]))
    assert nothing == []
    assert (row["start"], row["topic"], row["partition"], row["offset"]) == (None, "scores", 4, 9)
    assert (row["key"], row["value"], row["kind"]) == (b"k", b"no", "unreadable")
    assert "not a Score" in row["reason"]


def test_a_message_of_many_rows_counts_in_each_of_its_panes(tmp_path):
    streams = memory()
    scores = [msgspec.structs.asdict(record) for _, stream, record in traffic(seconds=300) if stream == "scores"]
    for at in range(0, len(scores), 200):
        streams.append("scores", [(b"", encode_table(pa.Table.from_pylist(scores[at : at + 200])))])
    bad = {**scores[0], "request_ts": "never"}
    streams.append("scores", [(b"", encode_table(pa.Table.from_pylist([bad])))])
    store, dead = by_a_tail(streams, tmp_path / "one.db")
    rows = by_parts(messages_of(streams), 3)
    assert digest(rows) == store.digest()
    assert len(rows) == 6
    assert sum(one["n"] for row in rows for one in row["unreadable"]) == dead == 1


def test_one_topic_of_somebody_else_that_is_read_as_two_streams(tmp_path):
    fields = {"request_id": "id", "request_ts": "at", "ts": "at", "score": "p"}
    asked = Mapping(topic="theirs", fields={"id": "id", "ts": "at", "features.size": "size", "features.from": "from"})
    settings = SETTINGS.model_copy(
        update={
            "mappings": {"scores": Mapping(topic="theirs", fields=fields, constants={"model": "m"}), "requests": asked}
        }
    )
    streams = memory()
    theirs = [{"id": f"r{n}", "at": START + n, "p": n / 200, "size": n % 5, "from": "ABC"[n % 3]} for n in range(200)]
    streams.append("theirs", [(b"", json.dumps(each).encode()) for each in theirs] + [(b"", b'{"id": "only an id"}')])
    store, dead = by_a_tail(streams, tmp_path / "one.db", settings)
    rows = by_parts(messages_of(streams), 4, settings)
    assert digest(rows) == store.digest()
    assert sum(one["n"] for row in rows for one in row["unreadable"]) == dead == 2


def test_an_event_is_out_of_range_by_one_clock_for_all():
    [(_, _, record)] = [event for event in traffic(seconds=2, rate=1.0) if event[1] == "requests"][:1]
    early = msgspec.structs.replace(record, ts=NOW + 601.0)
    batch = pa.RecordBatch.from_pylist(
        [{"topic": "requests", "partition": 0, "offset": 0, "key": b"", "value": encode(early)}], MESSAGES
    )
    _, [row] = (out.to_pylist() for out in Parts(SETTINGS, NOW, (), 1).place([batch]))
    assert row["kind"] == "out of range"
