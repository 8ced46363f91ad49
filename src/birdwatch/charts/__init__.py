"""Charts of the tables that people look at, for dashboards and notebooks alike; needs altair.

Colours are those of Okabe and Ito, which colour-blind people can tell apart; a model keeps its own.
"""

from birdwatch.charts.latency import latency_chart
from birdwatch.charts.marks import OKABE_ITO, Colours, Drawing, Marks
from birdwatch.charts.pairs import difference_chart, disagreement_chart
from birdwatch.charts.scores import drift_chart
from birdwatch.charts.selection import other_choices_chart, selection_chart
from birdwatch.charts.shapes import joint_chart, qq_chart

__all__ = [
    "OKABE_ITO",
    "Colours",
    "Drawing",
    "Marks",
    "difference_chart",
    "disagreement_chart",
    "drift_chart",
    "joint_chart",
    "latency_chart",
    "other_choices_chart",
    "qq_chart",
    "selection_chart",
]
