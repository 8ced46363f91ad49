"""How fast `birdwatch check` starts, and how fast it answers over two Parquet files of ten million requests each.

About three minutes: .venv/bin/python -m benchmarks.check [--rows N] [--days D] [--rounds R] [--json FILE]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.check import report
from benchmarks.machine import machine
from rich.console import Console
from rich.progress import Progress

TINY = 1_000


def main() -> None:
    """Write the files, measure, print."""
    options = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.check")
    options.add_argument("--rows", type=int, default=10_000_000, help="Requests in each of the two files.")
    options.add_argument(
        "--days", type=float, default=1.0, help="Over how many days they are spread; a pane is a minute."
    )
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--json", type=Path, help="Write the figures here as well.")
    given = options.parse_args()
    noise = Console(stderr=True)
    figures: dict[str, Any] = {"machine": machine(report.PACKAGES), "rows": given.rows, "days": given.days}
    with (
        tempfile.TemporaryDirectory(prefix="birdwatch-bench-") as temporary,
        Progress(console=noise, disable=not noise.is_terminal) as progress,
    ):
        many, few = Path(temporary, "many"), Path(temporary, "few")
        # Written by processes of their own: the memory of this one counts towards that of what it starts.
        run("benchmarks.check.pairs", many, given.rows, given.days)
        run("benchmarks.check.pairs", few, TINY, 0.01)
        figures["bytes"] = sum(path.stat().st_size for path in many.iterdir())
        commands: dict[str, list[Any]] = {
            report.HELP: ["birdwatch", "check", "--help"],
            report.NOTHING: ["birdwatch", *check(Path(temporary, "nothing"))],
            report.TINY: ["birdwatch", *check(few)],
            report.CHECK: ["birdwatch", *check(many)],
            report.JOIN: ["benchmarks.check.joined", many / "champion.parquet", many / "shadow.parquet"],
        }
        # Once for all, as when a package is installed: compile what is imported.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(temporary, "compiled"))
        for name in (report.HELP, report.NOTHING, report.TINY):
            run(*commands[name])
        figures["took"] = {name: [] for name in commands}
        task = progress.add_task("measured", total=given.rounds * len(commands))
        for _ in range(given.rounds):
            for name, command in commands.items():
                figures["took"][name].append(run(*command))
                progress.advance(task)
    Console(width=160).print(report.markdown(figures), soft_wrap=True, markup=False, highlight=False)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def check(folder: Path) -> list[Any]:
    """Give the command that is measured."""
    return ["check", "--champion", folder / "champion.parquet", "--shadow", folder / "shadow.parquet"]


def run(module: str, *arguments: Any) -> dict[str, float]:
    """Run a module in a process of its own; give wall and CPU seconds, and the most memory that it had, in bytes.

    Raises
    ------
    RuntimeError
        It failed; that there is nothing to check is no failure.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        took = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        told = said.read().decode()
        if process.returncode != 0 and "there is no file" not in told:
            raise RuntimeError(f"{' '.join(command)} exited {process.returncode}: {told}")
    return {"wall": took, "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss * 1024.0}


if __name__ == "__main__":
    main()
