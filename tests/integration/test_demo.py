"""The demo as people run it: the command, its processes, and the report."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from itertools import groupby
from pathlib import Path

import pytest
from scipy.stats import binomtest

from birdwatch.demo.booking import TRAIN
from birdwatch.demo.flights import load_year, start_of
from birdwatch.evaluate.reading import read_stream
from birdwatch.records import Control, Result, Score, decode
from birdwatch.streams import open_streams
from birdwatch.windows.store import Store

pytestmark = pytest.mark.integration

HOUR = 3600
DAY = 24 * HOUR


class Demo:
    """A demo that runs, with its descendants."""

    def __init__(self, *arguments, cwd, first=()):
        self.lines = []
        self.process = subprocess.Popen(
            [*first, sys.executable, "-m", "birdwatch", "demo", *map(str, arguments)],
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )

    def read_until(self, wanted):
        """Read what it says, up to the line with a pattern."""
        for line in self.process.stdout:
            self.lines.append(line)
            if re.search(wanted, line):
                return line
        raise AssertionError(f"it ended without saying {wanted!r}:\n{''.join(self.lines)}")

    def finish(self):
        """Read the rest and give the exit code."""
        self.lines += self.process.stdout
        return self.process.wait(60)

    def descendants(self):
        """Give the process ids of its children, and of theirs."""
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parents[int(stat.parent.name)] = int(stat.read_text().rsplit(")", 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
        found = {self.process.pid}
        for _ in range(5):
            found |= {pid for pid, parent in parents.items() if parent in found}
        return found - {self.process.pid}

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.stdout.close()
        self.process.wait()

    @property
    def text(self):
        return "".join(self.lines)


def gone(pids, seconds=15.0):
    """Wait until none of the processes is left."""
    until = time.monotonic() + seconds
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Four days around the bad version; the tail is killed on the way."""
    folder = tmp_path_factory.mktemp("demo")
    demo = Demo(
        "--from", "2013-05-12", "--days", 4, "--no-dashboard", "--json", "out.json", "--run-dir", "run", cwd=folder
    )
    try:
        demo.read_until("the first verdict")
        pids = demo.descendants()
        for pid in pids:
            if "tail" in Path(f"/proc/{pid}/cmdline").read_text().split("\0"):
                os.kill(pid, signal.SIGKILL)
        code = demo.finish()
        assert code == 0, demo.text
        yield folder, json.loads((folder / "out.json").read_text()), demo.text, pids
    finally:
        demo.close()


def test_every_request_is_answered_in_time_and_never_by_the_canary(told):
    _, report, _, _ = told
    ts = load_year().flights["ts"]
    # Four days, and the hour with the first flights of the next morning.
    until = start_of("2013-05-16")
    morning = ts[ts >= until].min() // HOUR * HOUR + HOUR
    assert report["requests"] == ((ts >= start_of("2013-05-12")) & (ts < morning)).sum()
    assert report["answers"] == report["answers_within_sla"] == report["requests"]
    assert report["deadline_seconds"] == 1.0
    assert report["latency_seconds"]["p99"] < 1.0
    assert report["canary_answers"] == 0
    assert set(report["answers_by_model"]) <= {"champion", "fallback", "challenger"}


def test_every_model_scores_every_request(told):
    _, report, _, _ = told
    assert report["scores"] == dict.fromkeys(("canary", "challenger", "champion", "fallback"), report["requests"])


def test_the_bad_version_fires_one_page_that_names_it_is_delivered_and_resolves(told):
    _, report, text, _ = told
    (page,) = [alert for alert in report["alerts"] if alert["severity"] == "page"]
    assert (page["attribution"], page["model"], page["version"]) == ("the model changed", "challenger", "2")
    assert start_of("2013-05-14") < page["ts"] <= start_of("2013-05-16")
    assert page["delivered"]
    assert page["resolved"] is not None
    assert page["resolved"] > page["ts"]
    assert "page: the model changed: challenger 2" in text


def records(folder, name, kind):
    place = open_streams(f"sqlite:{folder / 'run' / 'streams'}")
    reader = place.reader([name])
    found = []
    while messages := reader.poll(10_000, 0.0):
        found += [decode(message.value, kind) for message in messages]
    reader.close()
    place.close()
    return found


def test_the_bad_version_is_warmed_ramped_up_under_guard_and_rolled_back_by_it_once(told):
    folder, report, text, _ = told
    (page,) = [alert for alert in report["alerts"] if alert["severity"] == "page"]
    done = records(folder, "control", Control)
    passed = "birdwatch deploy warm: it is warm" in text
    order = ["schedule", "register", *["warm"] * passed, "ramp", "rollback"]
    assert [control.action for control in done] == order
    assert [change["refused"] for change in report["changes"]] == [None] * len(order)
    assert done[0].author == "rendezvous"  # the demo's at its event time; the rendezvous itself has put none
    assert done[0].ts == start_of("2013-05-12")
    *_, ramp, rollback = done
    assert (ramp.params["percent"], ramp.params["guard"]) == (10, "rollback")
    # It was named while it served in shadow; when it is ramped up all the same, the guard acts at once.
    assert (rollback.author, rollback.model, rollback.version, rollback.ts) == ("guard", "challenger", "2", ramp.ts)
    assert done[1].ts < page["ts"] < ramp.ts
    assert page["after"] <= 500
    assert "guard: roll back challenger 2: the model changed" in text


def test_it_answers_no_more_than_its_share_until_the_guard_has_acted_and_none_after(told):
    folder, report, _, _ = told
    (ramped,) = report["ramped"]
    assert binomtest(ramped["answers"], max(ramped["of"], 1), 0.1).pvalue > 0.001
    assert report["answers_by_model"].get("challenger", 0) == ramped["answers"]
    controls = {control.action: control for control in records(folder, "control", Control)}
    bad = [result for result in records(folder, "results", Result) if result.model == "challenger"]
    assert {result.version for result in bad} <= {"2"}
    # What was asked in the hour of the ramp may still have been on its way.
    assert all(controls["ramp"].ts <= result.request_ts < controls["ramp"].ts + HOUR for result in bad)


def test_the_version_before_serves_again(told):
    folder, _, _, _ = told
    versions = [score.version for score in records(folder, "scores", Score) if score.model == "challenger"]
    assert [version for version, _ in groupby(versions)] == ["1", "2", "1"]


def test_the_days_are_put_beside_the_truth(told):
    _, report, _, _ = told
    assert report["days"]["judged"] == 4
    assert report["days"]["disrupted"] == 0


def test_a_tail_that_was_killed_is_started_again_and_that_is_said(told):
    _, _, text, _ = told
    assert "tail ended with code -9; it is started again" in text


def test_the_killed_tail_has_counted_what_an_undisturbed_one_counts(told):
    folder, _, _, _ = told
    subprocess.run(
        [
            sys.executable,
            "-m",
            "birdwatch",
            "tail",
            "--settings",
            "run/birdwatch.yaml",
            "--store",
            "again.db",
            "--until-end",
        ],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=120,
    )
    killed, undisturbed = (
        Store(folder / "run" / "birdwatch.db", readonly=True),
        Store(folder / "again.db", readonly=True),
    )
    _, until = killed.closed_range()
    assert until >= start_of("2013-05-16")
    expected = {key: value for key, value in undisturbed.digest().items() if key[0] < until}
    assert killed.digest() == expected
    killed.close()
    undisturbed.close()


def test_no_process_is_left_when_it_has_ended(told):
    _, _, _, pids = told
    assert len(pids) >= 10
    assert gone(pids)


def test_ctrl_c_stops_everything_and_a_taken_port_is_reported(tmp_path):
    with socket.socket() as taken:
        try:
            taken.bind(("127.0.0.1", 8501))
            taken.listen()
        except OSError:
            pass  # somebody else has it: just as well
        demo = Demo("--from", "2013-05-12", "--run-dir", "run", cwd=tmp_path)
        try:
            demo.read_until("port 8501 is taken")
            demo.read_until(r"the dashboard is at http://127\.0\.0\.1:(?!8501)\d+")
            demo.read_until("the first verdict")
            pids = demo.descendants()
            assert len(pids) >= 12
            demo.process.send_signal(signal.SIGINT)
            assert demo.finish() == 130
            assert "Stopped" in demo.text
            assert "Traceback" not in demo.text
            assert gone(pids)
        finally:
            demo.close()


def test_started_by_a_script_in_the_background_which_ctrl_c_does_not_reach_it_ends_when_it_is_told_to(tmp_path):
    deaf = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    demo = Demo("--no-dashboard", "--from", "2013-05-12", "--run-dir", "run", cwd=tmp_path, first=deaf)
    try:
        demo.read_until(r"\S")
        pids = demo.descendants()
        demo.process.send_signal(signal.SIGTERM)
        assert demo.finish() == 130
        assert "Stopped" in demo.text
        assert gone(pids)
    finally:
        demo.process.kill()
        demo.close()


def test_a_bandit_may_choose_and_all_that_it_served_is_recorded(tmp_path):
    demo = Demo(
        "--explore", "--from", "2013-05-20", "--days", 1, "--no-dashboard", "--run-dir", "run", "--record", "rec", cwd=tmp_path
    )  # fmt: skip
    try:
        assert demo.finish() == 0, demo.text
    finally:
        demo.close()
    decisions = read_stream(str(tmp_path / "rec/2013-05-20"), "metrics")
    rewards = read_stream(str(tmp_path / "rec/2013-05-20"), "outcomes").set_index("request_id")["reward"]
    assert {"first choice", "explored", "override"} <= set(decisions["reason"])
    assert {"champion", "challenger", "fallback"} <= set(decisions["model"])
    # Who takes the train knows at once what that is worth.
    stayed = decisions[decisions["accepted"] == 0]["request_id"]
    assert len(stayed) > 100
    assert set(rewards.loc[stayed]) == {TRAIN}
