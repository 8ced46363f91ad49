"""How an alert is told to the world: Alertmanager's labels and annotations, the same to every receiver of them.

Labels say which alert it is, so they are made of what its fingerprint is made of, and of its severity: the alert that
fires and the one that has resolved bear the same. Annotations tell people of it.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, urlencode

import msgspec

from birdwatch.detect.duration import say_moment
from birdwatch.detect.verdict import Subject
from birdwatch.detect.words import about
from birdwatch.records import Alert

__all__ = ["Links", "annotations", "labels", "timestamp"]

_BEFORE_SECONDS: Final = 86_400.0
_AFTER_SECONDS: Final = 3600.0
_LAST_SECOND: Final = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


class Links(msgspec.Struct, frozen=True):
    """Where people are sent: the dashboard, what to do (`{rule}` in its address becomes the rule's name), and pictures."""

    dashboard: str | None = None
    runbook: str | None = None
    to_picture: Callable[[Alert], str] = lambda _: ""

    def to_dashboard(self, alert: Alert) -> str:
        """Give the address of the dashboard at the time of an alert, for its model; empty where there is none.

        >>> alert = Alert(fingerprint="ab12", ts=90_000.0, started=86_400.0, state="firing", rule="silence",
        ...               severity="page", attribution="", model="m", version="1", reason="no scores")
        >>> Links("https://watch.test/").to_dashboard(alert)
        'https://watch.test/alerts?range=custom&from=1970-01-01T00%3A00&to=1970-01-02T02%3A00&models=m'
        """
        if self.dashboard is None:
            return ""
        shown = [
            ("range", "custom"),
            ("from", _moment(max(0.0, alert.started - _BEFORE_SECONDS)).strftime("%Y-%m-%dT%H:%M")),
            ("to", _moment(alert.ts + _AFTER_SECONDS).strftime("%Y-%m-%dT%H:%M")),
        ]
        shown += [("models", name) for name in dict.fromkeys((alert.model, alert.partner)) if name]
        return f"{self.dashboard.rstrip('/')}/alerts?{urlencode(shown)}"

    def to_runbook(self, alert: Alert) -> str:
        """Give what to do about an alert, its rule's own word before the address for all; empty where there is none."""
        if alert.runbook or self.runbook is None:
            return alert.runbook
        return self.runbook.replace("{rule}", quote(alert.rule, safe=""))


def labels(alert: Alert) -> dict[str, str]:
    """Say which alert it is; nothing is empty, for Alertmanager takes an empty label for one that is missing."""
    named = {
        "alertname": alert.rule,
        "severity": alert.severity,
        "model": alert.model,
        "version": alert.version,
        "partner": alert.partner,
        "feature": alert.feature,
        "attribution": alert.attribution,
    }
    return {name: value for name, value in named.items() if value}


def annotations(alert: Alert, links: Links) -> dict[str, str]:
    """Tell people of an alert: what moved, since when, how far, and where to look."""
    runbook = links.to_runbook(alert)
    # Receivers make a link of `runbook_url`.
    runbook_is = "runbook_url" if runbook.startswith(("https://", "http://")) else "runbook"
    whom = about(Subject(alert.model, alert.version, alert.partner, alert.feature))
    told = {
        "summary": f"{whom}: {alert.attribution or alert.rule}",
        "description": alert.reason,
        "attribution": alert.attribution,
        "since": f"{say_moment(_moment(alert.started if alert.since is None else alert.since).timestamp())} UTC",
        "changed": timestamp(alert.ts),
        "statistic": alert.statistic,
        "value": "" if alert.value is None else f"{alert.value:.6g}",
        "tolerance": "" if alert.tolerance is None else f"{alert.tolerance:.6g}",
        "effect": f"{alert.effect:.6g}" if alert.effect else "",
        "n": str(alert.n) if alert.n else "",
        "cost": "" if alert.cost is None else f"{alert.cost:.2g}",
        runbook_is: runbook,
        "dashboard": links.to_dashboard(alert),
        "image": links.to_picture(alert),
    }
    return {name: value for name, value in told.items() if value}


def timestamp(moment: float) -> str:
    """Write a moment as RFC 3339 does, to the millisecond.

    >>> timestamp(60.5)
    '1970-01-01T00:01:00.500Z'
    """
    return f"{_moment(moment).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def _moment(seconds: float) -> datetime:
    """Give a moment, within the years that can be written."""
    return datetime.fromtimestamp(min(max(seconds, 0.0), _LAST_SECOND), UTC)
