"""The observing side under test: one tail with a store, or workers and a judge, with panes so short that recovery shows."""

import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from birdwatch.errors import StoreError
from birdwatch.windows.store import Store

from .ledger import STREAMS, Found, Ledger
from .processes import Processes, wait_for
from .recount import in_store, recount

__all__ = ["Observing", "make_topics"]

RULES = """
rules:
  - name: silence
    kind: silence
    window: 5s
"""


def make_topics(servers: str, partitions: int = 2, replicas: int = 1, **config: str) -> None:
    """Make the streams as an operator would, with so many partitions each; wait until every partition answers.

    Before that a broker may refuse a producer's first batch and take its second, and librdkafka counts both as delivered.
    """
    if replicas > 1:
        config["min.insync.replicas"] = str(replicas - 1)
    several = [*STREAMS, "panes"]
    topics = [NewTopic(stream, partitions, replicas, config=config) for stream in several]
    topics += [NewTopic(stream, 1, replicas, config=config) for stream in ("control", "alerts", "deadletters")]
    admin = AdminClient({"bootstrap.servers": servers})  # while it lives, it answers
    for made in admin.create_topics(topics).values():
        made.result()
    places = [TopicPartition(topic.topic, number) for topic in topics for number in range(topic.num_partitions)]
    wait_for(lambda: all(_answers(admin, place) for place in places))


def _answers(admin: AdminClient, place: TopicPartition) -> bool:
    try:
        for asked in admin.list_offsets({place: OffsetSpec.latest()}, request_timeout=5).values():
            asked.result()
    except KafkaException:
        return False
    return True


class Observing:
    """Its processes, and what they have written.

    Parameters
    ----------
    folder
        For the store, the settings and the processes' output.
    servers
        HOST:PORT of the brokers.
    workers
        How many tails share the partitions; 0 for one tail that does all by itself.
    properties
        Properties of librdkafka for the address.
    changes
        Other settings.
    """

    def __init__(self, folder: Path, servers: str, *, workers: int = 0, properties: str = "", **changes: Any) -> None:
        self.processes = Processes(folder)
        self.servers = servers
        self.workers = [f"worker-{number}" for number in range(1, workers + 1)]
        self.names = [*self.workers, "judge"] if workers else ["tail"]
        self.form = f"{workers} workers and judge" if workers else "tail"
        (folder / "rules").mkdir()
        (folder / "rules" / "rules.yaml").write_text(RULES)
        settings = {
            "streams": f"kafka://{servers}?{properties}",
            "store": "store.db",
            "pane_seconds": 1,
            "lateness_seconds": 1,
            "scale": "real",
            "champion": "champion",
            "features": {"n": {}},
            "rules": "rules",
        }
        (folder / "birdwatch.yaml").write_text(yaml.safe_dump(settings | changes))
        self.path = folder / "store.db"
        self._store: Store | None = None

    def launch(self, name: str, *, die_at: tuple[str, int] | None = None) -> float:
        """Start one of the processes; give when."""
        command = {"tail": ["tail"], "judge": ["judge", "--group", "g"]}.get(name, ["tail", "--group", "g"])
        return self.processes.start(name, *command, die_at=die_at)

    def start(self) -> None:
        """Start all, and wait for the first pane."""
        for name in self.names:
            self.launch(name)
        for name in self.names:
            self.processes.ready(name)
        self.alive(time.time())

    @property
    def store(self) -> Store:
        """The store, to be read."""
        if self._store is None:
            self._store = Store(self.path, readonly=True)
        return self._store

    def closed(self) -> int:
        """Give the event time up to which panes are closed; 0 while there is none."""
        try:
            since_until = self.store.closed_range()
        except StoreError:  # it is not there yet
            return 0
        return since_until[1] if since_until else 0

    def alive(self, since: float, seconds: float = 60.0) -> float:
        """Wait for the first closed pane whose events came after a moment; give how long after it that was."""

        def closed() -> bool:
            assert len(self.died()) < len(self.processes.names()), self.last_words()
            return self.closed() > since + self.store.pane_seconds

        wait_for(closed, seconds, self.last_words)
        return time.time() - since

    def locked(self) -> bool:
        """Tell whether somebody is in the midst of writing into the store."""
        with closing(sqlite3.connect(self.path, timeout=0, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
        return False

    def late(self) -> int:
        """Give how many messages came after their pane was closed."""
        return sum(arrivals.late for arrivals in self.store.arrivals(0, 2**62).values())

    def died(self) -> list[str]:
        """Name the processes that have ended by themselves, with what they said last."""
        run = self.processes
        return [f"{name}: {run.said(name)[-500:]}" for name in run.names() if run.ended(name) is not None]

    def last_words(self) -> str:
        """Give what the processes said last."""
        return "\n".join(f"{name}: {self.processes.said(name)[-1500:]}" for name in self.processes.names())

    def audit(self, ledger: Ledger, *, recounted: bool = True, seconds: float = 60.0) -> Found:
        """Look for all ids sent so far, and compare the panes with a recount of the topics.

        Traffic must go on meanwhile, as it is what closes panes. What came late is added when it comes: it has so many
        seconds to.
        """
        until = int(time.time()) // self.store.pane_seconds * self.store.pane_seconds
        wait_for(lambda: self.closed() >= until, seconds, self.last_words)
        deadline = time.monotonic() + seconds
        while (found := ledger.audit(self.store, until)).lost and time.monotonic() < deadline:
            time.sleep(0.5)
        if recounted and not (found.lost or found.doubled):
            assert Counter(found.strange) == {}
            counted, kept = recount(self.servers, ledger, until), in_store(self.store, ledger, until)
            assert [at for at in counted.keys() | kept.keys() if counted.get(at) != kept.get(at)] == []
        return found
