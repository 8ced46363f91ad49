import itertools
import os
from collections import Counter

import numpy as np
import pytest

from birdwatch.detect.frozen import from_document, retire, save
from birdwatch.detect.reference import DAY
from birdwatch.detect.rules import KINDS, RuleSet
from birdwatch.detect.sourcing import References, freeze
from birdwatch.detect.state import blame, create_tables
from birdwatch.detect.sums import WindowSums
from birdwatch.detect.verdict import Subject
from birdwatch.errors import ReferenceMissingError
from birdwatch.stats.quantiles import size
from birdwatch.windows.store import Store

from .scenes import HOUR, daily, draw, fill, scores_pane

MODEL = Subject("challenger", "1")


@pytest.fixture
def store(tmp_path):
    store = daily(tmp_path / "store.db")
    fill(store, [{}] * 30)
    yield store
    store.close()


@pytest.fixture
def hours(tmp_path):
    store = Store(tmp_path / "hours.db", pane_seconds=HOUR)
    rng = np.random.default_rng(2)
    with store.transaction():
        for hour in range(10 * 24):
            store.put(hour * HOUR, scores_pane(draw(rng, 10 + hour % 24)))
    yield store
    store.close()


class OnBlocks(KINDS["distribution"]):
    """A rule that goes on to need the blocks of its reference."""

    keeps = "blocks"


def rule(kind=OnBlocks, **more):
    return kind.model_validate({"name": "scores", "kind": "distribution", **more})


def references(store, one, given=(), folder=None, scale="probability"):
    rules = RuleSet((one,)) if folder is None else RuleSet((one,), folder=folder)
    return References(WindowSums(store), rules, given, scale)


def ask(found, one, start=29 * DAY, subject=MODEL, part=None):
    return found.of(one, start, start + one.window, subject=subject, part=part, rolled_back=()).reference


def test_a_trailing_reference_is_what_came_before(store):
    one = rule(reference={"trailing": "7d"})
    found = ask(references(store, one), one)
    assert [block.start // DAY for block in found.blocks] == [22, 23, 24, 25, 26, 27, 28]


def test_who_needs_the_sum_of_it_alone_is_given_the_same_in_one_block_without_windows_that_were_bad(store):
    with store.transaction():
        create_tables(store)
        blame(store, "challenger", 25 * DAY, 26 * DAY)
    on_blocks, on_sum = (rule(kind, reference={"trailing": "7d"}) for kind in (OnBlocks, KINDS["distribution"]))
    blocks, summed = (ask(references(store, one), one) for one in (on_blocks, on_sum))
    assert (len(blocks.blocks), len(summed.blocks), summed.summed) == (7, 1, 6)
    added_up = Counter()
    for counts in blocks.counts("score", "challenger"):
        added_up.update(dict(zip(counts.bins.tolist(), counts.counts.tolist(), strict=True)))
    [found] = summed.counts("score", "challenger")
    assert dict(zip(found.bins.tolist(), found.counts.tolist(), strict=True)) == added_up


def test_sums_of_references_are_read_once_however_many_models_ask(store, monkeypatch):
    read = []
    trailing = WindowSums.trailing
    monkeypatch.setattr(WindowSums, "trailing", lambda *args, **more: read.append(args) or trailing(*args, **more))
    one = rule(KINDS["distribution"], window="1h", reference={"trailing": "7d"})
    found = references(store, one)
    for hour in range(3):
        for number in range(300):
            ask(found, one, start=29 * DAY + hour * HOUR, subject=Subject(f"challenger-{number}", "1"))
    assert len(read) == 300


def test_by_hour_of_day_only_the_same_time_of_earlier_days_counts(hours):
    one = rule(window="1h", reference={"trailing": "7d", "by": "hour of day"})
    found = ask(references(hours, one), one, start=9 * DAY + 14 * HOUR)
    assert [block.start for block in found.blocks] == [day * DAY + 14 * HOUR for day in range(2, 9)]
    assert [size(c) for c in found.counts("score", "challenger")] == [24] * 7
    assert found.at == 14 * HOUR


def test_by_hour_of_day_a_model_is_left_out_where_it_was_bad_at_that_hour(hours):
    one = rule(window="1h", reference={"trailing": "7d", "by": "hour of day"})
    with hours.transaction():
        create_tables(hours)
        blame(hours, "challenger", 5 * DAY + 14 * HOUR, 5 * DAY + 15 * HOUR)
        blame(hours, "challenger", 6 * DAY + 20 * HOUR, 6 * DAY + 21 * HOUR)
    found = ask(references(hours, one), one, start=9 * DAY + 14 * HOUR)
    assert [block.start // DAY for block in found.blocks if block.left_out] == [5]


@pytest.mark.parametrize(("window", "hours_apart"), [("1d", 24), ("6h", 24), ("36h", 48)])
def test_by_hour_of_day_windows_never_overlap(hours, window, hours_apart):
    one = rule(window=window, reference={"trailing": "8d", "by": "hour of day"})
    starts = [block.start for block in ask(references(hours, one), one, start=8 * DAY).blocks]
    assert len(starts) == 8 * 24 // hours_apart
    assert {b - a for a, b in itertools.pairwise(starts)} == {hours_apart * HOUR}


def test_by_hour_of_day_nothing_before_is_nothing_to_compare_with(hours):
    one = rule(window="1h", reference={"trailing": "7d", "by": "hour of day"})
    assert ask(references(hours, one), one, start=2 * HOUR).blocks == ()


def test_by_hour_of_day_a_frozen_reference_is_filtered_too(hours):
    one = rule(window="1h", reference={"frozen": "week", "by": "hour of day"})
    week = from_document(freeze(hours, 0, 7 * DAY, HOUR, name="week"), "week")
    found = ask(references(hours, one, [week]), one, start=9 * DAY + 3 * HOUR)
    assert [block.start for block in found.blocks] == [day * DAY + 3 * HOUR for day in range(7)]


def test_a_reference_that_is_frozen_while_the_judge_runs_is_used_from_then_on(store, tmp_path):
    one = rule(reference={"frozen": "calm.json"})
    found = references(store, one, folder=tmp_path)
    for _ in range(2):
        with pytest.raises(
            ReferenceMissingError, match=r"'calm.json', which is no file at .* \(none is given\): make it"
        ):
            ask(found, one)
    save(freeze(store, 0, 10 * DAY, DAY, name="calm"), tmp_path / "calm.json")
    assert len(ask(found, one).blocks) == 10


def test_a_reference_that_is_replaced_is_read_again_and_one_that_is_not_is_kept(store, tmp_path):
    path = tmp_path / "calm.json"
    save(freeze(store, 0, 10 * DAY, DAY, name="calm"), path)
    one = rule()
    found = references(store, one, [path])
    first = ask(found, one)
    assert ask(found, one).blocks is first.blocks
    save(freeze(store, 0, 12 * DAY, DAY, name="calm"), path)
    assert len(ask(found, one).blocks) == 12
    path.unlink()
    with pytest.raises(ReferenceMissingError, match=r"calm.json cannot be read"):
        ask(found, one)


def test_a_file_that_cannot_serve_is_told_each_time_and_read_once(store, tmp_path, monkeypatch):
    path = tmp_path / "calm.json"
    document = freeze(store, 0, 10 * DAY, DAY, name="calm")
    save(retire(document, "a storm"), path)
    one = rule(reference={"frozen": "calm"})
    found = references(store, one, [path])
    with pytest.raises(ReferenceMissingError, match="was retired"):
        ask(found, one)
    monkeypatch.setattr("birdwatch.detect.sourcing.load", lambda *_: pytest.fail("read again"))
    with pytest.raises(ReferenceMissingError, match="was retired"):
        ask(found, one)


def test_a_reference_of_another_scale_is_refused_when_it_is_asked_for(store, tmp_path):
    save(freeze(store, 0, 10 * DAY, DAY), tmp_path / "r.json")
    one = rule()
    found = references(store, one, [tmp_path / "r.json"], scale="real")
    with pytest.raises(ReferenceMissingError, match="scale 'probability', not on 1 and 'real'"):
        ask(found, one)


def test_one_unreadable_file_does_not_hide_the_reference_that_a_rule_names(store, tmp_path):
    save(freeze(store, 0, 10 * DAY, DAY, name="calm"), tmp_path / "calm.json")
    one = rule(reference={"frozen": "calm"})
    found = references(store, one, [tmp_path / "missing.json", tmp_path / "calm.json"])
    assert ask(found, one).name == "calm"
    other = rule(reference={"frozen": "storm"})
    with pytest.raises(ReferenceMissingError, match=r"\(calm; .*missing.json cannot be read"):
        ask(found, other)


def test_a_new_version_may_be_judged_by_what_another_did_at_the_same_time(store):
    every = from_document(freeze(store, 0, 30 * DAY, DAY, name="every"), "every")
    one = rule()
    found = references(store, one, [every])
    assert ask(found, one, subject=Subject("challenger", "2")).name == "every"
    with pytest.raises(ReferenceMissingError, match="saw challenger 1 itself"):
        ask(found, one)


def test_blocks_of_another_length_are_refused_with_the_remedy(store):
    weekly = from_document(freeze(store, 0, 28 * DAY, 7 * DAY, name="weekly"), "weekly")
    one = rule()
    with pytest.raises(ReferenceMissingError, match=r"weekly has blocks of 7d, .* freeze it with `--block 1d`"):
        ask(references(store, one, [weekly]), one)


def test_of_references_in_several_lengths_each_rule_takes_its_own(store):
    weekly = from_document(freeze(store, 0, 28 * DAY, 7 * DAY, name="weekly"), "weekly")
    earlier = from_document(freeze(store, 0, 10 * DAY, DAY, name="earlier"), "earlier")
    one = rule()
    assert ask(references(store, one, [weekly, earlier]), one).name == "earlier"


def test_a_part_of_a_window_is_compared_with_whole_frozen_blocks_and_that_is_told(store):
    calm = from_document(freeze(store, 0, 10 * DAY, DAY), "calm")
    one = rule()
    assert ask(references(store, one, [calm]), one).whole
    assert not ask(references(store, one, [calm]), one, part=(0, HOUR)).whole


def test_what_cannot_be_cut_into_blocks_is_refused(store):
    for since, until, block in ((0, 0, DAY), (0, 10 * DAY, 3 * DAY), (0, DAY, HOUR)):
        with pytest.raises(ReferenceMissingError, match="cannot be cut into blocks"):
            freeze(store, since, until, block)


def test_the_clock_of_the_file_need_not_move_for_a_change_to_be_seen(store, tmp_path):
    path = tmp_path / "calm.json"
    save(freeze(store, 0, 10 * DAY, DAY, name="calm"), path)
    one = rule()
    found = references(store, one, [path])
    ask(found, one)
    before = path.stat()
    save(freeze(store, 0, 12 * DAY, DAY, name="calm"), path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert len(ask(found, one).blocks) == 12
