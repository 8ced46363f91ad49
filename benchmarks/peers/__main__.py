"""KS and PSI of ten models against a reference, by Birdwatch and by others, each in an environment of its own.

A minute for a million scores, some minutes for ten, after the environments are made (3 GB):
.venv/bin/python -m benchmarks.peers [--scores N ...] [--peers NAME ...] [--environments DIR] [--json FILE]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import machine
from benchmarks.peers.environments import PEERS, environment
from benchmarks.peers.measure import run
from benchmarks.peers.report import markdown
from rich.console import Console
from rich.progress import Progress

_SHORT_SECONDS: Final = 5.0
_ROUNDS: Final = 5
"""How often what is short is measured; what takes longer is measured once."""

_VERSION: Final = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"


def main() -> None:
    """Make the environments and the files, measure, print."""
    options = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.peers")
    options.add_argument("--scores", type=int, nargs="+", default=[1_000_000, 10_000_000], help="In each file.")
    options.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    options.add_argument("--environments", type=Path, default=Path("run", "peers"), help="Where they are kept.")
    options.add_argument("--most-seconds", type=float, default=300.0, help="After which a peer is stopped.")
    options.add_argument("--json", type=Path, help="Write the figures here as well.")
    given = options.parse_args()
    noise = Console(stderr=True)
    figures: dict[str, Any] = {"machine": machine(["birdwatch"]), "versions": {}, "scores": {}}
    with (
        tempfile.TemporaryDirectory(prefix="birdwatch-bench-") as temporary,
        Progress(console=noise, disable=not noise.is_terminal) as progress,
    ):
        making = progress.add_task("environments", total=len(given.peers))
        pythons: dict[str, Path] = {}
        for name in given.peers:
            pythons[name] = environment(name, given.environments.absolute())
            figures["versions"][name] = {name: _version(pythons[name], name)}
            progress.advance(making)
        for scores in given.scores:
            folder = Path(temporary, str(scores))
            folder.mkdir()
            # By a process of its own: the memory of this one counts towards that of what it starts.
            subprocess.run([sys.executable, "-m", "benchmarks.peers.scores", str(folder), str(scores)], check=True)
            figures["scores"][str(scores)] = _measured(pythons, folder, given.most_seconds, progress)
    Console(width=200).print(markdown(figures), soft_wrap=True, markup=False, highlight=False)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _measured(
    pythons: dict[str, Path], folder: Path, most_seconds: float, progress: Progress
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Measure everybody in turns, so that all share what else the machine does."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {name: {"unchanged": [], "moved": []} for name in pythons}
    task = progress.add_task(f"{folder.name} scores", total=_ROUNDS * len(pythons))
    for number in range(_ROUNDS):
        for name, python in pythons.items():
            known = found[name]["unchanged"]
            if not number or known[0]["wall"] < _SHORT_SECONDS:
                for current, rounds in found[name].items():
                    files = folder / "reference.parquet", folder / f"{current}.parquet"
                    rounds.append(run(python, name, *files, most_seconds))
            progress.advance(task)
    return found


def _version(python: Path, package: str) -> str:
    said = subprocess.run([python, "-c", _VERSION, package], capture_output=True, text=True, check=True)
    return said.stdout.strip()


if __name__ == "__main__":
    main()
