import numpy as np
import pytest
from pydantic import ValidationError

from birdwatch.detect.frozen import as_document, from_document
from birdwatch.detect.reference import DAY, Block, Lesson, Reference, ReferenceChoice, choose
from birdwatch.detect.verdict import Subject
from birdwatch.detect.window import Window
from birdwatch.errors import ReferenceMissingError
from birdwatch.stats.quantiles import size
from birdwatch.windows.pane import Counts, Series

from .scenes import HOUR, draw, month, reference_of, scores_pane

FLEET = Subject()
NEW = Subject("challenger", "2")


@pytest.mark.parametrize("kind", [dict, Window])
def test_versions_are_added_up_by_model(kind):
    rng = np.random.default_rng(0)
    both = kind({**scores_pane(draw(rng, 100)), **scores_pane(draw(rng, 50), version="2")})
    counts = reference_of([both]).counts("score", "challenger")
    assert [size(c) for c in counts] == [150]


@pytest.mark.parametrize("kind", [dict, Window])
def test_segments_are_apart_from_the_whole(kind):
    pane = {
        Series("score", "m", "1"): Counts.of([1, 2, 3]),
        Series("score", "m", "1", segment="origin=JFK"): Counts.of([1]),
        Series("score", "m", "2", segment="origin=JFK"): Counts.of([3]),
    }
    reference = reference_of([kind(pane)])
    assert [size(c) for c in reference.counts("score", "m")] == [3]
    assert [c.bins.tolist() for c in reference.counts("score", "m", segment="origin=JFK")] == [[1, 3]]


def test_of_a_frozen_fleet_each_model_looks_at_its_own_counts_alone(monkeypatch):
    looked = []
    monkeypatch.setattr(Window, "items", lambda self: looked.append(self) or dict.items(self))
    pane = {Series("score", f"m{number}", "1"): Counts.of([number]) for number in range(50)}
    document = as_document((Block(0, pane),), name="march", since=0, until=DAY, block_seconds=DAY, scale="real")
    frozen = from_document(document, "march.json")
    assert [frozen.counts("score", f"m{number}")[0].bins.tolist() for number in range(50)] == [[n] for n in range(50)]
    assert len(looked) == 1


def test_what_is_left_out_is_left_out_for_the_model_and_its_pairs():
    reference = reference_of(month(days=3))
    blocks = (
        reference.blocks[0],
        reference.blocks[1]._replace(left_out=frozenset({"challenger"})),
        reference.blocks[2],
    )
    reference = reference._replace(blocks=blocks)
    assert len(reference.counts("score", "challenger")) == 2
    assert len(reference.counts("pair", "challenger", "champion")) == 2
    assert len(reference.counts("pair", "champion", "canary")) == 3


def test_a_reference_that_holds_the_window_under_test_is_refused():
    frozen = Reference("march", 0, 31 * DAY, DAY, (Block(0, {}),))
    assert choose([frozen], 31 * DAY, 32 * DAY, NEW) is frozen
    for start in (0, 30 * DAY):
        with pytest.raises(ReferenceMissingError, match="march overlaps the window"):
            choose([frozen], start, start + DAY, NEW)


def test_a_reference_of_the_same_time_serves_for_versions_that_it_did_not_see():
    frozen = Reference("march", 0, 31 * DAY, DAY, (), versions={"challenger": frozenset({"1"})})
    assert choose([frozen], 3 * DAY, 4 * DAY, NEW) is frozen
    assert choose([frozen], 3 * DAY, 4 * DAY, Subject("other", "1")) is frozen
    with pytest.raises(ReferenceMissingError, match=r"march overlaps .* and saw challenger 1 itself"):
        choose([frozen], 3 * DAY, 4 * DAY, Subject("challenger", "1", "champion"))
    with pytest.raises(ReferenceMissingError, match="march overlaps the window it should judge: freeze"):
        choose([frozen], 3 * DAY, 4 * DAY, FLEET)


def test_one_that_was_over_before_is_better_than_one_of_the_same_time():
    early = Reference("early", 0, 9 * DAY, DAY, (), versions={})
    beside = Reference("beside", 8 * DAY, 20 * DAY, DAY, (), versions={})
    assert choose([beside, early], 10 * DAY, 11 * DAY, NEW) is early


def test_of_several_the_latest_that_was_over_is_taken():
    early, late = (Reference(n, s * DAY, (s + 9) * DAY, DAY, ()) for n, s in (("early", 0), ("late", 20)))
    assert choose([late, early], 15 * DAY, 16 * DAY, NEW) is early
    assert choose([early, late], 29 * DAY, 30 * DAY, NEW) is late
    with pytest.raises(ReferenceMissingError, match="no frozen reference ends before the window: late"):
        choose([late], 10 * DAY, 11 * DAY, NEW)
    with pytest.raises(ReferenceMissingError, match="none is given"):
        choose([], 10 * DAY, 11 * DAY, NEW)


def test_by_hour_of_day_keeps_what_began_at_the_same_time():
    blocks = tuple(Block(hour * HOUR, {}) for hour in range(72))
    reference = Reference("march", 0, 3 * DAY, HOUR, blocks)
    found = reference.by_hour(100 * DAY + 14 * HOUR)
    assert [block.start for block in found.blocks] == [14 * HOUR, DAY + 14 * HOUR, 2 * DAY + 14 * HOUR]
    assert found.name == "march at this time of the day"
    with pytest.raises(ReferenceMissingError, match="march has no block that begins at 14:30 UTC"):
        reference.by_hour(100 * DAY + 14 * HOUR + 1800)


def test_what_was_frozen_with_it_is_taught_by_model_and_hour():
    lessons = {
        Lesson("scores", Subject("m")): {"tolerance": 0.1},
        Lesson("hourly", Subject("m"), 14 * HOUR): {"tolerance": 0.2},
    }
    blocks = tuple(Block(hour * HOUR, {}) for hour in range(24))
    reference = Reference("march", 0, DAY, HOUR, blocks, lessons=lessons)
    assert reference.taught("scores", Subject("m", "7")) == {"tolerance": 0.1}
    assert reference.taught("scores", Subject("other", "7")) is None
    assert reference.taught("hourly", Subject("m", "7")) is None
    assert reference.by_hour(14 * HOUR).taught("hourly", Subject("m", "7")) == {"tolerance": 0.2}
    assert reference.by_hour(15 * HOUR).taught("hourly", Subject("m", "7")) is None


def test_a_rule_names_one_kind_of_reference():
    assert ReferenceChoice.model_validate({"trailing": "28d"}).trailing == 28 * DAY
    assert ReferenceChoice.model_validate({"trailing": "28d", "by": "hour of day"}).by == "hour of day"
    for said in ({}, {"trailing": "28d", "frozen": "march"}):
        with pytest.raises(ValidationError, match="write either"):
            ReferenceChoice.model_validate(said)
