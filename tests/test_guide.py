"""The guide to one's own data is followed to the letter."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from birdwatch.cli.main import app
from birdwatch.windows.pane import Series
from birdwatch.windows.store import Store

GUIDE = (Path(__file__).parents[1] / "docs/guide/own-data.md").read_text()


def settings():
    (text,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    return text


def command(start):
    (line,) = [line for line in GUIDE.splitlines() if line.startswith(f"birdwatch {start}")]
    return shlex.split(line, comments=True)[1:]


@pytest.fixture
def predictions():
    """March 2024 as somebody else's service would log it."""
    rng = np.random.default_rng(4)
    n = 1500
    when = pd.Timestamp("2024-03-01", tz="UTC") + pd.to_timedelta(np.sort(rng.uniform(0, 30 * 86_400, n)), unit="s")
    return pd.DataFrame(
        {
            "trace": [f"t{i}" for i in range(n)],
            "when": when.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "net": "risk-v3",
            "probability": rng.beta(1, 9, n),
            "took_ms": rng.gamma(4, 10, n),
        }
    )


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_following_it_counts_every_row_and_freezes_a_reference(tmp_path, monkeypatch, predictions, suffix):
    monkeypatch.chdir(tmp_path)
    Path("birdwatch.yaml").write_text(settings())
    path = tmp_path / "scored" / f"predictions.{suffix}"
    path.parent.mkdir()
    if suffix == "csv":
        predictions.to_csv(path, index=False)
    elif suffix == "parquet":
        predictions.to_parquet(path)
    else:
        predictions.to_json(path, orient="records", lines=True)
    counted = CliRunner().invoke(app, command("tail"))
    assert counted.exit_code == 0, counted.output
    assert "could not be read" not in counted.output
    store = Store("watch.db", readonly=True)
    found = store.pane(0, 2**40, model="risk-v3")
    assert found[Series("score", "risk-v3", "3")].counts.sum() == len(predictions)
    assert found[Series("latency.model", "risk-v3", "3")].counts.sum() == len(predictions)
    frozen = CliRunner().invoke(app, command("reference freeze"))
    assert frozen.exit_code == 0, frozen.output
    document = json.loads(Path("march.json").read_text())
    assert document["events"]["risk-v3"] == (predictions["when"] < "2024-03-15").sum()


def test_a_row_with_a_word_for_a_number_is_a_dead_letter_beside_the_store(tmp_path, monkeypatch, predictions):
    monkeypatch.chdir(tmp_path)
    Path("birdwatch.yaml").write_text(settings())
    rows = json.loads(predictions.head(100).to_json(orient="records"))
    rows[7]["probability"] = "rather high"
    Path("scored").mkdir()
    Path("scored/predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "1 rows of them could not be read" in CliRunner().invoke(app, command("tail")).output
    letters = CliRunner().invoke(app, command("streams cat deadletters"))
    assert "score" in letters.output
    assert not Path("scored/deadletters.jsonl").exists()


def test_the_scores_of_all_models_in_one_message_are_read_as_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    section = GUIDE.partition("## The scores of all models in one message")[2]
    (message,), (mapping, *_) = (re.findall(rf"```{fence}\n(.*?)```", section, re.DOTALL) for fence in ("json", "text"))
    Path("birdwatch.yaml").write_text(f"streams: files:logged\nstore: watch.db\n{mapping}")
    Path("logged").mkdir()
    Path("logged/decided.jsonl").write_text(json.dumps(json.loads(message)) + "\n")
    counted = CliRunner().invoke(app, ["tail", "--until-end"])
    assert counted.exit_code == 0, counted.output
    store = Store("watch.db", readonly=True)
    scores = {(s.model, s.version): c.counts.sum() for s, c in store.pane(0, 2**40, measure="score").items()}
    assert scores == {("risk-v3", "7"): 1, ("risk-v4", "2"): 1}
    ((start, *_), *_) = store.rows(0, 2**40, measure="score")
    assert start == 1_709_251_200
