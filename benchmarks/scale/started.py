"""What a start costs, beside one of Python alone; and how much is installed."""

import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

__all__ = ["STARTS", "installed", "start"]

STARTS: Final = {
    "python": ["-c", "pass"],
    "import": ["-c", "import birdwatch"],
    "help": ["-m", "birdwatch", "--help"],
}
"""What is started, by name."""


def start(name: str) -> float:
    """Give the seconds by the clock that a start takes."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *STARTS[name]], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def installed() -> dict[str, int]:
    """Install the core, without any extra, into an environment of its own; give the bytes of each package."""
    with tempfile.TemporaryDirectory(prefix="birdwatch-bench-") as folder:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        uv = Path(sys.executable).with_name("uv")
        python = Path(folder, "bin", "python")
        here = Path(__file__).parents[2]
        command = [uv if uv.exists() else "uv", "pip", "install", "--quiet", "--python", python, here]
        subprocess.run(command, check=True)
        listed = "from importlib.metadata import distributions as d; print('\\n'.join(x.metadata['Name'] for x in d()))"
        names = subprocess.run(
            [python, "-I", "-c", listed], check=True, stdout=subprocess.PIPE, text=True
        ).stdout.split()
        place = next(Path(folder, "lib").glob("python*")) / "site-packages"
        return _sizes(place, names)


def _sizes(place: Path, names: list[str]) -> dict[str, int]:
    sizes: Counter[str] = Counter()
    records = {_plain(record.parent.name.partition("-")[0]): record for record in place.glob("*/RECORD")}
    for name in names:
        for line in records[_plain(name)].read_text(encoding="utf-8").splitlines():
            file = place / line.rsplit(",", 2)[0].strip('"')
            sizes[name] += file.stat().st_size if file.exists() else 0
    return dict(sizes.most_common())


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
