"""Runs one peer's work in a process of its own, and says what it took and what it found."""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

__all__ = ["run"]


def run(python: Path, name: str, reference: Path, current: Path, most_seconds: float) -> dict[str, Any]:
    """Compare a file with its reference.

    Returns
    -------
    dict
        ``wall`` and ``cpu`` seconds, ``peak`` bytes, and ``moved``: the models of which it says so; or ``failed``, why it has none.
    """
    work = Path(__file__).parent / "each" / f"with_{name}.py"
    # Their own threads are theirs to choose; what they would tell their makers is not.
    environment = {**os.environ, "DO_NOT_TRACK": "1", "PYTHONWARNINGS": "ignore"}
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
        process = subprocess.Popen([python, work, reference, current], stdout=said, stderr=complained, env=environment)
        status, used = _wait(process, began + most_seconds)
        took = time.perf_counter() - began
        for told in (said, complained):
            told.seek(0)
        output, errors = said.read().decode(), complained.read().decode()
    figures = {"wall": took, "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss * 1024.0}
    if status is None:
        return figures | {"failed": f"not done after {most_seconds:g} s"}
    if status:
        return figures | {"failed": (errors.strip().splitlines() or [f"exit {status}"])[-1]}
    found = json.loads(output.strip().splitlines()[-1])
    return figures | {"moved": sorted(model for model, told in found.items() if told["moved"])}


def _wait(process: "subprocess.Popen[bytes]", until: float) -> tuple[int | None, Any]:
    """Wait for a process, and end it when its time is up: then there is no status."""
    while True:
        pid, status, used = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, used
        if time.perf_counter() > until:
            process.kill()
            _, _, used = os.wait4(process.pid, 0)
            process.returncode = -9
            return None, used
        time.sleep(0.01)
