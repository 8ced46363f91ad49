"""The pipeline as it runs in production, a process each; the server that it is compared with; and a Kafka broker."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

__all__ = ["Processes", "broker", "cpu_seconds", "direct", "pipeline"]

HERE = Path(__file__).parent
SCHEDULE = """
deadline_seconds: 1
default: -1
canary: [canary]
tiers:
  - models: [champion]
  - models: [challenger]
    after_seconds: 0.3
  - models: [third]
    after_seconds: 0.6
"""


class Processes:
    """Some processes, by name, that end with a ``with`` block."""

    def __init__(self, commands: dict[str, list[str]]) -> None:
        self.url = ""
        self._running = {
            name: subprocess.Popen([sys.executable, *command], cwd=HERE, stdout=subprocess.PIPE, text=True)
            for name, command in commands.items()
        }

    def __enter__(self) -> Self:
        for name, process in self._running.items():
            for line in process.stdout or ():
                if line.startswith("listening on "):
                    self.url = line.split()[-1]
                if line == "ready\n":
                    break
            else:
                raise RuntimeError(
                    f"{name} ended with code {process.wait()} before it was ready: the reason stands above"
                )
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            process.send_signal(signal.SIGKILL)
        for process in self._running.values():
            process.communicate()

    def cpu_seconds(self) -> dict[str, float]:
        """Give the CPU time that each process has had so far."""
        return {name: cpu_seconds(process.pid) for name, process in self._running.items()}


def direct() -> Processes:
    """Start the server without a pipeline."""
    return Processes({"direct": ["direct.py"]})


def pipeline(folder: Path, streams: str, *, third: str = "same") -> Processes:
    """Start a gateway, three models, a canary, a decoy and a rendezvous."""
    folder.mkdir(exist_ok=True)
    schedule = folder / "schedule.yaml"
    schedule.write_text(SCHEDULE)
    parts = {
        "gateway": ["gateway", "--port", "0", "--schedule", str(schedule)],
        "champion": ["runner", "--model", "champion", "--target", "models:same"],
        "challenger": ["runner", "--model", "challenger", "--target", "models:same"],
        "third": ["runner", "--model", "third", "--target", f"models:{third}"],
        "canary": ["runner", "--model", "canary", "--target", "models:same", "--role", "canary"],
        "decoy": ["decoy", "--archive", str(folder / "archive")],
        "rendezvous": ["rendezvous", "--schedule", str(schedule)],
    }
    return Processes({name: ["-m", "birdwatch", "serve", *part, "--streams", streams] for name, part in parts.items()})


@contextmanager
def broker() -> Iterator[str]:
    """Run a Kafka broker for the time of a ``with`` block; give its address.

    Raises
    ------
    RuntimeError
        It cannot run here; the reason stands on standard error.
    """
    script = HERE.parents[1] / "tests" / "integration" / "kafka_broker.py"
    command = [sys.executable, str(script), "--tethered"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        address = next(iter(process.stdout or ()), "").strip()
        if not address:
            raise RuntimeError("no Kafka broker was started")
        yield address
        # It ends when its standard input closes.


def cpu_seconds(pid: int) -> float:
    """Give the CPU time that a process has had so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
