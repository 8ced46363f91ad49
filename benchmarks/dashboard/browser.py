"""How long a person waits: the real dashboard in a real browser, from the address to the last chart, and on each refresh."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.dashboard.growing import Growing
from playwright.sync_api import BrowserContext, Page, sync_playwright

__all__ = ["CHROMIUM", "DRAWN", "EMPTY", "browser", "opened", "refreshed", "scrolled", "served"]

CHROMIUM: Final = "/usr/bin/chromium"
EMPTY: Final = Path(__file__).with_name("empty.py")
_SCREEN: Final = {"width": 1280, "height": 900}
_PATIENCE: Final = 300_000  # milliseconds: a bound, not a wait

DRAWN: Final = """scrolled => {
  const app = document.querySelector('[data-testid=stApp]');
  if (!app || app.dataset.testScriptState !== 'notRunning' || document.querySelector('[data-testid=stSkeleton]')) return 0;
  if (!app.textContent.includes('Data as of')) return 0;
  const awaited = [...document.querySelectorAll('[data-below=awaited]')].map(part => part.getBoundingClientRect().top);
  if (awaited.some(top => top < (scrolled ? Infinity : innerHeight))) return 0;
  const charts = [...document.querySelectorAll('[data-testid=stVegaLiteChart]')];
  if (!charts.every(chart => chart.querySelector('canvas, svg'))) return 0;
  return performance.now();
}"""
"""Gives the time since the address was asked for, once all that is on the screen is drawn; once scrolled, all there is."""

# Remembers when the page began to be drawn again and when that was over.
_WATCH: Final = """() => {
  window.refreshes = []; window.watch?.disconnect(); let began = 0;
  const app = document.querySelector('[data-testid=stApp]');
  window.watch = new MutationObserver(() => {
    const running = app.dataset.testScriptState === 'running';
    if (running && !began) began = performance.now();
    if (!running && began) {
      const from = began; began = 0;
      // Two frames on, what came is on the screen.
      requestAnimationFrame(() => requestAnimationFrame(() => window.refreshes.push(performance.now() - from)));
    }
  });
  window.watch.observe(app, {attributes: true, attributeFilter: ['data-test-script-state']});
}"""


@contextmanager
def served(store: Path, app: Path | None = None) -> Iterator[tuple[str, int]]:
    """Run `birdwatch dashboard` over a store, or another page in its place; give its address, and the process that draws."""
    command = [sys.executable, "-m", "birdwatch", "dashboard", "--no-browser", "--store", str(store)]
    command += [] if app is None else ["--app", str(app)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as run:
        try:
            for line in run.stdout or ():
                found = re.findall(r"listening on (\S+)", line)
                if found:
                    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
                    yield str(found[0]), int(children[0])
                    break
            else:
                raise RuntimeError("the dashboard ended before it listened")
        finally:
            run.send_signal(signal.SIGTERM)


@contextmanager
def browser() -> Iterator[BrowserContext]:
    """Run Debian's Chromium with a profile of its own, as people do: what it has compiled once it finds again on the disk."""
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        made = playwright.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, args=arguments, viewport=_SCREEN
        )
        yield made
        made.close()


def opened(page: Page, url: str) -> float:
    """Open an address; give the seconds until all of the first screen was drawn."""
    page.goto(url, wait_until="commit", timeout=_PATIENCE)
    drawn = page.wait_for_function(DRAWN, arg=False, polling="raf", timeout=_PATIENCE)
    return float(drawn.json_value()) / 1e3


def scrolled(page: Page) -> float:
    """Begin to scroll; give the seconds until what lies below was drawn too."""
    before = page.evaluate("performance.now()")
    page.mouse.move(_SCREEN["width"] / 2, _SCREEN["height"] / 2)
    page.mouse.wheel(0, 200)
    drawn = page.wait_for_function(DRAWN, arg=True, polling="raf", timeout=_PATIENCE)
    return (float(drawn.json_value()) - before) / 1e3


def refreshed(page: Page, growing: Growing | None, rounds: int) -> list[float]:
    """Give the seconds that refreshes of a live page took, from when it asked until what came was on the screen.

    With ``growing``, a pane closes before each.
    """
    page.evaluate(_WATCH)
    found: list[Any] = []
    until = time.monotonic() + _PATIENCE / 1e3
    while len(found) < rounds:
        if growing is not None:
            growing.close_a_pane()
        page.wait_for_function("n => window.refreshes.length > n", arg=len(found), timeout=_PATIENCE)
        found = page.evaluate("window.refreshes")
        if time.monotonic() > until:
            raise RuntimeError(f"only {len(found)} refreshes came")
    return [each / 1e3 for each in found[:rounds]]
