"""What every kind of rule must stand: found by itself, built in or a plug-in, so that none is forgotten."""

import copy
import functools
import importlib
import math
import pkgutil
from collections import Counter
from types import MappingProxyType

import msgspec
import numpy as np
import pytest

import birdwatch.detect
from birdwatch.content import content
from birdwatch.detect.kind import Rule
from birdwatch.detect.rules import KINDS, load_kinds
from birdwatch.detect.verdict import Subject
from birdwatch.stats.grid import bins_of
from birdwatch.windows.pane import Counts, Series, merge

from .scenes import DAY, answers_pane, case, counted, draw, month, reference_of, scores_pane

RNG = np.random.default_rng(5)
SUBJECT = Subject("challenger", "1", "champion")
LEVEL = math.log(90)

PLUGINS, MISTAKES = load_kinds(content("detectors"))
ALL = PLUGINS.loaded()


# Every kind as its example has it, and kinds that a field makes another thing of.
RULES = {kind: (kind, {}) for kind in ALL} | {
    "distribution of features": ("distribution", {"of": "features"}),
    "distribution without tolerance": ("distribution", {"tolerance": 0}),
    "kswin": ("kswin", {"sample": 60, "window_size": 60, "stat_size": 30}),  # it is slow
    "latency of answers": ("latency", {"stage": "answer", "percentile": 0.5}),
    "learned rate": ("rate", {"of": "fallbacks", "tolerance": "auto"}),
    "selection at most": ("selection", {"reason": None, "tier": 1, "at_least": None, "at_most": 0.1}),
    "threshold of features": ("threshold", {"of": "features"}),
    "threshold of nulls": ("threshold", {"statistic": "null_rate"}),
}


def rule_of(name, **more):
    kind, said = RULES[name]
    return ALL[kind].model_validate({"name": "a-rule", "kind": kind, **ALL[kind].example, **said, **more})


def latencies(pane, mean=0.01):
    extra = {
        Series(f"latency.{stage}", "challenger", "1"): Counts.of(bins_of(RNG.exponential(mean, 200)))
        for stage in ("queue", "model", "answer")
    }
    return {**pane, **extra}


def inputs(mean=10.0, carrier="UA", missing=10):
    """Count watched inputs of 800 requests: a number, and a category."""
    carriers = Counter([carrier] * 400 + ["B6"] * 300 + ["DL"] * 100)
    return {
        Series("missing.visib"): Counts.of([0, 2], [missing, 800 - missing]),
        Series("feature.visib"): Counts.of(bins_of(RNG.normal(mean, 2.0, 800 - missing))),
        Series("missing.carrier"): Counts.of([2], [800]),
        **{Series("category.carrier", segment=name): Counts.of([0], [n]) for name, n in carriers.items()},
    }


@functools.cache
def ordinary():
    return tuple(merge([latencies(pane), answers_pane(800), inputs()]) for pane in month())


def bad(seed):
    """Count a day on which everything is wrong: inputs, scores, latencies, answers."""
    rng = np.random.default_rng(seed)
    scores = scores_pane(draw(rng, challenger=2.0, permute=True))
    wrong = {Series("counts", "challenger", "1"): counted(errors=200, nulls=100, orphans=100)}
    asked = answers_pane(800, missed=400, fallbacks=400)
    return merge([latencies(scores, mean=1.0), asked, wrong, inputs(mean=20.0, carrier="XX", missing=400)])


def times(pane, many):
    return {series: Counts(counts.bins, counts.counts * many) for series, counts in pane.items()}


def untouchable(pane):
    """A pane in which any change of a number or a series raises."""
    for counts in pane.values():
        for array in counts:
            array.flags.writeable = False
    return MappingProxyType(pane)


PANES = {
    "nothing at all": {},
    "one event": scores_pane({"champion": np.array([0.5]), "challenger": np.array([0.4])}),
    "five events": scores_pane({"champion": RNG.random(5), "challenger": RNG.random(5)}),
    "one value only": scores_pane({"champion": np.full(500, 0.25), "challenger": np.full(500, 0.25)}),
    "zeros and ones": scores_pane({m: RNG.choice([0.0, 1.0], 500) for m in ("champion", "challenger")}),
    "an outlier of 1e4": scores_pane({"champion": np.append(RNG.random(500), 1e4), "challenger": RNG.random(501)}),
    "only errors": {Series("counts", "challenger", "1"): counted(events=500, errors=250, nulls=250)},
    "an ordinary day": ordinary()[0],
    "a trillion events": times(ordinary()[0], 2**30),
    "a bad day": bad(0),
    "answers alone": answers_pane(500, missed=400, fallbacks=300),
    "inputs alone": inputs(),
    "nothing but missing inputs": {Series("missing.visib"): Counts.of([0, 1], [300, 200])},
}

REFERENCES = {
    "none": lambda scene: (),
    "too short": lambda scene: ordinary()[:3],
    "ordinary": lambda scene: ordinary(),
    "what it judges": lambda scene: (PANES[scene],) * 9,
    "a trillion events": lambda scene: tuple(times(pane, 2**30) for pane in ordinary()),
}


def against(name, scene):
    panes = REFERENCES[name](scene)
    return reference_of([untouchable(pane) for pane in panes]) if panes else None


def references_of(name):
    """Name the references that make a difference to a rule: all of them, or none for one that compares with nothing."""
    return REFERENCES if rule_of(name).compares_with else ["none"]


def numbers(value):
    """Give every number in a verdict, its details included."""
    if isinstance(value, float | int):
        yield value
    elif isinstance(value, msgspec.Struct):
        yield from numbers(msgspec.structs.asdict(value))
    elif isinstance(value, dict):
        for part in value.values():
            yield from numbers(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from numbers(part)


def through_json(state):
    return msgspec.json.decode(msgspec.json.encode(state))


def test_every_kind_is_in_the_registry_and_every_plug_in_loads():
    found = set()
    for module in pkgutil.iter_modules(birdwatch.detect.__path__):
        for value in vars(importlib.import_module(f"birdwatch.detect.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, Rule) and value.model_fields["kind"].annotation is not str:
                found.add(value)
    assert found == set(KINDS.values())
    assert list(KINDS) == sorted(KINDS)
    assert MISTAKES == []
    assert set(KINDS) < set(ALL)


@pytest.mark.parametrize("kind", ALL)
def test_a_kind_is_called_what_its_rules_say_and_explains_every_field(kind):
    rule = rule_of(kind)
    assert rule.kind == kind
    assert type(rule).__doc__
    for name, field in type(rule).model_fields.items():
        assert field.description, name


@pytest.mark.parametrize(
    ("name", "reference"), [(name, reference) for name in RULES for reference in references_of(name)]
)
@pytest.mark.parametrize("scene", PANES)
def test_a_rule_survives_whatever_a_window_holds_and_says_the_same_of_it_twice(name, scene, reference):
    rule, pane = rule_of(name), untouchable(PANES[scene])
    for subject in {*rule.subjects(pane, []), Subject(), SUBJECT}:
        asked = case(pane, msgspec.structs.astuple(subject), against(reference, scene))
        state = {}
        for _ in range(2):
            before = copy.deepcopy(state)
            verdict, after = rule.judge(asked, state, LEVEL)
            assert state == before, "the state is not changed"
            assert (verdict, after) == rule.judge(asked, before, LEVEL)
            assert (verdict.rule, verdict.kind, verdict.subject) == (rule.name, RULES[name][0], subject)
            assert (verdict.start, verdict.end) == (100 * DAY, 101 * DAY)
            assert verdict.status in ("ok", "drifting", "no data")
            assert verdict.reason
            assert "nan" not in verdict.reason
            assert all(math.isfinite(number) for number in numbers(verdict))
            assert through_json(after) == after
            assert msgspec.json.decode(msgspec.json.encode(verdict), type=type(verdict)) == verdict
            state = after


@pytest.mark.parametrize("name", RULES)
def test_counts_however_large_are_measured_as_small_ones_are(name):
    rule, pane, many = rule_of(name), PANES["an ordinary day"], PANES["a trillion events"]
    for subject in rule.subjects(pane, []):
        who = msgspec.structs.astuple(subject)
        small, _ = rule.judge(case(pane, who, against("ordinary", "")), {}, LEVEL)
        large, _ = rule.judge(case(many, who, against("a trillion events", "")), {}, LEVEL)
        assert large.n == small.n * 2**30
        assert large.value == pytest.approx(small.value, rel=0.01, abs=0.01) or large.value == large.n


# Days on which everything is in order, then wrong, then in order again, with nothing on one of them.
STORY = [*ordinary()[:5], *(bad(seed) for seed in range(3)), {}, *ordinary()[5:9]]


@pytest.mark.parametrize("name", RULES)
def test_a_process_that_is_killed_after_every_window_gives_the_verdicts_of_one_that_never_was(name):
    rule, reference = rule_of(name), reference_of(ordinary())
    said = set()
    for subject in {subject for pane in STORY for subject in rule.subjects(pane, [])}:
        kept, read = {}, {}
        for number, pane in enumerate(STORY):
            asked = case(pane, msgspec.structs.astuple(subject), reference, start=(100 + number) * DAY)
            alive, kept = rule.judge(asked, kept, LEVEL)
            # Another process has its own copy of the rule, and knows of the state what the store kept.
            again, read = rule_of(name).judge(asked, through_json(read), LEVEL)
            assert again == alive
            said.add(alive.status)
    assert said == {"ok", "no data", "drifting"} - NEVER.get(name, (set(), ""))[0]


NEVER = {
    "silence": ({"drifting"}, "what it finds is that nothing comes, and that is no data"),
    "traffic": ({"no data"}, "nothing where something was expected is what it finds"),
}


@pytest.mark.parametrize("name", RULES)
def test_an_ordinary_day_is_in_order(name):
    rule, pane = rule_of(name), PANES["an ordinary day"]
    reference = reference_of(ordinary())
    for subject in rule.subjects(pane, []):
        verdict, _ = rule.judge(case(pane, msgspec.structs.astuple(subject), reference), {}, LEVEL)
        assert verdict.status == "ok"
        assert not rule.alarms(verdict)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_about_other_models_names_no_model(name):
    found = rule_of(name, model="somebody-else").subjects(PANES["an ordinary day"], [])
    assert {subject.model for subject in found} <= {""}
