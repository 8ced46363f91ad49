"""Who is there, and what for: read off what was counted and what operators did."""

from collections import Counter
from typing import Any, Final, Literal

from birdwatch.records import Control
from birdwatch.windows.pane import selection_of
from birdwatch.windows.store import Store

__all__ = ["Role", "models", "roles"]

Role = Literal["champion", "challenger", "fallback", "canary"]

_PANES: Final = 50
"""So many of the panes in which a model answered tell from which tier it does."""


def models(store: Store) -> list[str]:
    """Name all models that the store has seen, the first seen first: a model's place never changes."""
    # An arm that a policy could have drawn is no model yet: it may be one that was never started.
    rows: Any = store.connection.execute(
        "SELECT model FROM series WHERE model != '' AND measure != 'propensity' GROUP BY model ORDER BY min(id)"
    )
    return [model for (model,) in rows]


def roles(store: Store, until: int) -> dict[str, Role]:
    """Tell what each model is there for, as of ``until``.

    The canary is the model on the canary stream. The champion is the one that the last control record names, or else
    the one with which most others are compared. A fallback stands in a later tier of the schedule, or has answered from
    later tiers alone. All others are challengers.
    """
    canaries = {source.model for source in store.sources() if source.stream == "canary"}
    champion, fallbacks = "", _answered_late(store, until)
    for control in store.controls():
        if control.ts < until and control.action == "champion":
            champion = control.model
        elif control.ts < until and control.action == "schedule":
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


def _answered_late(store: Store, until: int) -> set[str]:
    """Name the models that answered, but in none of the last panes in which they did from the first tier."""
    rows: Any = store.connection.execute(
        "SELECT id, model FROM series WHERE measure = 'selection' AND model != '' AND segment = ''"
    ).fetchall()
    first: dict[str, int] = {}
    for number, model in rows:
        tiers = [selection_of(bin_)[0] for bin_ in store.last_bins(number, until, _PANES)]
        if tiers:
            first[model] = min(*tiers, first.get(model, tiers[0]))
    return {model for model, tier in first.items() if tier > 0}
