"""The guide to detection is followed to the letter: its settings, its commands, and the alert that they come to."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from birdwatch.cli.main import app
from birdwatch.content import content
from birdwatch.detect.duration import parse_moment
from birdwatch.detect.rules import check_rules

GUIDE = (Path(__file__).parents[1] / "docs/guide/detection.md").read_text()

DAYS, PER_HOUR = 12, 60


def block(start, kind="yaml"):
    (text,) = [text for text in re.findall(rf"```{kind}\n(.*?)```", GUIDE, re.DOTALL) if text.startswith(start)]
    return text


def run(start):
    (line,) = [line for line in GUIDE.splitlines() if line.startswith(("birdwatch ", "$ birdwatch ")) and start in line]
    words = shlex.split(line.removeprefix("$ "), comments=True)[1:]
    into = words[words.index(">") + 1] if ">" in words else ""
    done = CliRunner().invoke(app, words[: words.index(">")] if into else words, env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    if into:
        Path(into).write_text(done.stdout)
    return done.stdout


def write_streams(folder):
    """Two models for twelve days; from 12 March, nine o'clock, the second reads Swiss amounts in centimes."""
    rng = np.random.default_rng(5)
    n = DAYS * 24 * PER_HOUR
    ts = np.sort(parse_moment("2024-03-01") + rng.uniform(0, DAYS * 86_400, n)).round(3)
    amount = rng.lognormal(4, 1, n).round(2)
    country = rng.choice(["FR", "DE", "CH", "IT"], n, p=[0.4, 0.3, 0.2, 0.1])
    bad = ts >= parse_moment("2024-03-12T09:00")
    read = np.where(bad & (country == "CH"), 100 * amount, amount)

    def scored(amounts, noise):
        return 1 / (1 + np.exp(6.5 - np.log(amounts) - 0.5 * (country == "IT") - rng.normal(0, noise, n)))

    folder.mkdir()
    with (folder / "requests.jsonl").open("w") as file:
        for i in range(n):
            given = {"amount": amount[i], "country": country[i]}
            file.write(json.dumps({"id": f"r{i}", "ts": ts[i], "features": given}) + "\n")
    risk, lite = scored(amount, 0.05).round(6), scored(read, 0.3).round(6)
    with (folder / "scores.jsonl").open("w") as file:
        for i in range(n):
            for model, version, score in (("risk", "7", risk[i]), ("risk-lite", "4" if bad[i] else "3", lite[i])):
                which = {"request_id": f"r{i}", "request_ts": ts[i], "ts": ts[i]}
                file.write(json.dumps({**which, "model": model, "version": version, "score": score}) + "\n")


@pytest.fixture
def watch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("birdwatch.yaml").write_text(block("streams:"))
    Path("detectors").mkdir()
    for file in content("detectors").glob("*.yaml"):
        (tmp_path / "detectors" / file.name).write_text(file.read_text())
    return tmp_path


def test_the_alert_that_the_guide_reads_is_the_one_that_its_commands_print(watch):
    write_streams(watch / "recorded")
    assert "13 rules" in run("rules check")
    run("rules schema")
    assert "rules" in json.loads(Path("detectors/rules.schema.json").read_text())["properties"]
    run("tail --until-end")
    said = re.findall(r"\$ birdwatch alerts list\n(.*?)```", GUIDE, re.DOTALL)[0]
    assert run("alerts list").split() == said.split()
    told = re.findall(r"\$ birdwatch alerts show \w+\n(.*?)```", GUIDE, re.DOTALL)[0]
    assert run("alerts show").split() == told.split()
    assert "is acknowledged by ann" in run("alerts ack")
    assert "silence 1: model=risk-lite version=~4.*" in run("alerts silence model")
    assert "retraining" in run("alerts silences")
    assert "has ended" in run("alerts unsilence")
    run("reference freeze")
    assert Path("detectors/first-days.json").exists()


def test_the_rules_that_the_guide_writes_are_right(watch):
    mine = "".join(re.findall(r"```yaml\n(  - name: .*?)```", GUIDE, re.DOTALL))
    (watch / "detectors" / "mine.yaml").write_text("rules:\n" + mine)
    found, mistakes = check_rules(watch / "detectors")
    assert mistakes == []
    ours = {rule.name: rule for rule in found.rules}
    assert ours["lite-disagrees"].dry_run
    assert ours["lite-disagrees"].compares_with.trailing == 91 * 86_400
