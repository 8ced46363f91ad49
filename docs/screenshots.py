"""Take the pictures that the guides show, of the dashboard and of an alert: `make screenshots`, over the seeded store of the tests or another."""

import argparse
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from birdwatch.alerts.history import read_alerts
from birdwatch.windows.store import Store

ROOT = Path(__file__).parents[1]
IMAGES = Path(__file__).with_name("images")
CHROMIUM = "/usr/bin/chromium"
PAGES = ("overview", "latency", "scores", "canary", "selection", "deployments", "alerts", "streams")
BAD_DAY = "range=custom&from=2024-03-12T00:00&to=2024-03-26T06:00"
PATIENCE = 120_000  # milliseconds: a bound, not a wait


def main() -> None:
    """Serve the store, and take a picture of each page; and draw the one of its first alert that receivers are shown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, help="the store to show; by default one is made")
    parser.add_argument("--query", default=BAD_DAY, help="what the address asks for")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--scheme", choices=["light", "dark"], default="light")
    parser.add_argument("--into", type=Path, default=IMAGES, help="the folder of the pictures")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = given.store or _made(Path(folder) / "birdwatch.db")
        _draw(store, given.into / "alert-picture.png")
        with _served(store) as process:
            try:
                _take(_address(process), given)
            finally:
                process.send_signal(signal.SIGTERM)


def _draw(path: Path, file: Path) -> None:
    store = Store(path, readonly=True)
    fired = read_alerts(store, -math.inf, math.inf)
    store.close()
    if fired:
        _birdwatch("alerts", "show", fired[0].fingerprint, "--picture", str(file), "--store", str(path)).communicate()
        print(file)  # noqa: T201 - says what was written


def _made(path: Path) -> Path:
    sys.path.insert(0, str(ROOT))
    from tests.dashboards.synthetic import write_store  # noqa: PLC0415 - only where no store is given

    write_store(path).close()
    return path


def _served(store: Path) -> "subprocess.Popen[str]":
    return _birdwatch("dashboard", "--no-browser", "--store", str(store))


def _birdwatch(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "birdwatch", *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own command


def _address(process: "subprocess.Popen[str]") -> str:
    for line in process.stdout or ():
        found = re.findall(r"listening on (\S+)", line)
        if found:
            return str(found[0])
    raise SystemExit("the dashboard ended before it listened")


def _take(address: str, given: argparse.Namespace) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": given.width, "height": 900}, color_scheme=given.scheme)
        for name in PAGES:
            page.set_viewport_size({"width": given.width, "height": 900})
            page.goto(f"{address}/{'' if name == 'overview' else name}?{given.query}")
            page.get_by_text("Data as of").wait_for(timeout=PATIENCE)
            _settle(page)
            for _ in range(2):  # what lies below comes when the screen is that large
                height = page.evaluate("document.querySelector('[data-testid=stMainBlockContainer]').scrollHeight")
                page.set_viewport_size({"width": given.width, "height": height})
                _settle(page)
            page.screenshot(path=given.into / f"{name}.png")
            print(given.into / f"{name}.png")  # noqa: T201 - says what was written
        browser.close()


def _settle(page) -> None:  # noqa: ANN001 - Playwright's page
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=PATIENCE)
    page.wait_for_timeout(2000)  # charts are drawn a moment after their data have come
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=PATIENCE)


if __name__ == "__main__":
    main()
