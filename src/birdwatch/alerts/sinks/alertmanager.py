"""Alertmanager: every instance is told of what fires, again and again, as Prometheus does it.

Its instances tell each other what they have sent, not what they have heard. So each hears everything; and since it
forgets what it is not told again (``endsAt``), one that lost its memory knows all of it a minute later, and none goes on
firing when nobody is left who would say that it is over.
"""

import logging
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from birdwatch.alerts.sinks.post import Poster
from birdwatch.alerts.sinks.sink import Sink, digest
from birdwatch.alerts.wording import Links, annotations, labels, timestamp
from birdwatch.errors import DeliveryError
from birdwatch.records import Alert

__all__ = ["FIRES_FOR_SECONDS", "REPEAT_SECONDS", "Alertmanager"]

_log = logging.getLogger(__name__)

REPEAT_SECONDS: Final = 60.0
"""How often what fires is said again."""

FIRES_FOR_SECONDS: Final = 240.0
"""For how long an alert fires that is not said again."""

_MOST: Final = 100  # some 100 KB
_RETRY_SECONDS: Final = 5.0  # it is ours, near, and made to be asked often


class Alertmanager(Sink):
    """Tells all instances; a change is taken when one of them has taken it, and the others hear it again soon.

    Parameters
    ----------
    urls
        The instances.
    links
        Where people are sent.
    poster
        What posts.
    """

    def __init__(self, urls: Sequence[str], *, links: Links | None = None, poster: Poster | None = None) -> None:
        self.place = digest(urls)
        self.batch = _MOST
        self.repeat_seconds = REPEAT_SECONDS
        self._urls = [f"{url.rstrip('/')}/api/v2/alerts" for url in urls]
        self._links = links or Links()
        self._poster = poster or Poster()
        self._failing: dict[int, str] = {}

    def send(self, alert: Alert, message_id: str) -> None:
        """Tell every instance of a change.

        Raises
        ------
        DeliveryError
            No instance has taken it.
        """
        del message_id  # the labels say which alert it is
        self._tell([alert])

    def send_all(self, changes: Sequence[tuple[Alert, str]]) -> None:
        """Tell every instance of changes of different alerts.

        Raises
        ------
        DeliveryError
            No instance has taken them.
        """
        self._tell([alert for alert, _ in changes])

    def repeat(self, alerts: Sequence[Alert]) -> None:
        """Tell every instance what stands.

        Raises
        ------
        DeliveryError
            No instance has taken it.
        """
        if alerts:
            self._tell(alerts)

    def _tell(self, alerts: Sequence[Alert]) -> None:
        now = self._poster.now()
        content = msgspec.json.encode([_entry(alert, now, self._links) for alert in alerts])
        errors = self._poster.post_all(self._urls, content, {})
        failed = {number: str(error) for number, error in enumerate(errors, 1) if error is not None}
        if len(failed) == len(self._urls):
            said = "; ".join(dict.fromkeys(failed.values()))
            unsure = any(error is not None and error.unsure for error in errors)
            raise DeliveryError(
                f"none of {len(failed)} instances took it: {said}", retry_after=_RETRY_SECONDS, unsure=unsure
            )
        if failed != self._failing:
            for number, why in failed.items():
                _log.warning("Alertmanager %d of %d: %s; it is told again", number, len(self._urls), why)
            for number in self._failing.keys() - failed.keys():
                _log.warning("Alertmanager %d of %d: well again", number, len(self._urls))
            self._failing = failed


def _entry(alert: Alert, now: float, links: Links) -> dict[str, Any]:
    """Give an alert as the API v2 takes it; it never starts in the future, and never ends before it starts.

    Event time may be long ago (a replay), or ahead of the clock: an end in the future would say that it still fires.
    """
    starts = min(alert.started, now)
    ends = now + FIRES_FOR_SECONDS if alert.state == "firing" else min(max(alert.ts, starts), now)
    return {
        "labels": labels(alert),
        "annotations": annotations(alert, links),
        "startsAt": timestamp(starts),
        "endsAt": timestamp(ends),
        "generatorURL": links.to_dashboard(alert),
    }
