"""`birdwatch budget` shows what is promised, spent and left."""

import json

import pytest
from typer.testing import CliRunner

from birdwatch.alerts.lifecycle import advance
from birdwatch.cli.main import app
from birdwatch.detect.budget import Budget, Watch
from birdwatch.detect.spending import create_table, put_spending, write_looks
from birdwatch.detect.verdict import Finding, Subject
from birdwatch.errors import StoreError
from birdwatch.windows.store import Store

DAY = 86_400


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    store = Store("birdwatch.db", pane_seconds=DAY)
    yield store
    store.close()


@pytest.fixture
def _judged(store):
    with store.transaction():
        create_table(store)
        watches = [Watch("pairs", 3, DAY), Watch("sla", 1, DAY, 3.0), Watch("new", 1, DAY, tried=True)]
        put_spending(store, {"page": Budget(pages=2).spend(watches)})
        write_looks(store, 10 * DAY, "page", "pairs", looks=30, level=90.0)
        write_looks(store, 10 * DAY, "page", "sla", looks=10, level=30.0)
        write_looks(store, 10 * DAY, "page", "removed", looks=1, level=100.0)
        found = {"rule": "pairs", "subject": Subject("m", "2"), "ts": 9 * DAY, "severity": "page", "reason": "why"}
        advance(store, [Finding(active=True, **found)])


def run(*arguments):
    found = CliRunner().invoke(app, ["budget", *arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


@pytest.mark.usefixtures("_judged")
def test_people_see_the_promise_what_is_left_and_what_each_rule_has_to_reach():
    lines = [" ".join(line.split()) for line in run().splitlines()]
    assert lines[:3] == [
        "At most 2 false pages to be expected in 30d, of all models and rules together",
        "██████████░░░░░░░░░░░░░░░░░░░░ 0.68 spent, 1.3 left, from 1969-12-12 00:00 to 1970-01-11 00:00 (UTC)",
        "1 page fired in that time: pairs 1",
    ]
    assert "pairs 3 90 1 30 0.33" in lines
    assert "sla 1 30 1 10 0.33" in lines
    assert "new 1 105 none: it is only tried 0 0" in lines
    assert "removed 0 gone 0 1 0.01" in lines


@pytest.mark.usefixtures("_judged")
def test_programs_read_json():
    (page,) = json.loads(run("--json"))
    assert (page["severity"], page["promised"], page["fired"]) == ("page", 2.0, {"pairs": 1})
    assert page["spent"] == pytest.approx(30 / 90 + 10 / 30 + 0.01)
    assert page["rules"]["sla"]["level"] == 30


def test_before_anything_was_judged_nothing_is_spent():
    assert run() == "nothing is spent: no rule that alarms by evidence has judged a window yet\n"
    assert run("--json") == "[]\n"


def test_a_store_that_is_not_there_is_named():
    with pytest.raises(StoreError, match=r"no store at elsewhere\.db"):
        run("--store", "elsewhere.db")
