"""What was in order of a mean difference, by the verdicts themselves."""

import pandas as pd
import pytest

from birdwatch.detect.usual import usual_table
from birdwatch.detect.verdict import Subject, Verdict, create_table, put_verdicts
from birdwatch.windows.store import Store

HOUR = 3_600


def verdict(hour, *, usual=0.01, tolerance=0.02, statistic="mean", kind="paired", partner="canary"):
    return Verdict(
        rule="pairs",
        kind=kind,
        start=hour * HOUR,
        end=(hour + 1) * HOUR,
        subject=Subject("champion", "1", partner),
        status="ok",
        reason="",
        statistic=statistic,
        value=0.0,
        tolerance=tolerance,
        details={"usual_mean": usual} if usual is not None else {},
    )


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store.db", pane_seconds=HOUR)
    create_table(store)
    yield store
    store.close()


def put(store, *verdicts):
    with store.transaction():
        put_verdicts(store, verdicts)


def test_windows_judged_by_the_same_numbers_are_one_stretch(store):
    put(store, *(verdict(hour, usual=0.01 if hour < 3 else 0.03) for hour in range(5)))
    table = usual_table(store, 0, 5 * HOUR, "champion", "canary")
    assert table[["low", "usual", "high"]].round(6).to_numpy().tolist() == [[-0.01, 0.01, 0.03], [0.01, 0.03, 0.05]]
    assert table["time"].tolist() == [pd.Timestamp(hour * HOUR, unit="s", tz="UTC") for hour in (0, 3)]
    assert table["to"].tolist() == [pd.Timestamp(hour * HOUR, unit="s", tz="UTC") for hour in (3, 5)]


@pytest.mark.parametrize(
    "other",
    [
        {"statistic": "crossed"},
        {"kind": "disagreement"},
        {"partner": "champion"},
        {"usual": None},
        {"tolerance": None},
    ],
)
def test_verdicts_on_something_else_say_nothing_of_the_mean(store, other):
    put(store, verdict(0, **other))
    assert usual_table(store, 0, HOUR, "champion", "canary").empty


def test_windows_beyond_the_time_are_not_asked(store):
    put(store, verdict(0), verdict(9))
    assert len(usual_table(store, 0, HOUR, "champion", "canary")) == 1
    assert usual_table(store, HOUR, 9 * HOUR, "champion", "canary").empty


def test_a_store_that_nobody_judged_has_none(tmp_path):
    store = Store(tmp_path / "new.db", pane_seconds=HOUR)
    assert usual_table(store, 0, HOUR, "champion", "canary").empty
    store.close()
