import numpy as np
import pytest

from birdwatch.detect.service import gone, why_over
from birdwatch.detect.verdict import Subject
from birdwatch.records import Control

from .scenes import scores_pane

RNG = np.random.default_rng(0)


def controls(*told):
    return [
        Control(ts=ts, action=action, author="me", reason="", model="m", version=version, params=params)
        for ts, action, version, params in told
    ]


HISTORY = controls(
    (0, "register", "1", {}),
    (10, "register", "2", {}),
    (20, "rollback", "2", {"to": "1"}),
    (30, "register", "2", {}),
    (40, "retire", "2", {}),
)


def test_what_counts_is_the_history_up_to_the_moment():
    assert gone(HISTORY, 15).retired == set()
    assert gone(HISTORY, 25).retired == gone(HISTORY, 25).rolled_back == {("m", "2")}


def test_what_is_done_when_a_window_ends_belongs_to_the_next():
    assert gone(HISTORY, 20).rolled_back == set()


def test_a_version_registered_again_is_in_service_again():
    assert gone(HISTORY, 35) == (set(), set())


def test_with_the_version_that_serves_its_model_goes():
    out = gone(HISTORY, 45)
    assert out.has("m", "7")
    assert out.rolled_back == set()
    assert not gone(controls((0, "register", "1", {}), (1, "register", "2", {}), (2, "retire", "1", {})), 3).has(
        "m", "2"
    )


def test_a_version_rolled_back_to_is_in_service():
    out = gone(controls((0, "retire", "1", {}), (1, "rollback", "2", {"to": "1"})), 2)
    assert not out.has("m", "1")


@pytest.mark.parametrize(
    ("subject", "why"),
    [
        (Subject("challenger", "1"), "challenger 1 was succeeded by challenger 2"),
        (Subject("challenger", "2"), ""),
        (Subject("elsewhere", "1"), ""),
        (Subject("challenger", "2", "old champion"), "challenger 2 is compared with champion now"),
        (Subject("challenger", "2", "champion"), ""),
        (Subject(), ""),
    ],
)
def test_what_scored_in_its_place_ends_a_subject(subject, why):
    pane = scores_pane({"champion": RNG.random(5), "challenger": RNG.random(5)}, version="2")
    assert why_over(subject, pane, gone([], 0)) == why


def test_the_control_stream_ends_subjects():
    assert why_over(Subject("m", "2", "c"), {}, gone(HISTORY, 25)) == "m 2 was rolled back"
    assert why_over(Subject("m"), {}, gone(HISTORY, 45)) == "m was retired"
    assert why_over(Subject("other", "1", "m"), {}, gone(HISTORY, 45)) == "m was retired"
