"""How fast pages open and refresh over a hundred models: the store is built first, then the real dashboard is looked at.

About fifteen minutes, five of them for the store: .venv/bin/python -m benchmarks.dashboard [--store FILE] [--json FILE]
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.dashboard import report
from benchmarks.dashboard.browser import EMPTY, browser, opened, refreshed, scrolled, served
from benchmarks.dashboard.growing import Growing
from benchmarks.dashboard.server import PAGES, Server
from benchmarks.dashboard.store import DAYS, build
from rich.console import Console
from rich.progress import Progress

RANGES = ("day", "week", "all")


def main() -> None:
    """Build, measure and print."""
    options = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.dashboard")
    options.add_argument("--store", type=Path, help="Where the store is, or is to be built: 2 GB.")
    options.add_argument("--rounds", type=int, default=5, help="Of each thing that is timed.")
    options.add_argument("--pages", nargs="+", choices=PAGES, default=PAGES)
    options.add_argument("--ranges", nargs="+", choices=RANGES, default=RANGES)
    options.add_argument("--json", type=Path, help="Write the figures here as well.")
    given = options.parse_args()
    console, noise = Console(file=sys.stdout, width=160), Console(stderr=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        Progress(console=noise, disable=not noise.is_terminal) as progress,
    ):
        store = given.store or Path(folder) / "birdwatch.db"
        if not store.exists():
            build(store, DAYS, progress)
        figures: dict[str, Any] = {"machine": report.measured_on(store), "pages": {}}
        figures["empty"] = _empty(store, given.rounds)
        task = progress.add_task("in the browser", total=len(given.pages) * len(given.ranges))
        for page, stretch, found in _seen(store, given, lambda: progress.advance(task)):
            figures["pages"].setdefault(page, {})[stretch] = found
        task = progress.add_task("in the server", total=len(given.pages) * len(given.ranges) * given.rounds)
        server = Server(store)
        for page in given.pages:
            for stretch in given.ranges:
                found = server.measure(page, stretch, given.rounds, lambda: progress.advance(task))
                figures["pages"][page][stretch]["server"] = found
    console.print(report.markdown(figures), soft_wrap=True, markup=False, highlight=False)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _empty(store: Path, rounds: int) -> list[float]:
    """Give the seconds in which an empty page opens."""
    with served(store, EMPTY) as (address, _), browser() as chromium:
        return [_opened(chromium, address) for _ in range(rounds + 1)][1:]


def _opened(chromium: Any, url: str) -> float:
    with chromium.new_page() as tab:
        return opened(tab, url)


def _seen(store: Path, given: argparse.Namespace, advance: Any) -> Any:
    """Give (page, range, figures) of what a person sees: a new tab each time, in a browser that was here before."""
    with served(store) as (address, _), browser() as chromium, Growing(store) as growing:
        for page in given.pages:
            for stretch in given.ranges:
                # As under a tail: a store that nobody writes any more is said to be stale.
                growing.close_a_pane()
                url = f"{address}/{'' if page == PAGES[0] else page}?range={stretch}"
                waits = [_opened(chromium, url) for _ in range(given.rounds)]
                with chromium.new_page() as tab:
                    found = _followed(tab, url, growing, given.rounds)
                found |= {"first": waits[0], "opened": [*waits[1:], found["opened"]]}
                advance()
                yield page, stretch, found


def _followed(tab: Any, url: str, growing: Growing, rounds: int) -> dict[str, Any]:
    """Open a page, leave it open for some refreshes, scroll, and leave it open again."""
    found: dict[str, Any] = {"opened": opened(tab, url)}
    found["refreshed"] = refreshed(tab, None, rounds)
    found["refreshed, new pane"] = refreshed(tab, growing, rounds)
    found["scrolled"] = scrolled(tab)
    found["charts"] = tab.get_by_test_id("stVegaLiteChart").count()
    found["all refreshed, new pane"] = refreshed(tab, growing, rounds)
    return found


if __name__ == "__main__":
    main()
