"""One alert says that the inputs changed; what follows from it is in the history, and told if it outlasts that."""

import pytest

from birdwatch.alerts.condition import fingerprint
from birdwatch.alerts.delivery import deliver_due
from birdwatch.alerts.held import Firing
from birdwatch.alerts.history import read_alerts, read_changes
from birdwatch.alerts.inhibition import explainers
from birdwatch.alerts.lifecycle import advance
from birdwatch.alerts.outbox import subscribe, waiting
from birdwatch.alerts.sinks.sink import Sink
from birdwatch.detect.attribution import (
    DRIFTS_ALONE,
    INPUT_MOVED,
    INPUTS_CHANGED,
    INPUTS_CHANGED_AND_DIFFER,
    MODEL_CHANGED,
)
from birdwatch.detect.verdict import Finding, Subject
from birdwatch.records import Alert
from birdwatch.windows.store import Store

FLEET = fingerprint("scores", Subject(), INPUTS_CHANGED)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "birdwatch.db", pane_seconds=60)
    subscribe(store, "log")
    yield store
    store.close()


def inputs(ts, *, active=True, over=False):
    """What is said of the whole fleet."""
    cause = {"attribution": INPUTS_CHANGED} if active else {}
    return Finding(
        rule="scores", subject=Subject(), ts=ts, severity="ticket", active=active, over=over, reason="snow", **cause
    )


def pair(model, ts, cause=INPUTS_CHANGED_AND_DIFFER, *, active=True, over=False, severity="ticket"):
    told = {"attribution": cause} if active else {}
    return Finding(
        rule="pairs",
        subject=Subject(model, "1", "champion"),
        ts=ts,
        severity=severity,
        active=active,
        over=over,
        reason="they differ",
        **told,
    )


class Ear(Sink):
    """Hears all that is delivered."""

    def __init__(self):
        self.heard = []

    def send(self, alert, message_id):
        self.heard.append((alert.model or alert.feature or "fleet", alert.state))

    def close(self):
        pass


def heard(store):
    """Give what a receiver hears now, and has not before."""
    ear = Ear()
    while deliver_due(store, {"log": ear}, lambda: 0.0)["log"].delivered:
        pass
    return ear.heard


MODELS = [f"m{i:02}" for i in range(40)]


def test_inputs_that_changed_are_one_alert_and_not_forty(store):
    advance(store, [inputs(60), *(pair(model, 60) for model in MODELS)])
    assert heard(store) == [("fleet", "firing")]
    rows = read_alerts(store, 0, 100)
    assert len(rows) == 41
    assert {row.inhibited_by for row in rows if row.model} == {FLEET}
    assert all(row.inhibited for row in rows if row.model)


def test_what_outlasted_its_explanation_is_shown_as_explained_while_it_was(store):
    advance(store, [inputs(60), pair("a", 120)])
    advance(store, [pair("b", 150)])
    advance(store, [pair("a", 180), inputs(180, active=False, over=True)])
    marked = {
        at: [row.inhibited for row in read_alerts(store, 0, 200, at) if row.model == "a"] for at in (120, 179, 180)
    }
    assert marked == {120: [True], 179: [True], 180: [False]}


def test_what_was_not_told_does_not_resolve_for_anybody(store):
    advance(store, [inputs(60), pair("a", 60)])
    advance(store, [pair("a", 120, active=False, over=True), inputs(180, active=False, over=True)])
    assert heard(store) == [("fleet", "firing"), ("fleet", "resolved")]


def test_what_outlasts_its_explanation_is_told_then(store):
    advance(store, [inputs(60), pair("a", 120)])
    advance(store, [pair("a", 180), inputs(180, active=False, over=True)])
    assert heard(store) == [("fleet", "firing"), ("a", "firing"), ("fleet", "resolved")]
    (row,) = [row for row in read_alerts(store, 0, 200) if row.model]
    assert (row.inhibited_by, row.inhibited) == (FLEET, False)
    advance(store, [pair("a", 240, active=False, over=True)])
    assert heard(store) == [("a", "resolved")]


def test_what_was_told_before_stays_told(store):
    advance(store, [pair("a", 60)])
    advance(store, [inputs(120)])
    advance(store, [pair("a", 180, active=False, over=True)])
    assert heard(store) == [("a", "firing"), ("fleet", "firing"), ("a", "resolved")]


def test_of_many_that_differ_on_the_same_inputs_the_first_is_told_and_when_it_ends_the_next(store):
    advance(store, [pair(model, 60) for model in MODELS])
    assert heard(store) == [("m00", "firing")]
    advance(store, [pair("m00", 120, active=False, over=True)])
    assert heard(store) == [("m01", "firing"), ("m00", "resolved")]
    leader = fingerprint("pairs", Subject("m01", "1", "champion"), INPUTS_CHANGED_AND_DIFFER)
    assert {row.inhibited_by for row in read_alerts(store, 0, 200) if row.inhibited} == {leader}


@pytest.mark.parametrize("cause", [MODEL_CHANGED, DRIFTS_ALONE])
def test_a_model_that_changed_by_itself_is_told_whatever_the_inputs_do(store, cause):
    advance(store, [inputs(60), pair("a", 60, cause, severity="page")])
    assert sorted(heard(store)) == [("a", "firing"), ("fleet", "firing")]


def test_a_receiver_that_comes_later_is_not_told_what_is_held_back(store):
    advance(store, [inputs(60), pair("a", 60)])
    subscribe(store, "late")
    assert waiting(store) == {"late": 1, "log": 1}


def test_a_change_says_what_keeps_it_back(store):
    advance(store, [inputs(60), pair("a", 60)])
    (row,) = [row for row in read_alerts(store, 0, 100) if row.model]
    (change,) = read_changes(store, row.fingerprint)
    assert (change.inhibited_by, change.inhibited, change.deliveries) == (FLEET, True, [])


@pytest.mark.parametrize("together", [True, False])
def test_streams_told_twice_give_the_same_history(tmp_path, together):
    """Held back or not is read off event time alone, however the windows are parted into steps."""
    findings = [
        finding
        for i in range(1, 12)
        for finding in [
            *([inputs(60 * i)] if i % 5 in (1, 2) else [inputs(60 * i, active=False, over=i % 5 == 4)]),
            *(pair(model, 60 * i, active=(i + n) % 4 > 0, over=(i + n) % 4 == 0) for n, model in enumerate("abc")),
        ]
    ]
    histories = []
    for name in ("one", "two"):
        store = Store(tmp_path / f"{name}.db", pane_seconds=60)
        for part in (
            [findings] if name == "one" and together else [[f for f in findings if f.ts == 60 * i] for i in range(12)]
        ):
            advance(store, part, sinks=["log"])
        histories.append((read_changes(store, ""), read_alerts(store, 0, 1e9)))
        store.close()
    assert histories[0] == histories[1]
    assert any(row.inhibited_by for row in histories[0][1])


def firing(number, cause, *, severity="ticket", inhibited=False, ts=60.0):
    alert = Alert(
        fingerprint=f"f{number}",
        ts=ts,
        started=ts,
        state="firing",
        rule="r",
        severity=severity,
        attribution=cause,
        model="m",
        version="1",
        reason="",
    )
    return Firing(number, alert, inhibited, silenced=False)


@pytest.mark.parametrize(
    ("fires", "explained"),
    [
        ([firing(1, INPUT_MOVED)], {1: ""}),
        ([firing(1, INPUT_MOVED), firing(2, INPUTS_CHANGED)], {1: "f2"}),
        ([firing(1, INPUT_MOVED), firing(2, INPUT_MOVED)], {1: "", 2: ""}),
        # What is more urgent is not explained by what is less.
        ([firing(1, INPUTS_CHANGED_AND_DIFFER), firing(2, INPUTS_CHANGED, severity="info")], {1: ""}),
        (
            [firing(1, INPUTS_CHANGED_AND_DIFFER, severity="info"), firing(2, INPUTS_CHANGED_AND_DIFFER)],
            {1: "f2", 2: ""},
        ),
        # What was told before is no longer asked about, and explains others.
        ([firing(1, INPUTS_CHANGED_AND_DIFFER, ts=0.0), firing(2, INPUTS_CHANGED_AND_DIFFER)], {2: "f1"}),
        # That the inputs changed explains better than one of those that differ on them.
        (
            [
                firing(1, INPUTS_CHANGED_AND_DIFFER, ts=0.0),
                firing(2, INPUTS_CHANGED, ts=0.0),
                firing(3, INPUTS_CHANGED_AND_DIFFER, ts=0.0, inhibited=True),
            ],
            {3: "f2"},
        ),
    ],
)
def test_which_alert_explains_which(fires, explained):
    assert explainers(fires, 60.0) == explained
