import json
from pathlib import Path

import numpy as np
import pytest

from birdwatch.detect.frozen import as_document, from_document, learn, load, retire, save, with_tolerances
from birdwatch.detect.kind import Rule
from birdwatch.detect.reference import DAY, Block, Lesson, ReferenceChoice
from birdwatch.detect.verdict import Subject
from birdwatch.errors import ReferenceMissingError
from birdwatch.stats.quantiles import moments, size
from birdwatch.windows.pane import Counts, Series, total

from .scenes import HOUR, draw, month, reference_of, scores_pane


class Learner(Rule):
    """Learns the mean score, so that a test can tell what it was learned from."""

    kind: str = "learner"
    reference: ReferenceChoice = ReferenceChoice(frozen="march.json")

    @property
    def compares_with(self):
        return self.reference

    def subjects(self, pane, known):
        return self.versions(pane, "score")

    def learned(self, reference, subject):
        blocks = reference.counts("score", subject.model)
        return {"mean": moments(total(blocks), "probability")[0]} if blocks else {}


def document(panes=None, **more):
    blocks = reference_of(panes or month(days=3)).blocks
    said = {"name": "march", "since": 0, "until": 3 * DAY, "block_seconds": DAY, "scale": "probability", **more}
    return as_document(blocks, **said)


def frozen(panes=None, **more):
    return from_document(document(panes, **more), "march.json")


def test_a_frozen_reference_is_read_back_as_it_was(tmp_path):
    for name in ("march.json", "march.json.gz"):
        save(document(), tmp_path / name)
        found = load(tmp_path / name, "probability")
        assert (found.name, found.since, found.until, found.block_seconds) == ("march", 0, 3 * DAY, DAY)
        before = reference_of(month(days=3))
        for which in (
            ("score", "canary", ""),
            ("difference", "champion", "canary"),
            ("pair", "challenger", "champion"),
        ):
            for mine, theirs in zip(found.counts(*which), before.counts(*which), strict=True):
                assert np.array_equal(mine.bins, theirs.bins)
                assert np.array_equal(mine.counts, theirs.counts)


def test_freezing_twice_gives_the_same_bytes(tmp_path):
    for name in ("a.json.gz", "b.json.gz"):
        save(document(), tmp_path / name)
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()


def test_it_says_how_much_it_holds_and_of_which_versions():
    rng = np.random.default_rng(0)
    found = document([*month(days=3), scores_pane(draw(rng, 50), version="2")])
    assert found["events"] == {"canary": 2_450, "challenger": 2_450, "champion": 2_450}
    assert found["versions"] == {"canary": ["1"], "challenger": ["1", "2"], "champion": ["1"]}
    assert len(found["sha256"]) == 64


def test_versions_that_were_left_out_are_not_in_it():
    bad = scores_pane(draw(np.random.default_rng(0), 50), version="2")
    blocks = [Block(0, month()[0]), Block(DAY, bad, frozenset({"challenger"}))]
    found = as_document(blocks, name="m", since=0, until=2 * DAY, block_seconds=DAY, scale="probability")
    assert found["versions"]["challenger"] == ["1"]
    assert found["events"] == {"canary": 850, "challenger": 800, "champion": 850}


def test_it_can_be_reviewed_its_head_first_and_a_block_a_line(tmp_path):
    save(document(), tmp_path / "march.json")
    lines = (tmp_path / "march.json").read_text().splitlines()
    assert lines[1:3] == ['"birdwatch_reference": 2,', '"name": "march",']
    assert sum(line.startswith('  {"start":') for line in lines) == 3
    assert max(map(len, lines[:12])) < 120


def test_a_reference_that_was_changed_is_refused():
    changed = document()
    changed["blocks"][0]["series"][0][-1][0] += 1
    with pytest.raises(ReferenceMissingError, match="changed since it was frozen"):
        from_document(changed, "march.json")


def test_what_cannot_serve_is_refused(tmp_path):
    with pytest.raises(ReferenceMissingError, match="no frozen reference"):
        from_document({"rules": []}, "rules.yaml")
    with pytest.raises(ReferenceMissingError, match="scale 'probability', not on 1 and 'real'"):
        from_document(document(), "march.json", "real")
    with pytest.raises(ReferenceMissingError, match="of format 3, and this program reads up to 2"):
        from_document({**document(), "birdwatch_reference": 3}, "march.json")
    with pytest.raises(ReferenceMissingError, match=r"cannot be read.*freeze --out .*missing.json"):
        load(tmp_path / "missing.json")
    (tmp_path / "broken.json.gz").write_bytes(b"not gzip")
    with pytest.raises(ReferenceMissingError, match="cannot be read"):
        load(tmp_path / "broken.json.gz")
    with pytest.raises(ReferenceMissingError, match="nothing was counted"):
        document([{}])


def test_a_retired_reference_says_why():
    with pytest.raises(
        ReferenceMissingError, match=r"march.json was retired \(the holidays are in it\): freeze another"
    ):
        from_document(retire(document(), "the holidays are in it"), "march.json")


def test_all_that_rules_may_compare_with_is_kept():
    pane = {
        Series("feature.visib"): Counts.of([5, 6]),
        Series("category.carrier", segment="carrier=UA"): Counts.of([0]),
        Series("score", "m", "1", segment="origin=JFK"): Counts.of([7]),
        Series("score", "m", "1"): Counts.of([7, 8]),
        Series("latency.model", "m", "1"): Counts.of([1, 1, 1]),
        Series("joint", "m", "1", "p"): Counts.of([4]),
    }
    found = frozen([pane])
    assert [size(c) for c in found.counts("feature.visib")] == [2]
    assert [size(c) for c in found.counts("category.carrier", segment="carrier=UA")] == [1]
    assert [size(c) for c in found.counts("score", "m", segment="origin=JFK")] == [1]
    assert [size(c) for c in found.counts("latency.model", "m")] == [3]
    assert [size(c) for c in found.counts("joint", "m", "p")] == [1]
    assert document([pane])["events"] == {"m": 2}


def test_what_rules_learned_is_frozen_with_it_and_taught_to_every_version():
    rule = Learner(name="means", kind="learner")
    lessons = learn(frozen(), [rule])
    found = from_document(json.loads(json.dumps(with_tolerances(document(), lessons))), "march.json")
    whole = total(frozen().counts("score", "canary"))
    assert found.taught("means", Subject("canary", "9")) == {"mean": moments(whole, "probability")[0]}
    assert {lesson.subject.model for lesson in found.lessons} == {"canary", "challenger", "champion"}


def test_rules_of_another_window_or_that_learn_nothing_teach_nothing():
    hourly = Learner(name="hourly", kind="learner", window="1h")
    assert learn(frozen(), [hourly]) == {}
    assert with_tolerances(document(), {})["tolerances"] == []


def test_by_hour_of_day_each_hour_learns_for_itself():
    rng = np.random.default_rng(3)
    panes = [scores_pane(draw(rng, 200, inputs=hour / 12)) for _ in range(2) for hour in range(24)]
    blocks = tuple(Block(i * HOUR, pane) for i, pane in enumerate(panes))
    said = {"name": "m", "since": 0, "until": 2 * DAY, "block_seconds": HOUR, "scale": "probability"}
    kept = as_document(blocks, **said)
    choice = ReferenceChoice(frozen="m", by="hour of day")
    lessons = learn(from_document(kept, "m"), [Learner(name="means", kind="learner", window="1h", reference=choice)])
    assert {lesson.at for lesson in lessons} == {hour * HOUR for hour in range(24)}
    found = from_document(with_tolerances(kept, lessons), "m")
    morning, night = (found.by_hour(at).taught("means", Subject("champion"))["mean"] for at in (0, 23 * HOUR))
    assert night > 1.5 * morning


def test_a_reference_of_the_first_format_is_still_read():
    found = load(Path(__file__).parent / "data" / "reference_format_1.json")
    assert found.blocks
    assert (found.versions, dict(found.lessons)) == (None, {})


def test_lessons_name_whom_and_when():
    lessons = {
        Lesson("pairs", Subject("a", "", "b")): {"mean": 0.01},
        Lesson("hours", Subject("a"), HOUR): {"tolerance": 0.5},
    }
    kept = with_tolerances(document(), lessons)
    assert kept["tolerances"] == [
        {"rule": "pairs", "model": "a", "partner": "b", "learned": {"mean": 0.01}},
        {"rule": "hours", "model": "a", "at": HOUR, "learned": {"tolerance": 0.5}},
    ]
    assert from_document(kept, "march.json").lessons == lessons
