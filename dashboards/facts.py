"""What the store says of a stretch of event time: each page asks for what it shows."""

from typing import Final, Literal

import pandas as pd
import streamlit as st
from asked import Asked, keeps, loads

from birdwatch.alerts.standing import Standing
from birdwatch.alerts.standing import standing as budget_standing
from birdwatch.alerts.tables import alert_table
from birdwatch.charts import Colours, Drawing, Fired, Marks, draw_behind
from birdwatch.config import Settings, load_settings
from birdwatch.content import content
from birdwatch.detect.against import frozen_distance_table, frozen_scores, rule_with_frozen
from birdwatch.detect.burn import burn_table, objectives
from birdwatch.detect.distribution import DistributionRule
from birdwatch.detect.fleet import fleet_table, health_table
from birdwatch.detect.leading import MOST_LINES, leading_models
from birdwatch.detect.rules import RuleSet, load_rules
from birdwatch.detect.sourcing import References
from birdwatch.detect.sums import WindowSums
from birdwatch.detect.tables import (
    last_judged,
    last_verdict_table,
    value_table,
    verdict_behind,
    verdict_table,
    worst_by_step,
)
from birdwatch.detect.threshold import ThresholdRule
from birdwatch.detect.usual import usual_table
from birdwatch.detect.verdict import Subject, Verdict
from birdwatch.errors import ReferenceMissingError, SettingsError
from birdwatch.stats.grid import Scale
from birdwatch.windows import accounts, heat, tables
from birdwatch.windows.lag import read_lag
from birdwatch.windows.qq import qq_table
from birdwatch.windows.roles import models as models_of
from birdwatch.windows.roles import roles as roles_of
from birdwatch.windows.running import running_table
from birdwatch.windows.shapes import joint_table
from birdwatch.windows.store import Store

_BEFORE: Final = 28 * 86_400


def verdicts(asked: Asked) -> pd.DataFrame:
    """Load the verdicts of the time."""
    return _judged(_by_verdicts(asked))


def last_verdicts(asked: Asked) -> pd.DataFrame:
    """Load the last verdict of each rule on each subject."""
    return _last_judged(_by_verdicts(asked))


def worst(asked: Asked, kinds: tuple[str, ...], by: Literal["multiple", "level"] = "multiple") -> pd.DataFrame:
    """Load of some kinds of rules one verdict a step, the worst."""
    return _worst(_by_verdicts(asked), kinds, by)


@loads
def _last_window(store: Store, asked: Asked) -> int:
    return last_judged(store, asked.span.until)


def _by_verdicts(asked: Asked) -> Asked:
    """Ask as of the last verdict: most panes close without any."""
    return asked._replace(closed=(asked.closed[0], _last_window(asked)), segment="")


@keeps
def _judged(store: Store, asked: Asked) -> pd.DataFrame:
    return verdict_table(store, asked.span.since, asked.span.until)


@keeps
def _last_judged(store: Store, asked: Asked) -> pd.DataFrame:
    return last_verdict_table(store, asked.span.since, asked.span.until, _judged(asked))


@keeps
def _worst(store: Store, asked: Asked, kinds: tuple[str, ...], by: Literal["multiple", "level"]) -> pd.DataFrame:
    del store
    judged = _judged(asked)
    return worst_by_step(judged[judged["kind"].isin(kinds)], asked.span.step, by)


@loads
def fleet(store: Store, asked: Asked) -> pd.DataFrame:
    """Load the fleet, a row for each version of a model."""
    return fleet_table(store, asked.span, verdicts(asked), counts(asked._replace(segment="")))


@loads
def health(store: Store, asked: Asked) -> pd.DataFrame:
    """Load who is there, and how each was judged last."""
    del store
    return health_table(counts(asked._replace(segment="")), last_verdicts(asked))


@loads
def leading(store: Store, asked: Asked) -> tuple[str, ...]:
    """Load which models matter most, where there are more than a chart has room for."""
    del store
    return leading_models(health(asked), alerts(asked), roles(asked))


def forget_alerts() -> None:
    """Forget what is known of alerts: somebody has just said something of one."""
    alerts.clear()
    marks.clear()
    leading.clear()
    colours.clear()


@loads
def alerts(store: Store, asked: Asked) -> pd.DataFrame:
    """Load the alerts of the time, the newest first."""
    return alert_table(store, asked.span.since, asked.span.until)


@loads
def controls(store: Store, asked: Asked) -> pd.DataFrame:
    """Load what operators changed."""
    return tables.control_table(store, asked.span.since, asked.span.until)


@loads
def colours(store: Store, asked: Asked) -> Colours:
    """Load the colour of each model; where there are very many, those that matter most do not share theirs first."""
    known = models_of(store)
    if len(known) > MOST_LINES:
        known = list(dict.fromkeys([*leading(asked), *known]))
    return Colours.of(known)


@loads
def roles(store: Store, asked: Asked) -> dict[str, str]:
    """Load what each model is there for."""
    return dict(roles_of(store, asked.span.until))


@loads
def marks(store: Store, asked: Asked) -> Marks:
    """Give what every axis of time shows."""
    del store
    return Marks.of(asked.span, controls(asked), alerts(asked))


@loads
def counts(store: Store, asked: Asked) -> pd.DataFrame:
    """Load what was counted, of the segment that is chosen."""
    return tables.count_table(store, asked.span, asked.segment)


@loads
def latency(
    store: Store, asked: Asked, stage: str, percentiles: tuple[float, ...], *, by_model: bool = False
) -> pd.DataFrame:
    """Load percentiles of the latency of a stage."""
    return tables.latency_table(store, asked.span, f"latency.{stage}", percentiles, by_model=by_model)


@loads
def slowness(store: Store, asked: Asked) -> dict[float, float]:
    """Load the percentiles of the answer's latency over the whole time."""
    found = tables.latency_table(store, asked.span.whole)
    return dict(zip(found["percentile"], found["seconds"], strict=True))


@loads
def heat_of(store: Store, asked: Asked, measure: str, model: str | None) -> pd.DataFrame:
    """Load how a measure was distributed over time."""
    segment = asked.segment if measure == "score" else ""
    return heat.heat_table(
        store, asked.span, measure, model=model, scale=_scale() if measure == "score" else "real", segment=segment
    )


@loads
def distances(store: Store, asked: Asked, model: str) -> pd.DataFrame:
    """Load how far a model's scores lie from those before."""
    unit = _settings().unit
    return heat.distance_table(store, asked.span, model, scale=_scale(), unit=unit, segment=asked.segment)


@loads
def frozen_distances(store: Store, asked: Asked, model: str) -> pd.DataFrame:
    """Load how far a model's scores lie from the frozen reference of its rule."""
    settings = _settings()
    rule, references = _frozen(store, model)
    return frozen_distance_table(
        store,
        asked.span,
        rule,
        references,
        model,
        scale=settings.scale,
        unit=settings.unit,
        segment=asked.segment,
        starts_at=settings.windows_start_seconds,
    )


@loads
def quantiles(store: Store, asked: Asked, model: str, *, frozen: bool) -> pd.DataFrame:
    """Load a model's scores by quantile, beside those of the four weeks before or of the frozen reference of its rule."""
    now = (asked.span.since, asked.span.until)
    found, before = heat.sides(store, model, now, asked.segment)
    if frozen:
        rule, references = _frozen(store, model)
        _, before = frozen_scores(rule, references, asked.span.since, model, asked.segment)
    return qq_table(found, before, _scale())


def frozen_rule(model: str) -> str:
    """Name the rule that compares a model's scores with a frozen reference; none where there is none, or no rules."""
    try:
        rule = rule_with_frozen(_rules(), model, given=bool(_settings().references))
    except SettingsError:
        return ""  # rules that are wrong stop who judges, which says so; what they judged before is still shown
    return rule.name if rule else ""


def score_thresholds() -> frozenset[str]:
    """Name the rules with a number on a distance of scores."""
    try:
        return frozenset(r.name for r in _rules().rules if isinstance(r, ThresholdRule) and r.of == "scores")
    except SettingsError:
        return frozenset()


def _frozen(store: Store, model: str) -> tuple[DistributionRule, References]:
    settings, rules = _settings(), _rules()
    rule = rule_with_frozen(rules, model, given=bool(settings.references))
    if rule is None:
        raise ReferenceMissingError(f"no rule compares the scores of {model} with a frozen reference")
    return rule, References(
        WindowSums(store),
        rules,
        settings.references,
        settings.scale,
        windows_start_seconds=settings.windows_start_seconds,
    )


@st.cache_resource(ttl=60, show_spinner=False)
def _rules() -> RuleSet:
    return load_rules(_settings().rules or content("detectors"))


@loads
def shape(store: Store, asked: Asked, model: str) -> pd.DataFrame:
    """Load a model's scores in this time beside those before."""
    now = (asked.span.since, asked.span.until)
    return heat.shape_table(store, model, now, scale=_scale(), segment=asked.segment)


@loads
def pairs(store: Store, asked: Asked) -> pd.DataFrame:
    """Load the differences by request, of the segment that is chosen."""
    return tables.pair_table(store, asked.span, _settings().unit, asked.segment)


@loads
def differences(store: Store, asked: Asked, partners: tuple[str, ...], model: str = "") -> pd.DataFrame:
    """Load the mean difference so far to these partners, of a model or of all, with its band."""
    del store
    table = pairs(asked)
    table = table[table["partner"].isin(partners) & (table["model"].isin([model]) if model else True)]
    return running_table(table, _scale())


@loads
def usual(store: Store, asked: Asked, model: str, partner: str) -> pd.DataFrame:
    """Load what rules found in order of the mean difference of a pair."""
    return usual_table(store, asked.span.since, asked.span.until, model, partner)


@loads
def joint(store: Store, asked: Asked, model: str, partner: str) -> pd.DataFrame:
    """Load how often a model and its partner scored the same request thus and so."""
    pane = store.pane(asked.span.since, asked.span.until, measure="joint", model=model)
    return joint_table(pane, model, partner, _scale())


@loads
def extremes(store: Store, asked: Asked, model: str, partner: str) -> pd.DataFrame:
    """Load the requests on which a model and its partner differ most."""
    return accounts.extreme_table(store, asked.span, model, partner)


@loads
def selection(store: Store, asked: Asked) -> pd.DataFrame:
    """Load who answered, and why."""
    return tables.selection_table(store, asked.span)


@loads
def arms(store: Store, asked: Asked) -> pd.DataFrame:
    """Load how often each arm was drawn, and how often it should have been."""
    return accounts.arm_table(store, asked.span)


@loads
def burns(store: Store, asked: Asked) -> pd.DataFrame:
    """Load how fast objectives of latency burn what they allow."""
    span = asked.span
    return burn_table(store, span, objectives(store, span.since, span.until))


@loads
def posteriors(store: Store, asked: Asked) -> pd.DataFrame:
    """Load what the bandit believed each arm to earn."""
    return accounts.posterior_table(store, asked.span)


@loads
def audit(store: Store, asked: Asked) -> pd.DataFrame:
    """Load the account of each request by model."""
    return accounts.audit_table(store, asked.span, counts(asked._replace(segment="")))


@loads
def sources(store: Store, asked: Asked) -> pd.DataFrame:
    """Load how far each source has come."""
    del asked
    return accounts.source_table(store)


@loads
def arrivals(store: Store, asked: Asked) -> pd.DataFrame:
    """Load what came late or twice."""
    return accounts.arrival_table(store, asked.span)


@loads
def lag(store: Store, asked: Asked) -> pd.DataFrame:
    """Load how many messages were not yet read, over time."""
    return accounts.lag_table(store, asked.span)


@loads
def lag_now(store: Store, asked: Asked) -> dict[tuple[str, int], int]:
    """Load how many messages are not yet read, by stream and partition, as it was noted last."""
    del asked
    return {(at.stream, at.number): behind for at, behind in read_lag(store).items()}


@loads
def unreadable(store: Store, asked: Asked) -> pd.DataFrame:
    """Load how many messages were put to dead letters, and why."""
    return accounts.unreadable_table(store, asked.span)


@loads
def damaged(store: Store, asked: Asked) -> int:
    """Load how many rows of panes were found damaged."""
    del asked
    return store.damaged()


@loads
def budget(store: Store, asked: Asked) -> Standing | None:
    """Load how the page budget stands."""
    return budget_standing(store, until=asked.until)


@loads
def values(store: Store, asked: Asked, feature: str, start: int, end: int) -> pd.DataFrame:
    """Load how a watched input was in a window, beside the four weeks before it."""
    del asked
    return value_table(store, feature, (start, end), (start - _BEFORE, start))


def judged_until(asked: Asked) -> int:
    """Say up to when rules have judged: nothing that an alert rests on changes before they judge again."""
    return _last_window(asked)


def behind(asked: Asked, rule: str, subject: Subject, until: int) -> Verdict | None:
    """Load the verdict that an alert rests on."""
    return _behind(_by_verdicts(asked), rule, subject, until)


def drawn_behind(asked: Asked, fired: Fired) -> Drawing | None:
    """Draw what an alert rests on, as receivers see it in a picture."""
    return _drawn_behind(_by_verdicts(asked), fired)


@keeps
def _behind(store: Store, asked: Asked, rule: str, subject: Subject, until: int) -> Verdict | None:
    del asked
    return verdict_behind(store, rule, subject, until)


@keeps
def _drawn_behind(store: Store, asked: Asked, fired: Fired) -> Drawing | None:
    del asked
    return draw_behind(store, fired, _scale())


@st.cache_resource(ttl=60, show_spinner=False)
def _settings() -> Settings:
    return load_settings()


def _scale() -> Scale:
    return _settings().scale
