"""`birdwatch evaluate` asks recorded streams what people ask afterwards."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from birdwatch.cli.evaluate import app
from birdwatch.content import content
from birdwatch.errors import SettingsError, StreamError
from birdwatch.evaluate.reading import read_stream
from birdwatch.records import Decision, Outcome, encode

JUNE = f"files:{content('sample_streams') / '2013-06-07'}"


def run(*args, streams=JUNE):
    return CliRunner().invoke(app, [*map(str, args), "--streams", streams], catch_exceptions=True)


@pytest.fixture(scope="module")
def table():
    requests = read_stream(JUNE, "requests")
    labels = read_stream(JUNE, "outcomes").set_index("request_id")["label"]
    features = pd.DataFrame(list(requests["features"])).assign(flight_id=requests["id"])
    return features.assign(late=labels.reindex(requests["id"]).to_numpy())


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_of_what_was_seen_passes(tmp_path, table, suffix):
    path = tmp_path / f"table{suffix}"
    table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path)
    result = run("leaks", path, "--id", "flight_id", "--label", "late")
    assert result.exit_code == 0, result.output
    assert "PASS: 8 columns of 2,730 rows" in result.output


def test_a_leak_fails_and_is_named(tmp_path, table):
    leaky = table.assign(wind_speed=table["wind_speed"].where(table["late"].isna(), table["late"]))
    leaky.to_parquet(tmp_path / "table.parquet")
    result = run("leaks", tmp_path / "table.parquet", "--id", "flight_id", "--label", "late", "--json")
    assert result.exit_code == 1
    found = json.loads(result.output)
    assert found["reason"] == "wind_speed knows the future"
    assert next(c["why"] for c in found["columns"] if c["column"] == "wind_speed") == "is the outcome's label"
    assert len(found["rows"]) > 2000
    assert "FAIL" in run("leaks", tmp_path / "table.parquet", "--id", "flight_id", "--label", "late").output


def test_a_table_without_requests_is_inconclusive(tmp_path, table):
    table.assign(flight_id="nobody").to_csv(tmp_path / "t.csv")
    assert run("leaks", tmp_path / "t.csv", "--id", "flight_id", "--label", "late").exit_code == 3


def test_a_table_that_cannot_be_read_or_has_no_ids_is_misuse(tmp_path, table):
    table.to_csv(tmp_path / "t.csv")
    for result in (
        run("leaks", tmp_path / "t.csv"),
        run("leaks", tmp_path / "t.csv.gz"),
        run("leaks", tmp_path / "t.x"),
    ):
        assert isinstance(result.exception, SettingsError)


def test_the_audit_says_that_nothing_is_lost():
    found = json.loads(run("audit", "--json").output)
    assert {row["model"] for row in found["models"]} == {"champion", "challenger", "fallback", "canary"}
    assert all(row["requests"] == row["scored"] == 2730 and row["missing"] == 0 for row in found["models"])
    result = run("audit", "--model", "champion", "--model", "nobody")
    assert "hours in which something is wrong" in result.output


def test_quality_tells_by_delay_and_what_missing_labels_could_make_of_it():
    found = json.loads(run("quality", "--model", "champion", "--json").output)["champion"]
    assert [row["n"] for row in found["by_delay"]][-1] == 2639
    auc = next(row for row in found["bounds"] if row["of"] == "auc")
    assert auc["least"] < auc["all_negative"] < auc["labelled"] < auc["all_positive"] < auc["largest"]
    assert (
        "91 of 2,730 scores have no label; they are not missing at random"
        in run("quality", "--model", "champion").output
    )


def test_deadlines_tell_the_share_that_would_be_missed():
    rows = json.loads(run("deadline", "--deadline", 0.0, "--deadline", 0.5, "--model", "champion", "--json").output)
    assert [row["rate"] for row in rows["rates"]] == [1.0, 0.0]
    assert "champion" in run("deadline", "--deadline", 0.5).output
    assert isinstance(run("deadline", "--deadline", 0.5, "--model", "nobody").exception, SettingsError)


@pytest.fixture
def bandit(tmp_path):
    """Record a bandit that drew a and b alike, and was overridden once."""
    decisions, outcomes = [], []
    for i in range(40):
        arm, forced = "ab"[i % 2], i == 39
        decisions.append(
            Decision(
                request_id=str(i), request_ts=i, ts=i, latency_seconds=0.1, deadline_seconds=1.0, model=arm, version="1",
                tier=0, reason="override" if forced else "explored", within_sla=True,
                propensity=0.5, propensities={"a": 0.5, "b": 0.5},
            )
        )  # fmt: skip
        outcomes.append(Outcome(request_id=str(i), request_ts=i, ts=i + 1, reward=float(arm == "b")))
    for name, records in (("metrics", decisions), ("outcomes", outcomes)):
        (tmp_path / f"{name}.jsonl").write_bytes(b"\n".join(map(encode, records)) + b"\n")
    return f"files:{tmp_path}"


def test_the_value_of_another_policy_is_told_and_what_was_forced_kept_apart(bandit):
    found = json.loads(run("value", "--policy", "b", "--json", streams=bandit).output)
    values = {row["estimator"]: row["value"] for row in found["estimates"]}
    assert values["self-normalised"] == 1.0
    assert found["apart"] == [{"reason": "override", "n": 1, "rewarded": 1, "value": 1.0}]
    assert "39 decisions" in run("value", "--policy", "a=0.5", "--policy", "b=0.5", streams=bandit).output


@pytest.mark.parametrize("policy", [["nobody"], ["a=1.5"], ["a=x"], ["a", "b"]])
def test_a_policy_that_cannot_be_is_misuse(bandit, policy):
    result = run("value", *(part for one in policy for part in ("--policy", one)), streams=bandit)
    assert isinstance(result.exception, SettingsError)


def test_a_reward_that_is_none_is_misuse(bandit):
    assert isinstance(run("value", "--policy", "a", "--reward", "clicks", streams=bandit).exception, SettingsError)


def test_what_the_log_cannot_say_is_said_aloud():
    result = run("value", "--policy", "canary=0.5", "--policy", "champion=0.5", "--reward", "label")
    assert "50.0% of cases what the log could never draw" in result.output


@pytest.fixture
def lender(tmp_path):
    """Record a model that rejects half, of which every fourth is accepted all the same."""
    decisions, outcomes = [], []
    for i in range(80):
        accepts, accepted = i < 40, i < 40 or i % 4 == 0
        decisions.append(
            Decision(
                request_id=str(i), request_ts=i, ts=i, latency_seconds=0.1, deadline_seconds=1.0, model="m", version="1",
                tier=0, reason="first choice", within_sla=True, scores={"m": i / 80}, model_accepts=accepts,
                accepted=accepted, acceptance_propensity=1.0 if accepts else 0.25,
            )
        )  # fmt: skip
        if accepted:
            outcomes.append(Outcome(request_id=str(i), request_ts=i, ts=i + 1, label=float(i >= 60)))
    for name, records in (("metrics", decisions), ("outcomes", outcomes)):
        (tmp_path / f"{name}.jsonl").write_bytes(b"\n".join(map(encode, records)) + b"\n")
    return f"files:{tmp_path}"


def test_what_was_rejected_is_judged_by_what_was_drawn(lender):
    found = json.loads(run("rejected", "--json", streams=lender).output)
    row = next(row for row in found["bands"] if row["band"] == "all")
    assert (row["rejected"], row["drawn"], row["rate"]) == (40, 10, 0.5)
    assert found["accepted_rate"] == 0.0
    assert "by 40 with a label" in run("rejected", streams=lender).output
    assert isinstance(run("rejected").exception, SettingsError)  # these streams have no rule of acceptance


def test_a_record_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"no": "decision"}\n')
    result = run("deadline", "--deadline", 1, streams=f"files:{tmp_path}")
    assert isinstance(result.exception, StreamError)
    assert "metrics, offset 0" in str(result.exception)
