"""`birdwatch report` writes one page that answers each question, and needs nothing else; `evaluate changed` says what changed."""

import json
import re
import shutil
import sys
from html.parser import HTMLParser

import pandas as pd
import pytest
from typer.testing import CliRunner

from birdwatch.charts.marks import Drawing
from birdwatch.cli.evaluate import app as evaluate
from birdwatch.cli.main import app
from birdwatch.content import content
from birdwatch.errors import SettingsError
from birdwatch.records import Control, Decision, Outcome, Request, Score, encode
from birdwatch.report.html import drawn

SAMPLES = content("sample_streams")
STORM = SAMPLES / "2013-06-07"
SETTINGS = ("--settings", str(SAMPLES / "birdwatch.yaml"))
BEFORE = [part for file in sorted(STORM.glob("reference-*.json.gz")) for part in ("--reference", str(file))]
QUESTIONS = ("changed", "alerts", "deployments", "quality", "value", "deadline", "audit", "rejected")


def run(*args):
    return CliRunner().invoke(app, [*map(str, args)], catch_exceptions=True)


def report(output, *args, streams=f"files:{STORM}", period="2013-06-07"):
    return run("report", period, "--streams", streams, "--output", output, *args)


def sections(*args, tmp_path, **more):
    result = report(tmp_path / "never.html", "--json", *args, **more)
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "never.html").exists()
    return {section["name"]: section for section in json.loads(result.stdout)["sections"]}


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    store = tmp_path_factory.mktemp("counted") / "june.db"
    told = run("tail", *SETTINGS, "--streams", f"files:{STORM}", *BEFORE, "--store", store, "--until-end")
    assert told.exit_code == 0, told.output
    return store


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    result = report(path, *SETTINGS, *BEFORE)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == str(path)
    return path.read_text()


class Loads(HTMLParser):
    """Collects what a page would load, the ids it has, and the tags that stay open."""

    def __init__(self):
        super().__init__()
        self.loads, self.ids, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        self.loads += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value[0] != "#"]
        self.loads += [tag] if tag in ("script", "link", "iframe", "object", "embed") else []
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in ("meta", "br", "img", "path", "line", "rect", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            assert self.open.pop() == tag


def test_the_page_has_each_question_and_an_answer_in_the_summary(page):
    for name in QUESTIONS:
        assert f'<section id="{name}">' in page
        assert f'href="#{name}"' in page
    summary = page[page.index('class="summary"') : page.index("<section")]
    assert "Inputs changed: the scores of champion, fallback, challenger and canary moved together" in summary
    assert "precip (their median is 0.13, it was 0)" in summary
    assert "1 ticket, 1 info: first of all inputs changed" in summary
    assert "Nothing was lost: each of 975 requests" in summary
    assert "No bandit drew the answers" in summary


def test_the_page_loads_nothing_and_is_whole(page):
    parsed = Loads()
    parsed.feed(page)
    assert parsed.loads == []
    assert "http" not in re.sub(r"<p[^>]*>[^<]*</p>", "", page)
    assert "@import" not in page
    assert parsed.open == []
    assert len(set(parsed.ids)) == len(parsed.ids)
    assert page.count("<svg") >= 8
    assert all(f'id="{name}"' in page for name in re.findall(r"url\(#([^)]*)\)", page))


def test_the_same_input_gives_the_same_bytes(page, tmp_path):
    report(tmp_path / "again.html", *SETTINGS, *BEFORE)
    assert (tmp_path / "again.html").read_text() == page


def test_pictures_take_the_colours_of_the_page(page):
    assert "prefers-color-scheme: dark" in page
    assert 'fill="currentColor"' in page
    assert "#000" not in "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))


def test_what_pictures_name_inside_of_them_is_told_apart():
    clipped = {
        "mark": {"type": "line", "clip": True},
        "data": {"name": "main"},
        "encoding": {"x": {"field": "x", "type": "quantitative"}},
    }
    one, other = (drawn(Drawing(clipped, {"main": pd.DataFrame({"x": [0, 1]})}), number) for number in (1, 2))
    (first,), (second,) = (set(re.findall(r"url\(#([^)]*)\)", svg)) for svg in (one, other))
    assert first != second
    assert f'id="{first}"' in one


def test_without_what_draws_it_has_all_but_pictures(tmp_path, counted, monkeypatch):
    monkeypatch.setattr("birdwatch.cli.report.can_draw", lambda: False)
    report(tmp_path / "r.html", *SETTINGS, "--store", counted)
    page = (tmp_path / "r.html").read_text()
    assert "<svg" not in page
    assert "pip install" in page
    assert "Nothing was lost" in page


def test_without_statsmodels_deadlines_say_so_and_the_rest_is_there(tmp_path, counted, monkeypatch):
    monkeypatch.setitem(sys.modules, "statsmodels.duration.survfunc", None)
    found = sections(*SETTINGS, "--store", counted, tmp_path=tmp_path)
    assert "pip install 'birdwatch[evaluate]'" in found["deadline"]["absent"]
    assert found["audit"]["answer"]


def test_a_store_that_judged_tells_its_alerts_and_is_not_counted_again(counted, tmp_path):
    found = sections(*SETTINGS, "--store", counted, tmp_path=tmp_path)
    assert found["alerts"]["data"].endswith("from the store june.db")
    assert any("inputs changed" in row["about"] for row in found["alerts"]["tables"]["In order"])


def test_models_can_be_named(counted, tmp_path):
    found = sections(*SETTINGS, "--store", counted, "--model", "champion", tmp_path=tmp_path)
    assert [row["model"] for row in found["audit"]["tables"]["By model"]] == ["champion"]


def test_an_archive_gives_the_same_answers_as_the_streams_it_was_made_of(tmp_path):
    made = run("archive", "write", "--from", f"files:{STORM}", "--to", tmp_path / "archive", "--once")
    assert made.exit_code == 0, made.output
    assert sections(*SETTINGS, tmp_path=tmp_path) == sections(
        *SETTINGS, tmp_path=tmp_path, streams=f"archive:{tmp_path / 'archive'}"
    )


@pytest.fixture
def bandit(tmp_path):
    """Record a bandit that drew b and a alike, rejected some, lost the score of one request, and was deployed to once."""
    folder = tmp_path / "bandit"
    folder.mkdir()
    records = {name: [] for name in ("requests", "scores", "metrics", "outcomes", "control")}
    records["control"].append(
        Control(ts=1_370_563_230.0, action="register", author="x", reason="<b>first</b>", model="b", version="1")
    )
    for i in range(200):
        at, arm = 1_370_563_200 + 60.0 * i, "ab"[i % 2]
        known = {"request_id": str(i), "request_ts": at}
        records["requests"].append(
            Request(id=str(i), ts=at, received_ts=at, deadline_seconds=1.0, features={"x": float(i % 7)})
        )
        records["scores"] += [
            Score(**known, ts=at, model=name, version="1", score=(i % 10) / 10, elapsed_seconds=0.1)
            for name in "ab"
            if (i, name) != (7, "b")
        ]
        records["metrics"].append(
            Decision(
                **known, ts=at, latency_seconds=0.1, deadline_seconds=1.0, model=arm, version="1", tier=0, reason="explored",
                within_sla=True, propensity=0.5, propensities={"a": 0.5, "b": 0.5}, scores={"a": (i % 10) / 10},
                elapsed_seconds={"a": 0.1 + (i % 10) / 100, "b": None}, model_accepts=i % 10 < 8, accepted=True,
                acceptance_propensity=1.0 if i % 10 < 8 else 0.5,
            )
        )  # fmt: skip
        records["outcomes"].append(Outcome(**known, ts=at + 5, reward=float(arm == "b"), label=float(i % 10 > 4)))
    for name, each in records.items():
        (folder / f"{name}.jsonl").write_bytes(b"\n".join(map(encode, each)) + b"\n")
    return f"files:{folder}"


def test_a_bandit_has_the_value_of_its_arms_and_the_rest_is_told(bandit, tmp_path):
    found = sections(tmp_path=tmp_path, streams=bandit)
    assert found["value"]["answer"][0].startswith(
        "What was drawn earned 0.5 a request (reward); b always would have earned 1"
    )
    assert {row["policy"]: row["value"] for row in found["value"]["tables"]["By arm"]} == {"a": 0.0, "b": 1.0}
    assert found["audit"]["answer"][0] == "Not all is as it should be: b: 1 missing, 0 failed, 0 twice."
    assert found["rejected"]["answer"][0].startswith("Of what was rejected 100.0%")
    assert "nothing to compare the period with" in found["changed"]["absent"]
    assert found["alerts"]["absent"] == "No alert of the period is in the stream `alerts`."
    assert found["deployments"]["answer"] == ["1 change: register b 1."]


def test_what_others_wrote_is_shown_as_it_is(bandit, tmp_path):
    report(tmp_path / "r.html", streams=bandit)
    page = (tmp_path / "r.html").read_text()
    assert "&lt;b&gt;first&lt;/b&gt;" in page
    assert "<b>first</b>" not in page


def test_scores_alone_leave_most_questions_with_a_reason(tmp_path):
    folder = tmp_path / "scores"
    folder.mkdir()
    shutil.copy(STORM / "scores.jsonl.gz", folder)
    found = sections(*SETTINGS, tmp_path=tmp_path, streams=f"files:{folder}")
    absent = {name: section["absent"] for name, section in found.items() if section["absent"]}
    assert set(absent) == {"alerts", "deployments", "quality", "value", "deadline", "audit", "rejected"}
    assert all(said.endswith(".") for said in absent.values())


@pytest.mark.parametrize(
    ("period", "said"),
    [
        ("2013-07-07", "nothing was counted from 2013-07-07 08:00"),
        ("yesterday", "is no period"),
        ("1970-01-05..", "no time"),
    ],
)
def test_a_period_that_is_none_or_has_nothing_is_misuse(counted, tmp_path, period, said):
    result = report(tmp_path / "r.html", *SETTINGS, "--store", counted, period=period)
    assert isinstance(result.exception, SettingsError)
    assert said in str(result.exception)


def test_streams_without_anything_are_misuse(tmp_path):
    result = report(tmp_path / "r.html", streams=f"sqlite:{tmp_path / 'empty'}")
    assert isinstance(result.exception, SettingsError)
    assert "nothing was counted" in str(result.exception)


def test_a_page_that_cannot_be_written_is_misuse(counted, tmp_path):
    result = report(tmp_path / "nowhere" / "r.html", *SETTINGS, "--store", counted)
    assert isinstance(result.exception, SettingsError)
    assert "--output" in str(result.exception)


def changed(*args):
    return CliRunner().invoke(evaluate, ["changed", *map(str, args)], catch_exceptions=True)


def test_changed_finds_the_storm_in_inputs_and_every_model(tmp_path):
    args = (*SETTINGS, "--streams", f"files:{STORM}", "--period", "2013-06-07", *BEFORE)
    found = json.loads(changed(*args, "--json").stdout)
    assert len(found["others"]) == 28
    moved = [row["name"] for row in found["measurements"] if row["changed"]]
    assert moved[0] == "input: precip"
    assert set(moved) == {
        "input: precip",
        "input: visib",
        *(f"scores: {name}" for name in ("champion", "challenger", "fallback", "canary")),
    }
    assert found["said"][0].startswith("Inputs changed: the scores of")
    told = changed(*args, "--top", 3, "--picture", tmp_path / "changed.png")
    assert told.exit_code == 0, told.output
    assert "against 28 like it" in told.output
    assert f"{len(found['measurements']) - 3} more" in told.output
    assert (tmp_path / "changed.png").read_bytes().startswith(b"\x89PNG")


def test_changed_says_that_three_days_are_too_few_to_know(counted):
    result = changed(
        *SETTINGS, "--streams", f"files:{STORM}", "--period", "2013-06-07", "--against", "2013-06-06..2013-06-09"
    )
    assert result.exit_code == 0, result.output
    assert "Nobody can know what changed: there are 2 other days" in result.output


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--period", "2013-07-07"), "nothing was counted in the period; there are panes from 2013-06-06 09:00"),
        (("--period", "2013-06-06"), "there is nothing to compare the period with"),
        (("--period", "soon"), "is no period"),
        (("--against", "soon"), "--against"),
    ],
)
def test_changed_says_what_is_wrong_with_a_period(counted, args, said):
    result = changed(*SETTINGS, "--store", counted, *args)
    assert isinstance(result.exception, SettingsError)
    assert said in str(result.exception)
