"""The judge over a large fleet: CPU time of a minute's judging, by the number of models.

.venv/bin/python -m benchmarks.scale.judged MODELS
"""

import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from birdwatch.detect.judge import Judge
from birdwatch.detect.rules import load_rules
from birdwatch.detect.verdict import read_verdicts
from birdwatch.stats.grid import bins_of
from birdwatch.windows.pane import COUNTERS, FIXED_POINT, Counts, Pane, Series
from birdwatch.windows.store import Store

__all__ = ["A_MINUTE", "BEGIN", "DAY", "VARIANTS", "a_minute", "fleet", "opened"]

CHAMPION: Final = "champion"
A_MINUTE: Final = 60
BEGIN: Final = 1_760_000_400
REQUESTS: Final = 100
"""In a minute, each scored by every model."""

VARIANTS: Final = 4
"""So many panes are drawn, and stand in turns."""

DAY: Final = 86_400
HISTORY: Final = 20
"""Minutes of the day before, which is what rules compare with."""

MOST: Final = 5
SHORT: Final = 5.0
"""What takes longer, in seconds, is measured once."""

SEED: Final = 20_260_018


_EVERY: Final = {"window": "1m", "min_events": 20}
RULES: Final = {
    "rules": [
        {"name": "scores", "kind": "distribution", **_EVERY, "reference": {"trailing": "1d"}, "tolerance": 0.1},
        {"name": "latency", "kind": "latency", **_EVERY, "stage": "model", "objective": "250ms"},
        {"name": "errors", "kind": "rate", **_EVERY, "of": "errors", "tolerance": 0.01},
        {"name": "pairs", "kind": "paired", **_EVERY, "reference": {"trailing": "1d"}, "tolerance": 0.05},
        {"name": "silence", "kind": "silence", **_EVERY, "share": 0.5},
    ]
}
"""Five rules that judge every model, each minute."""


def opened(folder: Path, judge_from: float | None = None) -> tuple[Store, Judge]:
    """Give an empty store in a folder, and who judges its minutes by `RULES`, those before a moment only as reference."""
    (folder / "rules.yaml").write_text(yaml.safe_dump(RULES), encoding="utf-8")
    store = Store(folder / "panes.db", pane_seconds=A_MINUTE)
    return store, Judge(store, load_rules(folder), judge_from=judge_from)


def fleet(models: int, moved: float = 0.0) -> list[Pane]:
    """Draw some minutes of a champion and its challengers, each of which scores every request; the champion's may move."""
    rng = np.random.default_rng(SEED)
    return [_pane(rng, models, moved) for _ in range(VARIANTS)]


def _pane(rng: np.random.Generator, models: int, moved: float) -> Pane:
    base = rng.beta(2, 5, size=REQUESTS)
    champions = base
    pane: Pane = {Series("counts"): Counts.of([COUNTERS.index("requests")], [REQUESTS])}
    for number in range(models):
        name = CHAMPION if number == 0 else f"challenger-{number}"
        scores = np.clip(base + 0.02 * rng.normal(size=REQUESTS) - (0 if number else moved), 1e-6, 1 - 1e-6)
        champions = scores if number == 0 else champions
        pane[Series("counts", name, "1")] = Counts.of([COUNTERS.index("events")], [REQUESTS])
        pane[Series("score", name, "1")] = Counts.of(bins_of(scores, "probability"))
        pane[Series("latency.model", name, "1")] = Counts.of(bins_of(rng.exponential(0.02, size=REQUESTS), "real"))
        if number:
            apart = scores - champions
            fixed = np.rint(apart * FIXED_POINT).astype(np.int64)
            sums = [REQUESTS, int(fixed.sum()), int((fixed * fixed).sum())]
            pane[Series("pair", name, "1", CHAMPION)] = Counts.of([0, 1, 2], sums)
            pane[Series("difference", name, "1", CHAMPION)] = Counts.of(bins_of(apart, "real"))
    return pane


def main() -> None:
    """Judge some minutes; print as JSON what each took, and each of those in which the champion alone has moved."""
    models = int(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="birdwatch-bench-") as folder:
        store, judge = opened(Path(folder), judge_from=BEGIN)
        usual, moved = fleet(models), fleet(models, moved=0.3)
        for minute in range(HISTORY):
            with store.transaction():
                store.put(BEGIN - DAY + minute * A_MINUTE, usual[minute % VARIANTS])
        found: dict[str, Any] = {}
        end = BEGIN
        for name, panes, most in (("first", usual, 1), ("minutes", usual, MOST), ("moved", moved, MOST)):
            took: list[float] = []
            while len(took) < most and (not took or took[-1] < SHORT):
                took.append(a_minute(store, judge, end, panes[len(took) % VARIANTS]))
                end += A_MINUTE
            found[name] = took
        found["said"] = Counter(verdict.status for verdict in read_verdicts(store, end - A_MINUTE, end))
        store.close()
    sys.stdout.write(json.dumps(found) + "\n")


def a_minute(store: Store, judge: Judge, start: int, pane: Pane) -> float:
    """Close a minute, and give the CPU seconds of judging what is due."""
    with store.transaction():
        store.put(start, pane)
    before = time.process_time()
    with store.transaction():
        judge.step(start + A_MINUTE)
    return time.process_time() - before


if __name__ == "__main__":
    main()
