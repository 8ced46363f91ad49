"""Tables and words for people: alerts as pandas frames, and the state of the fleet in a sentence."""

import math
from typing import Final, Literal, NamedTuple

import msgspec
import pandas as pd

from birdwatch.alerts.history import AlertRow, read_alerts
from birdwatch.windows.store import Store

__all__ = ["FleetState", "alert_in_words", "alert_table", "fleet_state", "open_alerts"]

_URGENT: Final = ("page", "ticket", "info")
_MOST_NAMED: Final = 3


class FleetState(NamedTuple):
    """How the fleet is, in a word and in a sentence."""

    level: Literal["page", "ticket", "no data", "ok"]
    headline: str


def alert_table(store: Store, since: float, until: float) -> pd.DataFrame:
    """Give the alerts that were firing at some time in [since, until], as they stood at its end: the newest first.

    Returns
    -------
    DataFrame
        The fields of `birdwatch.alerts.history.AlertRow`, with ``since, started, fired, resolved`` as times in UTC, and
        in ``acknowledged`` the name of who looks after it, or nothing. What was resolved only after ``until`` is still
        ``firing``, and what was silenced, explained or looked after only later is not, so that the past looks as it did.
    """
    frame = pd.DataFrame(
        [msgspec.structs.asdict(row) for row in read_alerts(store, since, math.nextafter(until, math.inf), until)],
        columns=list(AlertRow.__struct_fields__),
    )
    later = frame["resolved"].astype(float) > until
    frame.loc[later, "resolved"] = None
    frame.loc[later, "state"] = "firing"
    frame["acknowledged"] = [seen.author if seen else "" for seen in frame["acknowledged"]]
    for time in ("since", "started", "fired", "resolved"):
        frame[time] = pd.to_datetime(frame[time].astype(float), unit="s", utc=True)
    return frame.sort_values("fired", ascending=False, kind="stable", ignore_index=True)


def alert_in_words(alert: "pd.Series[str]") -> str:
    """Say what an alert is about and what caused it.

    Examples
    --------
    >>> alert_in_words(pd.Series({"model": "challenger", "version": "2", "attribution": "the model changed"}))
    'challenger 2 – the model changed'
    >>> alert_in_words(pd.Series({"model": "", "version": "", "feature": "visib", "attribution": "an input moved"}))
    'visib – an input moved'
    """
    subject = alert.get("feature") or f"{alert['model']} {alert['version']}".strip()
    cause = alert["attribution"] or alert["rule"]
    return f"{subject} – {cause}" if subject else cause


def open_alerts(alerts: pd.DataFrame) -> pd.DataFrame:
    """Give those of `alert_table` that fire: pages first, the newest first among equals, what is kept back last."""
    firing = alerts[alerts["state"] == "firing"]
    kept_back = firing["silenced"].astype(bool) | firing["inhibited"].astype(bool)
    order = firing.assign(kept_back=kept_back, urgency=firing["severity"].map(_URGENT.index))
    return firing.loc[order.sort_values(["kept_back", "urgency"], kind="stable").index]


def fleet_state(alerts: pd.DataFrame, fleet: pd.DataFrame) -> FleetState:
    """Say how the fleet is: what fires, else what cannot be judged, else that all is in order.

    Alerts that somebody silenced are counted, not named, and those that another explains are left to that one. Of many
    the newest are named.

    Parameters
    ----------
    alerts
        From `alert_table`.
    fleet
        From `birdwatch.detect.fleet.fleet_table`.
    """
    firing = alerts[alerts["state"] == "firing"]
    silenced = int(firing["silenced"].sum())
    told = f" ({silenced} silenced)" if silenced else ""
    # What another alert explains is said by that one.
    firing = firing[~(firing["silenced"].astype(bool) | firing["inhibited"].astype(bool))]
    for severity in _URGENT[:2]:
        found = firing[firing["severity"] == severity]
        if len(found):
            each = [alert_in_words(alert) for _, alert in found.head(_MOST_NAMED).iterrows()]
            more = f" and {len(found) - len(each)} more" if len(found) > len(each) else ""
            return FleetState(
                "page" if severity == "page" else "ticket",
                f"{len(found)} {severity}{'s' * (len(found) > 1)} firing: {'; '.join(each)}{more}{told}",
            )
    present = fleet[~fleet["gone"].astype(bool)]
    judged = present[present["status"] != "no data"]
    if judged.empty:
        return FleetState("no data", "Nothing can be judged yet: no rule has had enough data and a reference")
    blind = present[present["status"].isin(["no data", "error"])]
    if len(blind):
        names = ", ".join(f"{m} {v} ({s})" for m, v, s in blind[["model", "version", "status"]].itertuples(index=False))
        return FleetState("no data", f"No alert firing{told}, but not every model can be judged: {names}")
    count = judged["model"].nunique()
    return FleetState("ok", f"All in order: no alert firing{told}, {count} model{'s' * (count != 1)} judged")
