import pytest

from birdwatch.alerts.lifecycle import advance
from birdwatch.alerts.standing import fired_by_rule, in_words, standing, standings, to_json
from birdwatch.detect.budget import Budget, Watch
from birdwatch.detect.spending import create_table, put_spending, write_looks
from birdwatch.detect.verdict import Finding, Subject
from birdwatch.windows.store import Store

DAY = 86_400


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store.db", pane_seconds=DAY)
    yield store
    store.close()


@pytest.fixture
def judged(store):
    """Forty days of three pairs, with pages on some and one ticket."""
    spending = Budget().spend([Watch("pairs", 3, DAY), Watch("new", 1, DAY, tried=True)])
    with store.transaction():
        create_table(store)
        put_spending(store, {"page": spending, "ticket": Budget().spend([])})
        for day in range(40):
            write_looks(store, (day + 1) * DAY, "page", "pairs", looks=3, level=90.0)
        for day, rule, severity in (
            (5, "pairs", "page"),
            (20, "pairs", "page"),
            (30, "sla", "page"),
            (31, "t", "ticket"),
        ):
            subject = Subject(f"model-{day}", "1")
            told = {"rule": rule, "subject": subject, "severity": severity, "reason": "why"}
            advance(
                store,
                [Finding(ts=day * DAY, active=True, **told), Finding(ts=day * DAY, active=False, over=True, **told)],
            )
    return store


def test_nothing_stands_before_anything_was_judged(store):
    assert standing(store) is None
    assert standings(store) == []
    assert fired_by_rule(store, "page", 0, DAY) == {}


def test_what_was_promised_stands_beside_what_fired_in_the_same_time(judged):
    found = standing(judged)
    assert (found.account.since, found.account.until) == (10 * DAY, 40 * DAY)
    assert found.fired == {"pairs": 1, "sla": 1}


def test_a_moment_of_the_past_stands_as_it_did(judged):
    found = standing(judged, until=6 * DAY)
    assert (
        in_words(found) == "Page budget: at most 1 false page to be expected in 30d; 0.2 spent, 0.8 left, 1 page fired"
    )
    assert (found.account.expected, found.fired) == (pytest.approx(6 * 3 / 90), {"pairs": 1})


def test_an_alert_counts_with_the_window_that_showed_it(judged):
    assert fired_by_rule(judged, "page", 4 * DAY, 5 * DAY) == {"pairs": 1}
    assert fired_by_rule(judged, "page", 5 * DAY, 6 * DAY) == {}


def test_budgets_that_nobody_shares_are_not_told(judged):
    assert [one.account.severity for one in standings(judged)] == ["page"]


def test_as_plain_values(judged):
    write_looks(judged, 40 * DAY, "page", "removed", looks=2, level=10.0)
    found = to_json(standing(judged))
    assert found["fired"] == {"pairs": 1, "sla": 1}
    assert found["rules"]["pairs"] == {
        "subjects": 3,
        "level": 90.0,
        "promised": pytest.approx(1),
        "tried": False,
        "looks": 90,
        "spent": pytest.approx(1),
    }
    assert (found["rules"]["new"]["tried"], found["rules"]["new"]["level"]) == (True, 120.0)
    assert (found["rules"]["removed"]["level"], found["rules"]["removed"]["spent"]) == (None, 0.2)
