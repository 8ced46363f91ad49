import pytest

from birdwatch.records import Control, encode
from birdwatch.serving.control.ledger import Ledger, read_ledger, say
from birdwatch.testing import FakeClock, MemoryStreams, a_score


def control(action, model="", version="", **params):
    return Control(ts=1.0, action=action, author="ann", reason="a test", model=model, version=version, params=params)


SCHEDULE = control("schedule", version="1", default=0.5, tiers=[{"models": ["m"]}], canary=["old"])


@pytest.fixture
def streams():
    clock = FakeClock()
    return MemoryStreams(clock=clock, sleep=clock.sleep)


def put(streams, *records, stream="control"):
    streams.append(stream, [(b"", encode(record)) for record in records])


def test_before_a_schedule_is_known_nothing_is_judged_and_then_all_is():
    ledger = Ledger()
    assert ledger.enter(control("champion", "old")) is None
    assert ledger.enter(control("schedule", default=0.1)) is None  # it says only what changes
    assert ledger.fleet is None
    assert ledger.enter(SCHEDULE) is None
    assert ["canary" in (entry.refused or "") for entry in ledger.entries] == [True, False, False]
    assert ledger.fleet.schedule.models == ("m",)


def test_it_comes_to_what_the_rendezvous_makes_of_the_same_records(streams):
    put(streams, SCHEDULE, control("register", "new", "2"), control("warm", "new", "2"))
    put(streams, control("ramp", "new", "2", percent=10))
    ledger, _ = read_ledger(streams)
    assert ledger.fleet.ramps == {"new": 10}
    assert [entry.refused for entry in ledger.entries] == [None] * 4


def test_who_scores_is_known_without_having_been_on_control(streams):
    put(streams, SCHEDULE)
    put(streams, a_score(model="quiet", version="3"), a_score(model="quiet", version="4"), stream="scores")
    put(streams, a_score(model="bird", version="0"), stream="canary")
    streams.append("scores", [(b"", b"no score")])
    ledger, heard = read_ledger(streams)
    assert heard == {"quiet": ["3", "4"], "bird": ["0"]}
    assert {standing.model: standing.stage for standing in ledger.fleet.standing()} == {
        "m": "first tier",
        "quiet": "shadow",
        "bird": "canary",
        "old": "canary",
    }


def test_what_cannot_be_read_is_counted(streams):
    streams.append("control", [(b"", b"no record")])
    assert read_ledger(streams)[0].unreadable == 1


def test_the_last_change_of_a_model_may_be_a_schedule_that_names_it():
    ledger = Ledger()
    ramp = control("ramp", "new", "2", percent=10)  # refused: it is not warm
    for record in (control("register", "m", "1"), SCHEDULE, ramp):
        ledger.enter(record)
    assert ledger.last_of("m") == SCHEDULE
    assert ledger.last_of("new") is None


def test_who_is_in_charge_is_the_last_that_took_over():
    ledger = Ledger()
    assert ledger.in_charge == ["rendezvous"]
    for to, at in (("second", 17), ("third", 40)):
        ledger.enter(control("swapped", component="rendezvous", token=to, to=to, at={"0": at}))
    ledger.enter(control("swapped", component="features", token="t", by="gateway", at={"0": 50}))
    assert ledger.in_charge == ["third"]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (control("register", "m", "2", target="a:b"), "register m 2 (a:b)"),
        (control("register", "m", "2", role="canary"), "register m 2 as the canary"),
        (control("warm", "m", "2"), "m 2 is warm"),
        (control("warm", "m", "2", anyway=True), "m 2 is warm, though it did not pass"),
        (control("ramp", "m", "2", percent=0), "end the ramp of m 2"),
        (
            control("ramp", "m", "2", percent=5, guard="hold", anyway=True),
            "ramp m 2 to 5 % of the keys, guard: hold, anyway",
        ),
        (control("hold", "m", "2"), "hold the ramp of m 2"),
        (control("champion", "m"), "champion m"),
        (SCHEDULE, "schedule 1: m"),
        (control("schedule", version="2", default=0.1), "schedule 2"),
        (control("override", "m", name="x", when={"a": {"at_least": 1, "below": 2}}), "override x: a ≥ 1 and < 2 to m"),
        (control("override", "m"), "override m: every request to m"),
        (control("override", name="x", clear=True), "clear override x"),
        (control("rollback", "m", "2", to="1"), "roll back m 2 to 1"),
        (control("retire", "m"), "retire m"),
        (control("swap", component="features", target="a:b"), "swap the features to a:b"),
        (control("swapped", component="rendezvous", to="second"), "the rendezvous has swapped to second"),
    ],
)
def test_a_record_is_said_in_a_few_words(record, said):
    assert say(record) == said


@pytest.mark.parametrize(
    "record",
    [
        control("schedule", version="9", tiers="a"),
        control("schedule", version="9", tiers=[{}]),
        control("override", "m", when=[1]),
    ],
)
def test_a_record_of_another_shape_is_refused_and_said_all_the_same(record):
    ledger = Ledger()
    ledger.enter(SCHEDULE)
    assert ledger.enter(record) is not None
    assert say(record).startswith(record.action)
