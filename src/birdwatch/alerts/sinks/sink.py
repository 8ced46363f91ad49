"""What a sink is: it takes an alert, or raises."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Protocol

from birdwatch.records import Alert

__all__ = ["Pictures", "Sink", "digest"]


class Pictures(Protocol):
    """Has pictures of what lies behind alerts; neither raises, whatever happens: an alert goes without."""

    def png(self, alert: Alert) -> bytes | None:
        """Give the picture; None where there is none, or it is not there soon."""

    def address(self, alert: Alert) -> str:
        """Give the address at which receivers find it; empty where there is none."""


class Sink(ABC):
    """Takes alerts. It may be given one twice (delivery is at least once), with the same message id.

    Attributes
    ----------
    place
        Tells one address from another without giving it away; empty where that does not matter.
    batch
        How many changes it takes at once.
    repeat_seconds
        How often it wants to be told again what stands; None for never.
    """

    place: str = ""
    batch: int = 1
    repeat_seconds: float | None = None

    @abstractmethod
    def send(self, alert: Alert, message_id: str) -> None:
        """Take an alert; whatever is raised says that it was not taken, and it comes again later."""

    def send_all(self, changes: Sequence[tuple[Alert, str]]) -> None:
        """Take changes of different alerts at once, at most ``batch``, each with its message id: all of them or none."""
        for alert, message_id in changes:
            self.send(alert, message_id)

    def repeat(self, alerts: Sequence[Alert]) -> None:  # noqa: B027 - most sinks are told once
        """Hear again of alerts it has taken: what fires, and what has just resolved."""

    def close(self) -> None:  # noqa: B027 - most sinks hold nothing
        """Let go of what is held."""


def digest(addresses: Iterable[str]) -> str:
    """Tell addresses apart without keeping them: the store is read by many."""
    return hashlib.sha256("\x1f".join(addresses).encode()).hexdigest()[:16]
