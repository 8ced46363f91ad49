"""Other people's topics read by a mapping, and ours read by other people's clients, over a real broker."""

import itertools
import json
import shutil
import subprocess
import time
import uuid
from pathlib import Path

import httpx
import jsonschema
import pyarrow as pa
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner

from birdwatch import records
from birdwatch.cli.streams import app
from birdwatch.config import Feature, Mapping, Settings
from birdwatch.records import RECORDS, Request, Score
from birdwatch.streams import open_streams
from birdwatch.streams.arrow import encode_table
from birdwatch.streams.deadletters import DEADLETTERS
from birdwatch.testing import MemoryStreams, an_outcome
from birdwatch.windows.store import Store
from birdwatch.windows.tail import Tail

from .test_serving import Pipeline, wait_for

pytestmark = pytest.mark.integration

SCHEMAS = Path(__file__).parents[2] / "docs" / "reference" / "records"
START = 1_700_000_040
MODELS = ("champion", "challenger", "fallback")
N = 600
LENGTH = 60


@pytest.fixture(scope="module")
def alone(kafka_cluster):
    """A broker on which nobody else writes."""
    with kafka_cluster() as cluster:
        yield f"kafka://{cluster.address}"


@pytest.fixture
def topic():
    run = uuid.uuid4().hex[:8]
    return lambda name: f"{name}-{run}"


def their_events():
    """Give what somebody else's service saw: times in milliseconds, nested, under names of its own."""
    for n in range(N):
        yield {
            "trace": {"id": f"t{n}", "host": "edge-7"},
            "at_ms": (START + n / 2) * 1000,
            "payload": {"amount_cents": n * 37 % 5000},
            "models": {
                model: {"out": {"p": (n * 7 + m * 11) % 100 / 100}, "rev": 3, "took_us": 900 + n % 50 * 10}
                for m, model in enumerate(MODELS)
            },
        }


def our_records():
    """Give the same as our own records would say it."""
    for event in their_events():
        asked, ts = event["trace"]["id"], event["at_ms"] * 0.001
        yield Request(
            id=asked,
            ts=ts,
            received_ts=ts,
            deadline_seconds=1.0,
            features={"amount": event["payload"]["amount_cents"] * 0.01},
        )
        for model, said in event["models"].items():
            yield Score(
                request_id=asked,
                request_ts=ts,
                ts=ts,
                model=model,
                version="3",
                score=said["out"]["p"],
                elapsed_seconds=said["took_us"] * 1e-6,
            )


REQUESTS = {
    "fields": {"id": "trace.id", "ts": "at_ms", "features.amount": "payload.amount_cents"},
    "units": {"ts": 0.001, "features.amount": 0.01},
}
SCORES = {
    "fields": {
        "request_id": "trace.id",
        "request_ts": "at_ms",
        "model": "net",
        "version": "said.rev",
        "score": "said.out.p",
        "elapsed_seconds": "said.took_us",
    },
    "units": {"request_ts": 0.001, "elapsed_seconds": 1e-6},
}
FLEET = {
    "each": "models",
    "fields": {
        "request_id": "trace.id",
        "request_ts": "at_ms",
        "model": "each.key",
        "version": "each.value.rev",
        "score": "each.value.out.p",
        "elapsed_seconds": "each.value.took_us",
    },
    "units": SCORES["units"],
}


def settings(**mappings):
    # All panes stay open until the end: what is written late is not what these tests are about.
    return Settings(
        pane_seconds=LENGTH,
        champion="champion",
        lateness_seconds=100_000,
        features={"amount": Feature()},
        mappings=mappings,
    )


def count(streams, store, **mappings):
    """Count all that is there, and leave the panes open."""
    chosen = settings(**{name: Mapping(**said) for name, said in mappings.items()})
    tail = Tail(streams, store, chosen, finite=True)
    ends = streams.ends([said["topic"] for said in mappings.values()])
    until = time.monotonic() + 60
    while tail.step(timeout=0.2) or any(tail._reader.positions().get(at, 0) < end for at, end in ends.items()):
        assert time.monotonic() < until
    return tail


def digest(streams, path, **mappings):
    """Give the panes of all that is there."""
    store = Store(path, pane_seconds=LENGTH)
    tail = count(streams, store, **mappings)
    assert tail.dead_letters == 0
    tail.finish()
    tail.close()
    return store.digest()


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """The panes of our own records."""
    streams = MemoryStreams()
    for record in our_records():
        streams.append("scores" if isinstance(record, Score) else "requests", [(b"", records.encode(record))])
    store = Store(tmp_path_factory.mktemp("clean") / "clean.db", pane_seconds=LENGTH)
    tail = Tail(streams, store, settings(), finite=True)
    while tail.step(timeout=0.0):
        pass
    tail.finish()
    assert store.closed_range()
    return store.digest()


def produce(address, name, values):
    """Make a topic and write to it as somebody else does: by a client of their own, with keys as they please."""
    servers = {"bootstrap.servers": address.removeprefix("kafka://")}
    admin = AdminClient(servers)
    admin.create_topics([NewTopic(name, num_partitions=3)])[name].result()
    producer = Producer({**servers, "linger.ms": 5})
    for number, value in enumerate(values):
        producer.produce(name, value if isinstance(value, bytes) else json.dumps(value).encode(), f"k{number % 17}")
    assert producer.flush(30) == 0


@pytest.fixture
def streams(kafka):
    opened = open_streams(kafka)
    yield opened
    opened.close()


def one_by_one():
    for event in their_events():
        for model, said in event["models"].items():
            yield {"trace": event["trace"], "at_ms": event["at_ms"], "net": model, "said": said}


def by_fifties(rows):
    rows = iter(rows)
    while some := list(itertools.islice(rows, 50)):
        yield encode_table(pa.Table.from_pylist(some))


@pytest.mark.parametrize(
    ("scores", "mapping"),
    [
        (one_by_one, SCORES),
        (their_events, FLEET),
        (lambda: by_fifties(one_by_one()), SCORES),
        (lambda: by_fifties(their_events()), FLEET),
    ],
    ids=["names, units and nesting", "all models in a message", "tables", "tables of all models"],
)
def test_a_foreign_topic_gives_the_panes_of_our_own_records(kafka, streams, topic, clean, tmp_path, scores, mapping):
    produce(kafka, topic("asked"), their_events())
    produce(kafka, topic("scored"), scores())
    found = digest(
        streams,
        tmp_path / "a.db",
        requests={"topic": topic("asked"), **REQUESTS},
        scores={"topic": topic("scored"), **mapping},
    )
    assert found == clean


def run(*args):
    result = CliRunner().invoke(app, args, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_what_a_mended_mapping_can_read_is_put_back_and_counts_as_if_nothing_had_been(alone, topic, clean, tmp_path):
    streams, store = open_streams(alone), Store(tmp_path / "a.db", pane_seconds=LENGTH)
    asked, scored = topic("asked"), topic("scored")
    # One is larger than what a dead letter keeps, so it is read again where it lies.
    large = {**next(their_events()), "note": "x" * 100_000}
    produce(alone, asked, [large, *itertools.islice(their_events(), 1, None)])
    produce(alone, scored, their_events())
    wrong = {**REQUESTS, "units": {"features.amount": 0.01}}  # milliseconds are no seconds
    scores = {"topic": scored, **FLEET}
    tail = count(streams, store, requests={"topic": asked, **wrong}, scores=scores)
    tail.close()
    assert (tail.dead_letters, tail.reading.out_of_range) == (N, N)
    seen = _read(alone, DEADLETTERS, N)
    letters = [json.loads(message.value()) for message in seen]
    assert {letter["stream"] for letter in letters} == {asked}
    assert "are these milliseconds?" in letters[0]["reason"]
    for message, letter in zip(seen, letters, strict=True):
        assert dict(message.headers()) == {
            f"birdwatch.{name}": str(letter[name]).encode() for name in ("stream", "partition", "offset", "reason")
        }
    lines = run("cat", DEADLETTERS, "--reason", "milliseconds", "--tail", "1", "--streams", alone).splitlines()
    assert len(lines) == 1
    assert run("cat", DEADLETTERS, "--requeue", "--streams", alone) == f"put back: {N} on {asked}\n"
    assert run("cat", DEADLETTERS, "--requeue", "--streams", alone) == "put back: none\n"
    again = _read(alone, asked, 2 * N)
    assert sorted((m.key(), m.value()) for m in again) == sorted([(m.key(), m.value()) for m in _distinct(again)] * 2)
    tail = count(streams, store, requests={"topic": asked, **REQUESTS}, scores=scores)
    tail.finish()
    tail.close()
    streams.close()
    assert tail.dead_letters == 0
    assert store.digest() == clean


def _distinct(messages):
    return list({(message.key(), message.value()): message for message in messages}.values())


def _read(address, name, least):
    """Read a topic with a client that knows nothing of Birdwatch."""
    consumer = Consumer(
        {
            "bootstrap.servers": address.removeprefix("kafka://"),
            "group.id": uuid.uuid4().hex,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([name])
    found, until = [], time.monotonic() + 60
    while len(found) < least:
        assert time.monotonic() < until, f"{len(found)} of {least} on {name}"
        found += [message for message in consumer.consume(1000, 0.5) if message.error() is None]
    consumer.close()
    return found


PARTS = ("gateway", "rendezvous", "champion", "cheap", "bird")
JUNK = (b"no json", b"\xff\x00")
OBSERVED = ("requests", "scores", "canary", "results", "metrics", "outcomes", "control", "panes", DEADLETTERS)


def kcat(address, name):
    """Give (headers, value) of all messages of a topic."""
    found = subprocess.run(
        ["kcat", "-b", address.removeprefix("kafka://"), "-C", "-t", name, "-e", "-q", "-f", r"%h\t%s\n"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return [line.split(b"\t", 1) for line in found.stdout.splitlines()]


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not there: apt-get install kcat")
def test_kcat_finds_on_every_stream_what_its_published_schema_says(alone, tmp_path):
    pipeline = Pipeline(tmp_path, f"{alone}?partitions=2")
    try:
        pipeline.start(*PARTS)
        pipeline.deploy("champion", "champion", "--anyway")
        replies = [
            httpx.post(f"{pipeline.url}/v1/score", json={"features": {"x": n / 20}}, timeout=30.0).json()
            for n in range(20)
        ]
        assert len({reply["id"] for reply in replies}) == 20
        streams = open_streams(pipeline.address)
        streams.append("outcomes", [(reply["id"].encode(), records.encode(an_outcome())) for reply in replies])
        streams.append("scores", [(b"k", value) for value in JUNK])
        (tmp_path / "birdwatch.yaml").write_text("{pane_seconds: 1, lateness_seconds: 0, idle_seconds: 1}")
        pipeline.processes["tail"] = pipeline.run("tail", "--group", "tail")
        wait_for(lambda: all(sum(streams.ends([name]).values()) for name in OBSERVED), 60)
        wait_for(lambda: any(b'"series"' in value for _, value in kcat(alone, "panes")), 60)
        streams.close()
        for name in OBSERVED:
            validator = jsonschema.Draft202012Validator(json.loads(schema_of(name).read_text()))
            found = kcat(alone, name)
            assert found, name
            for _, value in found:
                if value not in JUNK:
                    validator.validate(json.loads(value))
        headers = {headers for headers, _ in kcat(alone, DEADLETTERS) if b"birdwatch.stream=scores" in headers}
        assert any(b"birdwatch.reason=not a Score" in each for each in headers)
    finally:
        pipeline.kill_all()


def schema_of(name):
    kind = "DeadLetter" if name == DEADLETTERS else RECORDS[name].__name__
    return SCHEMAS / f"{kind}.json"
