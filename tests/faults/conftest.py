"""A broker of these tests' own, empty before each, and the observing side over it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ..integration import kafka_broker  # noqa: TID252
from .observing import Observing
from .processes import wait_for

# What is broken here is thrown away afterwards: never the broker that BIRDWATCH_KAFKA names, which is somebody's.


@pytest.fixture(scope="session")
def brokers() -> Callable[[int], AbstractContextManager[kafka_broker.Cluster]]:
    """Runs clusters, whose brokers may be killed and started again."""

    @contextmanager
    def brokers(count: int) -> Iterator[kafka_broker.Cluster]:
        reason = kafka_broker.missing()
        if reason is not None:
            pytest.skip(reason)
        with kafka_broker.cluster(count) as cluster:
            yield cluster

    return brokers


@pytest.fixture(scope="session")
def own_broker(
    brokers: Callable[[int], AbstractContextManager[kafka_broker.Cluster]],
) -> Iterator[kafka_broker.Cluster]:
    """One broker."""
    with brokers(1) as alone:
        yield alone


@pytest.fixture
def broker(own_broker: kafka_broker.Cluster) -> kafka_broker.Cluster:
    """One broker without topics."""
    own_broker.empty()  # a test that failed may have left it dead
    # Else the log of a topic that is gone answers for the new one of its name.
    wait_for(lambda: not own_broker.logs())
    return own_broker


@pytest.fixture
def servers(broker: kafka_broker.Cluster) -> str:
    """HOST:PORT of one broker without topics."""
    return broker.address


@pytest.fixture
def observe(tmp_path: Path) -> Iterator[Callable[..., Observing]]:
    """Makes an observing side; its processes end with the test."""
    made: list[Observing] = []

    def observe(servers: str, **changes: Any) -> Observing:
        folder = tmp_path / f"observing-{len(made)}"
        folder.mkdir()
        made.append(Observing(folder, servers, **changes))
        return made[-1]

    yield observe
    for one in made:
        one.processes.__exit__()
