"""How soon a change is found, how often an alarm is false, and what that costs: all rows measured in one run.

About ten minutes on one core: .venv/bin/python -m benchmarks.detection [--quick] [--only SECTION] [--json FILE]
"""

import argparse
import json
import sys
from pathlib import Path

from benchmarks.detection import delays, fleet, kept, paired, rhythm, speed, unchanged
from benchmarks.detection.section import FULL, QUICK, Section
from rich.console import Console
from rich.progress import Progress

# One file a section; what is printed comes in this order.
SECTIONS: tuple[Section, ...] = (
    delays.SECTION,
    unchanged.SECTION,
    rhythm.SECTION,
    paired.SECTION,
    fleet.SECTION,
    speed.SECTION,
)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.detection")
    options.add_argument("--quick", action="store_true", help="Fewer streams and panes: rough figures in a minute.")
    options.add_argument("--only", choices=[s.name for s in SECTIONS], help="One section alone.")
    options.add_argument("--json", type=Path, help="Write the figures here as well.")
    options.add_argument("--keep", action="store_true", help="Write what the unit tests compare with, and end.")
    given = options.parse_args()
    if given.keep:
        kept.KEPT.write_text(json.dumps(kept.measure(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return
    plan = QUICK if given.quick else FULL
    figures = {}
    console, noise = Console(file=sys.stdout, width=160), Console(stderr=True)
    with Progress(console=noise, disable=not noise.is_terminal) as progress:
        for section in SECTIONS:
            if given.only in {None, section.name}:
                figures[section.name] = section.measure(plan, progress)
                console.print(*section.tables(figures[section.name]), sep="\n\n", end="\n\n")
                if given.json:
                    given.json.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
