"""Who is there, and what for."""

import pytest

from birdwatch.records import Control
from birdwatch.streams import Partition
from birdwatch.windows.pane import Counts, Series, selection_bin
from birdwatch.windows.roles import models, roles
from birdwatch.windows.store import Source, Store
from birdwatch.windows.tables import Span, control_table

HOUR = 3600
DAY = Span(0, 24 * HOUR, 6 * HOUR)


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "birdwatch.db", pane_seconds=HOUR)
    yield opened
    opened.close()


def test_a_model_keeps_its_place_when_others_come(store):
    store.put(0, {Series("counts", "m", "1"): Counts.of([1])})
    store.put(HOUR, {Series("counts", "a", "1"): Counts.of([1]), Series("counts", "m", "2"): Counts.of([1])})
    assert models(store) == ["m", "a"]


def test_an_arm_that_never_scored_is_no_model(store):
    store.put(0, {Series("counts", "m", "1"): Counts.of([1]), Series("propensity", "planned"): Counts.of([0])})
    assert models(store) == ["m"]


def observed(store, *, sources=("canary",)):
    """Four models as the pairs show them: c is compared with the canary, all others with c."""
    pane = {Series("counts", m, "1"): Counts.of([1]) for m in ("b", "c", "f", "old")}
    for model, partner in (("b", "c"), ("f", "c"), ("c", "old")):
        pane[Series("pair", model, "1", partner)] = Counts.of([0])
    store.put(0, pane)
    store.put_sources([Source(stream, 0, "old", 0.0, idle=False) for stream in sources])


def test_roles_are_read_off_the_streams_and_the_pairs(store):
    observed(store)
    store.add(0, {Series("selection", "f", "1"): Counts.of([selection_bin(1, "timed out")])})
    assert roles(store, DAY.until) == {"b": "challenger", "c": "champion", "f": "fallback", "old": "canary"}


def test_a_challenger_that_gets_a_share_of_the_answers_is_no_fallback(store):
    observed(store)
    answers = Counts.of([selection_bin(0, "explored"), selection_bin(1, "timed out")], [1, 9])
    store.add(0, {Series("selection", "b", "1"): answers})
    assert roles(store, DAY.until)["b"] == "challenger"


def test_nothing_that_comes_later_counts(store):
    observed(store)
    store.put(DAY.until, {Series("selection", "f", "1"): Counts.of([selection_bin(1, "timed out")])})
    assert roles(store, DAY.until)["f"] == "challenger"
    assert roles(store, DAY.until + HOUR)["f"] == "fallback"


def test_control_records_say_who_is_champion_and_who_falls_back(store):
    observed(store)
    said = [
        Control(ts=10, action="champion", author="o", reason="r", model="b"),
        Control(
            ts=20,
            action="schedule",
            author="o",
            reason="r",
            params={"tiers": [{"models": ["b"]}, {"models": ["b", "c"], "after_seconds": 0.1}]},
        ),
        Control(ts=10**9, action="champion", author="o", reason="after the range", model="f"),
    ]
    for offset, control in enumerate(said):
        store.put_control(Partition("control"), offset, control)
    assert roles(store, DAY.until) == {"b": "champion", "c": "fallback", "f": "challenger", "old": "canary"}
    assert control_table(store, 0, DAY.until)["what"].tolist() == ["champion b", "schedule"]


def test_a_fallback_that_the_schedule_names_is_one_before_it_first_answers(store):
    observed(store)
    tiers = [{"models": ["c"], "ramps": {"b": 10}}, {"models": ["f"], "after_seconds": 0.4}]
    said = Control(ts=0, action="schedule", author="rendezvous", reason="r", version="1", params={"tiers": tiers})
    store.put_control(Partition("control"), 0, said)
    assert roles(store, DAY.until) == {"b": "challenger", "c": "champion", "f": "fallback", "old": "canary"}
