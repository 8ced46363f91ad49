"""Messages that a real Kafka has dropped before they were read: counting goes on by rule, and an alert names what is gone."""

import time
import uuid

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from birdwatch.alerts.history import read_alerts
from birdwatch.cli.judging import judging
from birdwatch.config import Mapping, Settings
from birdwatch.errors import LostError
from birdwatch.records import encode
from birdwatch.streams import open_streams
from birdwatch.testing import a_score
from birdwatch.windows.merge import Merge
from birdwatch.windows.pane import Series, counters
from birdwatch.windows.store import Store
from birdwatch.windows.tail import Tail
from birdwatch.windows.worker import Worker

pytestmark = pytest.mark.integration

START = 1_700_000_040
PATIENCE_SECONDS = 40.0


@pytest.fixture
def topic():
    return f"scores-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def place(kafka):
    streams = open_streams(kafka)
    yield streams
    streams.close()


@pytest.fixture
def settings(kafka, topic, tmp_path):
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "rules.yaml").write_text("rules: [{name: silence, kind: silence, window: 1m}]")

    def chosen(**more):
        topics = {name: Mapping(topic=f"{name}-{topic}") for name in ("requests", "canary", "metrics", "outcomes")}
        topics["scores"] = Mapping(topic=topic)
        return Settings(
            streams=kafka, store=tmp_path / "store.db", rules=rules, idle_seconds=1, mappings=topics, **more
        )

    return chosen


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store.db", pane_seconds=60)
    yield store
    store.close()


def write(place, topic, minutes):
    for minute in minutes:
        scores = [a_score(request_id=f"{minute}-{n}", request_ts=START + 60 * minute + n, model="m") for n in range(30)]
        place.append(topic, [(b"k", encode(score)) for score in scores])


def trim(kafka, topic, before):
    admin = AdminClient({"bootstrap.servers": kafka.removeprefix("kafka://")})
    for done in admin.delete_records([TopicPartition(topic, 0, before)]).values():
        done.result()


def follow(reads, done):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < deadline, "it did not come to this"
        for one in reads:
            one.step()


def events(store, minute):
    start = START + 60 * minute
    return counters(store.pane(start, start + 60).get(Series("counts", "m", "1")))["events"]


def test_a_tail_that_was_away_longer_than_messages_are_kept_goes_on_and_says_what_is_gone(
    kafka, place, settings, store, topic
):
    chosen = settings()
    write(place, topic, range(6))
    tail = Tail(place, store, chosen)
    follow([tail], lambda: tail.reading.messages == 180)
    tail.finish()
    tail.close()
    write(place, topic, range(6, 16))
    trim(kafka, topic, 270)  # the minutes 6, 7 and 8 are gone
    tail = Tail(place, store, chosen, on_closed=judging(store, chosen))
    follow([tail], lambda: events(store, 11) == 30)
    tail.close()
    assert [events(store, minute) for minute in range(12)] == [30] * 6 + [0] * 3 + [30] * 3
    (fired,) = [alert for alert in read_alerts(store, 0, 2**40) if alert.rule == "streams"]
    assert f"{topic}/0: 90 messages from offset 180 on" in fired.reason
    assert tail.reading.gaps == 1


def test_who_would_rather_stop_stops_and_says_why(kafka, place, settings, store, topic):
    chosen = settings(on_lost="stop")
    write(place, topic, range(4))
    tail = Tail(place, store, chosen)
    follow([tail], lambda: tail.reading.messages == 120)
    tail.finish()
    tail.close()
    trim(kafka, topic, 120)
    write(place, topic, range(4, 8))
    trim(kafka, topic, 150)
    tail = Tail(place, store, chosen)
    with pytest.raises(LostError, match=rf"{topic}.*150 to 240.*on_lost"):
        follow([tail], lambda: False)
    tail.close()
    assert tail.reading.messages == 0


def test_what_a_worker_misses_the_judge_tells(kafka, place, settings, store, topic):
    chosen, group = settings(), f"tail-{topic}"
    write(place, topic, range(4))
    worker = Worker(place, chosen, group=group)
    merge = Merge(place, store, chosen, group=group, on_closed=judging(store, chosen))
    follow([worker, merge], lambda: worker.reading.messages == 120)
    follow([worker, merge], lambda: bool(place.committed(group, [topic])))
    worker.close()
    write(place, topic, range(4, 14))
    trim(kafka, topic, 240)
    worker = Worker(place, chosen, group=group)
    follow([worker, merge], lambda: any(alert.rule == "streams" for alert in read_alerts(store, 0, 2**40)))
    worker.close()
    merge.close()
    (fired,) = [alert for alert in read_alerts(store, 0, 2**40) if alert.rule == "streams"]
    assert f"{topic}/0: 240 messages from offset 0 on" in fired.reason  # what was open was in memory alone
