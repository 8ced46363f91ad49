"""The store keeps panes as they were, and refuses what it cannot mix."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from birdwatch.errors import DiskFullError, StoreBusyError, StoreError
from birdwatch.records import Control
from birdwatch.streams import Partition
from birdwatch.windows import sumfile
from birdwatch.windows.pane import Counts, Series
from birdwatch.windows.store import Checkpoint, Extreme, Store

SCORE = Series("score", "m", "1")
JUNE = 1_370_563_200.0  # 7 June 2013, 00:00 UTC


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "s.db", pane_seconds=60)


def write_and_crash(store):
    with store.transaction():
        store.put(0, {SCORE: Counts.of([1])})
        store.put_checkpoints({Partition("scores"): Checkpoint(1, 2)})
        raise RuntimeError("crash")


def test_a_pane_is_read_back_as_it_was_written(store):
    store.put(120, {SCORE: Counts.of([5, 7, 5])})
    found = store.pane(120, 180)[SCORE]
    assert (found.bins.tolist(), found.counts.tolist()) == ([5, 7], [2, 1])


@pytest.mark.parametrize("whose", ["a", "n", "z"])
def test_who_counted_nothing_leaves_the_others_as_they_are(store, whose):
    panes = {Series("score", model): Counts.of([5]) for model in ("m", "o")}
    store.put(120, {**panes, Series("score", whose): Counts.of([])})
    assert store.digest().keys() == {(120, series) for series in panes}
    assert store.damaged() == 0


def test_panes_add_up_over_time_and_by_block(store):
    for start in (0, 60, 120):
        store.put(start, {SCORE: Counts.of([start, 1])})
    assert store.pane(0, 120)[SCORE].counts.tolist() == [1, 2, 1]
    blocks = store.blocks(0, 180, 120)
    assert {start: int(pane[SCORE].counts.sum()) for start, pane in blocks.items()} == {0: 4, 120: 2}


def test_a_pane_written_again_replaces_the_first_and_one_added_does_not(store):
    store.put(0, {SCORE: Counts.of([1, 1])})
    store.put(0, {SCORE: Counts.of([1])})
    store.add(0, {SCORE: Counts.of([1])})
    assert store.pane(0, 60)[SCORE].counts.tolist() == [2]


def test_rows_are_found_by_measure_with_a_wildcard(store):
    store.put(
        0,
        {
            Series("latency.queue", "m"): Counts.of([1]),
            Series("latency.model", "m"): Counts.of([1]),
            SCORE: Counts.of([1]),
        },
    )
    assert {series.measure for _, series, _ in store.rows(0, 60, measure="latency.*")} == {
        "latency.queue",
        "latency.model",
    }


def test_what_was_counted_in_parts_can_be_left_unread(store):
    parts = [SCORE._replace(segment="origin=JFK"), Series("category.origin", segment="JFK"), SCORE]
    store.put(0, {series: Counts.of([1]) for series in parts})
    assert {series for _, series, _ in store.rows(0, 60)} == set(parts)
    assert {series for _, series, _ in store.rows(0, 60, in_parts=False)} == set(parts[1:])


def test_a_store_names_what_was_watched_in_it(store):
    watched = ["missing.age", "feature.age", "missing.dest", "missing.never"]
    store.put(0, {Series(measure): Counts.of([0]) for measure in watched})
    store.put(60, {Series("category.dest", segment="SJU"): Counts.of([0])})
    store.put(120, {Series("counts", segment=f"origin={name}"): Counts.of([0]) for name in ("LGA", "JFK")})
    store.put(180, {Series("counts", "m", "1", segment="origin=EWR"): Counts.of([0])})
    assert store.features() == {"age": "number", "dest": "category", "never": "number"}
    assert store.segments() == {"origin": ["origin=EWR", "origin=JFK", "origin=LGA"]}


def test_nothing_of_a_transaction_that_fails_is_kept(store):
    with pytest.raises(RuntimeError, match="crash"):
        write_and_crash(store)
    assert store.closed_range() is None
    assert store.checkpoints() == {}


def test_after_a_failed_transaction_a_new_series_can_still_be_written(store):
    with pytest.raises(RuntimeError, match="crash"):
        write_and_crash(store)
    store.put(60, {SCORE: Counts.of([1])})
    assert store.pane(60, 120)[SCORE].counts.tolist() == [1]


def test_a_transaction_inside_another_is_kept_or_undone_by_itself(store):
    with store.transaction():
        store.note("outer", 1)
        with pytest.raises(ZeroDivisionError), store.transaction():
            store.note("inner", 1 / 0)
        with store.transaction():
            store.note("inner", 2)
    assert (store.noted("outer"), store.noted("inner")) == (1, 2)
    with pytest.raises(RuntimeError, match="crash"), store.transaction():
        write_and_crash(store)
    assert store.closed_range() is None


def test_a_thread_that_waits_to_write_lets_the_one_that_writes_finish(store):
    other = Store(store.path)
    other.connection.set_busy_timeout(5_000)
    waiting = threading.Event()

    def write():
        with closing(other):
            waiting.set()
            with other.transaction():
                other.note("second", 1)

    with ThreadPoolExecutor(1) as pool:
        with store.transaction():
            second = pool.submit(write)
            assert waiting.wait(10)
            # While the other thread waits, this one still has a little to do that needs the interpreter.
            for step in range(2000):
                store.note("first", step)
        second.result(10)
    assert (store.noted("first"), store.noted("second")) == (1999, 1)


def test_another_pane_length_is_refused_by_name(store):
    with pytest.raises(StoreError, match="pane_seconds 60, not 3600"):
        Store(store.path, pane_seconds=3600)


def test_a_missing_store_says_how_to_make_one(tmp_path):
    with pytest.raises(StoreError, match="birdwatch tail"):
        Store(tmp_path / "none.db", readonly=True)


def test_the_largest_disagreements_come_first(store):
    store.put_extremes(0, [Extreme("m", "1", "c", "small", 0.5, 0.4), Extreme("m", "1", "c", "large", 0.1, 0.9)])
    assert [extreme.request_id for _, extreme in store.extremes(0, 60, "m", "c")] == ["large", "small"]


def test_late_rows_add_up_and_duplicates_are_as_last_counted(store):
    store.add_late(0, "scores", 2)
    store.add_late(0, "scores", 3)
    store.put_duplicates(0, {"scores": 4})
    store.put_duplicates(0, {"scores": 5})
    assert store.arrivals(0, 60) == {"scores": (5, 5)}


def test_controls_come_in_the_order_of_event_time_and_once(store):
    def control(ts):
        return Control(ts=ts, action="champion", author="a", reason="r", model="m")

    for offset, ts in [(0, 2.0), (1, 1.0), (1, 1.0)]:
        store.put_control(Partition("control"), offset, control(ts))
    assert [c.ts for c in store.controls()] == [1.0, 2.0]


def test_who_is_replaced_writes_nothing_more_and_is_told_since_when(store):
    store.claim(now=JUNE)
    with store.transaction():
        store.note("first", 1)
    successor = Store(store.path)
    successor.claim(now=JUNE + 60)
    with (
        pytest.raises(StoreError, match=r"another process .* since 2013-06-07 00:01:00 UTC: stop this one"),
        store.transaction(),
    ):
        store.note("first", 2)
    with successor.transaction(), successor.transaction():
        successor.note("second", 1)
    assert (store.noted("first"), store.noted("second")) == (1, 1)


def test_who_claims_nothing_writes_beside_the_owner(store):
    beside = Store(store.path)
    store.claim()
    with beside.transaction():
        beside.note("delivered", 1)
    assert store.noted("delivered") == 1


def flipped(path, chance):
    """Flip one bit of a closed file, anywhere in it."""
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def panes_of(path):
    """Read every pane as a store that was found whole does, or say why it is refused."""
    with closing(Store(path)) as opened:
        opened.claim()
        found = opened.digest()
        with opened.transaction():
            pass
        return found, opened.damaged(), opened.checkpoints()


def test_whatever_bit_is_flipped_a_pane_is_read_as_it_was_written_or_left_out_or_the_store_refused(tmp_path, caplog):
    path, chance = tmp_path / "s.db", random.Random(9)
    points = {Partition("scores"): Checkpoint(3, 70_000), Partition("requests"): Checkpoint(1, 2)}
    with closing(Store(path, pane_seconds=60)) as store:
        for start in range(0, 6000, 60):
            series = [SCORE, Series("latency", "m", "1"), Series("counts", "other", "2", segment=f"a={start % 7}")]
            store.put(start, {one: Counts.of([chance.randrange(10**6) for _ in range(60)]) for one in series})
        store.put_checkpoints(points)
        written = store.digest()
    whole, outcomes = path.read_bytes(), {"whole": 0, "left out": 0, "refused": 0}
    for _ in range(200):
        path.write_bytes(whole)
        flipped(path, chance)
        caplog.clear()
        try:
            found, damaged, resumed = panes_of(path)
        except StoreError:
            outcomes["refused"] += 1
            continue
        assert found.items() <= written.items()
        assert resumed == points
        missing = len(written) - len(found)
        assert len([r for r in caplog.records if "is damaged, and left out" in r.message]) == missing == damaged
        outcomes["left out" if missing else "whole"] += 1
    assert outcomes["left out"] > 60, outcomes  # most of a store are its panes
    assert min(outcomes.values()) > 3, outcomes


def test_a_damaged_pane_is_put_aside_and_counted_once(store):
    store.put(0, {SCORE: Counts.of([1]), Series("latency"): Counts.of([2])})
    store.connection.execute("UPDATE panes SET bins = x'0300000000000000' WHERE series = 1")
    with store.transaction():
        assert store.pane(0, 60).keys() == {SCORE}
    assert store.damaged() == 1
    assert store.connection.execute("SELECT series, start, hex(bins) FROM damaged").fetchall() == [
        (1, 0, "0300000000000000")
    ]
    with store.transaction():
        store.put(0, {Series("latency"): Counts.of([2])})
    assert store.pane(0, 60)[Series("latency")].bins.tolist() == [2]


def test_rows_of_a_series_come_as_their_sum_by_the_steps_that_are_asked_for(store):
    for start in range(0, 300, 60):
        store.put(start, {SCORE: Counts.of([start, 7]), Series("latency"): Counts.of([start])})
    found = [
        (start, s, counts.bins.tolist(), counts.counts.tolist()) for start, s, counts in store.rows(0, 300, step=120)
    ]
    assert [row[1:] for row in found if row[1] == SCORE] == [
        (SCORE, [0, 7, 60], [1, 2, 1]),
        (SCORE, [7, 120, 180], [2, 1, 1]),
        (SCORE, [7, 240], [1, 1]),
    ]
    assert [(start, s.measure) for start, s, *_ in found] == [
        (start, measure) for measure in ("latency", "score") for start in (0, 120, 240)
    ]


@pytest.mark.parametrize("together", [1, 2, 3])
def test_a_sum_is_the_same_in_however_many_stretches_rows_are_read(store, monkeypatch, together):
    for start in range(0, 300, 60):
        store.put(start, {SCORE: Counts.of([start, 7]), Series("latency"): Counts.of([7])})
    monkeypatch.setattr(sumfile, "_TOGETHER", together)
    found = store.pane(0, 300)
    assert (found[SCORE].bins.tolist(), found[SCORE].counts.tolist()) == ([0, 7, 60, 120, 180, 240], [1, 5, 1, 1, 1, 1])
    assert found[Series("latency")].counts.tolist() == [5]


def test_a_damaged_row_is_left_out_of_a_sum_and_the_others_are_not(store):
    for start in (0, 60, 120):
        store.put(start, {SCORE: Counts.of([start])})
    store.connection.execute("UPDATE panes SET counts = x'FF' WHERE start = 60")
    assert [counts.bins.tolist() for _, _, counts in store.rows(0, 180, step=180)] == [[0, 120]]


def test_damaged_offsets_and_notes_are_never_used(store):
    store.put_checkpoints({Partition("scores"): Checkpoint(1, 2)})
    store.note("closed_until", 60)
    store.connection.execute("UPDATE offsets SET position = 3")
    store.connection.execute("UPDATE meta SET value = '61' WHERE key = 'note.closed_until'")
    with pytest.raises(
        StoreError, match=r"s\.db is damaged \(the offsets have a wrong sum\): stop what uses it and move"
    ):
        store.checkpoints()
    with pytest.raises(StoreError, match="notes 'closed_until' have a wrong sum"):
        store.noted("closed_until")


def test_a_truncated_store_is_refused_with_what_to_do(store):
    for start in range(0, 6000, 60):
        store.put(start, {SCORE: Counts.of([start])})
    store.close()
    content = store.path.read_bytes()
    for length in (0.9, 0.5, 0.01):
        store.path.write_bytes(content[: int(len(content) * length)])
        with pytest.raises(StoreError, match=r"is damaged .*move it away"):
            panes_of(store.path)


def test_a_store_of_the_schema_before_is_read_as_it_is_and_gets_sums_where_it_is_written(store):
    store.put(0, {SCORE: Counts.of([1])})
    store.put_checkpoints({Partition("scores"): Checkpoint(1, 2)})
    store.note("closed_until", 60)
    store.connection.execute("UPDATE panes SET bins = ?, counts = ?", [(1).to_bytes(8, "little")] * 2)
    for table in ("panes", "offsets", "meta"):
        store.connection.execute(f"ALTER TABLE {table} DROP COLUMN sum")
    store.connection.execute("DROP TABLE damaged")
    store.connection.execute("UPDATE meta SET value = '2' WHERE key = 'schema'")

    before = Store(store.path, readonly=True)
    assert (before.pane(0, 60)[SCORE].bins.tolist(), before.noted("closed_until"), before.damaged()) == ([1], 60, 0)
    after = Store(store.path)
    after.put(60, {SCORE: Counts.of([2])})
    assert after.pane(0, 120)[SCORE].bins.tolist() == before.pane(0, 120)[SCORE].bins.tolist() == [1, 2]
    assert after.checkpoints() == {Partition("scores"): Checkpoint(1, 2)}
    assert after.connection.execute("SELECT sum IS NULL FROM panes ORDER BY start").fetchall() == [(1,), (0,)]


def test_a_full_disk_undoes_the_transaction_and_says_where_there_is_no_room(store):
    store.connection.pragma("max_page_count", store.connection.pragma("page_count") + 2)
    with pytest.raises(DiskFullError, match=r"the disk is full: .*s\.db could not be written"), store.transaction():
        store.put(0, {SCORE: Counts.of(list(range(5000)))})
    assert store.closed_range() is None
    store.connection.pragma("max_page_count", 1_000_000)
    with store.transaction():
        store.put(0, {SCORE: Counts.of([1])})
    assert store.closed_range() == (0, 60)


def test_a_store_that_another_holds_locked_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("birdwatch.windows.storefile._LOCKED_SECONDS", 0)
    holder = Store(tmp_path / "store.db", pane_seconds=60)
    other = Store(tmp_path / "store.db")
    with (
        holder.transaction(),
        pytest.raises(StoreBusyError, match=r"store\.db is locked.*let it go on, or end it"),
    ):
        other.claim()
    other.claim()
