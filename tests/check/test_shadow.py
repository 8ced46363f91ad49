"""A shadow passes when it agrees with the champion request by request, fails when it does not, and is never waved through."""

import json
import math
from contextlib import closing

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from birdwatch.check.report import Exit
from birdwatch.check.shadow import check_shadow
from birdwatch.cli.main import app
from birdwatch.config import Settings
from birdwatch.content import content
from birdwatch.detect.rules import load_rules
from birdwatch.errors import SettingsError
from birdwatch.windows.pane import Series, merge
from birdwatch.windows.store import Store

from ..detect.scenes import counted, scores_pane  # noqa: TID252

HOUR = 3_600
RULES = load_rules(content("detectors"))
ALPHA = 0.001


def logistic(x):
    return 1 / (1 + np.exp(-x))


def two(rng, n, *, correlation=0.9, shift=0.0):
    """Scores of a champion, and of a shadow with the same distribution and fresh noise; a shift is in standard deviations."""
    x = rng.normal(size=n)
    y = correlation * x + math.sqrt(1 - correlation**2) * rng.normal(size=n) + shift
    return {"champion": logistic(x), "challenger": logistic(y)}


class Memory:
    """A store of panes that were counted elsewhere, as far as a check reads it."""

    pane_seconds = HOUR

    def __init__(self, panes):
        self.panes = panes
        self.connection = self

    def closed_range(self):
        return (0, len(self.panes) * HOUR) if self.panes else None

    def pane(self, since, until):
        return merge(self.panes[since // HOUR : until // HOUR])

    def rows(self, since, until, *, measure, model, segment):
        for i, pane in enumerate(self.panes[since // HOUR : until // HOUR]):
            for series, counts in pane.items():
                if (series.measure, series.model, series.segment) == (measure, model, segment):
                    yield since + i * HOUR, series, counts

    def controls(self):
        return []

    def extremes(self, *_):
        return []

    def execute(self, *_):
        return [(model,) for model in dict.fromkeys(s.model for pane in self.panes for s in pane)]


def judged(panes, **how):
    return check_shadow(Memory(panes), "champion", "challenger", RULES, Settings(), alpha=ALPHA, **how)


def test_healthy_shadows_hardly_ever_fail_however_often_they_are_looked_at():
    rng = np.random.default_rng(20)
    failed = 0
    for _ in range(1_000):
        panes = [scores_pane(two(rng, 300)) for _ in range(2)]
        answers = {judged(panes[:looks]).exit for looks in (1, 2)}
        failed += Exit.FAIL in answers
    assert failed <= 4


def test_a_paired_shift_of_a_tenth_of_a_standard_deviation_fails_at_ten_thousand_requests():
    rng = np.random.default_rng(21)
    found = [judged([scores_pane(two(rng, 10_000, shift=0.1))]) for _ in range(20)]
    assert [report.exit for report in found] == [Exit.FAIL] * 20
    assert "the scores of challenger 1 and champion differ by +0.0" in found[0].reason


def test_a_rule_of_a_plug_in_says_that_it_is_not_asked(tmp_path):
    (tmp_path / "steady.py").write_text(
        "from typing import Literal\nfrom birdwatch.detect.kind import Rule\n\n\n"
        "class Steady(Rule):\n    kind: Literal['steady'] = 'steady'\n"
    )
    text = "rules:\n  - {name: pairs, kind: paired}\n  - {name: mine, kind: steady%s}\n"
    memory = Memory([scores_pane(two(np.random.default_rng(22), 10_000))])
    for more, answer in (("", Exit.PASS), (", must_have_data: true", Exit.INCONCLUSIVE), (", muted: true", Exit.PASS)):
        (tmp_path / "rules.yaml").write_text(text % more)
        found = check_shadow(memory, "champion", "challenger", load_rules(tmp_path), Settings())
        assert found.exit is answer
        assert ("the rule mine must have data" in found.reason) == ("must_have" in more)
        said = [(v.status, v.reason) for v in found.verdicts if v.rule == "mine"]
        assert [status for status, _ in said] == ([] if "muted" in more else ["no data"])
        assert all("steady is a plug-in's kind" in reason for _, reason in said)


def test_a_shift_within_the_tolerance_passes():
    rng = np.random.default_rng(22)
    assert judged([scores_pane(two(rng, 10_000, shift=0.01))]).exit is Exit.PASS


def test_the_mean_difference_is_told_with_a_band_around_it():
    rng = np.random.default_rng(40)
    missed = 0
    for _ in range(50):
        scores = two(rng, 2_000, shift=0.2)
        pairs = next(v for v in judged([scores_pane(scores)]).verdicts if v.rule == "pairs")
        low, high = pairs.details["between"]
        d = scores["challenger"] - scores["champion"]
        # Wider than what is good for one look, and not by an order of magnitude.
        assert 3.29 * d.std() / math.sqrt(d.size) < (high - low) / 2 < 0.05
        missed += not low < 0.04124 < high  # E d of this shift, by quadrature
    assert missed == 0


def test_a_wider_shadow_fails_though_its_mean_is_the_same():
    rng = np.random.default_rng(23)
    x = rng.normal(size=20_000)
    wide = {"champion": logistic(x), "challenger": logistic(1.6 * x)}
    found = judged([scores_pane(wide)])
    assert found.exit is Exit.FAIL
    assert "above" in found.reason


def test_scores_without_bounds_are_held_against_the_spread_of_the_champion():
    settings = Settings(scale="real")
    rng = np.random.default_rng(24)
    for shift, answer in ((0.0, Exit.PASS), (0.1, Exit.FAIL)):
        x = rng.normal(size=10_000)
        scores = {"champion": 2 * x, "challenger": 2 * (0.9 * x + math.sqrt(0.19) * rng.normal(size=x.size) + shift)}
        memory = Memory([scores_pane(scores, scale="real")])
        found = check_shadow(memory, "champion", "challenger", RULES, settings, alpha=ALPHA)
        assert found.exit is answer, found.reason


def test_twenty_requests_are_too_few():
    found = judged([scores_pane(two(np.random.default_rng(25), 20))])
    assert found.exit is Exit.INCONCLUSIVE
    assert "there are 20 events, fewer than" in found.reason


def test_nothing_counted_is_inconclusive():
    found = judged([])
    assert (found.exit, found.reason) == (Exit.INCONCLUSIVE, "the champion is missing: no score of champion")


def test_a_shadow_that_was_never_there_is_inconclusive_and_those_that_were_are_named():
    pane = {s: c for s, c in scores_pane(two(np.random.default_rng(26), 500)).items() if s.model != "challenger"}
    found = judged([pane])
    assert found.exit is Exit.INCONCLUSIVE
    assert found.reason == "the shadow is missing: no score of challenger; there are scores of champion"


def test_a_shadow_that_is_silent_on_some_requests_fails():
    rng = np.random.default_rng(27)
    pane = scores_pane(two(rng, 1_000))
    pane[Series("counts", "champion", "1")] = counted(events=1_100)
    found = judged([pane])
    assert found.exit is Exit.FAIL
    assert "100 of 1,100 (9.09%) of champion have no score of challenger" in found.reason
    assert judged([pane], most_missing=1.0).exit is Exit.PASS


def test_what_came_before_the_shadow_began_is_not_missing():
    rng = np.random.default_rng(28)
    alone = scores_pane({"champion": logistic(rng.normal(size=5_000))})
    midst = scores_pane(two(rng, 100)) | {Series("counts", "champion", "1"): counted(events=500)}
    assert judged([alone, midst, scores_pane(two(rng, 500))]).exit is Exit.PASS


def test_a_shadow_that_stopped_fails():
    rng = np.random.default_rng(29)
    alone = scores_pane({"champion": logistic(rng.normal(size=500))})
    found = judged([scores_pane(two(rng, 500)), alone])
    assert found.exit is Exit.FAIL
    assert "500 of 1,000" in found.reason


def test_a_shadow_that_errs_fails():
    pane = scores_pane(two(np.random.default_rng(30), 1_000))
    pane[Series("counts", "challenger", "1")] = counted(events=1_000, errors=100)
    found = judged([pane])
    assert found.exit is Exit.FAIL
    assert "100 of 1,000 (10.00%) scores of challenger 1 were errors" in found.reason


@pytest.mark.parametrize(("shift", "answer"), [(0.0, Exit.PASS), (0.5, Exit.FAIL)])
def test_where_no_request_is_scored_by_both_the_distributions_are_compared(shift, answer):
    rng = np.random.default_rng(31)
    halves = [two(rng, 20_000, shift=shift), two(rng, 20_000, shift=shift)]
    apart = scores_pane({"champion": halves[0]["champion"]}) | {
        s: c for s, c in scores_pane({"challenger": halves[1]["challenger"]}).items() if s.measure != "pair"
    }
    found = judged([apart])
    assert found.exit is answer, found.reason
    assert found.compared.endswith("not by request")


def test_panes_before_the_given_moment_are_left_out():
    rng = np.random.default_rng(32)
    panes = [scores_pane(two(rng, 2_000, shift=1.0)), scores_pane(two(rng, 2_000))]
    assert judged(panes).exit is Exit.FAIL
    assert judged(panes, since=1.0).exit is Exit.PASS
    assert judged(panes, since=3 * HOUR).exit is Exit.INCONCLUSIVE


def test_a_rule_that_must_have_data_does_not_pass_without():
    latency = next(rule for rule in RULES.rules if rule.name == "model-latency")
    rules = RULES._replace(rules=(*RULES.rules, latency.model_copy(update={"name": "quick", "must_have_data": True})))
    pane = scores_pane(two(np.random.default_rng(33), 1_000))
    found = check_shadow(Memory([pane]), "champion", "challenger", rules, Settings())
    assert found.exit is Exit.INCONCLUSIVE
    assert "the rule quick must have data" in found.reason


def frame(scores, model, start=0):
    n = scores.size
    ts = 1.7e9 + np.arange(n)
    ids = [f"r{i}" for i in range(start, start + n)]
    return pd.DataFrame({"id": ids, "when": ts, "model": model, "p": scores})


@pytest.fixture
def run(tmp_path):
    fields = {"request_id": "id", "request_ts": "when", "model": "model", "score": "p"}
    said = {"mappings": {"scores": {"fields": fields, "constants": {"version": "1"}}}, "pane_seconds": HOUR}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(said))

    def go(*more):
        return CliRunner().invoke(app, ["check", *map(str, more), "--settings", str(tmp_path / "settings.yaml")])

    return go


@pytest.mark.parametrize(("shift", "code"), [(0.0, 0), (0.3, 1)])
def test_two_files_are_compared_by_request(run, tmp_path, shift, code):
    scores = two(np.random.default_rng(34), 2_000, shift=shift)
    frame(scores["champion"], "old").to_parquet(tmp_path / "a.v1.parquet")
    frame(scores["challenger"], "new").sample(frac=1, random_state=1).to_csv(tmp_path / "b.csv", index=False)
    found = run("--champion", tmp_path / "a.v1.parquet", "--shadow", tmp_path / "b.csv", "--json")
    assert found.exit_code == code, found.output
    pairs = next(v for v in json.loads(found.stdout)["verdicts"] if v["rule"] == "pairs")
    assert (pairs["n"], pairs["subject"]["model"], pairs["subject"]["partner"]) == (2_000, "shadow", "champion")


def test_a_file_whose_name_does_not_tell_how_to_read_it_is_refused_by_name(run, tmp_path):
    (tmp_path / "scores").write_text("id,when,p\n")
    for given in (["--champion", tmp_path / "scores", "--shadow", tmp_path / "scores"], [tmp_path / "scores"]):
        found = run(*given, *([] if len(given) > 1 else ["--champion", "a", "--shadow", "b"]))
        assert isinstance(found.exception, SettingsError), found.output
        assert f"{tmp_path / 'scores'} has none of the endings" in str(found.exception)


def test_one_file_holds_both_models_under_their_names(run, tmp_path):
    scores = two(np.random.default_rng(35), 2_000, shift=0.3)
    both = pd.concat([frame(scores["champion"], "old"), frame(scores["challenger"], "new")])
    both.sort_values("when", kind="stable").to_csv(tmp_path / "both.of.may.csv", index=False)
    found = run(tmp_path / "both.of.may.csv", "--champion", "old", "--shadow", "new")
    assert found.exit_code == 1, found.output
    assert "the scores of new 1 and old differ by +0.0" in " ".join(found.output.split())
    dry = run(tmp_path / "both.of.may.csv", "--champion", "old", "--shadow", "new", "--dry-run")
    assert dry.exit_code == 0
    assert "FAIL" in dry.output


def test_a_store_that_a_tail_has_filled_needs_no_counting(run, tmp_path):
    with closing(Store(tmp_path / "s.db", pane_seconds=HOUR)) as store:
        store.put(0, scores_pane(two(np.random.default_rng(36), 1_000)))
    found = run("--store", tmp_path / "s.db", "--champion", "champion", "--shadow", "challenger")
    assert found.exit_code == 0, found.output


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "say what is compared"),
        (["--champion", "a"], "say what is compared"),
        (["--reference", "a"], "give --reference and --current, both"),
        (["--reference", "a", "--current", "b", "--shadow", "c"], "each is a check of its own"),
        (["x", "--store", "s", "--champion", "a", "--shadow", "b"], "give DATA or --store"),
        (["x", "--champion", "a", "--shadow", "b", "--since", "soon"], "is no moment"),
        (["x", "--champion", "a", "--shadow", "b"], "there is nothing at x"),
        (["--champion", "a", "--shadow", "b"], "there is no file b"),
        (["x", "--champion", "a", "--shadow", "b", "--report", "pdf"], "there is no format 'pdf'"),
    ],
)
def test_misuse_is_named(run, given, told):
    found = run(*given)
    assert isinstance(found.exception, SettingsError), found.output
    assert told in str(found.exception)
