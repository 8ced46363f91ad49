"""What is measured, each in a process of its own: the tail, and loops that only read.

.venv/bin/python -m benchmarks.tail.sides SIDE ADDRESS TOPIC EVENTS
"""

import importlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec
from benchmarks.tail.events import CHAMPION
from confluent_kafka import Consumer, TopicPartition

from birdwatch.config import Mapping, Settings
from birdwatch.streams import open_streams
from birdwatch.windows.pane import counters
from birdwatch.windows.store import Store
from birdwatch.windows.tail import Tail

__all__ = ["SIDES"]

AT_ONCE: Final = 10_000

LOADED: Final = (
    "birdwatch.streams.files",
    "birdwatch.streams.kafka",
    "birdwatch.streams.sqlite",
    "numpy.ma",
    "pyarrow.compute",
)
"""What is loaded before the clock starts, as what the tail is compared with has been."""


class Plain(msgspec.Struct):
    """What an event holds."""

    request_id: str
    request_ts: float
    ts: float
    model: str
    version: str
    score: float | None
    elapsed_seconds: float | None


def discard(address: str, topic: str, events: int) -> int:
    """Read all messages and do nothing with them."""
    return sum(map(len, _read(address, topic, events)))


def decode(address: str, topic: str, events: int) -> int:
    """Read all messages, and make a plain struct of each."""
    read = msgspec.json.Decoder(Plain).decode
    if address.startswith("kafka:"):
        return sum(len([read(message.value()) for message in some]) for some in _read(address, topic, events))
    return sum(len([read(value) for _, value in some]) for some in _read(address, topic, events))


def tail(address: str, topic: str, events: int) -> int:
    """Count all messages into the panes of a store, with the settings as they are by default; give the events counted."""
    del events
    settings = Settings(champion=CHAMPION, mappings={"scores": Mapping(topic=topic)})
    with tempfile.TemporaryDirectory(prefix="birdwatch-bench-") as folder:
        store = Store(Path(folder, "panes.db"), pane_seconds=settings.pane_seconds)
        streams = open_streams(address)
        counting = Tail(streams, store, settings, finite=True)
        ends = streams.ends([topic])
        while not counting.reading.reached(ends):
            counting.step()
        counting.finish()
        counting.close()
        streams.close()
        _stop_clock()
        rows = store.rows(-(2**62), 2**62)
        counted = sum(
            counters(counts)["events"]
            for _, series, counts in rows
            if series.measure == "counts" and not series.segment
        )
        store.close()
    return counted


SIDES: Final[dict[str, Callable[[str, str, int], int]]] = {"discard": discard, "decode": decode, "tail": tail}

_stopped: list[dict[str, float]] = []


def _stop_clock() -> None:
    _stopped.append({"wall": time.perf_counter(), "cpu": time.process_time()})


def _read(address: str, topic: str, events: int) -> Iterator[list[Any]]:
    """Give a topic's messages as whatever its client makes of them, and nothing more."""
    place, _, rest = address.partition(":")
    if place == "kafka":
        consumer = Consumer(
            {
                "bootstrap.servers": rest.removeprefix("//"),
                "group.id": "bench",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "fetch.queue.backoff.ms": 20,  # as the tail has it: by default, whoever is quick waits for a second
            }
        )
        consumer.assign([TopicPartition(topic, 0, 0)])
        while events:
            some = consumer.consume(min(AT_ONCE, events), 1.0)
            events -= len(some)
            yield some
        consumer.close()
    else:
        connection = apsw.Connection(str(Path(rest, f"{topic}.db")), flags=apsw.SQLITE_OPEN_READONLY)
        for after in range(0, events, AT_ONCE):
            question = "SELECT key, value FROM messages WHERE id > ? ORDER BY id LIMIT ?"
            yield connection.execute(question, (after, AT_ONCE)).fetchall()
        connection.close()


def main() -> None:
    """Run one side; print what it took as JSON."""
    side, address, topic, events = sys.argv[1:]
    for module in LOADED:
        importlib.import_module(module)
    began = {"wall": time.perf_counter(), "cpu": time.process_time()}
    found = SIDES[side](address, topic, int(events))
    if not _stopped:
        _stop_clock()
    took: dict[str, float] = {name: _stopped[0][name] - since for name, since in began.items()}
    sys.stdout.write(json.dumps({"found": found, **took}) + "\n")


if __name__ == "__main__":
    main()
