"""`birdwatch tail` takes its settings from the file, the environment and the command line."""

import gzip
import json

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from birdwatch.cli.main import app
from birdwatch.health import Health
from birdwatch.records import Control, encode
from birdwatch.streams import open_streams
from birdwatch.testing import a_request, a_score
from birdwatch.windows.pane import Series
from birdwatch.windows.store import Store
from birdwatch.windows.tail import Tail

NOON = 1_368_532_800.0


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = open_streams("sqlite:streams")
    for n in range(300):
        ts = NOON + n
        place.append("requests", [(b"", encode(a_request(id=str(n), ts=ts, received_ts=ts)))])
        scores = [
            a_score(request_id=str(n), request_ts=ts, ts=ts, model=model, score=score)
            for model, score in (("best", 0.4), ("other", 0.1 * (n % 10)), ("old", 0.3))
        ]
        place.append("scores", [(b"", encode(score)) for score in scores])
    place.append("scores", [(b"", b"{")])
    control = Control(ts=NOON - 1, action="champion", author="me", reason="it is", model="best")
    place.append("control", [(b"", encode(control))])
    place.close()
    return tmp_path


def run(*arguments):
    found = CliRunner().invoke(app, ["tail", "--until-end", "--json", *arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_it_counts_all_there_is_and_says_how_much(here):
    found = run("--streams", "sqlite:streams", "--store", "a.db")
    assert found == {
        "messages": 300 + 900 + 1 + 1,
        "dead_letters": 1,
        "store": "a.db",
        "since": int(NOON),
        "until": int(NOON) + 300,
    }


def test_a_canary_that_writes_to_scores_is_known_by_its_name(here):
    (here / "birdwatch.yaml").write_text(yaml.safe_dump({"streams": "sqlite:streams", "canary": "old"}))
    run("--store", "a.db", "--pane-seconds", "300")
    pane = Store("a.db", readonly=True).pane(0, 2**40)
    assert {(s.model, s.partner) for s in pane if s.measure == "pair"} == {("best", "old"), ("other", "best")}


def test_scores_on_the_real_scale_are_summed_in_their_unit(here, monkeypatch):
    monkeypatch.setenv("BIRDWATCH_SCALE", "real")
    monkeypatch.setenv("BIRDWATCH_UNIT", "0.001")
    run("--streams", "sqlite:streams", "--store", "a.db", "--pane-seconds", "300")
    pair = Store("a.db", readonly=True).pane(0, 2**40)[Series("pair", "other", "1", "best")]
    sums = dict(zip(pair.bins.tolist(), pair.counts.tolist(), strict=True))
    # Differences of -.4 to +.5 are -400 to +500 units; those beyond 256 are clipped, and counted: -.4, -.3, .3, .4, .5.
    assert sums[3] == 150
    assert sums[1] == 30 * (-256 - 256 - 200 - 100 + 100 + 200 + 256 + 256 + 256) * 2**20


def test_the_same_store_is_not_counted_twice(here):
    run("--streams", "sqlite:streams", "--store", "a.db")
    first = Store("a.db", readonly=True).digest()
    assert run("--streams", "sqlite:streams", "--store", "a.db")["dead_letters"] == 0
    assert Store("a.db", readonly=True).digest() == first


def test_it_answers_for_its_health_while_it_reads(here, monkeypatch):
    seen = {}
    original = Tail.finish

    def finish(self):
        original(self)
        base = told.pop()
        seen.update({path: httpx.get(f"{base}/{path}") for path in ("healthz", "readyz", "metrics")})

    told = []
    show = Health.show
    monkeypatch.setattr(Tail, "finish", finish)
    monkeypatch.setattr(
        Health, "show", lambda self, *a: (told.append(f"http://127.0.0.1:{self.port}"), show(self, *a))[1]
    )
    assert run("--streams", "sqlite:streams", "--store", "a.db", "--health-port", "0")["dead_letters"] == 1
    assert [(seen[path].status_code, seen[path].text) for path in ("healthz", "readyz")] == [
        (200, "ok\n"),
        (200, "ready\n"),
    ]
    assert "birdwatch_tail_messages_total 1202.0" in seen["metrics"].text
    assert "birdwatch_tail_panes_closed_total 5.0" in seen["metrics"].text


def test_a_recorded_file_that_was_cut_short_is_named_and_the_rest_is_counted(here):
    (here / "recorded").mkdir()
    for stream, records in {
        "requests": [a_request(id=f"r{n}", ts=NOON + n) for n in range(300)],
        "scores": [a_score(request_id=f"r{n}", request_ts=NOON + n, ts=NOON + n, model="best") for n in range(300)],
    }.items():
        content = gzip.compress(b"\n".join(map(encode, records)) + b"\n")
        cut = len(content) // 2 if stream == "scores" else len(content)
        (here / "recorded" / f"{stream}.jsonl.gz").write_bytes(content[:cut])
    found = CliRunner().invoke(app, ["tail", "--until-end", "--json", "--streams", "files:recorded", "--store", "a.db"])
    assert found.exit_code == 2
    assert "recorded/scores.jsonl.gz is damaged: Compressed file ended before" in found.stderr
    counted = json.loads(found.stdout)
    assert counted["until"] == int(NOON) + 300
    assert 300 < counted["messages"] < 600
