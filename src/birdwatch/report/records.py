"""What the records of a period say: value of policies, deadlines, losses, quality, and what was rejected."""

from collections import Counter
from typing import Final, NamedTuple, Self

import numpy as np
import pandas as pd
from scipy.stats import binom

from birdwatch.charts import deadline_chart, reliability_chart, value_chart
from birdwatch.errors import BirdwatchError
from birdwatch.evaluate import quality as q
from birdwatch.evaluate.audit import audit
from birdwatch.evaluate.deadline import fallback_rates, latencies
from birdwatch.evaluate.off_policy import off_policy_value
from birdwatch.evaluate.reading import read_between
from birdwatch.evaluate.reject import reject_inference
from birdwatch.report.section import Figure, Section, Table

__all__ = ["Records", "deadlines", "losses", "policies", "quality", "rejected"]

_HOURS: Final = (1.0, 2.0, 4.0, 8.0, 24.0)
_POINTS: Final = 60
_MISSED: Final = 0.01
_OUTSIDE: Final = 0.1
"""So many bands of a calibrated model lie outside of their bars."""

_RARE: Final = 0.05


class Records(NamedTuple):
    """The records of the requests of a period, as tables."""

    requests: pd.DataFrame
    scores: pd.DataFrame
    decisions: pd.DataFrame
    outcomes: pd.DataFrame
    control: pd.DataFrame
    models: tuple[str, ...]

    @classmethod
    def read(cls, place: str, since: float, until: float, models: tuple[str, ...] = ()) -> Self:
        """Read them; ``models`` are those that are asked about, and by default all that have scores."""
        requests = read_between(place, since, until, "requests")
        scores = read_between(place, since, until, "scores", "canary")
        decisions = read_between(place, since, until, "metrics")
        outcomes = read_between(place, since, until, "outcomes")
        # Who had to answer is decided by what was said before as well.
        control = read_between(place, 0.0, until, "control")
        answers = decisions["model"].value_counts()
        known = sorted(set(scores["model"]), key=lambda name: (-answers.get(name, 0), name))  # who answered comes first
        return cls(requests, scores, decisions, outcomes, control, models or tuple(known))


def policies(found: Records) -> Section:
    """Say what each arm of a bandit would have earned."""
    asked = Section("value", "What would another policy have earned?")
    arms = Counter(arm for each in found.decisions["propensities"] for arm, p in (each or {}).items() if 0 < p < 1)
    if not arms:
        return asked._replace(absent="No bandit drew the answers: none had a probability between 0 and 1.")
    field = "reward" if found.outcomes["reward"].notna().any() else "label"
    if not found.outcomes[field].notna().any():
        return asked._replace(absent="Nothing is known of what answers earned: there are no outcomes.")
    rows, untold = [], []
    for arm in sorted(arms):
        try:
            value = off_policy_value(found.decisions, found.outcomes, arm, reward=field)
        except ValueError as error:
            untold.append(f"Of {arm} nothing can be said: {error}.")
            continue
        told = value.estimates.loc["self-normalised"]
        rows.append((arm, *told[["value", "low", "high"]], value.n, value.effective))
    if not rows:
        return asked._replace(absent=" ".join(untold))
    table = pd.DataFrame(rows, columns=["policy", "value", "low", "high", "n", "effective"])
    drawn = found.decisions[found.decisions["reason"].isin(("first choice", "explored"))].drop_duplicates("request_id")
    known = found.outcomes.drop_duplicates("request_id", keep="last").set_index("request_id")[field]
    earned = known.reindex(drawn["request_id"]).dropna().astype(float)
    best = table.nlargest(1, "value").iloc[0]
    most = (
        f"What was drawn earned {earned.mean():.3g} a request ({field}); {best['policy']} always would have earned"
        f" {best['value']:.3g} ({best['low']:.3g} to {best['high']:.3g}), the most of all arms."
    )
    answer = (most, "Where a range holds the value of what was drawn, the log does not tell them apart.", *untold)
    beside = table.assign(estimator="always this arm, self-normalised")
    beside.loc[len(beside)] = {"policy": "what was drawn", "value": earned.mean(), "estimator": "counted"}
    figure = Figure("Value of always choosing one arm", value_chart(beside))
    data = f"{table['n'].max():,} drawn decisions with a {field}"
    return asked._replace(answer=answer, data=data, figures=(figure,), tables=(Table("By arm", table),))


def deadlines(found: Records) -> Section:
    """Say which share of requests each model would miss, were the deadline shorter."""
    asked = Section("deadline", "What if the deadline were shorter?")
    if found.decisions.empty:
        return asked._replace(absent="There are no decisions (stream `metrics`): nobody measured how long models took.")
    known = {name: latencies(found.decisions, name) for name in found.models}
    known = {name: one for name, one in known.items() if len(one.seconds)}
    if not known:
        return asked._replace(absent="No latency of any model was measured.")
    force = float(found.decisions["deadline_seconds"].median())
    # Nearly all may come long before the deadline in force: there is where the curves bend.
    end = min(force, 2 * max(float(one.seconds.quantile(0.99)) for one in known.values()))
    grid = np.linspace(0, end, _POINTS + 1)[1:]
    parts = []
    for name, one in known.items():
        try:
            parts.append(fallback_rates(one.seconds, one.came, grid).assign(model=name))
        except BirdwatchError as error:
            return asked._replace(absent=f"{str(error)[:1].upper()}{str(error)[1:]}.")
    table = pd.concat(parts, ignore_index=True)
    enough = table[table["rate"] <= _MISSED].groupby("model")["deadline_seconds"].min()
    least = [f"{name} {_time(enough[name])}" if name in enough else f"{name} more than there is" for name in known]
    drawing = deadline_chart(table, force)
    answer = (
        f"To miss at most {_MISSED:.0%} of requests a model needs a deadline of: {', '.join(least)}; {_time(force)} is in force.",
        drawing.says,
    )
    data = f"{len(found.decisions):,} decisions; times are those inside the models"
    return asked._replace(answer=answer, data=data, figures=(Figure("Share missed by deadline", drawing),))


def _time(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def losses(found: Records) -> Section:
    """Account for each request by model."""
    asked = Section("audit", "Was anything lost?")
    if found.requests.empty or not found.models:
        return asked._replace(absent="There are no requests, or no scores: there is nothing to account for.")
    hours = audit(found.requests, found.scores, models=found.models, control=found.control)
    table = hours.drop(columns="time").groupby("model", as_index=False).sum()
    wrong = table[(table[["failed", "missing", "duplicates"]] > 0).any(axis=1)]
    told = [
        f"{row['model']}: {row['missing']:,} missing, {row['failed']:,} failed, {row['duplicates']:,} twice"
        for _, row in wrong.iterrows()
    ]
    answer = (
        f"Not all is as it should be: {'; '.join(told)}."
        if told
        else f"Nothing was lost: each of {len(found.requests):,} requests was scored once by every model that had to."
    )
    late = int(table["late"].sum())
    strangers = hours.attrs["strangers"]
    more = [f"{late:,} scores came after their deadline."] if late else []
    more += [f"{strangers:,} scores are of requests that are not there."] if strangers else []
    data = f"{len(found.requests):,} requests, {len(found.scores):,} scores"
    return asked._replace(answer=(answer, *more), data=data, tables=(Table("By model", table),))


def quality(found: Records) -> Section:
    """Judge scores by the labels that came, however late."""
    asked = Section("quality", "How good were the scores, by the labels that came?")
    labels = int(found.outcomes["label"].notna().sum())
    if not labels:
        return asked._replace(absent="There are no outcomes with a label: how good the scores were is not known.")
    rows, figures, tables, off = [], [], [], []
    missing = ""
    delays = [3600 * h for h in (*_HOURS, float("inf"))]
    for name in found.models:
        table = q.labelled(found.scores, found.outcomes, name)
        known = table[table["label"].notna()]
        if known.empty:
            continue
        try:
            made = q.brier(known["label"], known["score"])
        except ValueError as error:
            return asked._replace(absent=f"Of {name}: {error}.")
        within = q.by_delay(table, delays)
        last = within.iloc[-1]
        rows.append((name, len(table), last["n"], last["auc"], last["auc_error"], made.score, made.miscalibration))
        rate = q.reliability(known["label"], known["score"])
        apart = int(((rate["observed"] < rate["low"]) | (rate["observed"] > rate["high"])).sum())
        beyond_chance = binom.sf(apart - 1, len(rate), _OUTSIDE) < _RARE
        off += [f"{name} in {apart} of {len(rate)} bands"] if beyond_chance else []
        figures.append(Figure(f"Predicted and observed: {name}", reliability_chart(rate)))
        tables.append(Table(f"{name}, by the labels that came within a delay", within))
        p = q.selection_p(q.missing_by(table)[0])
        chosen = f", and not at random: by band of the score p = {p:.2g}" if p < 0.01 else ""
        missing = missing or f"{len(table) - len(known):,} of {len(table):,} have no label{chosen}."
    if not rows:
        return asked._replace(absent=f"None of the {labels:,} labels is of a request that was scored.")
    columns = ["model", "scores", "labelled", "auc", "auc_error", "brier", "miscalibration"]
    whole = pd.DataFrame(rows, columns=columns).astype({"labelled": int})
    best = whole.nsmallest(1, "brier").iloc[0]
    calibrated = (
        f"Not calibrated: {'; '.join(off)} lie outside of where one in ten would by chance."
        if off
        else "What all predict was observed, within chance."
    )
    answer = (
        f"{best['model']} was best by the Brier score, {best['brier']:.3f}, with an AUC of {best['auc']:.3f}.",
        calibrated,
        missing,
    )
    data = f"{labels:,} labels"
    return asked._replace(answer=answer, data=data, figures=tuple(figures), tables=(Table("By model", whole), *tables))


def rejected(found: Records) -> Section:
    """Say what would have come of what was rejected."""
    asked = Section("rejected", "What would have come of what was rejected?")
    if not found.decisions["model_accepts"].notna().any():
        return asked._replace(absent="Nothing was rejected: the schedule says nothing of acceptance.")
    field = "label" if found.outcomes["label"].notna().any() else "reward"
    told = reject_inference(found.decisions, found.outcomes, field=field)
    whole = told.bands.iloc[-1]
    if not whole["labelled"]:
        return asked._replace(absent="None of what the model rejected was accepted at random and has an outcome.")
    answer = (
        f"Of what was rejected {whole['rate']:.1%} ({whole['low']:.1%} to {whole['high']:.1%}) would have been positive, of"
        f" what was accepted {told.accepted_rate:.1%} were."
    )
    data = f"{whole['rejected']:,} rejected, of which {whole['labelled']:,} were accepted at random and have a {field}"
    return asked._replace(answer=(answer,), data=data, tables=(Table("By band of the score", told.bands),))
