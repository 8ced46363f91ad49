"""Charts of the tables that people look at, for dashboards and notebooks alike; needs altair.

Colours are those of Okabe and Ito, which colour-blind people can tell apart; a model keeps its own.
"""

from birdwatch.charts.latency import latency_chart
from birdwatch.charts.marks import OKABE_ITO, Colours, Drawing, Marks
from birdwatch.charts.pairs import difference_chart, evidence_chart, pair_chart
from birdwatch.charts.scores import drift_chart
from birdwatch.charts.selection import other_choices_chart, selection_chart
from birdwatch.charts.shapes import joint_chart, qq_chart
from birdwatch.charts.values import values_chart

__all__ = [
    "OKABE_ITO",
    "Colours",
    "Drawing",
    "Marks",
    "difference_chart",
    "drift_chart",
    "evidence_chart",
    "joint_chart",
    "latency_chart",
    "other_choices_chart",
    "pair_chart",
    "qq_chart",
    "selection_chart",
    "values_chart",
]
