"""Archiving and putting files together, killed with -9 at any moment: each message is held once."""

import os
import random
import signal
import subprocess
import sys
import time

import httpx
import pyarrow.parquet as pq
import pytest

import birdwatch
from birdwatch.records import encode
from birdwatch.streams import Partition, open_streams
from birdwatch.testing import a_request, a_score

from .waiting import until

pytestmark = pytest.mark.integration

KILLS = int(os.environ.get("BIRDWATCH_KILLS", "3"))
NIGHT = 1_370_563_200.0 - 1.0  # before midnight of 7 June 2013: events fall on two days, however few there are
STREAMS = ("requests", "scores")


def birdwatch_archive(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "birdwatch", "archive", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def offsets(paths):
    return sorted(n for path in paths for n in pq.read_table(path, partitioning=None)["offset"].to_pylist())


def test_an_archive_written_through_kills_holds_each_message_once(tmp_path):
    chance, folder, written = random.Random(7), tmp_path / "archive", 0
    streams = open_streams(f"sqlite:{tmp_path}/live")

    def ask(count):
        nonlocal written
        for n in range(written, written + count):
            ts = NIGHT + n * 0.05 - chance.choice([0.0, 20.0])
            streams.append("requests", [(b"", encode(a_request(id=f"r{n}", ts=ts)))])
            streams.append("scores", [(b"", encode(a_score(request_id=f"r{n}", request_ts=ts, ts=ts + 0.1)))])
        written += count

    def held():
        return sorted(folder.rglob("*.parquet"))

    write = ("write", *STREAMS, "--from", streams.address, "--to", folder, "--flush-count", 7)
    for number in range(KILLS):
        ask(20)
        writer = birdwatch_archive(*write, "--flush-seconds", 0.1)
        before = held()
        compacter = birdwatch_archive("compact", folder) if number % 2 and folder.exists() else None
        until(lambda before=before: held() != before)
        end = time.monotonic() + chance.uniform(0.0, 0.7)
        while time.monotonic() < end:
            ask(5)
            time.sleep(0.02)
        for process in filter(None, (writer, compacter)):
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert birdwatch_archive(*write, "--once").wait(timeout=120) == 0
    archive = birdwatch.open_archive(folder)
    for stream in STREAMS:
        assert archive.read(stream, columns=["offset"])["offset"].tolist() == list(range(written))
    assert birdwatch_archive("compact", folder).wait(timeout=120) == 0
    assert birdwatch_archive("verify", folder).wait(timeout=120) == 0
    for stream in STREAMS:
        files = list((folder / stream).rglob("*.parquet"))
        assert offsets(files) == list(range(written))
        assert len(files) == 2
    streams.close()


def test_it_ends_when_it_is_asked_to(tmp_path):
    streams = open_streams(f"sqlite:{tmp_path}/live")
    streams.append("scores", [(b"", encode(a_score(request_id=f"r{n}"))) for n in range(10)])
    command = [sys.executable, "-m", "birdwatch", "archive", "write", "scores", "--from", streams.address]
    more = ["--to", tmp_path / "archive", "--health-port", "0", "--flush-seconds", "0.5"]
    with subprocess.Popen([*command, *more], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            health = process.stdout.readline().removeprefix("health on ").strip()
            assert process.stdout.readline() == "ready\n"
            until(lambda: streams.committed("archive", ["scores"]) == {Partition("scores"): 10})
            shown = httpx.get(f"{health}/metrics").text
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
    assert 'birdwatch_archive_messages_total{stream="scores"} 10.0' in shown
    streams.close()
    assert len(birdwatch.open_archive(tmp_path / "archive").read("scores")) == 10
