"""SQLite streams under several real processes, some of which die."""

import random
import signal
import subprocess
import sys

import pytest

from birdwatch.streams import Partition, open_streams

pytestmark = pytest.mark.integration

# Appends batches of five and says after each which one the streams have acknowledged.
WRITER = """
import sys
from birdwatch.streams import open_streams
streams, name, number = open_streams(sys.argv[1]), sys.argv[2], int(sys.argv[3])
while number < int(sys.argv[4]):
    streams.append("scores", [(name.encode(), b"%d:" % n + b"x" * 500) for n in range(number, number + 5)])
    number += 5
    print(number, flush=True)
"""


def start(address: str, name: str, first: int, last: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, address, name, str(first), str(last)], stdout=subprocess.PIPE
    )


def test_what_was_acknowledged_survives_kill_9_in_order_and_whole(tmp_path):
    address, chance = f"sqlite:{tmp_path}/streams", random.Random(20)
    streams, acknowledged, number = open_streams(address), [], 0
    for _ in range(8):
        with start(address, "w", number, 10**9) as writer:
            assert writer.stdout is not None
            acknowledged += [int(writer.stdout.readline()) for _ in range(chance.randrange(1, 60))]
            writer.send_signal(signal.SIGKILL)
            acknowledged += [int(line) for line in writer.stdout]
        # A batch may have been written whose acknowledgement died with its writer: whole batches, never parts.
        number = streams.ends(["scores"])[Partition("scores")]
        assert number in {acknowledged[-1], acknowledged[-1] + 5}

    reader, found = streams.reader(["scores"]), []
    while polled := reader.poll(timeout=0.0):
        found += polled
    assert [message.value for message in found] == [b"%d:" % n + b"x" * 500 for n in range(number)]
    assert [message.offset for message in found] == list(range(number))
    reader.close()
    streams.close()


def test_many_processes_append_at_once_and_none_loses_a_message(tmp_path):
    address = f"sqlite:{tmp_path}/streams"
    # Nothing exists yet: the writers race to make the folder and the file as well.
    writers = [start(address, name, 0, 500) for name in "abcd"]
    streams = open_streams(address)
    reader, found = streams.reader(["scores"]), []
    while len(found) < 2000:
        polled = reader.poll(timeout=20.0)
        assert polled, f"only {len(found)} messages came"
        found += polled
    assert [writer.wait(timeout=20) for writer in writers] == [0, 0, 0, 0]
    for writer in writers:
        writer.communicate()
    for name in b"abcd":
        numbers = [int(message.value.split(b":")[0]) for message in found if message.key == bytes([name])]
        assert numbers == list(range(500))
    assert [message.offset for message in found] == list(range(2000))
    reader.close()
    streams.close()
