from collections import Counter

import httpx
import pytest
from prometheus_client import CollectorRegistry, Gauge

from birdwatch.errors import ServingError
from birdwatch.health import Health
from birdwatch.serving.gateway.server import bind
from birdwatch.testing import FakeClock

COUNTS = Counter({("scores", "m"): 3, ("late_scores", "n"): 1, ("scores", "n"): 2})


@pytest.fixture
def clock():
    return FakeClock(0.0)


@pytest.fixture
def health(clock):
    made = Health(0, "runner", clock=clock)
    yield made
    made.close()


@pytest.fixture
def ask(health):
    with httpx.Client(base_url=f"http://127.0.0.1:{health.port}") as client:
        yield client.get


def test_it_is_healthy_and_shows_its_counts(health, ask):
    assert ask("/metrics").text == ""
    health.show(lambda: COUNTS)
    assert ask("/healthz").text == "ok\n"
    metrics = ask("/metrics").text
    assert ask("/elsewhere").status_code == 404
    assert 'birdwatch_runner_scores_total{model="m"} 3.0' in metrics
    assert 'birdwatch_runner_scores_total{model="n"} 2.0' in metrics
    assert 'birdwatch_runner_late_scores_total{model="n"} 1.0' in metrics


def test_it_shows_other_measures_too(health, ask):
    registry = CollectorRegistry()
    Gauge("temperature", "of the room", registry=registry).set(21)
    health.show(lambda: COUNTS, registry)
    assert "temperature 21.0" in ask("/metrics").text
    assert "birdwatch_runner_scores_total" in ask("/metrics").text


def test_it_is_ready_with_the_first_turn_of_the_loop_and_as_long_as_the_loop_turns(health, ask, clock):
    assert (ask("/readyz").status_code, ask("/readyz").text) == (503, "starting\n")
    stopping = health.pulse.turning(lambda: False)
    assert stopping() is False
    assert (ask("/readyz").status_code, ask("/readyz").text) == (200, "ready\n")
    health.show(Counter)
    clock.sleep(9.9)
    assert ask("/readyz").status_code == 200
    assert "birdwatch_ready 1.0" in ask("/metrics").text
    clock.sleep(0.1)
    assert "birdwatch_ready 0.0" in ask("/metrics").text
    assert (ask("/readyz").status_code, ask("/readyz").text) == (503, "the loop has not turned for 10 s\n")
    assert ask("/healthz").status_code == 200
    stopping()
    assert ask("/readyz").status_code == 200


def test_it_is_not_ready_while_the_component_has_trouble(health, ask):
    health.pulse.beat()
    trouble = ["the model is still busy"]
    health.show(lambda: COUNTS, trouble=lambda: trouble[0])
    assert (ask("/readyz").status_code, ask("/readyz").text) == (503, "the model is still busy\n")
    trouble[0] = None
    assert ask("/readyz").status_code == 200


def test_a_taken_port_is_named(health):
    with pytest.raises(ServingError, match=f"port {health.port} on 127.0.0.1 cannot be used"):
        Health(health.port, "runner")
    with pytest.raises(ServingError, match=f"port {health.port} on 127.0.0.1 cannot be used"):
        bind("127.0.0.1", health.port)


def test_where_no_port_is_wanted_none_is_taken():
    health = Health(None, "runner")
    health.show(lambda: COUNTS)
    assert health.port is None
    health.close()


def test_a_free_port_is_taken_and_known():
    with bind("127.0.0.1", 0) as bound:
        assert bound.getsockname()[1] > 0


def test_it_serves_the_files_of_a_folder_that_it_is_given(health, ask):
    asked = []

    def give(name):
        asked.append(name)
        return b"drawn" if name == "a.png" else None

    assert ask("/pictures/a.png").status_code == 404
    health.offer("pictures", "image/png", give)
    found = ask("/pictures/a.png")
    assert (found.content, found.headers["content-type"]) == (b"drawn", "image/png")
    assert ask("/pictures/b.png").status_code == ask("/pictures").status_code == ask("/other/a.png").status_code == 404
    assert asked == ["a.png", "b.png", ""]
