"""A real Apache Kafka broker on this machine, from its Maven artifacts: for the tests, and to try things out.

``python tests/integration/kafka_broker.py`` prints the address, then runs until Ctrl-C or, with ``--tethered``, until its
standard input closes: so it ends with its parent, however that ends. It needs Java 17 and Maven, and says so where they
are missing (exit code 3). The jars are fetched once, into ``.cache/kafka`` or the folder that
``BIRDWATCH_KAFKA_CACHE`` names; the data lie in a temporary folder and go with the broker. It listens on the loopback
interface only.
"""

import hashlib
import os
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
from pathlib import Path

__all__ = ["UNAVAILABLE", "broker", "missing"]

UNAVAILABLE = 3
"""The exit code where a broker cannot run here."""

ROOT = Path(__file__).parents[2]
POM = Path(__file__).with_name("kafka") / "pom.xml"
START_SECONDS = 90

PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={folder}/data
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
"""

# Small and quick to start, not fast for long; Log4j writes errors and nothing else.
JAVA = ("java", "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=ERROR")


def missing() -> str | None:
    """Say why a broker cannot run here, or give None."""
    needed = ["java"] if _jars().exists() else ["java", "mvn"]
    absent = [tool for tool in needed if shutil.which(tool) is None]
    return f"a Kafka broker needs {' and '.join(absent)}, or set BIRDWATCH_KAFKA=HOST:PORT" if absent else None


@contextmanager
def broker() -> Iterator[str]:
    """Run a broker for the time of a with block; give its HOST:PORT once it answers."""
    classpath = f"{_fetched()}/*"
    with tempfile.TemporaryDirectory(prefix="birdwatch-kafka-", ignore_cleanup_errors=True) as folder:
        port, controller = _free_ports(2)
        properties = Path(folder, "server.properties")
        properties.write_text(PROPERTIES.format(folder=folder, port=port, controller=controller))
        storage = [*JAVA, "-cp", classpath, "kafka.tools.StorageTool", "format"]
        identity = ["--cluster-id", str(uuid.uuid4()), "--config", str(properties)]
        subprocess.run([*storage, *identity], check=True, stdout=subprocess.DEVNULL)
        log = Path(folder, "broker.log")
        with log.open("wb") as out:
            server = subprocess.Popen(
                [*JAVA, "-cp", classpath, "kafka.Kafka", str(properties)], stdout=out, stderr=subprocess.STDOUT
            )
        try:
            _wait_until_it_answers(server, port, log)
            yield f"127.0.0.1:{port}"
        finally:
            # Nothing it holds will be needed: no orderly shutdown, which takes many seconds.
            server.kill()
            server.wait()


def _jars() -> Path:
    cache = Path(os.environ.get("BIRDWATCH_KAFKA_CACHE") or ROOT / ".cache" / "kafka")
    return cache / f"jars-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"


def _fetched() -> Path:
    jars = _jars()
    if not jars.exists():
        jars.parent.mkdir(parents=True, exist_ok=True)
        # Into its place only when complete: a fetch that was interrupted is begun anew.
        with tempfile.TemporaryDirectory(dir=jars.parent) as draft:
            print("fetching Apache Kafka with Maven ...", file=sys.stderr)  # noqa: T201
            goal = ["dependency:copy-dependencies", f"-DoutputDirectory={draft}/jars"]
            subprocess.run(["mvn", "-q", "-B", "-f", str(POM), *goal], check=True, stdout=sys.stderr, timeout=600)
            Path(draft, "jars").rename(jars)
    return jars


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _wait_until_it_answers(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    deadline = time.monotonic() + START_SECONDS
    admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0})
    while True:
        try:
            if admin.list_topics(timeout=1.0).brokers:
                return
        except KafkaException:
            pass
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the Kafka broker did not start:\n{log.read_text()[-2000:]}")


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
                signal.pause()
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(_run_until_stopped(tethered="--tethered" in sys.argv))
