"""What is asked of a window as a whole is worked out once, however many models ask."""

import yaml

from birdwatch.detect import sums
from birdwatch.detect.judge import Judge
from birdwatch.detect.kind import fleet_counts
from birdwatch.detect.rules import load_rules
from birdwatch.detect.window import Window, by_model, once
from birdwatch.windows.pane import COUNTERS, Counts, Series
from birdwatch.windows.store import Store

RULES = {
    "rules": [
        {"name": "errors", "kind": "rate", "window": "1m", "of": "errors", "tolerance": 0.01},
        {"name": "silence", "kind": "silence", "window": "1m", "share": 0.5},
        {"name": "slow", "kind": "latency", "window": "1m", "stage": "model", "objective": "250ms"},
    ]
}


def pane_of(models):
    pane = {}
    for number in range(models):
        pane[Series("counts", f"m{number}", "1")] = Counts.of([COUNTERS.index("events")], [200])
        pane[Series("latency.model", f"m{number}", "1")] = Counts.of([5], [200])
    return pane


def test_of_a_window_it_is_worked_out_once_and_of_a_plain_pane_each_time():
    asked = []

    def work(pane):
        asked.append(len(pane))
        return len(pane)

    window, pane = Window(pane_of(2)), pane_of(3)
    assert [once(window, "size", work), once(window, "size", work)] == [4, 4]
    assert [once(pane, "size", work), once(pane, "size", work)] == [6, 6]
    assert asked == [4, 6, 6]


def test_each_model_has_its_own_and_segments_are_left_out():
    pane = pane_of(2) | {Series("score", "m0", "1", "", "place=1"): Counts.of([1])}
    assert {model: sorted(s.measure for s in its) for model, its in by_model(pane).items()} == {
        "m0": ["counts", "latency.model"],
        "m1": ["counts", "latency.model"],
    }


def test_sums_over_the_fleet_are_told_apart_by_measure():
    window = Window(pane_of(3))
    assert fleet_counts(window, "latency.model").counts.sum() == 600
    assert fleet_counts(window, "selection").counts.sum() == 0


def test_the_judge_goes_through_a_window_as_often_for_many_models_as_for_few(tmp_path, monkeypatch):
    through = []

    class Counted(Window):
        def items(self):
            through.append("items")
            return super().items()

        def __iter__(self):
            through.append("iter")
            return super().__iter__()

    def often(models):
        through.clear()
        store = Store(tmp_path / f"{models}.db", pane_seconds=60)
        judge = Judge(store, load_rules(tmp_path / "rules"))
        with store.transaction():
            store.put(0, pane_of(models))
            findings = judge.step(60)
        store.close()
        assert {f.subject.model for f in findings} >= {f"m{n}" for n in range(models)}
        return len(through)

    monkeypatch.setattr(sums, "Window", Counted)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "rules.yaml").write_text(yaml.safe_dump(RULES))
    assert 0 < often(30) == often(3)
