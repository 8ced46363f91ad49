"""What the panes, alerts and changes of a period say."""

from typing import Final

import pandas as pd

from birdwatch.alerts.tables import alert_in_words, alert_table
from birdwatch.charts import unusual_chart, values_chart
from birdwatch.evaluate.cause import what_happened
from birdwatch.evaluate.changed import Changes
from birdwatch.evaluate.reading import read_between
from birdwatch.report.section import Figure, Section, Table
from birdwatch.windows.store import Store
from birdwatch.windows.tables import control_table

__all__ = ["alerts", "changes", "deployments"]

_SHAPES: Final = 4
_ROWS: Final = 25
_EFFECT: Final = (
    "Effect: the KS distance of a distribution from all others, the difference of a share, or a ratio less 1."
)
_LEGEND: Final = (
    f"{_EFFECT} Usual, most: the median and the largest of the others, without sign. Unusual: standard deviations from the"
    " others. q: the share of false discoveries, if all down to here are called changed."
)
_CHANCE: Final = f"{_EFFECT} Chance: what sampling alone exceeds once in twenty times."


def changes(found: Changes | str) -> Section:
    """Say what changed; or, where it is text, why that cannot be told."""
    asked = Section("changed", "What changed?")
    if isinstance(found, str):
        return asked._replace(absent=found)
    table = found.table
    known = table["changed"].notna()
    figures = []
    if known.any():
        figures.append(Figure("The period among the others", unusual_chart(found)))
    told = table[table["changed"].isin([True])] if known.any() else table
    # A segment shows what the whole shows already.
    shown = [
        (place, row) for place, (_, row) in enumerate(told.iterrows()) if place in found.shapes and not row["segment"]
    ]
    for place, row in shown[:_SHAPES]:
        figures.append(Figure(row["name"], values_chart(found.shapes[place])))
    listed = table[known] if known.any() else table
    columns = ["effect", "usual", "most", "unusual", "q", "n"] if known.any() else ["effect", "chance", "n"]
    named = {"name": "measurement", "told": "what it is and was"}
    evidence = listed[[*named, *columns]].rename(columns=named).head(_ROWS)
    data = (
        f"{len(table):,} measurements of {found.table['n'].max():,} events or fewer, against {len(found.others)} other"
        f" {'days' if found.seconds == 86_400 else 'periods'}"
    )
    return asked._replace(
        answer=tuple(what_happened(found)),
        data=data,
        figures=tuple(figures),
        tables=(Table("By the strength of the evidence", evidence, _LEGEND if known.any() else _CHANCE),),
    )


def alerts(store: Store | None, place: str, since: float, until: float) -> Section:
    """List the alerts of the period: those of a store, else those on the stream ``alerts``."""
    asked = Section("alerts", "What alarmed?")
    if store is not None:
        table = alert_table(store, since, until).sort_values("fired", kind="stable")
        source = f"the store {store.path.name}"
    else:
        # What a window shows is told when it is over.
        told = read_between(place, since, until + 1, "alerts")
        table = told[(told["state"] == "firing") & (told["ts"] > since) & (told["ts"] <= until)].sort_values(
            "ts", kind="stable"
        )
        table = table.assign(fired=pd.to_datetime(table["ts"].astype(float), unit="s", utc=True))
        source = "the stream `alerts`"
    if table.empty:
        return asked._replace(absent=f"No alert of the period is in {source}.")
    counts = table["severity"].value_counts()
    severities = [name for name in ("page", "ticket", "info") if name in counts]
    summary = ", ".join(f"{counts[name]} {name}{'s' * int(counts[name] > 1 and name != 'info')}" for name in severities)
    first = table.sort_values("severity", key=lambda s: s.map({"page": 0, "ticket": 1}).fillna(2), kind="stable").iloc[
        0
    ]
    answer = (f"{summary}: first of all {alert_in_words(first)}, {first['fired']:%d %b %H:%M} UTC.",)
    listed = table.assign(about=[alert_in_words(row) for _, row in table.iterrows()])
    columns = ["fired", "severity", "about", "rule", "reason"]
    return asked._replace(
        answer=answer, data=f"{len(table)} from {source}", tables=(Table("In order", listed[columns]),)
    )


def deployments(store: Store, since: float, until: float) -> Section:
    """List what was changed by hand, or by the guard."""
    asked = Section("deployments", "What was deployed or changed?")
    table = control_table(store, since, until)
    if table.empty:
        return asked._replace(absent="Nothing was changed on the control stream.")
    listed = ", ".join(table["what"].head(_ROWS))
    answer = (f"{len(table)} change{'s' * (len(table) > 1)}: {listed}.",)
    columns = ["time", "what", "author", "reason"]
    return asked._replace(
        answer=answer, data=f"{len(table)} from the control stream", tables=(Table("In order", table[columns]),)
    )
