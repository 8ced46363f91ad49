"""The gate says pass, fail or inconclusive, and never passes what it could not see."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from birdwatch.cli.main import app

DAY = 86_400
RULES = {
    "rules": [
        {"name": "drift", "kind": "distribution", "window": "1d", "reference": {"trailing": "28d"}, "min_events": 100},
        {"name": "pairs", "kind": "paired", "window": "1d", "reference": {"trailing": "28d"}, "min_events": 100},
        {"name": "apart", "kind": "disagreement", "window": "1h", "reference": {"trailing": "28d"}, "min_events": 50},
        {"name": "errors", "kind": "rate", "of": "errors", "tolerance": 0.01},
    ]
}
SETTINGS = {
    "pane_seconds": 3600,
    "mappings": {
        "scores": {
            "fields": {"request_id": "trace", "request_ts": "when", "model": "model", "score": "p"},
            "constants": {"version": "1"},
        }
    },
}


def frame(days, *, start=0, shift=0.0, seed=1, models=("m",), rows=300):
    """Scores of some models for the same requests, under other people's names."""
    rng = np.random.default_rng(seed)
    n = days * rows
    when = np.sort(rng.uniform(start * DAY, (start + days) * DAY, n)) + 1_700_006_400
    base = rng.normal(0, 1, n)
    parts = [
        pd.DataFrame(
            {
                "trace": [f"{start}-{i}" for i in range(n)],
                "when": when,
                "model": model,
                "p": 1 / (1 + np.exp(-(base + rng.normal(0, 0.1, n) + (shift if k == 0 else 0)))),
            }
        )
        for k, model in enumerate(models)
    ]
    return pd.concat(parts).sort_values("when", kind="stable")


@pytest.fixture
def run(tmp_path):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/rules.yaml").write_text(yaml.safe_dump(RULES))
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump({**SETTINGS, "rules": str(tmp_path / "rules")}))

    def go(reference, current, *more):
        given = [
            "--reference",
            str(reference),
            "--current",
            str(current),
            "--settings",
            str(tmp_path / "settings.yaml"),
        ]
        return CliRunner().invoke(app, ["check", *given, *more])

    return go


def save(data, path):
    getattr(data, {"csv": "to_csv", "parquet": "to_parquet"}[path.suffix[1:]])(path, index=False)
    return path


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_unchanged_scores_pass(run, tmp_path, suffix):
    found = run(save(frame(10), tmp_path / f"a.{suffix}"), save(frame(1, start=20, seed=2), tmp_path / f"b.{suffix}"))
    assert found.exit_code == 0, found.output
    assert "PASS" in found.output


def test_shifted_scores_fail_and_say_how_far(run, tmp_path):
    found = run(
        save(frame(10), tmp_path / "a.csv"), save(frame(1, start=20, shift=1.0, seed=2), tmp_path / "b.csv"), "--json"
    )
    assert found.exit_code == 1
    (verdict,) = [v for v in json.loads(found.stdout)["verdicts"] if v["rule"] == "drift"]
    a, b = frame(10)["p"], frame(1, start=20, shift=1.0, seed=2)["p"]
    from scipy.stats import ks_2samp

    assert verdict["value"] == pytest.approx(ks_2samp(a, b).statistic, abs=0.01)


def test_a_failure_says_which_values_moved(run, tmp_path):
    found = run(save(frame(10), tmp_path / "a.csv"), save(frame(1, start=20, shift=1.0, seed=2), tmp_path / "b.csv"))
    assert found.exit_code == 1
    assert "% of all, it was 10" in found.output
    assert "their median is 0.7" in found.output.replace("\n", " ")


def test_scores_that_are_shuffled_among_requests_fail_by_disagreement_alone(run, tmp_path, monkeypatch):
    monkeypatch.setenv("BIRDWATCH_CHAMPION", "champion")
    models = ("challenger", "champion")
    current = frame(1, start=20, seed=2, models=models)
    ours = current["model"] == "challenger"
    current.loc[ours, "p"] = np.random.default_rng(3).permutation(current.loc[ours, "p"])
    reference = save(frame(10, models=models), tmp_path / "a.csv")
    found = run(reference, save(current, tmp_path / "b.csv"), "--json")
    assert found.exit_code == 1
    drifting = {v["rule"] for v in json.loads(found.stdout)["verdicts"] if v["status"] == "drifting"}
    assert drifting == {"apart"}


def test_scores_that_are_errors_fail_by_their_rate(run, tmp_path):
    current = frame(1, start=20, seed=2)
    current["error"] = ["boom" if i % 5 == 0 else None for i in range(len(current))]
    current.loc[current["error"].notna(), "p"] = None
    scores = SETTINGS["mappings"]["scores"]
    told = {**SETTINGS, "mappings": {"scores": {**scores, "fields": {**scores["fields"], "error": "error"}}}}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump({**told, "rules": str(tmp_path / "rules")}))
    found = run(save(frame(10).assign(error=None), tmp_path / "a.csv"), save(current, tmp_path / "b.csv"))
    assert found.exit_code == 1
    assert "scores of m 1 were errors" in found.output.replace("\n", " ")


def test_a_short_reference_leaves_disagreement_out_and_compares_pairs_with_a_fixed_tolerance(
    run, tmp_path, monkeypatch
):
    monkeypatch.setenv("BIRDWATCH_CHAMPION", "champion")
    models = ("challenger", "champion")
    # Seven hours are too few blocks of an hour, and one of a day.
    few = frame(1, models=models, rows=4000)
    few = few[few["when"] < few["when"].min() + 7 * 3600]
    reference = save(few, tmp_path / "a.csv")
    same = run(reference, save(frame(1, start=20, seed=2, models=models, rows=4000), tmp_path / "b.csv"), "--json")
    report = json.loads(same.stdout)
    assert same.exit_code == 0, report["reason"]
    by_rule = {v["rule"]: v for v in report["verdicts"] if v["subject"]["partner"]}
    assert by_rule["apart"]["reason"].startswith("not applicable: the reference has 7 of 8 blocks")
    assert by_rule["pairs"]["status"] == "ok"
    assert by_rule["pairs"]["tolerance"] in (0.005, 0.02)
    moved = frame(1, start=20, seed=2, models=models, rows=4000, shift=0.5)
    other = json.loads(run(reference, save(moved, tmp_path / "c.csv"), "--json").stdout)
    assert {v["rule"] for v in other["verdicts"] if v["status"] == "drifting"} >= {"pairs"}


def test_too_few_requests_of_a_pair_do_not_pass(run, tmp_path, monkeypatch):
    monkeypatch.setenv("BIRDWATCH_CHAMPION", "champion")
    current = frame(1, start=20, seed=2)
    champion = frame(1, start=20, seed=2).assign(model="champion")
    current = pd.concat([current.assign(model="challenger"), champion.assign(p=current["p"])])
    apart = current["trace"].str.split("-").str[1].astype(int) >= 60
    current["trace"] = current["trace"].where(~apart, current["trace"] + current["model"])
    reference = save(frame(10, models=("challenger", "champion")), tmp_path / "a.csv")
    found = run(reference, save(current, tmp_path / "b.csv"))
    assert found.exit_code == 3
    assert "of challenger 1 against champion there are 60 events, fewer than 100" in " ".join(found.output.split())


WATCHING = {"pane_seconds": 3600, "features": {"visib": {"kind": "number"}, "carrier": {"kind": "category"}}}


def stream(folder, days, *, start=0, visib=8.0, seed=1, watched=True):
    """A folder of streams: requests with two inputs, and the scores of a model that heeds neither."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    requests, scores = [], []
    for i, when in enumerate(np.sort(rng.uniform(start * DAY, (start + days) * DAY, days * 300)) + 1_700_006_400):
        features = {"visib": float(rng.normal(visib, 1)), "carrier": str(rng.choice(["UA", "B6"]))} if watched else {}
        requests.append({"id": f"{start}-{i}", "ts": when, "features": features})
        scores.append(
            {
                "request_id": f"{start}-{i}",
                "request_ts": when,
                "model": "m",
                "version": "1",
                "ts": when,
                "score": rng.random(),
            }
        )
    for name, rows in (("requests", requests), ("scores", scores)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.mark.parametrize(("severity", "exit_code"), [("info", 0), ("ticket", 1)])
def test_inputs_that_moved_are_told_and_fail_where_their_rule_is_no_mere_information(
    run, tmp_path, severity, exit_code
):
    rules = [RULES["rules"][0], {"name": "inputs", "kind": "distribution", "of": "features", "severity": severity}]
    (tmp_path / "rules/rules.yaml").write_text(yaml.safe_dump({"rules": rules}))
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump({**WATCHING, "rules": str(tmp_path / "rules")}))
    reference = stream(tmp_path / "a", 10)
    found = run(reference, stream(tmp_path / "b", 1, start=20, visib=3.0, seed=2))
    said = found.output.replace("\n", " ")
    assert found.exit_code == exit_code, said
    assert "the input visib" in said
    assert "visib lie 0.9" in said
    same = run(reference, stream(tmp_path / "c", 1, start=20, seed=2))
    assert same.exit_code == 0, same.output


def test_an_input_that_is_no_longer_there_does_not_pass(run, tmp_path):
    rules = [{"name": "inputs", "kind": "distribution", "of": "features"}]
    (tmp_path / "rules/rules.yaml").write_text(yaml.safe_dump({"rules": rules}))
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump({**WATCHING, "rules": str(tmp_path / "rules")}))
    found = run(stream(tmp_path / "a", 10), stream(tmp_path / "b", 1, start=20, watched=False))
    assert found.exit_code != 0
    assert "visib" in found.output


def test_a_model_that_leaves_its_champion_fails_though_inputs_moved_both(run, tmp_path, monkeypatch):
    monkeypatch.setenv("BIRDWATCH_CHAMPION", "champion")
    models = ("challenger", "champion")
    reference = save(frame(10, models=models), tmp_path / "a.csv")
    current = save(frame(1, start=20, shift=0.4, seed=2, models=models), tmp_path / "b.csv")
    found = run(reference, current, "--json")
    assert found.exit_code == 1
    status = {(v["rule"], v["subject"]["model"]): v["status"] for v in json.loads(found.stdout)["verdicts"]}
    assert status["pairs", "challenger"] == "drifting"
    assert status["drift", "champion"] == "ok"


def test_a_short_reference_is_compared_with_a_fixed_tolerance(run, tmp_path):
    reference = save(frame(2, rows=3000), tmp_path / "a.csv")
    same = run(reference, save(frame(1, start=20, seed=2, rows=3000), tmp_path / "b.csv"))
    assert same.exit_code == 0, same.output
    other = run(reference, save(frame(1, start=20, seed=2, rows=3000, shift=0.3), tmp_path / "c.csv"))
    assert other.exit_code == 1


def test_a_model_without_a_reference_is_inconclusive(run, tmp_path):
    current = frame(1, start=20).assign(model="new")
    found = run(save(frame(10), tmp_path / "a.csv"), save(current, tmp_path / "b.csv"))
    assert found.exit_code == 3
    assert "new" in found.output


def test_a_model_that_is_gone_does_not_pass(run, tmp_path):
    reference = save(frame(10, models=("m", "lost")), tmp_path / "a.csv")
    found = run(reference, save(frame(1, start=20, seed=2), tmp_path / "b.csv"))
    assert found.exit_code == 3
    assert "lost is in the reference and not in the current data" in found.output.replace("\n", " ")


def test_a_model_that_gave_no_score_at_all_does_not_pass(run, tmp_path):
    mute = frame(1, start=20, seed=3).assign(model="mute", p=None)
    found = run(
        save(frame(10), tmp_path / "a.csv"), save(pd.concat([frame(1, start=20, seed=2), mute]), tmp_path / "b.csv")
    )
    assert found.exit_code == 3
    assert "mute is in the current data and gave no score" in found.output.replace("\n", " ")


def test_a_pair_that_was_never_compared_before_does_not_pass(run, tmp_path, monkeypatch):
    monkeypatch.setenv("BIRDWATCH_CHAMPION", "champion")
    both = frame(10, models=("challenger", "champion"))
    apart = both.assign(trace=both["trace"] + both["model"])  # they never met: other requests
    current = frame(1, start=20, seed=2, models=("challenger", "champion"))
    found = run(save(apart, tmp_path / "a.csv"), save(current, tmp_path / "b.csv"))
    assert found.exit_code == 3
    assert "blocks" in found.output


def test_too_few_scores_are_inconclusive(run, tmp_path):
    found = run(save(frame(10), tmp_path / "a.csv"), save(frame(1, start=20, rows=20), tmp_path / "b.csv"))
    assert found.exit_code == 3
    assert "there are 20 values, fewer than 100" in found.output.replace("\n", " ")


def test_rows_that_cannot_be_read_are_counted_and_explained(run, tmp_path):
    current = frame(1, start=20, seed=2)
    current["p"] = current["p"].astype(object)
    current.iloc[5, 3] = "high"
    found = run(save(frame(10), tmp_path / "a.csv"), save(current, tmp_path / "b.csv"))
    assert found.exit_code == 0, found.output
    assert "1 of the current data" in found.output.replace("\n", " ")


def test_a_file_of_which_no_row_can_be_read_is_inconclusive(run, tmp_path):
    found = run(save(frame(10), tmp_path / "a.csv"), save(frame(1).rename(columns={"p": "q"}), tmp_path / "b.csv"))
    assert found.exit_code == 3


def test_the_same_scores_on_both_sides_are_refused(run, tmp_path):
    path = save(frame(10), tmp_path / "a.csv")
    found = run(path, path)
    assert found.exit_code != 0
    assert "over before" in str(found.exception)


def test_a_missing_file_is_named(run, tmp_path):
    found = run(tmp_path / "none.csv", tmp_path / "none.csv")
    assert "none.csv" in str(found.exception)
