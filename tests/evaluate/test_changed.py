"""What changed is found and ranked first; quiet periods of days that differ are left alone."""

import numpy as np
import pytest
from scipy import stats

from birdwatch.detect.reference import Block, Reference
from birdwatch.evaluate.cause import what_happened
from birdwatch.evaluate.changed import changed
from birdwatch.evaluate.periods import Period, gather, like, read_against, read_period
from birdwatch.stats.grid import bins_of, midpoints
from birdwatch.stats.unusual import strangeness, tail
from birdwatch.windows.pane import COUNTERS, PRESENCE, Counts, Series, merge
from birdwatch.windows.store import Store

DAY = 86_400
MODELS = ("canary", "challenger", "champion")
INPUTS = ("age", "balance", "income")


def day(rng, n, wrong, draw):
    """Count a day of a fleet: each has a mood of its own, which moves whatever is measured by a part of its spread."""
    n = int(n * np.exp(0.1 * draw()) * wrong.get("volume", 1))
    world = draw()
    pane = {Series("counts"): Counts.of([COUNTERS.index("requests")], [n])}
    for name in INPUTS:
        x = rng.normal(0.1 * draw() + wrong.get(name, 0.0), 1, n)
        pane[Series(f"feature.{name}")] = Counts.of(bins_of(x))
        gone = rng.binomial(n, wrong.get(f"missing {name}", 0.01 * np.exp(0.2 * draw())))
        pane[Series(f"missing.{name}")] = Counts.of(
            [PRESENCE.index("missing"), PRESENCE.index("present")], [gone, n - gone]
        )
    latent = rng.normal(0.15 * world, 1, n)
    scores = {}
    for name in MODELS:
        z = latent + rng.normal(0.02 * draw(), 0.3, n) + wrong.get(name, 0.0)
        scores[name] = 1 / (1 + np.exp(-z))
        failed = rng.binomial(n, min(wrong.get(f"errors {name}", 0.01 * np.exp(0.2 * draw())), 1.0))
        pane[Series("counts", name, "1")] = Counts.of([COUNTERS.index("events"), COUNTERS.index("errors")], [n, failed])
        pane[Series("score", name, "1")] = Counts.of(bins_of(scores[name], "probability"))
        seconds = np.exp(rng.normal(0.1 * draw() + wrong.get(f"latency {name}", 0.0), 0.5, n))
        pane[Series("latency.model", name, "1")] = Counts.of(bins_of(seconds))
    for name, partner in (("challenger", "champion"), ("champion", "canary")):
        difference = scores[name] - scores[partner]
        pane[Series("difference", name, "1", partner)] = Counts.of(bins_of(difference))
    return pane


def days(seed, *, of=29, n=1000, wrong=None, heavy=False):
    """Count days, on the last of which something may be wrong."""
    rng = np.random.default_rng(seed)
    draw = (lambda: rng.standard_t(4)) if heavy else rng.standard_normal
    return {i * DAY: day(rng, n, (wrong or {}) if i == of - 1 else {}, draw) for i in range(of)}


def judge(blocks, **more):
    return changed(blocks, max(blocks), DAY, **more)


def moved(found):
    table = found.table[found.table["changed"].isin([True])]
    return [f"{what}: {of}" for what, of in zip(table["what"], table["of"], strict=True)]


def test_an_input_that_shifted_is_ranked_first_and_nothing_else_is_called_changed():
    found = judge(days(1, wrong={"income": 1.0}))
    assert moved(found) == ["input: income"]
    (said,) = what_happened(found)
    assert said.startswith("Inputs changed (income")
    assert "the scores of no model moved" in said


def test_a_model_that_shifted_is_ranked_first_and_named_alone():
    found = judge(days(2, wrong={"challenger": 1.0}))
    assert set(moved(found)) == {"scores: challenger", "difference: challenger against champion"}
    assert found.table["changed"].iloc[:2].tolist() == [True, True]
    (said,) = what_happened(found)
    assert said.startswith("The model changed: challenger against champion")


def test_models_that_move_together_with_an_input_are_put_down_to_the_inputs():
    together = dict.fromkeys(MODELS, 1.0)
    found = judge(days(3, wrong={**together, "age": 1.5}))
    assert set(moved(found)) == {"input: age", *(f"scores: {name}" for name in MODELS)}
    (said,) = what_happened(found)
    assert said.startswith("Inputs changed: the scores of")
    assert "age" in said
    assert "moved together" in said


@pytest.mark.parametrize(
    ("wrong", "what", "word"),
    [
        ({"volume": 0.2}, "requests: the fleet", "Volume changed"),
        ({"missing age": 0.4}, "missing input: age", "Inputs changed (age"),
        ({"errors champion": 0.3}, "errors: champion", "Errors changed: champion"),
        ({"latency canary": 1.0}, "time in the model: canary", "Time in the model changed: canary"),
    ],
)
def test_what_else_can_change_is_found_alone(wrong, what, word):
    found = judge(days(4, wrong=wrong))
    assert moved(found) == [what]
    assert any(said.startswith(word) for said in what_happened(found))


def test_a_thin_day_does_not_make_distributions_look_changed():
    """Of a fiftieth of the events all distances are larger, by chance alone."""
    found = judge(days(5, n=5000, wrong={"volume": 0.02}))
    assert moved(found) == ["requests: the fleet"]


@pytest.mark.parametrize(("heavy", "runs", "most"), [(False, 200, 18), (True, 60, 12)])
def test_of_quiet_periods_no_more_than_promised_have_anything_called_changed(heavy, runs, most):
    """5 % of 200 are 10, and 18 are the .99 quantile; days with much heavier tails than normal may have twice as many."""
    called = sum(bool(moved(judge(days(seed, n=500, heavy=heavy)))) for seed in range(runs))
    assert called <= most


def test_a_usual_test_would_call_most_quiet_days_changed():
    """What the days' own differences are for: by events alone, the scores of most days are not those of the others."""
    found = [judge(days(seed, n=4000)).table.set_index(["what", "of"]).loc[("scores", "champion")] for seed in range(8)]
    assert sum(row["effect"] > row["chance"] for row in found) >= 6


def test_effects_are_those_of_the_events_themselves():
    blocks = days(6, n=400, wrong={"income": 0.5})
    row = judge(blocks).table.set_index(["what", "of"]).loc[("input", "income")]
    now, *before = (
        np.repeat(midpoints(c.bins), c.counts)
        for c in (blocks[at][Series("feature.income")] for at in sorted(blocks, reverse=True))
    )
    rest = np.concatenate(before)
    assert row["effect"] == pytest.approx(stats.ks_2samp(now, rest).statistic)
    assert row["wasserstein"] == pytest.approx(stats.wasserstein_distance(now, rest))
    assert (row["n"], row["m"]) == (now.size, rest.size)
    assert row["chance"] == pytest.approx(stats.kstwobign.ppf(0.95) * np.sqrt(1 / now.size + 1 / rest.size))


def test_q_is_that_of_benjamini_and_hochberg():
    table = judge(days(7)).table
    assert table["q"].to_numpy() == pytest.approx(stats.false_discovery_control(table["p"]))


def test_strangeness_is_the_externally_studentised_residual():
    x = np.random.default_rng(8).normal(size=12)
    by_hand = [
        (x[i] - rest.mean()) / (rest.std(ddof=1) * np.sqrt(1 + 1 / 11)) for i in range(12) for rest in [np.delete(x, i)]
    ]
    assert strangeness(x, 1e-9) == pytest.approx(by_hand)
    assert tail(by_hand, 11) == pytest.approx(stats.t(10).sf(by_hand))


def test_with_too_few_other_days_nothing_is_called_changed_and_it_is_said():
    found = judge(days(9, of=8, wrong={"income": 3.0}))
    assert found.table["changed"].isna().all()
    assert (found.table["what"].iloc[0], found.table["of"].iloc[0]) == ("input", "income")
    assert what_happened(found)[0].startswith("Nobody can know what changed: there are 7 other days")


def test_nothing_in_the_period_and_nothing_beside_it_are_said():
    blocks = days(10, of=3)
    with pytest.raises(ValueError, match="nothing was counted in the period"):
        changed({**blocks, 3 * DAY: {}}, 3 * DAY, DAY)
    with pytest.raises(ValueError, match="nothing to compare"):
        changed({0: blocks[0]}, 0, DAY)


def test_the_order_of_blocks_does_not_matter():
    blocks = days(11, of=12)
    again = dict(sorted(blocks.items(), reverse=True))
    assert judge(blocks).table.equals(judge(again).table)


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        (None, 9 * DAY + 3600, 10 * DAY + 3600),
        ("1970-01-05", 4 * DAY + 3600, 5 * DAY + 3600),
        ("1970-01-05..1970-01-08", 4 * DAY + 3600, 7 * DAY + 3600),
        ("1970-01-05T02:00..1970-01-05T04:00", 4 * DAY + 7200, 4 * DAY + 14_400),
        ("6h", 10 * DAY - 14_400, 10 * DAY + 7200),
    ],
)
def test_periods_are_read_as_people_write_them(text, since, until):
    assert read_period(text, (0, 10 * DAY + 7200), starts_at=3600) == Period(since, until)


@pytest.mark.parametrize("text", ["yesterday", "1970-01-05T02:00", "1970-01-05..1970-01-05", "1970-01-05..", "1x"])
def test_what_is_no_period_is_refused(text):
    with pytest.raises(ValueError, match=r"is no|is empty"):
        read_period(text, (0, 10 * DAY))


def test_a_few_hours_are_compared_with_the_same_hours_of_other_days():
    period = Period(10 * DAY, 10 * DAY + 6 * 3600)
    assert like(read_against("3d", period), period) == [7 * DAY, 8 * DAY, 9 * DAY]
    assert like(Period(9 * DAY, 12 * DAY), period) == [9 * DAY, 11 * DAY]


def test_weeks_are_compared_with_weeks():
    period = Period(70 * DAY, 77 * DAY)
    against = read_against(None, period)
    assert [start // DAY for start in like(against, period)][-2:] == [56, 63]
    assert against == Period((70 - 28 * 7) * DAY, 70 * DAY)


def test_references_stand_in_where_the_store_does_not_reach_and_nothing_counts_twice(tmp_path):
    blocks = days(12, of=6, n=100)
    store = Store(tmp_path / "s.db", pane_seconds=DAY)
    for start in (4 * DAY, 5 * DAY):
        store.put(start, blocks[start])
    frozen = tuple(Block(start, blocks[start]) for start in range(0, 5 * DAY, DAY))
    reference = Reference("before", 0, 5 * DAY, DAY, frozen)
    found = gather(store, Period(5 * DAY, 6 * DAY), Period(0, 5 * DAY), [reference, reference])
    assert sorted(found) == [i * DAY for i in range(6)]
    for start, pane in found.items():
        expected = merge([blocks[start]])
        assert {s: c.counts.tolist() for s, c in pane.items()} == {s: c.counts.tolist() for s, c in expected.items()}
