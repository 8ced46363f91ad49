"""Seeded traffic for the tests of this folder: requests, scores of four models, decisions, outcomes."""

import numpy as np

from birdwatch import records
from birdwatch.records import Control, Decision, Outcome, Request, Score

START = 1_700_000_040.0  # the beginning of a minute

MODELS = ("champion", "challenger", "fallback")


def traffic(seconds=600, rate=2.0, seed=7):
    """Give (event time, stream, record) in order of event time; about one score in fifty is missing or an error."""
    rng = np.random.default_rng(seed)
    events = []
    for i, ts in enumerate(sorted(rng.uniform(START, START + seconds, int(seconds * rate)).tolist())):
        request_id, base = f"r{i}", rng.beta(2, 5)
        features = {"size": i % 7 * 1.5, "from": "ABCD"[i % 3 + i % 2]} if i % 11 else {"size": None}
        asked = Request(id=request_id, ts=ts, received_ts=ts, deadline_seconds=1, features=features)
        events.append((ts, "requests", asked))
        for model in (*MODELS, "canary"):
            fate = rng.random()
            if fate < 0.01:
                continue
            failed = fate < 0.02
            score = Score(
                request_id=request_id,
                request_ts=ts,
                ts=ts + 0.01,
                model=model,
                version="2" if model == "challenger" and i % 3 == 0 else "1",
                score=None if failed else float(np.clip(base + rng.normal(0, 0.02), 0, 1)),
                error="it broke" if failed else None,
                queue_seconds=float(rng.exponential(0.001)),
                elapsed_seconds=float(rng.exponential(0.004)),
            )
            events.append((ts + 0.01, "canary" if model == "canary" else "scores", score))
        late = bool(rng.random() < 0.02)
        decision = Decision(
            request_id=request_id,
            request_ts=ts,
            ts=ts + 0.02,
            latency_seconds=float(rng.exponential(0.01)),
            deadline_seconds=1,
            model="fallback" if late else "champion",
            version="1",
            tier=1 if late else 0,
            reason="timed out" if late else "first choice",
            within_sla=bool(rng.random() > 0.01),
            propensities={"champion": 1 - i % 5 / 8, "challenger": i % 5 / 8},
        )
        events.append((ts + 0.02, "metrics", decision))
        outcome = Outcome(request_id=request_id, request_ts=ts, ts=ts + 30, label=float(rng.random() < base))
        events.append((ts + 30, "outcomes", outcome))
    return sorted(events, key=lambda event: (event[0], event[1]))


def champion_named(ts=START):
    return Control(ts=ts - 60, action="champion", author="test", reason="it is the best", model="champion")


def write(streams, events):
    """Append events, each stream in the order given."""
    by_stream = {}
    for _, stream, record in events:
        by_stream.setdefault(stream, []).append((b"", records.encode(record)))
    for stream, messages in by_stream.items():
        streams.append(stream, messages)


def shuffled(events, within, seed=3):
    """Put events in another order, none of them later than ``within`` seconds after its turn."""
    rng = np.random.default_rng(seed)
    return [e for _, e in sorted(((e[0] + rng.uniform(0, within), e) for e in events), key=lambda pair: pair[0])]
