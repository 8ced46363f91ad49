"""What the pipeline promises where processes decide, and die: `tests/serving/test_behaviours.py` under the same numbers.

``BIRDWATCH_KILLS`` says how often a process is killed: a few times by default, fifty times in `make test-nightly`.
"""

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from http.client import HTTPConnection

import pytest

from birdwatch.records import as_token
from birdwatch.streams import open_streams

from .test_serving import PARTS, Clients, Pipeline, check, first_results, wait_for

pytestmark = pytest.mark.integration

KILLS = int(os.environ.get("BIRDWATCH_KILLS", "5"))


@pytest.fixture
def pipeline(tmp_path):
    made = Pipeline(tmp_path)
    yield made
    made.kill_all()


def requests_and_tokens(pipeline):
    """Give what lies on `requests`, in order: ids, and tokens."""
    streams = open_streams(pipeline.address)
    reader, found = streams.reader(["requests"]), []
    while polled := reader.poll(timeout=0.0):
        found += [as_token(message.value) or json.loads(message.value) for message in polled]
    reader.close()
    streams.close()
    return found


def test_06_of_10000_interleaved_requests_at_32_in_flight_none_receives_anothers_answer(pipeline):
    pipeline.start(*PARTS)
    host, port = pipeline.url.removeprefix("http://").split(":")
    numbers, lock, replies = iter(range(10_000)), threading.Lock(), {}

    def ask():
        connection = HTTPConnection(host, int(port), timeout=30)
        while True:
            with lock:
                x = next(numbers, None)
            if x is None:
                break
            connection.request("POST", "/v1/score", json.dumps({"id": f"r{x}", "features": {"x": x}}))
            replies[x] = json.loads(connection.getresponse().read())
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == 10_000
    check(pipeline, {f"r{x}": reply for x, reply in replies.items()})


def test_17_killed_at_random_moments_nothing_is_lost_or_answered_twice_and_answers_come_in_time(pipeline):
    chance = random.Random(17)
    pipeline.start(*PARTS)
    without_gateway = set()
    with Clients(pipeline) as clients:
        for _ in range(KILLS):
            victim = chance.choice(list(PARTS))
            before = len(clients.replies)
            wait_for(lambda before=before: len(clients.replies) >= before + 5)
            time.sleep(chance.uniform(0, 0.3))
            asked = set(clients.replies)
            pipeline.stop(victim, signal.SIGKILL)
            time.sleep(chance.uniform(0, 0.5))
            pipeline.start(victim)
            wait_for(lambda before=before: len(clients.replies) >= before + 10)
            if victim == "gateway":  # the time until the next one is there is the clients' to count
                without_gateway |= set(clients.replies) - asked
    check(pipeline, clients.replies)
    assert all(r["within_sla"] for name, r in clients.replies.items() if name not in without_gateway)
    for model in ("champion", "cheap"):  # what a runner had not scored when it was killed, it scores afterwards
        wait_for(
            lambda model=model: (
                {s.request_id for s in pipeline.read("scores") if s.model == model} == set(clients.replies)
            )
        )
    code, _, _ = pipeline.stop("decoy")
    assert code == 0


def swapped(pipeline, component):
    return [c for c in pipeline.read("control") if c.action == "swapped" and c.params["component"] == component]


@pytest.mark.parametrize("victim", [None, "rendezvous", "second"])
def test_18_the_rendezvous_is_swapped_in_service_also_when_either_is_killed_midway(pipeline, victim):
    second = {"second": ["--schedule", "schedule.yaml", "--name", "second"]}
    pipeline.start(*PARTS, **second)
    with Clients(pipeline) as clients:
        wait_for(lambda: len(clients.replies) >= 20)
        pipeline.deploy("swap", "rendezvous", "--to", "second", "--anyway")  # it has run for less than two minutes
        if victim is not None:
            pipeline.stop(victim, signal.SIGKILL)
            if victim == "second":
                pipeline.start(**second)
            else:
                pipeline.start(victim)
        wait_for(lambda: swapped(pipeline, "rendezvous"))
        before = len(clients.replies)
        wait_for(lambda: len(clients.replies) >= before + 20)
        pipeline.stop("rendezvous")  # the old one is needed no more
        before = len(clients.replies)
        wait_for(lambda: len(clients.replies) >= before + 20)
    check(pipeline, clients.replies)
    last = [clients.replies[request.request_id] for request in list(pipeline.read("results"))[-10:]]
    assert {reply["reason"] for reply in last} == {"first choice"}
    assert {reply["within_sla"] for reply in clients.replies.values()} == {True}


def test_18_the_features_are_swapped_in_service_and_the_cut_is_exact(pipeline):
    pipeline.start(*PARTS)
    with Clients(pipeline) as clients:
        wait_for(lambda: len(clients.replies) >= 20)
        pipeline.deploy("swap", "features", "--target", "models:weather", "--config", '{"wind": 7}')
        wait_for(lambda: swapped(pipeline, "features"))
        before = len(clients.replies)
        wait_for(lambda: len(clients.replies) >= before + 20)
    found = requests_and_tokens(pipeline)
    [cut] = [place for place, one in enumerate(found) if not isinstance(one, dict)]
    assert {request["features"]["wind"] for request in found[:cut]} == {5}
    assert {request["features"]["wind"] for request in found[cut + 1 :]} == {7}
    assert sorted(request["id"] for request in found if isinstance(request, dict)) == sorted(clients.replies)


def test_19_a_slow_model_slows_no_one(pipeline):
    """No answer waits for it: `make bench-serving` measures the percentiles."""
    slow = {"slow": ["--model", "slow", "--target", "models:never"]}
    pipeline.start("gateway", "rendezvous", "champion", "cheap", **slow)
    pipeline.deploy("register", "slow", "1")
    with Clients(pipeline) as clients:
        wait_for(lambda: len(clients.replies) >= 60)
    check(pipeline, clients.replies)
    reasons = Counter(result.reason for result in first_results(pipeline).values())
    assert reasons["first choice"] >= 0.9 * len(clients.replies)
    assert all("slow" in decision.missing for decision in pipeline.read("metrics")[-30:])
