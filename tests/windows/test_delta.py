"""What a lane says of a pane adds up to the pane, in however many messages and corrections."""

import msgspec
import numpy as np

from birdwatch import records
from birdwatch.deltas import PaneDelta
from birdwatch.windows.build import Built
from birdwatch.windows.delta import as_deltas, extremes_of, pane_of
from birdwatch.windows.lane import Counted
from birdwatch.windows.pane import Counts, Series
from birdwatch.windows.store import Extreme

LANE = PaneDelta(group="tail", pane_seconds=60, lane=3)
WIDE = Series("score", "m", "1")


def pane(seed, series=20):
    rng = np.random.default_rng(seed)
    made = {Series("score", f"m{n}", "1"): Counts.of(rng.integers(-50, 50, 40)) for n in range(series)}
    return made | {WIDE: Counts.of(rng.integers(0, 5000, 3000))}


def same(one, two):
    return one.keys() == two.keys() and all(
        np.array_equal(one[s].bins, two[s].bins) and np.array_equal(one[s].counts, two[s].counts) for s in one
    )


def travelled(deltas):
    return [records.decode(records.encode(delta), PaneDelta) for delta in deltas]


def counted(built, **more):
    return Counted(60, built, more.pop("before", None), {"scores": 3}, more.pop("late", {}), **more)


def test_a_large_pane_comes_in_several_messages_that_add_up():
    deltas = as_deltas(LANE, counted(Built(pane(1), [], {})), most=500)
    assert max(sum(len(s.bins) for s in d.series) for d in deltas) <= 500
    assert len(deltas) > 5
    assert same(pane_of(travelled(deltas)), pane(1))
    assert [d.rows for d in deltas[1:]] == [{}] * (len(deltas) - 1)  # counted once


def test_a_message_is_never_larger_than_what_brokers_take():
    wide = Counts(np.arange(40_000) + 10**17, np.full(40_000, 10**5))
    deltas = as_deltas(LANE, counted(Built({WIDE: wide}, [], {})))
    assert max(len(records.encode(delta)) for delta in deltas) < records.LARGEST
    assert same(pane_of(deltas), {WIDE: wide})


def test_a_correction_says_what_has_changed():
    before, after = Built(pane(1), [], {"scores": 2}), Built(pane(2), [], {"scores": 3})
    first = as_deltas(LANE, counted(before))
    second = as_deltas(LANE, counted(after, before=before, late={"scores": 1}))
    assert same(pane_of(travelled([*first, *second])), pane(2))
    assert sum(d.duplicates.get("scores", 0) for d in [*first, *second]) == 3


def test_the_largest_disagreements_of_all_lanes_are_kept_and_a_lane_may_correct_its_own():
    def said(lane, *differences):
        extremes = [Extreme("m", "1", "c", f"{lane}-{d}", d, 0.0) for d in differences]
        return as_deltas(msgspec.structs.replace(LANE, lane=lane), counted(Built({}, extremes, {})))

    found = extremes_of(travelled([*said(0, 0.9, 0.1), *said(1, -0.95, 0.2), *said(0, 0.3, 0.1)]), 3)
    assert [e.request_id for e in found] == ["1--0.95", "0-0.3", "1-0.2"]


def test_rows_that_are_only_added_take_nobodys_disagreements_back():
    extreme = Extreme("m", "1", "c", "r1", 0.9, 0.0)
    first = as_deltas(msgspec.structs.replace(LANE, lane=0), counted(Built({}, [extreme], {})))
    added = as_deltas(msgspec.structs.replace(LANE, lane=0), counted(Built(pane(1), [], {}), added=True))
    assert extremes_of(travelled([*first, *added]), 3) == [extreme]


def test_progress_without_a_pane_is_small():
    word = msgspec.structs.replace(LANE, closed_until=120)
    assert msgspec.json.decode(records.encode(word)) == {
        "group": "tail",
        "pane_seconds": 60,
        "lane": 3,
        "closed_until": 120,
    }
