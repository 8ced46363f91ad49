"""Scores against the frozen reference of their rule: distances that scipy finds, and no window that judges itself."""

import numpy as np
import pytest
from scipy import stats

from birdwatch.detect.against import frozen_distance_table, frozen_scores, rule_with_frozen
from birdwatch.detect.distribution import DistributionRule
from birdwatch.detect.frozen import save
from birdwatch.detect.rules import RuleSet
from birdwatch.detect.sourcing import References, freeze
from birdwatch.detect.sums import WindowSums
from birdwatch.errors import ReferenceMissingError
from birdwatch.stats.grid import bins_of
from birdwatch.stats.quantiles import size
from birdwatch.windows.pane import Counts, Series
from birdwatch.windows.store import Store
from birdwatch.windows.tables import Span

HOUR = 3_600
DAY = 24 * HOUR
FROZEN = 10
DAYS = 14


@pytest.fixture(scope="module")
def drawn():
    """Scores by hour: ten days that are frozen, then four, the last of which lies higher."""
    rng = np.random.default_rng(3)
    return [rng.beta(2, 8 if hour < (DAYS - 1) * 24 else 4, 40) for hour in range(DAYS * 24)]


@pytest.fixture(scope="module")
def store(tmp_path_factory, drawn):
    store = Store(tmp_path_factory.mktemp("against") / "store.db", pane_seconds=HOUR)
    with store.transaction():
        for hour, scores in enumerate(drawn):
            pane = {
                Series("score", "m", "1"): Counts.of(bins_of(scores, "probability")),
                Series("score", "m", "1", "", "site=a"): Counts.of(bins_of(scores[:20], "probability")),
                Series("counts", "m", "1"): Counts.of([1], [scores.size]),
            }
            store.put(hour * HOUR, pane)
    yield store
    store.close()


def rule(**given):
    return DistributionRule(name="scores", reference={"frozen": "march.json", **given.pop("reference", {})}, **given)


@pytest.fixture
def references(store, tmp_path):
    """Give what rules of this folder compare with; blocks of a day unless told otherwise."""

    def made(one, block=DAY, **named):
        document = freeze(store, 0, FROZEN * DAY, block, name="march", rules=[one], **named)
        save(document, tmp_path / "march.json")
        return References(WindowSums(store), RuleSet((one,), folder=tmp_path), [], "probability")

    return made


def table(store, one, found, since=FROZEN, until=DAYS, **named):
    span = Span(since * DAY, until * DAY, HOUR)
    return frozen_distance_table(store, span, one, found, "m", **named)


def test_distances_are_those_of_the_scores_themselves_within_what_the_grid_leaves(store, references, drawn):
    one = rule()
    frozen = np.concatenate(drawn[: FROZEN * 24])
    rows = table(store, one, references(one)).set_index("statistic")
    for day in range(FROZEN, DAYS):
        scores = np.concatenate(drawn[day * 24 : day * 24 + 24])
        ks, w1 = (rows.loc[name].iloc[day - FROZEN] for name in ("ks", "w1"))
        assert ks["value"] <= stats.ks_2samp(scores, frozen).statistic <= ks["value"] + ks["error"] + 1e-9
        assert abs(stats.wasserstein_distance(scores, frozen) - w1["value"]) <= w1["error"]
        assert ks["n"] == scores.size
    assert (rows.groupby("statistic")["value"].last() > 3 * rows.groupby("statistic")["chance"].last()).all()
    assert set(rows["against"]) == {"march"}


def test_the_tolerance_is_the_rules_own_and_of_its_distance_alone(store, references):
    learned, given = rule(), rule(tolerance=0.1)
    rows = table(store, learned, references(learned)).set_index("statistic")["tolerance"]
    assert (rows["ks"] >= learned.floor).all()
    assert rows[["psi", "w1"]].isna().all()
    assert set(table(store, given, references(given)).set_index("statistic")["tolerance"]["ks"]) == {0.1}


def test_windows_that_are_part_of_the_reference_are_left_out(store, references):
    one = rule()
    days = table(store, one, references(one), since=FROZEN - 3)["time"].dt.day.unique()
    assert days.tolist() == [11, 12, 13, 14]
    with pytest.raises(ReferenceMissingError, match="overlaps the window"):
        table(store, one, references(one), since=FROZEN - 3, until=FROZEN)


def test_short_ranges_show_the_last_window_that_was_over(store, references):
    one = rule()
    span = Span(12 * DAY + 20 * HOUR, 13 * DAY + 2 * HOUR, HOUR)
    found = frozen_distance_table(store, span, one, references(one), "m")
    assert found["n"].tolist() == [960, 960, 960]
    assert found["time"].dt.day.unique().tolist() == [13]


def test_hours_of_the_day_are_compared_among_themselves_and_by_the_day_all_together(store, references, drawn):
    one = rule(window=HOUR, reference={"by": "hour of day"})
    found = references(one, HOUR)
    hours = frozen_distance_table(store, Span(12 * DAY, 12 * DAY + 6 * HOUR, HOUR), one, found, "m")
    ks = hours[hours["statistic"] == "ks"]
    at_three = np.concatenate(drawn[3 : FROZEN * 24 : 24])
    exact = stats.ks_2samp(drawn[12 * 24 + 3], at_three).statistic
    assert ks["value"].iloc[3] <= exact <= ks["value"].iloc[3] + ks["error"].iloc[3] + 1e-9
    days = table(store, one, found)
    assert days["n"].unique().tolist() == [960]
    assert days["against"].unique().tolist() == ["march"]


def test_a_segment_is_compared_with_itself(store, references):
    one = rule()
    assert table(store, one, references(one), segment="site=a")["n"].unique().tolist() == [480]
    with pytest.raises(ReferenceMissingError, match="holds no scores of m in site=a: freeze it again"):
        table(store, one, references(one, lean=True), segment="site=a")


def test_the_whole_distribution_is_that_of_all_blocks(store, references):
    one = rule(window=HOUR, reference={"by": "hour of day"})
    found, scores = frozen_scores(one, references(one, HOUR), FROZEN * DAY, "m")
    assert (found.name, size(scores)) == ("march", FROZEN * 24 * 40)
    with pytest.raises(
        ReferenceMissingError, match=r"march ends at 1970-01-11 00:00, and the range begins before that"
    ):
        frozen_scores(one, references(one, HOUR), (FROZEN - 1) * DAY, "m")


def test_only_rules_on_scores_that_compare_with_what_is_frozen_are_asked():
    frozen, trailing = rule(model="m*"), DistributionRule(name="trails")
    inputs = DistributionRule(name="inputs", of="features", reference={"frozen": "x.json"})
    rules = RuleSet((inputs, trailing, frozen))
    assert rule_with_frozen(rules, "m") is frozen
    assert rule_with_frozen(rules, "other") is None
    assert rule_with_frozen(rules, "other", given=True) is trailing
