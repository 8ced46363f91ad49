"""Real Apache Kafka brokers on this machine, from their Maven artifacts: for the tests, and to try things out.

``python tests/integration/kafka_broker.py`` starts one and prints the address, then runs until Ctrl-C or, with
``--tethered``, until its standard input closes: so it ends with its parent, however that ends. It needs Java 17 and
Maven, and says so where they are missing (exit code 3). The jars are fetched once, into ``.cache/kafka`` or the folder
that ``BIRDWATCH_KAFKA_CACHE`` names; the data lie in a temporary folder and go with the brokers. They listen on the
loopback interface only.

Tests that take a broker away start a `cluster` of their own: it, and each of its brokers, can be killed and started again
at the same address, with the same data.
"""

import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["UNAVAILABLE", "Broker", "Cluster", "broker", "cluster", "fetched", "missing"]

UNAVAILABLE = 3
"""The exit code where a broker cannot run here."""

ROOT = Path(__file__).parents[2]
POM = Path(__file__).with_name("kafka") / "pom.xml"
START_SECONDS = 90

PROPERTIES = """
process.roles=broker,controller
node.id={number}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={folder}/data
auto.create.topics.enable=false
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
offsets.topic.num.partitions=1
offsets.topic.replication.factor={copies}
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={in_sync}
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={in_sync}
log.retention.check.interval.ms=1000
"""

# Small and quick to start, not fast for long; Log4j writes errors and nothing else.
JAVA = ("java", "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=ERROR")

EXAMPLES = """
It runs until Ctrl-C, and its data go with it. In another terminal:

    .venv/bin/birdwatch tail --streams kafka://{address}
    .venv/bin/birdwatch streams list --streams kafka://{address}
"""

# Below the ports that the system gives to those who connect: one of them must not sit on a killed broker's port.
PORTS = range(20_000, 32_000)


@dataclass
class Broker:
    """One broker of a cluster, which also votes as a controller."""

    address: str
    folder: Path
    client: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        """End it as a loss of power would, with SIGKILL; its data stay."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def start(self, *, wait: bool = True) -> None:
        """Start it, at its address and with its data, and wait until it answers."""
        if self.process is None:
            with (self.folder / "broker.log").open("ab") as log:
                command = [*JAVA, "-cp", f"{fetched()}/*", "kafka.Kafka", str(self.folder / "server.properties")]
                self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        if wait:
            self.await_(1)

    def logs(self) -> list[str]:
        """Name the logs that it keeps, TOPIC-NUMBER each, but for Kafka's own; one that it is about to remove has another name."""
        names = [folder.name for folder in (self.folder / "data").iterdir() if folder.is_dir()]
        return [name for name in names if not name.startswith("__") and not name.endswith("-delete")]

    def await_(self, brokers: int) -> None:
        """Wait until it answers and knows so many brokers."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        deadline = time.monotonic() + START_SECONDS
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0, **self.client})
        while True:
            try:
                known = admin.list_topics(timeout=1.0).brokers.values()
                if len(known) >= brokers and self.address in {f"{one.host}:{one.port}" for one in known}:
                    return
            except KafkaException:
                time.sleep(0.1)
            if self.process is None or self.process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "broker.log").read_text()[-2000:]
                raise RuntimeError(f"the Kafka broker did not start:\n{said}")


@dataclass
class Cluster:
    """Brokers that form one cluster."""

    brokers: list[Broker]

    @property
    def address(self) -> str:
        """HOST:PORT of each, with commas."""
        return ",".join(broker.address for broker in self.brokers)

    def kill(self) -> None:
        """Kill all of them."""
        for broker in self.brokers:
            broker.kill()

    def start(self) -> None:
        """Start those that do not run, and wait until all know all."""
        for broker in self.brokers:
            broker.start(wait=False)
        for broker in self.brokers:
            broker.await_(len(self.brokers))

    def empty(self) -> None:
        """Start those that do not run, and delete all topics but Kafka's own; their `logs` are gone a moment later."""
        from confluent_kafka.admin import AdminClient

        self.start()
        admin = AdminClient({"bootstrap.servers": self.address})
        there = [name for name in admin.list_topics(timeout=10).topics if not name.startswith("__")]
        for deleted in admin.delete_topics(there).values() if there else ():
            deleted.result()

    def logs(self) -> list[str]:
        """Name the logs that the brokers keep, TOPIC-NUMBER each, but for Kafka's own."""
        return [name for broker in self.brokers for name in broker.logs()]


def missing() -> str | None:
    """Say why a broker cannot run here, or give None."""
    needed = ["java"] if _jars(POM).exists() else ["java", "mvn"]
    absent = [tool for tool in needed if shutil.which(tool) is None]
    return f"a Kafka broker needs {' and '.join(absent)}, or set BIRDWATCH_KAFKA=HOST:PORT" if absent else None


@contextmanager
def broker() -> Iterator[str]:
    """Run a broker for the time of a with block; give its HOST:PORT once it answers."""
    with cluster() as alone:
        yield alone.address


@contextmanager
def cluster(count: int = 1, *, properties: str = "", client: dict[str, str] | None = None) -> Iterator[Cluster]:
    """Run so many brokers for the time of a with block.

    Parameters
    ----------
    count
        How many; Kafka's own topics have as many replicas, up to three.
    properties
        More lines for the brokers' settings, the last word on each; ``{port}`` and ``{controller}`` are the broker's ports.
    client
        What librdkafka needs to be let in.
    """
    with tempfile.TemporaryDirectory(prefix="birdwatch-kafka-", ignore_cleanup_errors=True) as folder:
        ports, controllers = _free_ports(count), _free_ports(count)
        voters = ",".join(f"{number}@127.0.0.1:{port}" for number, port in enumerate(controllers, 1))
        copies = min(count, 3)
        identity = str(uuid.uuid4())
        brokers = []
        for number, (port, controller) in enumerate(zip(ports, controllers, strict=True), 1):
            own = Path(folder, str(number))
            own.mkdir()
            settings = (PROPERTIES + properties).format(
                number=number,
                voters=voters,
                port=port,
                controller=controller,
                folder=own,
                copies=copies,
                in_sync=min(copies, 2),
            )
            (own / "server.properties").write_text(settings)
            storage = [*JAVA, "-cp", f"{fetched()}/*", "kafka.tools.StorageTool", "format"]
            said = ["--cluster-id", identity, "--config", str(own / "server.properties")]
            subprocess.run([*storage, *said], check=True, stdout=subprocess.DEVNULL)
            brokers.append(Broker(f"127.0.0.1:{port}", own, client or {}))
        cluster = Cluster(brokers)
        try:
            cluster.start()
            yield cluster
        finally:
            # Nothing they hold will be needed: no orderly shutdown, which takes many seconds.
            cluster.kill()


def _jars(pom: Path) -> Path:
    cache = Path(os.environ.get("BIRDWATCH_KAFKA_CACHE") or ROOT / ".cache" / "kafka")
    return cache / f"jars-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"


def fetched(pom: Path = POM) -> Path:
    """Give the folder of the jars that a POM names, by default those of the broker; fetch them if that was not done yet."""
    jars = _jars(pom)
    if not jars.exists():
        jars.parent.mkdir(parents=True, exist_ok=True)
        # Into its place only when complete: a fetch that was interrupted is begun anew.
        with tempfile.TemporaryDirectory(dir=jars.parent) as draft:
            print(f"fetching what {pom.parent.name} needs with Maven ...", file=sys.stderr)  # noqa: T201
            goal = ["dependency:copy-dependencies", f"-DoutputDirectory={draft}/jars"]
            subprocess.run(["mvn", "-q", "-B", "-f", str(pom), *goal], check=True, stdout=sys.stderr, timeout=600)
            try:
                Path(draft, "jars").rename(jars)
            except OSError:
                if not jars.exists():  # else another run was sooner, with the same
                    raise
    return jars


def _free_ports(count: int) -> list[int]:
    ports: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            break
    return ports


def _run_until_stopped(*, tethered: bool) -> int:
    reason = missing()
    if reason is not None:
        print(reason, file=sys.stderr)  # noqa: T201
        return UNAVAILABLE
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with broker() as address:
            print(f"kafka://{address}", flush=True)  # noqa: T201
            if tethered:
                sys.stdin.read()
            else:
                print(EXAMPLES.format(address=address), flush=True)  # noqa: T201
                signal.pause()
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(_run_until_stopped(tethered="--tethered" in sys.argv))
