"""The demo over a real Kafka: the same story, told by other streams."""

import json

import pytest

from birdwatch.demo.flights import load_year, start_of
from birdwatch.streams import open_streams

from .test_demo import HOUR, Demo, gone

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def address(kafka_cluster):
    """A broker of the demo's own: its streams have their own names, and it mixes with nobody's."""
    with kafka_cluster() as alone:
        yield f"kafka://{alone.address}?partitions=2"


@pytest.fixture
def run(tmp_path):
    started = []

    def run_(*arguments):
        started.append(Demo(*arguments, "--no-dashboard", "--run-dir", "run", cwd=tmp_path))
        return started[-1]

    yield run_
    for demo in started:
        demo.close()


def test_a_day_over_kafka_is_served_counted_and_told(address, run, tmp_path):
    demo = run("--from", "2013-05-13", "--days", 1, "--json", "out.json", "--streams", address)
    demo.read_until("the first verdict")
    pids = demo.descendants()
    assert demo.finish() == 0, demo.text
    report = json.loads((tmp_path / "out.json").read_text())
    ts = load_year().flights["ts"]
    until = start_of("2013-05-14")
    morning = ts[ts >= until].min() // HOUR * HOUR + HOUR
    asked = int(((ts >= start_of("2013-05-13")) & (ts < morning)).sum())
    assert report["requests"] == report["answers"] == report["answers_within_sla"] == asked
    assert report["canary_answers"] == 0
    assert report["scores"] == dict.fromkeys(("canary", "challenger", "champion", "fallback"), asked)
    assert report["answers_by_model"]["champion"] >= 0.9 * asked
    assert report["incomplete_steps"] == 0
    assert not (tmp_path / "run" / "streams").exists()
    assert gone(pids)
    streams = open_streams(address)
    partitions = {name: len(streams.ends([name])) for name in streams.names()}
    streams.close()
    assert {partitions[name] for name in ("requests", "scores", "canary", "results", "metrics", "outcomes")} == {2}
    assert partitions["control"] == 1

    again = run("--days", 1, "--streams", address)
    assert again.finish() != 0
    assert "requests, results, scores" in again.text
    assert "kafka-topics.sh --bootstrap-server" in again.text
    assert (tmp_path / "run" / "birdwatch.db").exists()  # what was made before is still there
