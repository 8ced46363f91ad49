"""Who is there, and what for: read off what was counted and what operators did."""

from collections import Counter
from typing import Any, Literal

from birdwatch.records import Control
from birdwatch.windows.store import Store
from birdwatch.windows.tables import Span, selection_table

__all__ = ["Role", "models", "roles"]

Role = Literal["champion", "challenger", "fallback", "canary"]


def models(store: Store) -> list[str]:
    """Name all models that the store has seen, the first seen first: a model's place never changes."""
    rows: Any = store.connection.execute("SELECT model FROM series WHERE model != '' GROUP BY model ORDER BY min(id)")
    return [model for (model,) in rows]


def roles(store: Store, span: Span) -> dict[str, Role]:
    """Tell what each model is there for, at the end of a span.

    The canary is the model on the canary stream. The champion is the one that the last control record names, or else
    the one with which most others are compared. A fallback stands in a later tier of the schedule, or has answered from
    later tiers alone. All others are challengers.
    """
    canaries = {source.model for source in store.sources() if source.stream == "canary"}
    champion, fallbacks = "", _answered_late(store, span)
    for control in store.controls():
        if control.ts < span.until and control.action == "champion":
            champion = control.model
        elif control.ts < span.until and control.action == "schedule":
            fallbacks = _later_tiers(control)
    pairs: Any = store.connection.execute("SELECT DISTINCT model, partner FROM series WHERE partner != ''")
    partners = Counter(partner for _, partner in sorted(pairs) if partner not in canaries)
    if not champion and partners:
        champion = partners.most_common(1)[0][0]
    found: dict[str, Role] = {}
    for model in models(store):
        if model in canaries:
            found[model] = "canary"
        elif model == champion:
            found[model] = "champion"
        else:
            found[model] = "fallback" if model in fallbacks else "challenger"
    return found


def _later_tiers(control: Control) -> set[str]:
    first, *later = control.params.get("tiers") or [{}]
    return {str(m) for tier in later for m in tier.get("models", [])} - set(first.get("models", []))


def _answered_late(store: Store, span: Span) -> set[str]:
    answers = selection_table(store, span.whole).dropna(subset=["n"])
    first = answers.groupby("model")["tier"].min()
    return {str(model) for model, tier in first.items() if tier > 0}
