"""Starts the processes of the demo, looks after them, and leaves none behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, Self

from birdwatch.errors import BirdwatchError

__all__ = ["Command", "Supervisor"]

_TETHER: Final = Path(__file__).with_name("tether.py")
_LOOK_SECONDS: Final = 0.02
_STOP_SECONDS: Final = 10.0
_MOST_RESTARTS: Final = 5


class Command(NamedTuple):
    """A ``birdwatch`` command to run.

    Attributes
    ----------
    name
        What people call it; its output goes to a file of that name.
    arguments
        What stands after ``birdwatch``.
    ready
        How the line begins by which it says that it is ready.
    vital
        Whether its death ends the demo; others are started again.
    """

    name: str
    arguments: list[str]
    ready: str = "ready"
    vital: bool = False


class Supervisor:
    """Runs commands, each in a process group of its own, with its output in a file.

    Use it as a context: on leaving, however that comes about, every process is stopped.

    Parameters
    ----------
    logs
        The folder for their output.
    say
        Called with a sentence for people, when a process has died, say.
    program
        What runs a ``birdwatch`` command.
    """

    def __init__(self, logs: Path, say: Callable[[str], None], program: list[str] | None = None) -> None:
        self._logs = logs
        self._say = say
        self._program = program or [sys.executable, "-m", "birdwatch"]
        self._running: dict[str, tuple[Command, subprocess.Popen[bytes]]] = {}
        self._restarts: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, command: Command) -> None:
        """Start a command; `wait` waits until it is ready."""
        # What the user has set for a Birdwatch of their own must not reach the demo's.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BIRDWATCH_")}
        # One thread each: a dozen processes share the machine.
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        tether = [sys.executable, "-I", "-S", str(_TETHER), str(os.getpid())]
        with self.log_of(command.name).open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - the commands are ours
                [*tether, *self._program, *command.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment,
            )
        self._running[command.name] = (command, process)

    def log_of(self, name: str) -> Path:
        """Name the file with the output of a command."""
        return self._logs / f"{name}.log"

    def wait(self, *names: str, seconds: float = 180.0) -> None:
        """Wait until commands are ready.

        Raises
        ------
        BirdwatchError
            One of them ended, or was not ready in time; the message ends with what it said last.
        """
        until = time.monotonic() + seconds
        for name in names:
            command, process = self._running[name]
            while self.said(name, command.ready) is None:
                if process.poll() is not None:
                    raise BirdwatchError(
                        f"{name} ended with code {process.returncode} at its start: {self._last_words(name)}"
                    )
                if time.monotonic() > until:
                    raise BirdwatchError(f"{name} was not ready within {seconds:.0f} s: {self._last_words(name)}")
                time.sleep(_LOOK_SECONDS)

    def said(self, name: str, beginning: str) -> str | None:
        """Give the last line of a command's output that begins so, or None."""
        lines = self.log_of(name).read_text(errors="replace").splitlines()
        return next((line for line in reversed(lines) if line.startswith(beginning)), None)

    def check(self) -> None:
        """Look whether all commands still run, and start again those that don't.

        Raises
        ------
        BirdwatchError
            One has ended that the demo can't go on without, or that ended again and again.
        """
        for name, (command, process) in list(self._running.items()):
            if process.poll() is None:
                continue
            ending = f"{name} ended with code {process.returncode}"
            self._restarts[name] = self._restarts.get(name, 0) + 1
            if command.vital or self._restarts[name] > _MOST_RESTARTS:
                raise BirdwatchError(f"{ending}: {self._last_words(name)}")
            self._say(f"{ending}; it is started again and goes on where it was (see {self.log_of(name)})")
            self.start(command)

    def stop(self, *names: str) -> None:
        """Stop commands, all by default: politely, and after a while by force."""
        chosen = [self._running.pop(name) for name in (names or list(self._running)) if name in self._running]
        processes = [process for _, process in chosen]
        for process in processes:
            _signal_group(process, signal.SIGTERM)
        until = time.monotonic() + _STOP_SECONDS
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
        for process in processes:
            # The group may hold children that outlived their parent.
            _signal_group(process, signal.SIGKILL)
            process.wait()

    def _last_words(self, name: str) -> str:
        lines = [line for line in self.log_of(name).read_text(errors="replace").splitlines() if line.strip()]
        return f"{lines[-1] if lines else 'it said nothing'} (all of it: {self.log_of(name)})"


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
