"""Whatever apprise knows: PagerDuty, Slack, Teams, mail and a hundred more."""

import logging
import threading
import time
import warnings
from collections.abc import Sequence
from typing import Any, Final

from birdwatch.alerts.sinks.sink import Pictures, Sink, digest
from birdwatch.alerts.wording import Links, annotations
from birdwatch.errors import DeliveryError, SettingsError
from birdwatch.records import Alert

__all__ = ["Apprise"]

_log = logging.getLogger(__name__)

_KINDS: Final = {"page": "failure", "ticket": "warning", "info": "info"}


class Apprise(Sink):
    """Notifies several places; one that has taken an alert is left out when it is tried again.

    Parameters
    ----------
    urls
        apprise's addresses.
    links
        Where people are sent.
    pictures
        What lies behind an alert that fires goes with it, to places that take files.
    timeout_seconds
        For all of an attempt. One that is given up may arrive nevertheless.

    Raises
    ------
    SettingsError
        apprise is not installed, or does not know an address; the message does not repeat the address.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        links: Links | None = None,
        pictures: Pictures | None = None,
        timeout_seconds: float = 30.0,
    ) -> None:
        try:
            import apprise  # noqa: PLC0415 - an extra that most do without
        except ImportError as error:
            raise SettingsError("apprise is not installed: pip install 'birdwatch[apprise]'") from error
        # It would log addresses, and bodies of answers: what failed is said by the sink.
        logging.getLogger("apprise").setLevel(logging.CRITICAL)
        self.place = digest(urls)
        self._places: list[Any] = []
        for number, url in enumerate(urls, 1):
            place = apprise.Apprise()
            with warnings.catch_warnings():
                # Its newest version asks here for a module that Python will no longer have, and can do without.
                warnings.filterwarnings("ignore", "'imghdr' is deprecated", DeprecationWarning)
                known = place.add(url)
            if not known:
                raise SettingsError(f"address {number} of {len(urls)} is none that apprise knows")
            self._places.append(place)
        self._links = links or Links()
        self._pictures = pictures
        self._timeout_seconds = timeout_seconds
        self._asking: dict[int, threading.Thread] = {}
        self._taken: dict[str, set[int]] = {}

    def send(self, alert: Alert, message_id: str) -> None:
        """Notify every place that has not taken it yet.

        Raises
        ------
        DeliveryError
            Some place has not taken it.
        """
        told = annotations(alert, self._links)
        over = alert.state == "resolved"
        title = f"{'resolved' if over else alert.severity}: {told['summary']}"
        lines = [told["description"], f"since {told['since']}"]
        lines += [f"{name}: {told[key]}" for key, name in _MORE.items() if key in told]
        # A place that takes the words may refuse the picture: what has failed comes again without.
        picture = None if over or message_id in self._taken else self._attachment(alert)
        taken = self._taken.setdefault(message_id, set())
        due = [number for number in range(len(self._places)) if number not in taken]
        taken |= self._notify(
            due,
            {
                "title": title,
                "body": "\n".join(lines),
                "notify_type": "success" if over else _KINDS[alert.severity],
                "attach": picture,
            },
        )
        missing = [str(number) for number in range(1, len(self._places) + 1) if number - 1 not in taken]
        if missing:
            raise DeliveryError(f"address {', '.join(missing)} of {len(self._places)} did not take it", unsure=True)
        del self._taken[message_id]

    def _notify(self, due: Sequence[int], told: dict[str, Any]) -> set[int]:
        """Notify places at once, and give those that have taken it by the deadline.

        apprise has a deadline for each step, none for all of them. One that is given up goes on in its thread, which keeps
        nobody from ending; while it does, its place is asked nothing more.
        """
        took: set[int] = set()

        def ask(number: int) -> None:
            try:
                if self._places[number].notify(**told):
                    took.add(number)
            except Exception as error:  # noqa: BLE001 - it may be anybody's code: whatever it raises, it failed
                _log.warning("address %d: %s", number + 1, type(error).__name__)

        for number in due:
            if number not in self._asking or not self._asking[number].is_alive():
                self._asking[number] = threading.Thread(target=ask, args=(number,), name="apprise", daemon=True)
                self._asking[number].start()
        until = time.monotonic() + self._timeout_seconds
        for number in due:
            self._asking[number].join(max(0.0, until - time.monotonic()))
        return set(took)

    def _attachment(self, alert: Alert) -> Any:
        """Give the picture as apprise takes files; None where there is none."""
        png = None if self._pictures is None else self._pictures.png(alert)
        if png is None:
            return None
        from apprise.attachment.memory import AttachMemory  # noqa: PLC0415 - an extra that most do without

        attach: Any = AttachMemory
        return attach(content=png, name=f"{alert.rule}-{alert.fingerprint}.png", mimetype="image/png")


_MORE: Final = {"runbook_url": "what to do", "runbook": "what to do", "dashboard": "dashboard"}
