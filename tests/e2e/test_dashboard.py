"""The dashboard in a real browser: what it shows, that links are shared, that it follows the store, that nothing complains."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import TimeoutError, expect  # noqa: A004 - the browser's own

from birdwatch.windows.pane import Counts, Series
from birdwatch.windows.store import Store

from ..dashboards.synthetic import DAY, DAYS, START, page_now, write_store  # noqa: TID252

pytestmark = [
    pytest.mark.e2e,
    # pytest-base-url, on which pytest-playwright stands, is behind pytest.
    pytest.mark.filterwarnings("ignore:Session-scoped fixtures defined as instance methods"),
]

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE = 120_000  # milliseconds: a bound, not a wait
# Of each page: its address, and how many charts it shows of a week of the synthetic store.
PAGES = {
    "Overview": ("", 0),
    "Latency": ("latency", 4),
    "Scores": ("scores", 7),
    "Canary": ("canary", 5),
    "Selection": ("selection", 3),
    "Deployments": ("deployments", 2),
    "Alerts": ("alerts", 2),
    "Streams": ("streams", 4),
}
LAST = {
    "Overview": "Page budget",
    "Latency": "How fast objectives burn what they allow",
    "Scores": "Inputs",
    "Canary": "A pair in detail",
    "Selection": "By model and tier",
    "Deployments": "Scores of each version",
    "Alerts": "What lay behind it",
    "Streams": "Out of the ordinary",
}
WEEKS = "range=custom&from=2024-03-12T00:00&to=2024-03-26T06:00"


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    """Use Debian's Chromium; in a container it has no sandbox of its own."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}: apt-get install chromium")
    return {
        **browser_type_launch_args,
        "executable_path": str(CHROMIUM),
        "args": ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
    }


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    made = tmp_path_factory.mktemp("dashboard") / "birdwatch.db"
    write_store(made).close()
    return made


@contextmanager
def served(path):
    """Run `birdwatch dashboard` over a store; give where it serves it."""
    with subprocess.Popen(
        [sys.executable, "-m", "birdwatch", "dashboard", "--no-browser", "--store", str(path)],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            found = ""
            while not found:
                line = process.stdout.readline()
                assert line, "the dashboard ended before it listened"
                found = "".join(re.findall(r"listening on (\S+)", line))
            yield found
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture(scope="module")
def address(path):
    """Where the store is shown."""
    with served(path) as found:
        yield found


@pytest.fixture
def complaints(page):
    """Collect what the browser finds wrong with a page."""
    found = []
    page.on("console", lambda message: found.append(message.text) if _is_error(message) else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("requestfailed", lambda request: found.append(request.url))
    return found


def _is_error(message):
    # On a link to a page Streamlit looks for its server below that page first, and finds it at the root then.
    return message.type == "error" and "/_stcore/" not in message.location.get("url", "")


def scroll(page, name, charts):
    """Scroll until what lies below the first screen has come."""
    last, drawn = page.get_by_role("heading", name=LAST[name]), page.get_by_test_id("stVegaLiteChart")
    until = time.monotonic() + PATIENCE / 1e3
    while not (last.is_visible() and drawn.count() == charts) and time.monotonic() < until:
        page.mouse.move(*(side / 2 for side in page.viewport_size.values()))
        page.mouse.wheel(0, 100)
        page.wait_for_timeout(200)
    expect(last).to_be_visible()


def settle(page, name="Overview", charts=None):
    """Scroll, and wait until the page is drawn to its end."""
    wanted = PAGES[name][1] if charts is None else charts
    expect(page.get_by_role("heading", name=name, exact=True, level=1)).to_be_visible(timeout=PATIENCE)
    scroll(page, name, wanted)
    expect(page.get_by_test_id("stVegaLiteChart")).to_have_count(wanted, timeout=PATIENCE)
    expect(page.locator("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg")).to_have_count(
        wanted, timeout=PATIENCE
    )
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning", timeout=PATIENCE)


def choose_model(page, name):
    """Pick a model from the list, which closes when the page is drawn anew under it: then it is opened again."""
    option = page.get_by_role("option", name=name)
    for _ in range(5):
        page.get_by_test_id("stMultiSelect").locator("input").click(timeout=PATIENCE)
        try:
            option.click(timeout=PATIENCE / 5)
        except TimeoutError:
            continue
        return
    pytest.fail(f"the list of models does not stay open long enough to pick {name}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_the_page_is_drawn_without_a_complaint(page, address, complaints, scheme, width, height):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": height})
    page.goto(address)
    settle(page)
    expect(page.get_by_text("All in order: no alert firing, 4 models judged")).to_be_visible()
    expect(page.get_by_text("Data as of Sun 31 Mar 2024 00:00 UTC")).to_be_visible()
    # Nothing but wide tables, which scroll by themselves, may be wider than the page.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints == []


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_drawn_on_a_telephone_and_on_a_screen(page, address, complaints, name):
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"{address}/{PAGES[name][0]}?{WEEKS}")
    settle(page, name)
    expect(page.get_by_text("1 page firing: challenger 2 – the model changed")).to_be_visible()
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints == []


def test_choices_move_along_between_pages_and_a_link_shows_the_same(page, context, address, complaints):
    page.goto(address)
    settle(page)
    page.get_by_role("radio", name="month").click()
    expect(page).to_have_url(re.compile("range=month"), timeout=PATIENCE)
    settle(page)
    choose_model(page, "champion")
    expect(page).to_have_url(re.compile("models=champion"), timeout=PATIENCE)
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Latency").click()
    settle(page, "Latency")
    page.get_by_role("radio", name="queue").click()
    expect(page).to_have_url(re.compile("stage=queue"), timeout=PATIENCE)
    expect(page).to_have_url(re.compile("/latency[?].*range=month"), timeout=PATIENCE)
    expect(page).to_have_url(re.compile("models=champion"), timeout=PATIENCE)

    colleague = context.new_page()
    colleague.goto(page.url)
    settle(colleague, "Latency")
    expect(colleague.get_by_role("radio", name="month")).to_be_checked()
    expect(colleague.get_by_role("radio", name="queue")).to_be_checked()
    expect(colleague.get_by_text("a point on a chart is 6 hours")).to_be_visible()
    assert complaints == []


def test_the_past_is_shown_with_what_fired_then(page, address, complaints):
    page.goto(f"{address}/alerts?{WEEKS}")
    settle(page, "Alerts")
    expect(page.get_by_text("1 page firing: challenger 2 – the model changed")).to_be_visible()
    expect(page.get_by_text("Why: challenger 2 – the model changed")).to_be_visible()
    expect(page.get_by_text("Most of all in origin=EWR")).to_be_visible()
    expect(page.get_by_text("page, firing")).to_be_visible()
    expect(page.get_by_text("ticket, resolved")).to_be_visible()
    assert complaints == []


def test_a_live_page_follows_the_store(page, address, path, complaints):
    page.goto(address)
    settle(page)
    expect(page.get_by_text("Data as of Sun 31 Mar 2024 00:00 UTC")).to_be_visible()
    store = Store(path)
    start = START + DAYS * DAY
    store.put(start, {Series("counts"): Counts.of([0], [5]), Series("counts", "champion", "1"): Counts.of([1], [5])})
    store.close()
    try:
        expect(page.get_by_text("Data as of Sun 31 Mar 2024 01:00 UTC")).to_be_visible(timeout=PATIENCE)
        settle(page)
    finally:
        store = Store(path)
        store.connection.execute("DELETE FROM closed WHERE start = ?", (start,))
        store.connection.execute("DELETE FROM panes WHERE start = ?", (start,))
        store.close()
    assert complaints == []


def test_an_alert_is_acknowledged_on_its_page_and_a_colleague_sees_by_whom(page, context, tmp_path, complaints):
    store = write_store(tmp_path / "birdwatch.db")
    page_now(store)
    store.close()
    with served(tmp_path / "birdwatch.db") as address:
        page.goto(f"{address}/alerts?range=week")
        page.get_by_role("button", name="Look after it").click(timeout=PATIENCE)
        page.get_by_label("Your name").fill("ann")
        page.get_by_label("What others should know").fill("asked the owners")
        page.get_by_role("button", name="Acknowledge").click()
        expect(page.get_by_role("button", name="ann looks after it")).to_be_visible(timeout=PATIENCE)
        colleague = context.new_page()
        colleague.goto(page.url)
        expect(colleague.get_by_role("button", name="ann looks after it")).to_be_visible(timeout=PATIENCE)
        colleague.close()
    assert complaints == []
