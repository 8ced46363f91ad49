import json

import numpy as np
import pytest
from pydantic import ValidationError

from birdwatch.detect.reference import (
    Block,
    Reference,
    ReferenceChoice,
    as_document,
    choose,
    from_document,
    load,
    save,
)
from birdwatch.errors import ReferenceMissingError
from birdwatch.stats.quantiles import size
from birdwatch.windows.pane import Series, total

from .scenes import DAY, answers_pane, draw, month, reference_of, scores_pane


def document(panes=None, **more):
    blocks = reference_of(panes or month(days=3)).blocks
    said = {"name": "march", "since": 0, "until": 3 * DAY, "block_seconds": DAY, "scale": "probability", **more}
    return as_document(blocks, **said)


def test_versions_are_added_up_by_model():
    rng = np.random.default_rng(0)
    both = {**scores_pane(draw(rng, 100)), **scores_pane(draw(rng, 50), version="2")}
    counts = reference_of([both]).counts("score", "challenger")
    assert [size(c) for c in counts] == [150]


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


def test_it_says_how_much_it_holds():
    found = document()
    assert found["events"] == {"canary": 2_400, "challenger": 2_400, "champion": 2_400}
    assert len(found["sha256"]) == 64


def test_a_reference_that_was_changed_is_refused(tmp_path):
    changed = document()
    changed["blocks"][0]["series"][0][4][0] += 1
    with pytest.raises(ReferenceMissingError, match="changed since it was frozen"):
        from_document(changed, "march.json")


def test_what_cannot_serve_is_refused(tmp_path):
    with pytest.raises(ReferenceMissingError, match="no frozen reference"):
        from_document({"rules": []}, "rules.yaml")
    with pytest.raises(ReferenceMissingError, match="scale 'probability', not on 1 and 'real'"):
        from_document(document(), "march.json", "real")
    with pytest.raises(ReferenceMissingError, match="cannot be read"):
        load(tmp_path / "missing.json")
    (tmp_path / "broken.json.gz").write_bytes(b"not gzip")
    with pytest.raises(ReferenceMissingError, match="cannot be read"):
        load(tmp_path / "broken.json.gz")
    with pytest.raises(ReferenceMissingError, match="nothing was counted"):
        document([{Series("joint", "m", "1", "p"): total([])}])


def test_what_nobody_compares_with_is_not_kept():
    pane = {**answers_pane(10), Series("joint", "m", "1", "p"): answers_pane(1)[Series("counts")]}
    kept = {s[0] for s in document([pane])["blocks"][0]["series"]}
    assert kept == {"counts", "selection"}


def test_a_reference_that_holds_the_window_under_test_is_refused():
    frozen = Reference("march", 0, 31 * DAY, DAY, (Block(0, {}),))
    assert choose([frozen], 31 * DAY, 32 * DAY) is frozen
    for start in (0, 30 * DAY):
        with pytest.raises(ReferenceMissingError, match="march overlaps the window"):
            choose([frozen], start, start + DAY)


def test_of_several_the_latest_that_was_over_is_taken():
    early, late = (Reference(n, s * DAY, (s + 9) * DAY, DAY, ()) for n, s in (("early", 0), ("late", 20)))
    assert choose([late, early], 15 * DAY, 16 * DAY) is early
    assert choose([early, late], 29 * DAY, 30 * DAY) is late
    with pytest.raises(ReferenceMissingError, match="no frozen reference ends before"):
        choose([late], 10 * DAY, 11 * DAY)


def test_a_rule_names_one_kind_of_reference():
    assert ReferenceChoice.model_validate({"trailing": "28d"}).trailing == 28 * DAY
    for said in ({}, {"trailing": "28d", "frozen": "march"}):
        with pytest.raises(ValidationError, match="write either"):
            ReferenceChoice.model_validate(said)


def test_the_document_is_plain_json():
    assert from_document(json.loads(json.dumps(document())), "march.json").name == "march"
