"""Reports are what their readers take: Markdown that shows names as they are, XML that parses, annotations in one line."""

import json
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from birdwatch.check.formats import FORMATS
from birdwatch.check.report import Exit, Judged, Report
from birdwatch.cli.main import app
from birdwatch.detect.paired import PairedRule
from birdwatch.detect.rate import RateRule
from birdwatch.detect.verdict import Subject, Verdict

NASTY = "m|<b>*1*\n::error::x"
PAIRS = PairedRule(name="pairs")
ERRORS = RateRule(name="errors", of="errors", tolerance=0.01)


def verdict(rule, status, reason="said so", **more):
    about = {"rule": rule.name, "kind": rule.kind, "start": 0, "end": 60, "subject": Subject(NASTY, "2", "champion")}
    return Verdict(**about, status=status, reason=reason, **more)


def report(exit_, *judged):
    return Report(exit_, "100 % of it moved\nfar", judged, "the shadow x against the champion y", 0.001)


FAILING = report(
    Exit.FAIL,
    Judged(ERRORS, verdict(ERRORS, "ok", n=1_000, statistic="share", value=0.0, tolerance=0.01), decides=True),
    Judged(
        PAIRS,
        verdict(
            PAIRS,
            "drifting",
            n=12_345,
            statistic="mean",
            value=0.02,
            tolerance=0.005,
            details={"largest": [{"request_id": "r<1>", "score": 0.9, "partner_score": 0.1}]},
        ),
        decides=True,
    ),
    Judged(PAIRS, verdict(PAIRS, "no data"), decides=False),
)
LITTLE = report(Exit.INCONCLUSIVE, Judged(PAIRS, verdict(PAIRS, "no data", "20 are too few"), decides=True))


def test_every_format_says_the_answer_and_why():
    for name in ("md", "html", "json"):
        text = FORMATS[name](FAILING)
        assert "fail" in text, name
        assert "of it moved" in text, name
        assert "12" in text, name


def test_markdown_is_a_table_whose_rows_have_as_many_cells_as_its_head():
    lines = [line for line in FORMATS["md"](FAILING).splitlines() if line.startswith("|")]
    cells = {len(line.replace("\\|", "").split("|")) for line in lines}
    assert len(cells) == 1
    assert "<b>" not in "".join(lines).replace("\\<", "")


def test_a_bar_reaches_beyond_the_middle_where_the_value_is_beyond_what_is_in_order():
    row = next(line for line in FORMATS["md"](FAILING).splitlines() if "mean" in line)
    assert "█████┃█████" in row


def test_html_shows_names_as_they_are_and_needs_nothing_else():
    page = FORMATS["html"](FAILING)
    assert "<b>*1*" not in page
    assert "&lt;b&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<svg") == 2


def test_junit_counts_failures_and_an_inconclusive_check_is_an_error():
    failing = ET.fromstring(FORMATS["junit"](FAILING))  # noqa: S314 - our own
    suite = failing.find("testsuite")
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3",
        "failures": "1",
        "errors": "0",
        "skipped": "1",
    }
    assert "r<1>" in suite.find("testcase/failure").text
    little = ET.fromstring(FORMATS["junit"](LITTLE)).find("testsuite")  # noqa: S314 - our own
    assert (little.get("errors"), little.get("failures")) == ("1", "0")


def test_annotations_are_a_line_each_whatever_a_model_is_called():
    lines = FORMATS["github"](FAILING).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["::error", "::error"]
    assert lines[0] == "::error title=The check failed::100 %25 of it moved%0Afar"
    assert "::warning" in FORMATS["github"](LITTLE)
    assert "::notice" in FORMATS["github"](report(Exit.PASS))


def test_json_holds_every_verdict_and_whether_it_decides():
    told = json.loads(FORMATS["json"](FAILING))
    assert (told["exit"], told["verdict"], told["alpha"]) == (1, "fail", 0.001)
    assert [v["decides"] for v in told["verdicts"]] == [True, True, False]


@pytest.fixture
def scores(tmp_path):
    path = tmp_path / "scores.csv"
    rows = [f"r{i},{1.7e9 + i},{1.7e9 + i},{model},v1,{0.1 + i / 400}" for i in range(200) for model in ("a", "b")]
    path.write_text("\n".join(["request_id,request_ts,ts,model,version,score", *rows]))
    return path


def test_reports_go_to_files_and_the_summary_to_where_the_job_says(tmp_path, scores, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    reports = [f"--report={name}={tmp_path / 'out' / name}" for name in ("md", "html", "junit", "json")]
    given = ["check", str(scores), "--champion", "a", "--shadow", "b", *reports, "--report", "github"]
    found = CliRunner().invoke(app, given)
    assert found.exit_code == 0, found.output
    assert found.stdout.startswith("::notice title=The check passed::")
    for name in ("md", "html", "junit", "json"):
        assert (tmp_path / "out" / name).read_text()
    assert (tmp_path / "summary.md").read_text() == (tmp_path / "out" / "md").read_text()
