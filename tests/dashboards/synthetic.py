"""A seeded store of thirty days: four models, one bad day, verdicts and alerts, so that pages have something to show."""

from pathlib import Path
from typing import Any, Final

import numpy as np

from birdwatch.alerts.lifecycle import advance
from birdwatch.deltas import LaneLetters
from birdwatch.detect.budget import Budget, Watch
from birdwatch.detect.spending import create_table as create_ledger
from birdwatch.detect.spending import put_spending, write_looks
from birdwatch.detect.verdict import Finding, Subject, Verdict, create_table, put_verdicts
from birdwatch.records import Control
from birdwatch.stats.grid import bins_of
from birdwatch.streams import Partition
from birdwatch.windows.joint import JOINT_SPAN
from birdwatch.windows.lag import put_lag
from birdwatch.windows.pane import FIXED_POINT, JOINT_SHIFT, Counts, Series, selection_bin
from birdwatch.windows.store import Extreme, Source, Store
from birdwatch.windows.unreadable import put_unreadable

START: Final = 1_709_251_200  # 2024-03-01T00:00:00Z
HOUR: Final = 3_600
DAY: Final = 86_400
DAYS: Final = 30
WORLD_DAY: Final = 17
BAD_DAY: Final = 24
MODELS: Final = {"champion": "1", "challenger": "1", "fallback": "1", "canary": "1"}
PAST: Final = {"range": "custom", "from": "2024-03-18T00:00", "to": "2024-03-26T06:00"}
"""What a link asks for that shows the bad day with its page, and the odd one before it."""
SEGMENTS: Final = ("origin=EWR", "origin=JFK")
_BIAS: Final = {"champion": 0.0, "challenger": 0.01, "fallback": -0.02, "canary": 0.03}


def page_now(store: Store) -> None:
    """Have the challenger page at the end of the store."""
    subject, end = Subject("challenger", "1", "champion"), START + DAYS * DAY
    told: dict[str, Any] = {"reason": "it differs", "attribution": "the model changed", "severity": "page"}
    advance(store, [Finding(rule="pairs", subject=subject, ts=end, active=True, **told)])


def write_store(path: Path, days: int = DAYS, seed: int = 7) -> Store:
    """Write the store and leave it open."""
    rng = np.random.default_rng(seed)
    store = Store(path, pane_seconds=HOUR)
    create_table(store)
    create_ledger(store)
    spending = Budget().spend(
        [Watch("pairs", 3, DAY), Watch("sla-misses", 1, DAY // 2), Watch("new", 1, DAY, tried=True)]
    )
    with store.transaction():
        for hour in range(days * 24):
            store.put(START + hour * HOUR, pane(rng, hour))
            store.put_extremes(START + hour * HOUR, _extremes(hour))
        for day in range(1, days):
            put_verdicts(store, _verdicts(rng, day))
            advance(store, _findings(day))
            for rule, looks in (("pairs", 3), ("sla-misses", 2)):
                level = spending.rules[rule].level
                write_looks(store, START + day * DAY, "page", rule, looks=looks, level=level)
        store.put_duplicates(START + (days - 1) * DAY, {"scores": 3})
        for hour in range(days * 24):
            _reading(store, hour)
        store.add_late(START + (days - 1) * DAY, "outcomes", 2)
        put_spending(store, {"page": spending})
        for offset, control in enumerate(_controls(days)):
            store.put_control(Partition("control"), offset, control)
        end = START + days * DAY
        store.put_sources(
            [
                Source("scores", 0, "champion", end - 40.0, idle=False),
                Source("scores", 0, "challenger", end - 31.0, idle=False),
                Source("scores", 0, "fallback", end - 42.0, idle=False),
                Source("canary", 0, "canary", end - 35.0, idle=False),
                Source("metrics", 0, "", end - 30.0, idle=False),
            ]
        )
    return store


def _reading(store: Store, hour: int) -> None:
    """Note how the reading stood: a tail that was away for three hours of a day, and a producer that wrote no JSON."""
    start, away = START + hour * HOUR, hour % 24 - 6 if hour // 24 == WORLD_DAY else -1
    for behind in (220 * (away + 1) if 0 <= away < 3 else hour % 3, 0):
        put_lag(store, start, {Partition("requests"): behind // 5, Partition("scores"): behind}, of_all=True)
    if hour // 24 == BAD_DAY and hour % 6 == 0:
        bad = {"stream": "scores", "kind": "unreadable", "n": 4 + hour % 24, "first": f"scores/0@{hour * 100}"}
        put_unreadable(store, start, [LaneLetters(**bad, reason="JSON is malformed: invalid character (byte 80)")])


def version_at(model: str, day: int) -> str:
    """Give the version that serves on a day: the challenger's second one lasts for the bad day alone."""
    return "2" if model == "challenger" and day == BAD_DAY else MODELS[model]


def pane(rng: np.random.Generator, hour: int) -> dict[Series, Counts]:
    day, of_day = divmod(hour, 24)
    n = int(rng.poisson(12 + 50 * np.exp(-(((of_day - 15) / 6) ** 2))))
    world = rng.normal(0.0, 0.05) + (0.5 if day == WORLD_DAY else 0.0)
    risk = 1 / (1 + np.exp(-(rng.normal(-1.4, 0.8, n) + world + 0.04 * (of_day - 12))))
    pane: dict[Series, Counts] = {}
    scores: dict[str, np.ndarray] = {}
    for model, bias in _BIAS.items():
        version = version_at(model, day)
        noise = 0.18 if version == "2" else 0.02
        scores[model] = np.clip(risk + bias + rng.normal(0, noise, n), 0.001, 0.999)
        slow = {"champion": 0.012, "challenger": 0.018, "fallback": 0.002, "canary": 0.011}[model]
        inside = slow * np.exp(rng.normal(0, 0.5, n)) * (3.0 if version == "2" else 1.0)
        queue = 0.0008 * np.exp(rng.normal(0, 0.7, n))
        pane[Series("counts", model, version)] = Counts.of([1], [n])
        pane[Series("score", model, version)] = Counts.of(bins_of(scores[model], "probability"))
        pane[Series("latency.model", model, version)] = Counts.of(bins_of(inside))
        pane[Series("latency.queue", model, version)] = Counts.of(bins_of(queue))
    for model, partner in (("challenger", "champion"), ("fallback", "champion"), ("champion", "canary")):
        d = scores[model] - scores[partner]
        name = (model, version_at(model, day), partner)
        pane[Series("pair", *name)] = _pair(d)
        pane[Series("difference", *name)] = Counts.of(bins_of(d))
        ours, theirs = (bins_of(scores[m], "probability") >> JOINT_SHIFT for m in (model, partner))
        centre = JOINT_SPAN // 2
        pane[Series("joint", *name)] = Counts.of((ours + centre) * JOINT_SPAN + theirs + centre)
    pane[Series("feature.visib")] = Counts.of(bins_of(rng.normal(8 - 4 * (day == WORLD_DAY), 1.0, n), "real"))
    pane[Series("category.carrier", segment="UA")] = Counts.of([0], [n // 2])
    pane[Series("category.carrier", segment="B6")] = Counts.of([0], [n - n // 2])
    for place, segment in enumerate(SEGMENTS):
        part = slice(place, None, len(SEGMENTS))
        d = (scores["champion"] - scores["canary"])[part]
        pane[Series("pair", "champion", "1", "canary", segment)] = _pair(d)
        pane[Series("counts", segment=segment)] = Counts.of([0], [risk[part].size])
        for model, found in scores.items():
            name = (model, version_at(model, day), "", segment)
            pane[Series("counts", *name)] = Counts.of([1], [found[part].size])
            pane[Series("score", *name)] = Counts.of(bins_of(found[part], "probability"))
    fallen = int(rng.binomial(n, 0.002))
    answer = 0.016 * np.exp(rng.normal(0, 0.45, n)) + 0.004
    pane[Series("latency.answer", "champion", "1")] = Counts.of(bins_of(answer))
    pane[Series("selection", "champion", "1")] = Counts.of([selection_bin(0, "first choice")], [n - fallen])
    pane[Series("selection", "fallback", "1")] = Counts.of([selection_bin(1, "timed out")], [fallen])
    pane[Series("counts")] = Counts.of(
        [0, 4, 5, 6, 7], [n, n, int(rng.binomial(n, 0.0005)), n, int(rng.binomial(n, 0.22))]
    )
    return {series: counts for series, counts in pane.items() if counts.bins.size}


def _pair(d: np.ndarray) -> Counts:
    fixed = np.round(d * FIXED_POINT).astype(np.int64)
    squares = np.ceil(d * d * FIXED_POINT).astype(np.int64)
    return Counts.of([0, 1, 2], [d.size, int(fixed.sum()), int(squares.sum())])


def _extremes(hour: int) -> list[Extreme]:
    version = version_at("challenger", hour // 24)
    worst = 0.9 if version == "2" else 0.3
    return [Extreme("challenger", version, "champion", f"r{hour}-{i}", worst - i / 50, 0.2) for i in range(3)]


def _verdicts(rng: np.random.Generator, day: int) -> list[Verdict]:
    window = {"start": START + (day - 1) * DAY, "end": START + day * DAY}
    seen = day - 1
    found = []
    for model in MODELS:
        value = float(rng.uniform(0.06, 0.2)) + (0.25 if seen == WORLD_DAY else 0.0)
        found.append(
            _judged("scores", "distribution", "ks", Subject(model, version_at(model, seen)), value, 0.27, window)
        )
    shares = {
        ("fallback", "champion"): float(rng.uniform(0.1, 0.2)),
        ("challenger", "champion"): 0.54 if seen == BAD_DAY else float(rng.uniform(0.06, 0.16)),
        ("champion", "canary"): float(rng.uniform(0.07, 0.18)),
    }
    for (model, partner), share in shares.items():
        subject = Subject(model, version_at(model, seen), partner)
        found.append(_judged("disagreement", "disagreement", "disagreement", subject, share, 0.24, window))
        found.append(_judged("pairs", "paired", "mean", subject, share / 10, 0.05, window))
    storm = seen == WORLD_DAY
    # An objective of 100 ms on the answer, and of 60 ms inside the models: kept but on the bad day.
    subject = Subject("champion", "1")
    found.append(_judged("answer-latency", "latency", "p99", subject, 0.055, 0.1, window))
    subject = Subject("challenger", version_at("challenger", seen))
    slow = 0.14 if seen == BAD_DAY else 0.05
    found.append(_judged("model-latency", "latency", "p99", subject, slow, 0.06, window))
    for name, value in (("visib", 0.6 if storm else 0.2), ("carrier", 0.05)):
        found.append(_judged("inputs", "distribution", "ks", Subject(feature=name), value, 0.5, window))
    return found


def _judged(
    rule: str, kind: str, statistic: str, subject: Subject, value: float, tolerance: float, window: dict[str, int]
) -> Verdict:
    drifting = value > tolerance
    details: dict[str, Any] = {"since": window["start"]}
    if kind == "latency":
        details |= {"stage": rule.partition("-")[0], "percentile": 0.99}
    if kind == "paired":
        details["usual_mean"] = 0.0
    if kind == "distribution":
        details["moved"] = [{"value": "0.5 to 0.6", "now": value, "before": 0.05}]
    elif drifting:
        details["largest"] = [{"request_id": "r1", "score": 0.9, "partner_score": 0.1}]
        details["segments"] = [{"segment": "origin=EWR", "value": 0.8, "usual": 0.1, "n": 300}]
    return Verdict(
        rule=rule,
        kind=kind,
        **window,
        subject=subject,
        status="drifting" if drifting else "ok",
        reason=f"{statistic} {value:.2f} {'exceeds' if drifting else 'is within'} {tolerance:.2f}",
        statistic=statistic,
        value=value,
        tolerance=tolerance,
        effect=max(0.0, value - tolerance),
        evidence=12.0 if drifting else -0.5,
        threshold=10.0,
        alarmed=drifting,
        n=900,
        details=details,
    )


def _findings(day: int) -> list[Finding]:
    """What the judge would say at the end of the day before: a ticket for the odd day, a page for the bad version."""
    ts, seen = START + day * DAY, day - 1
    found = [
        Finding(
            rule="scores",
            subject=Subject(),
            ts=ts,
            severity="ticket",
            active=seen == WORLD_DAY,
            attribution="inputs changed" if seen == WORLD_DAY else "",
            reason="champion and canary left their references together: KS 0.38 and 0.41 where 0.27 is usual",
            statistic="ks",
            value=0.38,
            tolerance=0.27,
            n=900,
        )
    ]
    if seen >= BAD_DAY:
        found.append(
            Finding(
                rule="pairs",
                subject=Subject("challenger", "2", "champion"),
                ts=ts,
                severity="page",
                active=seen == BAD_DAY,
                attribution="the model changed" if seen == BAD_DAY else "",
                reason="54 % of requests differ from the champion by more than usual (24 % is tolerated),"
                " while champion and canary agree as always",
                statistic="disagreement",
                value=0.54,
                tolerance=0.24,
                n=900,
            )
        )
    return found


def _controls(days: int) -> list[Control]:
    tiers = {"tiers": [{"models": ["champion"]}, {"models": ["fallback"]}], "default": 0.2}
    controls = [
        Control(ts=START, action="register", author="ops", reason="start", model=model, version=version)
        for model, version in MODELS.items()
    ]
    controls.append(Control(ts=START, action="champion", author="ops", reason="start", model="champion", version="1"))
    controls.append(Control(ts=START, action="schedule", author="ops", reason="start", params=tiers))
    if days > BAD_DAY:
        begin = START + BAD_DAY * DAY
        controls += [
            Control(ts=begin, action="register", author="ana", reason="new features", model="challenger", version="2"),
            Control(
                ts=begin + DAY,
                action="rollback",
                author="ana",
                reason="disagrees with the champion",
                model="challenger",
                version="2",
                params={"to": "1"},
            ),
        ]
    return controls
