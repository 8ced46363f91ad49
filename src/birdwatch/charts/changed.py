"""What changed: how unlike the others a period is in everything that was measured."""

from functools import lru_cache
from typing import Any, Final

import altair as alt
import numpy as np
import pandas as pd

from birdwatch.charts.marks import Drawing
from birdwatch.evaluate.changed import Changes
from birdwatch.windows.tables import timestamp

__all__ = ["unusual_chart"]

_MOST: Final = 14
_ENDS: Final = 8.0
_KINDS: Final = ("others", "as usual", "changed")


def unusual_chart(found: Changes, most: int = _MOST) -> Drawing:
    """Draw the period among the others, a row a measurement: a mark for each, by how far it lies from its others.

    Parameters
    ----------
    found
        From `birdwatch.evaluate.changed.changed`; what nobody can know is left out.
    most
        How many rows, those with the strongest evidence.
    """
    known = found.table[found.table["changed"].notna()].head(most)  # these come first
    starts = [*found.others, found.period]
    rows = []
    for place, (_, row) in enumerate(known.iterrows()):
        kinds = [_KINDS[0]] * len(found.others) + [_KINDS[2 if row["changed"] else 1]]
        for start, x, kind in zip(starts, found.strange[place], kinds, strict=True):
            if np.isfinite(x):
                at = timestamp(start)
                rows.append((row["name"], place, float(x), float(np.clip(x, -_ENDS, _ENDS)), kind, at))
    table = pd.DataFrame(rows, columns=["what", "place", "unusual", "shown", "kind", "time"])
    moved = int(known["changed"].astype(bool).sum())
    says = (
        f"{moved} of {len(known)} lie further from the {len(found.others)} others than these from one another."
        if len(known)
        else ""
    )
    return Drawing(_spec(), {"main": table}, says)


@lru_cache(maxsize=1)
def _spec() -> dict[str, Any]:
    base = alt.Chart(alt.NamedData("main")).encode(
        x=alt.X("shown:Q", title="standard deviations from the others"),
        y=alt.Y(
            "what:N",
            title=None,
            sort=alt.SortField("place"),
            axis=alt.Axis(labelLimit=230, grid=True),
        ),
        tooltip=[
            "what:N",
            alt.Tooltip("time:T", title="from, UTC", timeUnit="utcyearmonthdatehoursminutes"),
            alt.Tooltip("unusual:Q", title="unusual", format=".2f"),
        ],
    )
    marks = base.mark_point(filled=True).encode(
        color=alt.Color(
            "kind:N",
            scale=alt.Scale(domain=list(_KINDS), range=["#888888", "#0072B2", "#D55E00"]),
            legend=alt.Legend(orient="top", title=None, symbolOpacity=1),
        ),
        size=alt.Size("kind:N", scale=alt.Scale(domain=list(_KINDS), range=[22, 90, 110]), legend=None),
        opacity=alt.Opacity("kind:N", scale=alt.Scale(domain=list(_KINDS), range=[0.45, 1, 1]), legend=None),
        shape=alt.Shape(
            "kind:N", scale=alt.Scale(domain=list(_KINDS), range=["circle", "circle", "diamond"]), legend=None
        ),
    )
    spec: dict[str, Any] = marks.properties(height=alt.Step(20)).to_dict(validate=False)
    del spec["config"]  # the page's theme, or the notebook's, is put in its place
    return spec
