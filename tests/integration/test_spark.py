"""Spark counts what one machine counts: the guide is followed to the letter, over Parquet and over a real Kafka."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import birdwatch
from birdwatch.archive.archiver import Archiver
from birdwatch.cli.judging import judging
from birdwatch.cli.main import app
from birdwatch.config import load_settings
from birdwatch.records import encode
from birdwatch.streams import Partition, open_streams
from birdwatch.streams.stretch import read_until
from birdwatch.windows.store import Store

from ..windows.traffic import champion_named, shuffled, traffic  # noqa: TID252
from . import kafka_broker

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/guide/spark.md").read_text()
ARCHIVE, KAFKA = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
CONNECTOR = "--packages org.apache.spark:spark-sql-kafka-0-10_2.13:4.2.0"

STREAMS = ("requests", "scores", "canary", "metrics", "outcomes", "control")

MESSY = """
pane_seconds: 60
lateness_seconds: 1000000
features:
  size: {kind: number}
  from: {kind: category, most: 2}
segments:
  from: {kind: category, most: 2}
"""

COLLECTED = """
# collected.py
import json, sys, warnings
from pyspark.sql import SparkSession
import birdwatch.spark
from birdwatch.config import load_settings

session = SparkSession.builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", "500").getOrCreate()
messages = {name: session.read.parquet(f"archive/{name}") for name in sys.argv[1:]}
panes = birdwatch.spark.panes(messages, load_settings(), parts=3)
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    found = panes.collect()
said = [str(each.message) for each in warned if each.category.__name__ == "UnreadableWarning"]
series = [[start, *of, c.bins.tolist(), c.counts.tolist()] for start, pane in found.items() for of, c in pane.items()]
dead = [[row.topic, row.partition, row.offset, row.value.decode(), row.kind] for row in panes.unreadable.collect()]
print(json.dumps([series, dead, said]))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    pytest.importorskip("pyspark", reason="pip install 'birdwatch[spark]'")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java 17")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for text in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL):
        (tmp_path / text.splitlines()[0].removeprefix("# ")).write_text(text)
    return tmp_path


def follow(lines):
    """Do what the guide says, in a shell as it says it."""
    done = subprocess.run(["bash", "-ec", lines], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def messy(streams, topics=None):
    """Write requests, scores of four models and two versions: disordered, some twice, some that cannot be read."""
    once = traffic(rate=1.0)
    events = shuffled(once + once[::9], within=300)
    topics = topics or {stream: stream for stream in STREAMS}
    streams.append(topics["control"], [(b"", encode(champion_named()))])
    for name in STREAMS[:-1]:
        of = [(b"", encode(record)) for _, stream, record in events if stream == name]
        streams.append(topics[name], [*of[:100], (b"", b"not a record"), *of[100:]])


def archived(streams, names, folder):
    archiver = Archiver(streams, names, folder, group=None, flush_count=900)
    archiver.run_once(lambda: False)
    archiver.close()


def same(store, expected):
    """See that a store has all that another has of its panes, and beside them."""
    assert store.digest() == expected.digest() != {}
    assert store.controls() == expected.controls() != []
    for query in (
        "SELECT * FROM extremes ORDER BY 1, 2, 3, 4, 5",
        "SELECT start, stream, duplicates FROM arrivals WHERE duplicates > 0 ORDER BY 1, 2",
    ):
        assert rows(store, query) == rows(expected, query)
    assert unreadable(store) == unreadable(expected)


def verdicts(store, settings):
    with store.transaction():
        judging(store, settings)(store.closed_range()[1])
    return rows(store, "SELECT * FROM verdicts ORDER BY 1, 2, 3, 4, 5")


def rows(store, query):
    return store.connection.execute(query).fetchall()


def unreadable(store):
    if not store.connection.table_exists(None, "unreadable"):
        return []
    return rows(store, "SELECT stream, kind, sum(n) FROM unreadable GROUP BY 1, 2 ORDER BY 1, 2")


def test_following_the_guide_counts_an_archive_as_one_machine_does(folder):
    shutil.copy(ROOT / "sample_streams/birdwatch.yaml", "birdwatch.yaml")
    recorded = open_streams(f"files:{ROOT}/sample_streams/2013-06-07")
    archived(recorded, recorded.names(), folder / "archive")
    follow(ARCHIVE)
    expected = birdwatch.open_archive("archive").count(folder / "expected.db", load_settings())
    same(Store("again.db", readonly=True), expected)
    assert verdicts(Store("again.db"), load_settings()) == verdicts(expected, load_settings()) != []
    table = pq.read_table("panes").to_pylist()
    digest = {
        (row["start"], *(row[name] for name in ("measure", "model", "version", "partner", "segment"))): tuple(
            np.array(row[name], "<i8").tobytes() for name in ("bins", "counts")
        )
        for row in table
    }
    assert digest == {(start, *series): both for (start, series), both in expected.digest().items()}
    assert len(table) == len(digest)
    again = CliRunner().invoke(app, ["tail", "--streams", "archive:archive", "--store", "again.db", "--until-end"])
    assert "use another --store" in str(again.exception)


def test_what_an_archive_has_twice_or_cannot_be_read_is_the_same_in_parts(folder):
    Path("birdwatch.yaml").write_text(MESSY)
    streams = open_streams("sqlite:streams")
    messy(streams)
    archived(streams, [*streams.names()], folder / "archive")
    shutil.copytree("archive", "before")
    assert CliRunner().invoke(app, ["archive", "compact", "archive"]).exit_code == 0
    shutil.copytree("before", "archive", dirs_exist_ok=True)  # as while files are put together: each message twice
    Path("collected.py").write_text(COLLECTED)
    names = [name for name in streams.names() if name != "deadletters"]
    out = follow(f"PYSPARK_PYTHON=$(command -v python) spark-submit --master 'local[2]' collected.py {' '.join(names)}")
    series, dead, warned = json.loads(out.splitlines()[-1])
    archive = birdwatch.open_archive("archive")
    expected = [
        [start, *of, counts.bins.tolist(), counts.counts.tolist()]
        for start, pane in archive.panes(load_settings()).items()
        for of, counts in pane.items()
    ]
    assert sorted(series) == sorted(expected)
    assert {one[5] for one in expected} >= {"", "from=B", "from=(other)", "from=(missing)"}
    assert sorted(dead) == [[name, 0, 100, "not a record", "unreadable"] for name in sorted(names) if name != "control"]
    assert len(warned) == 5
    assert any(said.startswith("1 messages of scores are left out: scores/0@100, not a Score") for said in warned)


def test_a_stretch_of_kafka_is_counted_from_offset_to_offset(folder, kafka, name):
    topics = {stream: name(stream) for stream in STREAMS}
    mappings = {stream: {"topic": topic} for stream, topic in topics.items()}
    Path("birdwatch.yaml").write_text(f"{MESSY}\nmappings: {json.dumps(mappings)}\n")
    streams = open_streams(f"{kafka}?partitions=2")
    scores = [(b"", encode(record)) for _, stream, record in traffic(seconds=60) if stream == "scores"]
    streams.append(topics["scores"], scores)
    begins = streams.ends([topics["scores"]])
    messy(streams, topics)
    ends = streams.ends(list(topics.values()))
    messy(streams, topics)

    reader = streams.reader(list(topics.values()))
    reader.seek(begins)
    archive = open_streams("sqlite:stretch")
    for messages in read_until(reader, begins, ends):
        for message in messages:
            archive.append(message.stream, [(message.key, message.value)])
    reader.close()
    archived(archive, list(topics.values()), folder / "archive")
    expected = birdwatch.open_archive("archive").count(folder / "expected.db", load_settings())

    stretches = {topic: {"begin": {}, "end": {}} for topic in topics.values()}
    for (topic, number), end in ends.items():
        stretches[topic]["begin"][number] = begins.get(Partition(topic, number), 0)
        stretches[topic]["end"][number] = end
    Path("stretches.json").write_text(json.dumps(stretches))
    assert CONNECTOR in KAFKA
    jars = ",".join(map(str, kafka_broker.fetched(ROOT / "tests/integration/spark/pom.xml").glob("*.jar")))
    here = KAFKA.replace(CONNECTOR, f"--jars {jars}").replace("broker:9092", kafka.removeprefix("kafka://"))
    follow(f"export PYSPARK_PYTHON=$(command -v python)\n{here}")
    same(Store("stretch.db", readonly=True), expected)
