"""Which models to look at first, where there are more than a chart has room for."""

from collections.abc import Mapping
from typing import Final

import pandas as pd

__all__ = ["MOST_LINES", "leading_models"]

MOST_LINES: Final = 10
"""More lines than these nobody tells apart."""

_FIRING: Final = ("page", "ticket", "info")
_STANDARDS: Final = ("champion", "canary")
_STATUSES: Final = ("error", "drifting")


def leading_models(
    health: pd.DataFrame, alerts: pd.DataFrame, roles: Mapping[str, str], most: int = MOST_LINES
) -> tuple[str, ...]:
    """Name the models that matter most, those first that do: all of them, unless there are more than ``most``.

    First come those of which an alert fires, the most urgent first; then champion and canary, with which all others are
    compared; then those that could not be judged or drift; then those that gave the most scores.

    Parameters
    ----------
    health
        From `birdwatch.detect.fleet.health_table`.
    alerts
        From `birdwatch.alerts.tables.alert_table`.
    roles
        By model, from `birdwatch.windows.roles.roles`.
    """
    firing = alerts[alerts["state"] == "firing"]
    urgency = firing["severity"].map(_FIRING.index).groupby(firing["model"]).min()
    table = health.assign(
        urgency=health["model"].map(urgency).fillna(len(_FIRING)),
        other=~health["model"].map(roles).isin(_STANDARDS),
        calm=~health["status"].isin(_STATUSES),
        gone=health["gone"].astype(bool),
        few=-health["events"],
    )
    order = ["urgency", "other", "gone", "calm", "few", "model"]
    names = dict.fromkeys(table.sort_values(order, kind="stable")["model"])
    # A model that has an alert and no scores in this time is not in the table.
    names |= dict.fromkeys(roles)
    return tuple(names)[:most]
