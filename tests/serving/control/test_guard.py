import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birdwatch.detect import attribution
from birdwatch.errors import StreamError
from birdwatch.records import Alert, Control, decode, encode
from birdwatch.serving.control.guard import GROUP, NOT_ITS_FAULT, Guard
from birdwatch.testing import FakeClock, MemoryStreams

TIERS = [{"models": ["champion"]}]


def control(ts, action, model="challenger", version="2", **params):
    return Control(ts=ts, action=action, author="ann", reason="a test", model=model, version=version, params=params)


def ramp(ts, guard="rollback", percent=10, **params):
    return control(ts, "ramp", percent=percent, **({"guard": guard} if guard else {}), **params)


SCHEDULE = control(0, "schedule", "", "1", default=0.5, tiers=TIERS)
REGISTERED = [SCHEDULE, control(1, "register", target="a:b"), control(2, "warm")]


def alert(ts, state="firing", *, started=None, **fields):
    about = {"rule": "pairs", "severity": "page", "attribution": "the model changed", "reason": "it differs"}
    about |= {"model": "challenger", "version": "2", "fingerprint": "ab12", **fields}
    return Alert(ts=ts, started=ts if started is None else started, state=state, **about)


class Place:
    """Streams, and the guards that come and go."""

    def __init__(self):
        clock = FakeClock()
        self.streams = MemoryStreams(clock=clock, sleep=clock.sleep)

    def put(self, *records):
        for record in records:
            stream = "alerts" if isinstance(record, Alert) else "control"
            self.streams.append(stream, [(b"", encode(record))])

    def guard(self):
        return Guard(self.streams)

    def acted(self):
        """What guards have put on control."""
        messages = self.streams.reader(["control"]).poll(timeout=0.0)
        records = [decode(message.value, Control) for message in messages]
        return [record for record in records if record.author == "guard"]


@pytest.fixture
def place():
    made = Place()
    made.put(*REGISTERED)
    return made


@pytest.mark.parametrize("guard", ["hold", "rollback"])
def test_an_alert_on_the_version_that_is_ramped_is_acted_upon_and_says_why(place, guard):
    place.put(ramp(10, guard), alert(20))
    place.guard().step(0.0)
    (action,) = place.acted()
    assert (action.action, action.model, action.version, action.ts) == (guard, "challenger", "2", 20)
    assert action.params["fingerprint"] == "ab12"
    assert action.reason == "the model changed: it differs (pairs)"


@pytest.mark.parametrize(
    ("fields", "acts"),
    [
        ({"model": "champion"}, False),
        ({"version": "1"}, False),
        ({"version": ""}, True),
        ({"model": "", "version": ""}, False),
        ({"attribution": ""}, True),
        *[
            ({"attribution": cause}, acts)
            for cause, acts in [
                (attribution.MODEL_CHANGED, True),
                (attribution.PAIR_CHANGED, True),
                (attribution.DRIFTS_ALONE, True),
                (attribution.UNKNOWN, True),
                (attribution.INPUTS_CHANGED, False),
                (attribution.INPUTS_CHANGED_AND_DIFFER, False),
                (attribution.PARTNER_CHANGED, False),
                (attribution.CANARY_CHANGED, False),
                (attribution.RULE_FAILED, False),
            ]
        ],
    ],
)
def test_only_what_blames_the_ramped_version_counts(place, fields, acts):
    place.put(ramp(10), alert(20, **fields))
    place.guard().step(0.0)
    assert len(place.acted()) == acts


def test_the_words_it_knows_are_those_of_the_observing_side():
    told = [value for name, value in vars(attribution).items() if name.isupper() and isinstance(value, str)]
    assert all(any(cause.startswith(word) for cause in told) for word in NOT_ITS_FAULT)


def test_without_a_guard_or_a_ramp_nothing_is_done(place):
    place.put(alert(20), ramp(10, None))
    guard = place.guard()
    guard.step(0.0)
    place.put(ramp(30, percent=0), alert(40, fingerprint="cd34"))
    guard.step(0.0)
    assert place.acted() == []


def test_an_alert_that_was_over_before_the_ramp_is_passed_by(place):
    place.put(alert(5), alert(8, "resolved", started=5), ramp(10))
    place.guard().step(0.0)
    assert place.acted() == []


def test_nothing_is_decided_before_all_is_read(place):
    others = [alert(6, fingerprint=f"{n:04x}", model="another") for n in range(2500)]
    place.put(ramp(10), alert(5), *others, alert(8, "resolved", started=5))
    guard = place.guard()
    for _ in range(5):
        guard.step(0.0)
    assert place.acted() == []


def test_an_alert_that_fires_when_the_ramp_begins_is_acted_upon_at_once(place):
    guard = place.guard()
    place.put(alert(5))
    guard.step(0.0)
    place.put(ramp(10))
    guard.step(0.0)
    (action,) = place.acted()
    assert action.ts == 10


def test_an_alert_that_fired_and_was_over_while_no_guard_ran_is_acted_upon(place):
    place.put(ramp(10), alert(20), alert(30, "resolved", started=20))
    place.guard().step(0.0)
    assert len(place.acted()) == 1


def test_a_ramp_that_people_raise_after_a_hold_is_guarded_anew(place):
    guard = place.guard()
    place.put(ramp(10, "hold"), alert(20), alert(30, "resolved", started=20))
    guard.step(0.0)
    place.put(ramp(40, "hold", percent=20, anyway=True))
    guard.step(0.0)
    assert len(place.acted()) == 1
    place.put(alert(50))
    guard.step(0.0)
    assert [action.ts for action in place.acted()] == [20, 50]


def test_a_version_registered_again_after_a_rollback_is_guarded_anew(place):
    guard = place.guard()
    place.put(ramp(10), alert(20))
    guard.step(0.0)
    place.put(alert(25, "resolved", started=20), *[msgspec.structs.replace(r, ts=30) for r in REGISTERED[1:]], ramp(40))
    guard.step(0.0)
    assert len(place.acted()) == 1
    place.put(alert(50))
    guard.step(0.0)
    assert len(place.acted()) == 2


def test_it_commits_after_it_has_written_so_that_others_can_wait_for_it(place):
    guard = place.guard()
    place.put(ramp(10), alert(20))
    guard.step(0.0)
    assert place.streams.committed(GROUP, ["control"]) != place.streams.ends(["control"])  # its own record is news
    guard.step(0.0)
    assert place.streams.committed(GROUP, ["control", "alerts"]) == place.streams.ends(["control", "alerts"])


def test_what_cannot_be_read_is_passed_by_and_said(place, capsys):
    place.streams.append("alerts", [(b"", b"no alert")])
    place.put(ramp(10), alert(20))
    place.guard().step(0.0)
    assert len(place.acted()) == 1
    assert "passed by on alerts at 0" in capsys.readouterr().err


def test_before_a_schedule_is_known_it_waits():
    place = Place()
    place.put(*REGISTERED[1:], ramp(10), alert(20))
    guard = place.guard()
    guard.step(0.0)
    assert place.acted() == []
    place.put(SCHEDULE, ramp(10))
    guard.step(0.0)
    assert len(place.acted()) == 1


class KilledError(Exception):
    """The guard died here."""


@settings(max_examples=150, deadline=None)
@given(data=st.data(), guarded=st.sampled_from(["hold", "rollback"]))
def test_however_the_streams_come_and_whenever_it_is_killed_it_acts_exactly_once(data, guarded):
    place = Place()
    controls = [*REGISTERED, ramp(10, guarded)]
    other = alert(15, fingerprint="ef56", attribution=attribution.INPUTS_CHANGED)
    alerts = [other, alert(20), alert(30, "resolved", started=20), alert(40, fingerprint="cd34", rule="errors")]
    # Delivery is at least once: any alert may come twice.
    alerts = [each for each in alerts for _ in range(data.draw(st.integers(1, 2)))]
    guard = place.guard()
    while controls or alerts:
        queue = data.draw(st.sampled_from([queue for queue in (controls, alerts) if queue]))
        place.put(queue.pop(0))
        match data.draw(st.sampled_from(["wait", "step", "killed after writing", "killed between"])):
            case "step":
                guard.step(0.0)
            case "killed after writing":
                commit = guard._reader.commit
                guard._reader.commit = kill
                try:
                    guard.step(0.0)
                except KilledError:
                    guard = place.guard()
                else:
                    guard._reader.commit = commit
            case "killed between":
                guard = place.guard()
    guard.step(0.0)
    assert [action.action for action in place.acted()] == [guarded]
    assert place.acted()[0].params["fingerprint"] in {"ab12", "cd34"}


def kill():
    raise KilledError


def test_when_the_streams_fail_it_reads_all_again_and_acts_once(place, monkeypatch, capsys):
    clock = FakeClock()
    place.put(ramp(10), alert(20))
    guard = Guard(place.streams, sleep=clock.sleep)
    append = place.streams.append

    def taken_but_unknown(stream, messages):
        monkeypatch.setattr(place.streams, "append", append)
        append(stream, messages)
        raise StreamError("nobody has said so")

    monkeypatch.setattr(place.streams, "append", taken_but_unknown)
    steps = iter(range(5))
    guard.run(lambda: next(steps, None) is None)
    assert [record.action for record in place.acted()] == ["rollback"]
    assert "reading all again: nobody has said so" in capsys.readouterr().err
