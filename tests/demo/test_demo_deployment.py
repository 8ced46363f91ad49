"""The deployment of the demo is made by what it finds, and not by what the story would like."""

import numpy as np
import pytest
import yaml

from birdwatch.demo import story
from birdwatch.demo.deployment import changes
from birdwatch.demo.flights import load_year, start_of
from birdwatch.demo.prepare import Layout, configure
from birdwatch.records import Control, decode, encode
from birdwatch.serving.control.schedule import load_schedule
from birdwatch.serving.rendezvous.rendezvous import Rendezvous
from birdwatch.streams import open_streams
from birdwatch.testing import a_score


@pytest.fixture
def layout(tmp_path):
    made = Layout(tmp_path)
    made.schedule.write_text(yaml.safe_dump(story.schedule(0.25)))
    return made


@pytest.fixture
def streams(layout):
    place = open_streams(layout.streams)
    yield place
    place.close()


def staged(streams, layout, since="2013-04-01", until="2013-06-01", say=lambda _: None):
    return changes(streams, layout, start_of(since), start_of(until), serves=lambda *_: True, say=say)


@pytest.mark.parametrize(
    ("since", "until", "count"),
    [("2013-04-01", "2013-05-14", 0), ("2013-05-14", "2013-05-15", 2), ("2013-05-15", "2013-06-01", 0)],
)
def test_outside_of_these_days_nothing_is_staged(streams, layout, since, until, count):
    assert len(staged(streams, layout, since, until)) == count


def score(streams, differs):
    """Have the new version differ from the champion so many times as much as the canary does."""
    rng = np.random.default_rng(1)
    for n, champion in enumerate(rng.uniform(0.2, 0.8, 300).tolist()):
        for stream, model, version, off in (
            ("scores", "champion", "1", 0.0),
            ("scores", "challenger", "2", 0.02 * differs),
            ("canary", "canary", "1", 0.02),
        ):
            said = a_score(request_id=str(n), model=model, version=version, score=champion + off)
            streams.append(stream, [(b"", encode(said))])


def test_a_version_that_passes_is_warmed_with_the_evidence_and_then_ramped_up(streams, layout):
    score(streams, differs=1.3)
    said = []
    _, second = staged(streams, layout, say=said.append)
    warm, ramp = second.make()
    assert (warm.action, warm.version, warm.params["requests"]) == ("warm", "2", 300)
    assert warm.params["ratio"] == pytest.approx(1.3)
    assert ramp == story.ramp(warm=True)
    assert said[0].startswith("it is warm: on 300 flights 0 errors")


def test_one_that_does_not_is_ramped_up_all_the_same_by_somebody_in_a_hurry(streams, layout):
    score(streams, differs=2.5)
    said = []
    _, second = staged(streams, layout, say=said.append)
    assert list(second.make()) == [story.ramp(warm=False)]
    assert said[0].startswith("it is not warm: it differs from the champion 2.50 times")


def test_one_that_has_hardly_scored_is_not_warm_either(streams, layout):
    said = []
    _, second = staged(streams, layout, say=said.append)
    assert list(second.make()) == [story.ramp(warm=False)]
    assert said == ["it has not scored the 200 flights that the check takes"]


def test_a_change_is_in_force_when_the_runner_has_loaded_the_version(streams, layout):
    asked = []
    first, _ = changes(
        streams,
        layout,
        start_of("2013-04-01"),
        start_of("2013-06-01"),
        serves=lambda *about: asked.append(about) or len(asked) > 1,
        say=lambda _: None,
    )
    assert [record.action for record in first.make()] == ["register"]
    assert not first.settled()
    assert first.settled()
    assert asked == [("challenger", "2")] * 2


def controls(streams):
    reader = streams.reader(["control"])
    found = [decode(message.value, Control) for message in reader.poll(timeout=0.0)]
    reader.close()
    return found


def test_the_schedule_is_on_control_at_event_time_and_the_rendezvous_puts_no_other(streams, layout):
    since = start_of("2013-05-12")
    configure(load_year(), layout, streams, since=since, webhook="http://x")
    (there,) = controls(streams)
    assert (there.ts, there.action, there.author) == (since, "schedule", "rendezvous")
    rendezvous = Rendezvous(streams, load_schedule(layout.schedule))
    rendezvous.start()
    rendezvous.close()
    assert controls(streams) == [there]
