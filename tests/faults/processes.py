"""Birdwatch's processes, to be killed, stopped and started again."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from birdwatch.demo import tether

__all__ = ["Processes", "wait_for"]

DIE_AT = Path(__file__).with_name("die_at.py")


class Processes:
    """Birdwatch's processes by name, with their output in files; none outlives the tests.

    Parameters
    ----------
    folder
        Where they run, and where their output goes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._aside: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._running):
            self.kill(name)
        for process in self._aside:
            process.kill()
            process.wait()

    def start(self, name: str, *arguments: str, die_at: tuple[str, int] | None = None) -> float:
        """Start ``birdwatch ARGUMENTS``; one that dies at a point of `die_at.POINTS`, its so-manieth time. Give when."""
        program = [str(DIE_AT), die_at[0], str(die_at[1]), "--"] if die_at else ["-m", "birdwatch"]
        tied = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid())]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BIRDWATCH_")}
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        started = time.time()
        with self._log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                [*tied, sys.executable, *program, *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
        return started

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """End a process, which may have ended already; give its exit code."""
        process = self._running.pop(name)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        return process.wait(30)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal that does not end it, as SIGSTOP."""
        self._running[name].send_signal(number)

    def put_aside(self, name: str) -> subprocess.Popen[bytes]:
        """Give a process, so that another of its name can be started beside it."""
        self._aside.append(self._running.pop(name))
        return self._aside[-1]

    def ended(self, name: str) -> int | None:
        """Give the exit code of one that has ended by itself."""
        return self._running[name].poll()

    def stopped(self, name: str) -> bool:
        """Say whether a process was stopped, as by SIGSTOP."""
        stat = Path(f"/proc/{self._running[name].pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    def names(self) -> list[str]:
        """Name those that were started and not killed."""
        return list(self._running)

    def rss(self, name: str) -> int:
        """Give the bytes of memory that a process holds."""
        status = Path(f"/proc/{self._running[name].pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))

    def said(self, name: str) -> str:
        """Give all that a process of this name has printed."""
        return self._log(name).read_text(errors="replace")

    def ready(self, name: str, seconds: float = 30.0) -> None:
        """Wait until a process that was just started for the first time says that it is ready."""
        wait_for(lambda: "ready\n" in self.said(name) or self.ended(name) is not None, seconds)
        assert self.ended(name) is None, self.said(name)[-2000:]

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


def wait_for(condition: Callable[[], Any], seconds: float = 60.0, what: Callable[[], object] = lambda: "") -> Any:
    """Wait until something is true, and give it; after so many seconds, fail with what is there."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, f"it did not come about within {seconds:.0f} s: {what()}"
        time.sleep(0.05)
    return found
