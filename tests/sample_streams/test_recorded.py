"""The recorded streams tell their story, in any order and with any repetition."""

import json
import random
from pathlib import Path

import pytest

from birdwatch.alerts.history import read_alerts
from birdwatch.alerts.lifecycle import advance
from birdwatch.config import load_settings
from birdwatch.content import content
from birdwatch.detect.judge import Judge
from birdwatch.detect.rules import load_rules
from birdwatch.detect.verdict import read_verdicts
from birdwatch.streams import open_streams
from birdwatch.testing import MemoryStreams
from birdwatch.windows.store import Store
from birdwatch.windows.tail import Tail

SAMPLES = content("sample_streams")
EVENTS = ("2013-05-14", "2013-06-07")


def references_of(event):
    return sorted((SAMPLES / event).glob("reference-*.json.gz"))


def count(streams, path, *, references=(), limit=10_000):
    """Count streams into a new store, judging as they go."""
    settings = load_settings(SAMPLES / "birdwatch.yaml")
    store = Store(path, pane_seconds=settings.pane_seconds)
    judge = Judge(
        store,
        load_rules(content("detectors")),
        windows_start_seconds=settings.windows_start_seconds,
        references=references,
        canary=settings.canary,
    )
    tail = Tail(streams, store, settings, on_closed=lambda until: advance(store, judge.step(until)), finite=True)
    while tail.step(limit, 0.0):
        pass
    tail.finish()
    tail.close()
    return store


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("2013-05-14", [("page", "the model changed", "challenger", "2")]),
        ("2013-06-07", [("ticket", "inputs changed", "", "")]),
    ],
)
def test_they_tell_the_changed_model_from_the_changed_world(tmp_path, event, expected):
    place = open_streams(f"files:{SAMPLES / event}")
    store = count(place, tmp_path / "a.db", references=references_of(event))
    told = [(a.severity, a.attribution, a.model, a.version) for a in read_alerts(store, 0, 2**40)]
    assert [alert for alert in told if alert[1] and alert[0] != "info"] == expected


@pytest.mark.parametrize("event", EVENTS)
def test_shuffled_within_the_lateness_and_doubled_they_give_the_same_panes_and_verdicts(tmp_path, event):
    recorded = open_streams(f"files:{SAMPLES / event}")
    plain = count(recorded, tmp_path / "a.db", references=references_of(event))
    shuffled, draw = MemoryStreams(), random.Random(event)
    for name in recorded.names():
        reader = recorded.reader([name])
        turns = []
        while found := reader.poll(10_000, 0.0):
            for number, message in enumerate(found):
                record = json.loads(message.value)
                ts = record["ts"] if name == "outcomes" else record.get("request_ts", record["ts"])
                # Every seventh message comes twice; each within the two minutes that a record may be late.
                turns += [(ts + draw.uniform(0, 119), message) for _ in range(2 if number % 7 == 0 else 1)]
        reader.close()
        shuffled.append(name, [(m.key, m.value) for _, m in sorted(turns, key=lambda turn: turn[0])])
    store = count(shuffled, tmp_path / "b.db", references=references_of(event), limit=700)
    late = sum(arrivals.late for arrivals in store.arrivals(0, 2**40).values())
    assert store.arrivals(0, 2**40)["scores"].duplicates > 1000
    assert late == 0
    assert store.digest() == plain.digest()
    verdicts = [read_verdicts(each, 0, 2**40) for each in (plain, store)]
    assert len(verdicts[0]) > 100
    assert verdicts[0] == verdicts[1]


def test_they_are_small():
    assert sum(path.stat().st_size for path in Path(SAMPLES).rglob("*") if path.is_file()) < 15 * 2**20
