from collections import Counter

import httpx
import pytest

from birdwatch.errors import ServingError
from birdwatch.serving.health import Health
from birdwatch.serving.server import bind


@pytest.fixture
def health():
    made = Health(0, "runner", lambda: Counter({("scores", "m"): 3, ("late_scores", "n"): 1, ("scores", "n"): 2}))
    yield made
    made.close()


def test_it_is_healthy_and_shows_its_counts(health):
    with httpx.Client(base_url=f"http://127.0.0.1:{health.port}") as client:
        assert client.get("/healthz").text == "ok\n"
        metrics = client.get("/metrics").text
        assert client.get("/elsewhere").status_code == 404
    assert 'birdwatch_runner_scores_total{model="m"} 3.0' in metrics
    assert 'birdwatch_runner_scores_total{model="n"} 2.0' in metrics
    assert 'birdwatch_runner_late_scores_total{model="n"} 1.0' in metrics


def test_a_taken_port_is_named(health):
    with pytest.raises(ServingError, match=f"port {health.port} on 127.0.0.1 cannot be used"):
        Health(health.port, "runner", Counter)
    with pytest.raises(ServingError, match=f"port {health.port} on 127.0.0.1 cannot be used"):
        bind("127.0.0.1", health.port)


def test_a_free_port_is_taken_and_known():
    with bind("127.0.0.1", 0) as bound:
        assert bound.getsockname()[1] > 0
