"""Charts of the tables that people look at, for dashboards and notebooks alike; needs altair.

Colours are those of Okabe and Ito, which colour-blind people can tell apart; a model keeps its own. A drawing ``says`` in a
sentence what it shows.
"""

from birdwatch.charts.accounts import audit_chart, missing_chart, telling_chart
from birdwatch.charts.behind import Fired, draw_behind
from birdwatch.charts.beliefs import belief_chart, posterior_chart
from birdwatch.charts.changed import unusual_chart
from birdwatch.charts.estimates import rejected_chart, value_chart
from birdwatch.charts.evaluation import deadline_chart, reliability_chart
from birdwatch.charts.latency import burn_chart, latency_chart, latency_heat_chart, objective_chart
from birdwatch.charts.marks import OKABE_ITO, Colours, Drawing, Marks
from birdwatch.charts.measured import measured_chart
from birdwatch.charts.operations import changes_chart, episodes_chart, pending_chart, traffic_chart
from birdwatch.charts.pairs import difference_chart, evidence_chart, pair_chart
from birdwatch.charts.quantiles import quantile_chart
from birdwatch.charts.scores import distance_chart, drift_chart, score_heat_chart
from birdwatch.charts.selection import misses_chart, other_choices_chart, selection_chart
from birdwatch.charts.shapes import joint_chart, joint_drawing, qq_chart
from birdwatch.charts.streams import lag_chart, unreadable_chart
from birdwatch.charts.values import values_chart

__all__ = [
    "OKABE_ITO",
    "Colours",
    "Drawing",
    "Fired",
    "Marks",
    "audit_chart",
    "belief_chart",
    "burn_chart",
    "changes_chart",
    "deadline_chart",
    "difference_chart",
    "distance_chart",
    "draw_behind",
    "drift_chart",
    "episodes_chart",
    "evidence_chart",
    "joint_chart",
    "joint_drawing",
    "lag_chart",
    "latency_chart",
    "latency_heat_chart",
    "measured_chart",
    "misses_chart",
    "missing_chart",
    "objective_chart",
    "other_choices_chart",
    "pair_chart",
    "pending_chart",
    "posterior_chart",
    "qq_chart",
    "quantile_chart",
    "rejected_chart",
    "reliability_chart",
    "score_heat_chart",
    "selection_chart",
    "telling_chart",
    "traffic_chart",
    "unreadable_chart",
    "unusual_chart",
    "value_chart",
    "values_chart",
]
