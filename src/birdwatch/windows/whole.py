"""From the sum of a pane's parts to the pane: what only all parts together tell is done here.

Workers that share the partitions count each its part of a pane, and the parts add up. Two things do not: which
categories are rare enough to be counted as `OTHER`, and whether scores lack their requests or nobody sends any.
"""

from collections.abc import Callable, Mapping

from birdwatch.windows.inputs import Inputs
from birdwatch.windows.pane import COUNTERS, MISSING, OTHER, Counts, Pane, Series, counters, total

__all__ = ["whole"]

_ORPHANS = COUNTERS.index("orphans")


def whole(parts: Mapping[Series, Counts], inputs: Inputs) -> Pane:
    """Make of the sum of parts what `birdwatch.windows.build.build` makes of all rows at once, bit for bit.

    Parameters
    ----------
    parts
        The sum of what `build` gave with ``whole=False``.
    inputs
        What is watched of the requests: how many categories are counted by name.

    Examples
    --------
    >>> from birdwatch.windows.inputs import Input
    >>> origin = Input("origin", "category", ("origin",), most=1)
    >>> seen = {Series("category.origin", segment=name): Counts.of([0], [n]) for name, n in (("JFK", 5), ("LGA", 2))}
    >>> [(series.segment, int(counts.counts[0])) for series, counts in whole(seen, Inputs((origin,))).items()]
    [('JFK', 5), ('(other)', 2)]
    """
    named: dict[str, Callable[[Series], str]] = {}
    for one in inputs.features:
        if one.kind == "category":
            sizes = {s.segment: int(c.counts.sum()) for s, c in parts.items() if s.measure == f"category.{one.name}"}
            named[f"category.{one.name}"] = _renamed(sizes, one.most, "")
    asked = {s.segment: counters(c)["requests"] for s, c in parts.items() if s.measure == "counts" and not s.model}
    for one in inputs.dimensions:
        if one.kind == "category":
            prefix = f"{one.name}="
            sizes = {segment: n for segment, n in asked.items() if segment.startswith(prefix)}
            named[prefix] = _renamed(sizes, one.most, prefix)
    found: dict[Series, list[Counts]] = {}
    for series, counts in parts.items():
        of = series.measure if series.measure.startswith("category.") else series.segment.partition("=")[0] + "="
        rename = named.get(of)
        known = _without_orphans(counts) if series.measure == "counts" and not asked.get("") else counts
        renamed = series._replace(segment=rename(series)) if rename is not None else series
        found.setdefault(renamed, []).append(known)
    return {series: total(parts) for series, parts in found.items()}


def _renamed(sizes: Mapping[str, int], most: int, prefix: str) -> Callable[[Series], str]:
    """Give the segment under which each is counted: the most frequent (of equals the first by name) by their own."""
    missing = prefix + MISSING
    ranked = sorted(
        sizes.keys() - {missing}, key=lambda s: (-sizes[s], s.removeprefix(prefix).removeprefix("\\").encode())
    )
    kept = {missing, *ranked[:most]}
    return lambda series: series.segment if series.segment in kept else prefix + OTHER


def _without_orphans(counts: Counts) -> Counts:
    there = counts.bins != _ORPHANS
    return Counts(counts.bins[there], counts.counts[there])
