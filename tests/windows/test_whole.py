"""The parts of a pane, counted apart and added up, are the pane counted at once."""

import numpy as np
import pytest

from birdwatch.config import Feature, Segment, Settings
from birdwatch.records import Request, Score, encode
from birdwatch.streams import Message
from birdwatch.windows.counting import Counting
from birdwatch.windows.inputs import Inputs
from birdwatch.windows.pane import OTHER, merge
from birdwatch.windows.whole import whole

START = 1_700_000_040
SETTINGS = Settings(
    pane_seconds=60,
    champion="a",
    features={"from": Feature(kind="category", most=3), "size": Feature()},
    segments={"from": Segment(most=2), "size": Segment(kind="number")},
)
CATEGORIES = ["JFK", "LGA", "EWR", "(odd", "\\odd", "(other)", "BOS", None]


def drawn(rng, requests=True):
    """Give the records of one pane by the lane they are in; equal frequencies of categories are likely."""
    lanes = [[] for _ in range(3)]
    for n in range(int(rng.integers(0, 60))):
        lane = lanes[int(rng.integers(3))]
        features = {"from": CATEGORIES[int(rng.integers(len(CATEGORIES)))], "size": float(rng.integers(1, 50))}
        asked = Request(id=f"r{n}", ts=START, received_ts=START, deadline_seconds=1, features=features)
        if requests and rng.random() < 0.9:
            lane += [("requests", asked)] * int(rng.integers(1, 3))
        for model in "abc":
            if rng.random() < 0.8:
                score = Score(
                    request_id=f"r{n}", request_ts=START, ts=START, model=model, version="1", score=float(rng.random())
                )
                lane += [("canary" if model == "c" else "scores", score)] * int(rng.integers(1, 3))
    return lanes


def columns(counting, records):
    parts = {}
    for stream, record in records:
        found, _, faults = counting.decoder(stream)([Message(stream, 0, 0, b"", encode(record))])
        assert faults == []
        parts.setdefault(stream, []).append(found)
    return parts


def digest(pane):
    return {series: (counts.bins.tolist(), counts.counts.tolist()) for series, counts in pane.items()}


@pytest.mark.parametrize("seed", range(30))
def test_parts_add_up_to_the_whole(seed):
    rng = np.random.default_rng(seed)
    lanes = drawn(rng, requests=seed % 5 > 0)
    counting = Counting(SETTINGS, now=lambda: START + 1e6)
    at_once = counting.build(columns(counting, [row for lane in lanes for row in lane]), START, whole=True)
    parts = [counting.build(columns(counting, lane), START, whole=False) for lane in lanes]
    added = merge(part.pane for part in parts)
    assert digest(whole(added, Inputs.of(SETTINGS))) == digest(at_once.pane)


def test_there_is_something_to_fold():
    rng = np.random.default_rng(1)
    counting = Counting(SETTINGS, now=lambda: START + 1e6)
    rows = [row for lane in drawn(rng) for row in lane]
    built = counting.build(columns(counting, rows), START, whole=True)
    assert {series.segment for series in built.pane} >= {OTHER, f"from={OTHER}"}
