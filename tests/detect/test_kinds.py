"""What every kind of rule must stand: found in the registry, so that none is forgotten."""

import copy
import functools
import importlib
import math
import pkgutil
from types import MappingProxyType

import msgspec
import numpy as np
import pytest

import birdwatch.detect
from birdwatch.detect.kind import Rule
from birdwatch.detect.rules import KINDS
from birdwatch.detect.share import ShareRule
from birdwatch.detect.verdict import Subject
from birdwatch.stats.grid import bins_of
from birdwatch.windows.pane import Counts, Series, merge

from .scenes import DAY, answers_pane, case, counted, month, reference_of, scores_pane

RNG = np.random.default_rng(5)
SUBJECT = Subject("challenger", "1", "champion")


def rule_of(kind, **more):
    return KINDS[kind].model_validate({"name": f"a-{kind}", "kind": kind, **KINDS[kind].example, **more})


def latencies(pane):
    extra = {
        Series(f"latency.{stage}", "challenger", "1"): Counts.of(bins_of(RNG.exponential(0.01, 200)))
        for stage in ("queue", "model", "answer")
    }
    return {**pane, **extra}


@functools.cache
def ordinary():
    return [merge([latencies(pane), answers_pane(800)]) for pane in month()]


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
    "answers alone": answers_pane(500, missed=400, fallbacks=300),
}


def test_every_kind_is_in_the_registry():
    found = set()
    for module in pkgutil.iter_modules(birdwatch.detect.__path__):
        for value in vars(importlib.import_module(f"birdwatch.detect.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, Rule) and value not in (Rule, ShareRule):
                found.add(value)
    assert found == set(KINDS.values())
    assert list(KINDS) == sorted(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_called_what_its_rules_say_and_explains_every_field(kind):
    rule = rule_of(kind)
    assert rule.kind == kind
    assert type(rule).__doc__
    for name, field in type(rule).model_fields.items():
        assert field.description, name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scene", PANES)
@pytest.mark.parametrize("reference", ["none", "too short", "ordinary", "one value only"])
def test_a_rule_survives_whatever_a_window_holds(kind, scene, reference):
    rule, pane = rule_of(kind), PANES[scene]
    panes = {"none": [], "too short": ordinary()[:3], "ordinary": ordinary(), "one value only": [PANES[scene]] * 9}
    against = reference_of([untouchable(p) for p in panes[reference]]) if panes[reference] else None
    for subject in {*rule.subjects(pane, []), Subject(), SUBJECT}:
        asked = case(untouchable(pane), msgspec.structs.astuple(subject), against)
        state = {}
        for _ in range(2):
            verdict, after = rule.judge(asked, state, math.log(90))
            assert (verdict.rule, verdict.kind, verdict.subject) == (rule.name, kind, subject)
            assert (verdict.start, verdict.end) == (100 * DAY, 101 * DAY)
            assert verdict.status in ("ok", "drifting", "no data")
            assert verdict.reason
            assert "nan" not in verdict.reason
            for number in (verdict.value, verdict.tolerance, verdict.effect, verdict.evidence, verdict.threshold):
                assert number is None or math.isfinite(number)
            assert msgspec.json.decode(msgspec.json.encode(after)) == after
            assert msgspec.json.decode(msgspec.json.encode(verdict), type=type(verdict)) == verdict
            state = after


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_window_gives_the_same_verdict_and_the_state_is_not_changed(kind):
    rule, pane = rule_of(kind), PANES["an ordinary day"]
    subject = rule.subjects(pane, [])[0]
    asked = case(pane, msgspec.structs.astuple(subject), reference_of(ordinary()))
    _, state = rule.judge(asked, {}, 4.0)
    kept = copy.deepcopy(state)
    assert rule.judge(asked, state, 4.0) == rule.judge(asked, state, 4.0)
    assert state == kept


@pytest.mark.parametrize("kind", KINDS)
def test_an_ordinary_day_is_in_order(kind):
    rule, pane = rule_of(kind), PANES["an ordinary day"]
    reference = reference_of(ordinary())
    for subject in rule.subjects(pane, []):
        verdict, _ = rule.judge(case(pane, msgspec.structs.astuple(subject), reference), {}, math.log(90))
        assert verdict.status == "ok"
        assert verdict.effect == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_rule_about_other_models_names_no_model(kind):
    found = rule_of(kind, model="somebody-else").subjects(PANES["an ordinary day"], [])
    assert {subject.model for subject in found} <= {""}
