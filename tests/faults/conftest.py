"""A broker of these tests' own, empty before each, and the observing side over it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka.admin import AdminClient, NewTopic

from birdwatch.errors import StoreError
from birdwatch.windows.store import Store

from ..integration import kafka_broker  # noqa: TID252
from .ledger import STREAMS, Found, Ledger
from .processes import Processes, wait_for
from .recount import in_store, recount

RULES = """
rules:
  - name: silence
    kind: silence
    window: 5s
"""

# What is broken here is thrown away afterwards: never the broker that BIRDWATCH_KAFKA names, which is somebody's.


@contextmanager
def brokers(count: int = 1) -> Iterator[kafka_broker.Cluster]:
    """Run a cluster of so many brokers, which may be killed and started again."""
    reason = kafka_broker.missing()
    if reason is not None:
        pytest.skip(reason)
    with kafka_broker.cluster(count) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def own_broker() -> Iterator[kafka_broker.Cluster]:
    """One broker."""
    with brokers() as alone:
        yield alone


@pytest.fixture
def broker(own_broker: kafka_broker.Cluster) -> kafka_broker.Cluster:
    """One broker without topics."""
    own_broker.start()  # a test that failed may have left it dead
    admin = AdminClient({"bootstrap.servers": own_broker.address})
    there = [name for name in admin.list_topics(timeout=10).topics if not name.startswith("__")]
    for deleted in admin.delete_topics(there).values() if there else ():
        deleted.result()
    wait_for(lambda: not {*there} & {*admin.list_topics(timeout=10).topics})
    return own_broker


@pytest.fixture
def servers(broker: kafka_broker.Cluster) -> str:
    """HOST:PORT of one broker without topics."""
    return broker.address


def make_topics(servers: str, partitions: int, replicas: int = 1) -> None:
    """Make the streams as an operator would, with so many partitions each."""
    admin = AdminClient({"bootstrap.servers": servers})
    options: dict[str, Any] = {"replication_factor": replicas}
    if replicas > 1:
        options["config"] = {"min.insync.replicas": str(replicas - 1)}
    topics = [NewTopic(stream, partitions, **options) for stream in STREAMS]
    topics += [NewTopic(stream, 1, **options) for stream in ("control", "alerts", "deadletters")]
    topics += [NewTopic("panes", partitions, **options)]
    for made in admin.create_topics(topics).values():
        made.result()


class Observing:
    """The observing side: one tail with a store, or workers and a judge; with panes so short that recovery shows.

    Parameters
    ----------
    folder
        For the store, the settings and the processes' output.
    address
        Where the streams are.
    pane_seconds
        Event time in a pane.
    changes
        Other settings.
    """

    def __init__(self, folder: Path, address: str, *, pane_seconds: int = 1, **changes: Any) -> None:
        self.processes = Processes(folder)
        self.folder = folder
        rules = folder / "rules"
        rules.mkdir()
        (rules / "rules.yaml").write_text(RULES)
        settings = {
            "streams": address,
            "store": "store.db",
            "pane_seconds": pane_seconds,
            "lateness_seconds": 2,
            "scale": "real",
            "champion": "champion",
            "features": {"n": {}},
            "rules": "rules",
        }
        (folder / "birdwatch.yaml").write_text(yaml.safe_dump(settings | changes))
        self.path = folder / "store.db"
        self._store: Store | None = None

    form = "tail"
    """How the table calls this form of it."""

    def start(self) -> None:
        """Start it, and wait for the first pane."""
        self.processes.start("tail", "tail")
        self.processes.ready("tail")
        self.alive(time.time())

    def died(self) -> list[str]:
        """Name the processes that have ended by themselves, with what they said last."""
        return [
            f"{name}: {self.processes.said(name)[-500:]}"
            for name in self.processes.names()
            if self.processes.ended(name) is not None
        ]

    def late(self) -> int:
        """Give how many messages came after their pane was closed."""
        return sum(arrivals.late for arrivals in self.store.arrivals(0, 2**62).values())

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
        wait_for(lambda: self.closed() > since + self.store_pane, seconds, self.last_words)
        return time.time() - since

    @property
    def store_pane(self) -> int:
        """Event time in a pane."""
        return self.store.pane_seconds if self.path.exists() else 0

    def last_words(self) -> str:
        """Give what the processes said last."""
        return "\n".join(f"{name}: {self.processes.said(name)[-1500:]}" for name in self.processes.names())

    def audit(self, ledger: Ledger, until: int, servers: str, seconds: float = 60.0) -> Found:
        """Look for all ids of the panes that end by ``until``, and compare the panes with a recount of the topics.

        What came late is added when it comes: it has so many seconds to.
        """
        wait_for(lambda: self.closed() >= until, seconds, self.last_words)
        deadline = time.monotonic() + seconds
        while (found := ledger.audit(self.store, until)).lost and time.monotonic() < deadline:
            time.sleep(0.5)
        if not (found.lost or found.doubled):
            assert found.strange == []
            counted, kept = recount(servers, ledger, until), in_store(self.store, ledger, until)
            assert [at for at in counted.keys() | kept.keys() if counted.get(at) != kept.get(at)] == []
        return found


@pytest.fixture
def observe(tmp_path: Path) -> Iterator[Callable[..., Observing]]:
    """Makes an observing side; its processes end with the test."""
    made: list[Observing] = []

    def observe(address: str, **changes: Any) -> Observing:
        folder = tmp_path / f"observing-{len(made)}"
        folder.mkdir()
        made.append(Observing(folder, address, **changes))
        return made[-1]

    yield observe
    for one in made:
        one.processes.__exit__()
