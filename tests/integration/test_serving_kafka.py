"""The serving pipeline over a real Kafka: several partitions, several of each part, and a broker that goes and comes back."""

import json
import random
import signal
import time

import httpx
import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from birdwatch.records import Alert, as_token, encode
from birdwatch.serving.horizon import catch_up
from birdwatch.streams import open_streams

from .test_serving import PARTS, Clients, Pipeline, check, first_results, wait_for

pytestmark = pytest.mark.integration

JOINED = ("requests", "scores", "canary", "results", "metrics", "outcomes")
MODELS = ("champion", "cheap", "bird")


@pytest.fixture(scope="module")
def own_broker(kafka_cluster):
    """A broker that no other test uses, so that it may be killed, and the streams may have their own names."""
    with kafka_cluster() as cluster:
        yield cluster


@pytest.fixture
def broker(own_broker):
    own_broker.empty()
    wait_for(lambda: not own_broker.logs())
    return own_broker


@pytest.fixture
def pipeline(tmp_path, broker):
    # librdkafka says much of a broker that is gone, and nobody reads what the processes say.
    made = Pipeline(tmp_path, f"kafka://{broker.address}?partitions=3&log_level=2")
    yield made
    made.kill_all()


def more(clients, count):
    before = len(clients.replies)
    wait_for(lambda: len(clients.replies) >= before + count, 60)


def requests_and_tokens(pipeline):
    """Give what lies on `requests`, by partition, in order: ids with their features, and tokens."""
    streams = open_streams(pipeline.address)
    reader, found = streams.reader(["requests"]), {}
    for messages in catch_up(streams, reader, ["requests"]):
        for message in messages:
            found.setdefault(message.partition, []).append(as_token(message.value) or json.loads(message.value))
    reader.close()
    streams.close()
    return found


def ask_again(url, request_id):
    body = {"id": request_id, "features": {"x": int(request_id[1:])}}
    return httpx.post(f"{url}/v1/score", json=body, timeout=10).json()


def test_two_of_each_share_the_partitions_and_every_gateway_reads_all_answers(pipeline):
    pipeline.start("gateway", *MODELS, "rendezvous")
    one = pipeline.url
    pipeline.start(
        other=[*PARTS["gateway"], "--name", "other"],
        helper=PARTS["rendezvous"],
        second=["--schedule", "schedule.yaml", "--name", "second"],
    )
    two = pipeline.url
    with Clients(pipeline) as clients:
        more(clients, 40)
        pipeline.url = one
        more(clients, 40)
        # A token in each partition: the features of each gateway, and the rendezvous, are swapped while they serve.
        pipeline.deploy("swap", "features", "--target", "models:weather", "--config", '{"wind": 7}')
        pipeline.deploy("swap", "rendezvous", "--to", "second", "--anyway")
        wait_for(lambda: sum(control.action == "swapped" for control in pipeline.read("control")) >= 2 + 3)
        more(clients, 40)
        pipeline.stop("helper")
        pipeline.stop("rendezvous")
        more(clients, 40)
    check(pipeline, clients.replies)
    assert {reply["within_sla"] for reply in clients.replies.values()} == {True}
    assert {result.reply_to for result in pipeline.read("results")} == {"gateway", "other"}
    for name in ("r0", max(clients.replies, key=lambda name: int(name[1:]))):
        assert {ask_again(url, name)["score"] for url in (one, two)} == {clients.replies[name]["score"]}
    for found in requests_and_tokens(pipeline).values():
        cuts = {each.by: place for place, each in enumerate(found) if not isinstance(each, dict) and each.by}
        assert cuts.keys() == {"gateway", "other"}
        for place, each in enumerate(found):
            if isinstance(each, dict):
                assert each["features"]["wind"] == (7 if place > cuts[each["reply_to"]] else 5)


def test_partitions_that_are_added_while_it_serves_are_served(pipeline, broker):
    pipeline.start("gateway", *MODELS, "rendezvous", helper=PARTS["rendezvous"])
    with Clients(pipeline) as clients:
        more(clients, 20)
        admin = AdminClient({"bootstrap.servers": broker.address})
        there = [stream for stream in JOINED if stream in admin.list_topics(timeout=10).topics]
        for made in admin.create_partitions([NewPartitions(stream, 4) for stream in there]).values():
            made.result()
        wait_for(lambda: 3 in requests_and_tokens(pipeline), 60)
        more(clients, 20)
        # For some seconds not all who read and write know of the new partition, and each who learns of it moves lanes.
        wait_for(lambda: {reply["reason"] for reply in list(clients.replies.values())[-100:]} == {"first choice"}, 60)
        known = set(clients.replies)
        more(clients, 40)
    assert {reply["within_sla"] for reply in clients.replies.values()} == {True}
    assert sorted(request.id for request in pipeline.read("requests")) == sorted(clients.replies)
    first = first_results(pipeline)
    assert {first[name].reason for name in clients.replies.keys() - known} == {"first choice"}


def test_a_version_is_ramped_up_and_rolled_back_by_the_guard(pipeline):
    pipeline.start("gateway", "rendezvous", *MODELS, new=["--model", "new", "--target", "models:plus_wind"])
    guard = pipeline.processes["guard"] = pipeline.run("serve", "guard")
    assert guard.stdout.readline() == "ready\n"
    pipeline.deploy("register", "new", "1")
    with Clients(pipeline) as clients:
        with pipeline.run(
            "deploy",
            "warm",
            "new",
            "1",
            "--scores",
            "40",
            "--timeout",
            "240",
            "--max-seconds",
            "3",
            "--max-difference",
            "9",
        ) as warm:
            said, complained = warm.communicate(timeout=280)
        assert warm.returncode == 0, said + complained
        pipeline.deploy("ramp", "new", "1", "50", "--guard", "rollback")
        wait_for(lambda: "new" in {reply["model"] for reply in list(clients.replies.values())})
        now = time.time()
        about = {
            "rule": "pairs",
            "severity": "page",
            "attribution": "the model changed",
            "model": "new",
            "version": "1",
        }
        alert = Alert(ts=now, started=now, state="firing", fingerprint="ab12", reason="it differs", **about)
        streams = open_streams(pipeline.address)
        streams.append("alerts", [(b"ab12", encode(alert))])
        streams.close()
        wait_for(lambda: [c for c in pipeline.read("control") if c.author == "guard"])
        more(clients, 10)
        before = set(clients.replies)
        more(clients, 40)
        pipeline.deploy("champion", "cheap")
        more(clients, 10)
        wait_for(lambda: "cheap" in {reply["model"] for reply in list(clients.replies.values())})
    later = [reply for name, reply in clients.replies.items() if name not in before]
    assert "new" not in {reply["model"] for reply in later}
    assert len([c for c in pipeline.read("control") if c.author == "guard"]) == 1


def test_while_the_broker_is_gone_the_default_is_answered_in_time_and_soon_after_all_is_as_before(pipeline, broker):
    pipeline.start("gateway", *MODELS, "rendezvous")
    with Clients(pipeline) as clients:
        more(clients, 20)
        broker.kill()
        gone = time.monotonic()
        asked = set(clients.replies)
        time.sleep(random.Random(3).uniform(6, 9))
        alone = {name: reply for name, reply in list(clients.replies.items()) if name not in asked}
        assert len(alone) >= 4  # four clients, each of whom waits for the deadline
        scrape = httpx.get(f"{pipeline.url}/metrics").text
        broker.start()
        back = time.monotonic()

        def first_choice():
            return [r for r in list(clients.replies.values())[-4:] if r["reason"] == "first choice"]

        wait_for(lambda: len(first_choice()) == 4)
        assert time.monotonic() - back <= 30, back - gone
        more(clients, 20)
    assert {reply["within_sla"] for reply in clients.replies.values()} == {True}
    assert {(reply["model"], reply["score"]) for reply in list(alone.values())[8:]} <= {("default", -1.0)}
    counted = next(
        float(line.split()[1]) for line in scrape.splitlines() if line.startswith("birdwatch_gateway_unconfirmed_total")
    )
    assert counted >= len(alone) - 4
    # Who asks again gets what was answered, whatever the log says by now.
    for name, reply in alone.items():
        assert ask_again(pipeline.url, name)["score"] == reply["score"]
    # All that was asked is on the log, and has one answer and one decision there.
    wait_for(lambda: {d.request_id for d in pipeline.read("metrics")} == set(clients.replies), 60)
    assert sorted(request.id for request in pipeline.read("requests")) == sorted(clients.replies)
    assert sorted(d.request_id for d in pipeline.read("metrics")) == sorted(clients.replies)
    for name in ("rendezvous", *MODELS):
        assert pipeline.processes[name].poll() is None, name


def test_a_gateway_that_was_killed_knows_after_its_restart_what_was_answered(pipeline):
    pipeline.start("gateway", *MODELS, "rendezvous")
    with Clients(pipeline) as clients:
        more(clients, 20)
    pipeline.stop("gateway", signal.SIGKILL)
    pipeline.start("gateway")
    for name in list(clients.replies)[:5]:
        assert ask_again(pipeline.url, name)["score"] == clients.replies[name]["score"]
    assert sorted(request.id for request in pipeline.read("requests")) == sorted(clients.replies)
