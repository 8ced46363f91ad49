import pytest

from birdwatch.detect.budget import Budget, Watch
from birdwatch.detect.spending import (
    account,
    create_table,
    put_spending,
    read_spending,
    write_looks,
)
from birdwatch.windows.store import Store

DAY = 86_400
NOW = Budget().spend([Watch("pairs", 3, DAY), Watch("sla", 1, 3600)])


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store.db", pane_seconds=3600)
    yield store
    store.close()


@pytest.fixture
def ledger(store):
    create_table(store)
    put_spending(store, {"page": NOW, "ticket": Budget().spend([])})
    return store


def test_a_store_without_a_judge_has_no_account(store):
    assert account(store) is None
    assert read_spending(store) == {}


def test_the_levels_are_kept_as_they_were_set(ledger):
    assert read_spending(ledger)["page"] == NOW


def test_a_judge_that_has_not_looked_yet_has_spent_nothing(ledger):
    assert account(ledger) is None
    found = account(ledger, until=DAY)
    assert (found.expected, found.left, found.spent) == (0, 1, {})


def test_looks_are_added_up_by_rule_at_the_levels_they_were_made_at(ledger):
    for hour in range(24):
        write_looks(ledger, (hour + 1) * 3600, "page", "sla", looks=1, level=810.0)
    write_looks(ledger, DAY, "page", "pairs", looks=3, level=90.0)
    write_looks(ledger, 2 * DAY, "page", "pairs", looks=2, level=60.0)
    found = account(ledger)
    assert found.spent["sla"] == (24, pytest.approx(24 / 810))
    assert found.spent["pairs"] == (5, pytest.approx(3 / 90 + 2 / 60))
    assert found.expected == pytest.approx(24 / 810 + 3 / 90 + 2 / 60)
    assert found.left == pytest.approx(1 - found.expected)


def test_a_window_counts_on_the_day_on_which_it_ends_and_midnight_ends_a_day(ledger):
    write_looks(ledger, DAY, "page", "pairs", looks=1, level=10.0)
    write_looks(ledger, DAY + 1, "page", "pairs", looks=1, level=10.0)
    assert account(ledger, until=DAY).spent["pairs"].looks == 1
    assert account(ledger, until=DAY + 1).spent["pairs"].looks == 2


def test_what_is_older_than_the_budgets_time_is_forgiven(ledger):
    for day in range(40):
        write_looks(ledger, (day + 1) * DAY, "page", "pairs", looks=3, level=90.0)
    found = account(ledger)
    assert (found.since, found.until, found.spent["pairs"].looks) == (10 * DAY, 40 * DAY, 90)
    assert found.expected == pytest.approx(1)
    assert found.left == pytest.approx(0)


def test_severities_have_accounts_of_their_own(ledger):
    write_looks(ledger, DAY, "ticket", "shapes", looks=3, level=3.0)
    assert account(ledger).spent == {}
    assert account(ledger, "ticket").expected == 1
    assert account(ledger, "ticket").left == 0


def test_a_rule_that_is_gone_keeps_what_it_spent(ledger):
    write_looks(ledger, DAY, "page", "removed", looks=1, level=2.0)
    assert account(ledger).expected == 0.5


def test_the_ledger_is_kept_with_the_transaction_or_not_at_all(ledger):
    def fail():
        with ledger.transaction():
            write_looks(ledger, DAY, "page", "pairs", looks=1, level=2.0)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert account(ledger, until=DAY).expected == 0
