"""The guard of a ramp: when an alert names the version that is being ramped up, it holds the ramp, or rolls it back.

It reads ``control`` and ``alerts``, and nothing else of the observing half. What it has done stands on control, so that
it needs no memory of its own: killed at any moment and started again it reads both streams from their beginnings and
knows what is left to do.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

from birdwatch.errors import RecordError, StreamError
from birdwatch.records import CONTROL_KEY, Alert, Control, decode, encode
from birdwatch.serving.control.ledger import Ledger
from birdwatch.serving.horizon import catch_up
from birdwatch.serving.process import retry, warn
from birdwatch.streams import Message, Streams

__all__ = ["AUTHOR", "GROUP", "NOT_ITS_FAULT", "Episode", "Guard"]

AUTHOR: Final = "guard"
GROUP: Final = "guard"
"""Its consumer group: what it has committed, it has acted upon."""

NOT_ITS_FAULT: Final = ("inputs changed", "the partner changed", "the canary changed", "the rule cannot judge")
"""How the attribution of an alert begins that names a model, but does not blame it."""

_READ: Final = ("control", "alerts")
_IDLE_SECONDS: Final = 0.5


class Episode(NamedTuple):
    """An alert from firing to resolved; infinity while it fires."""

    alert: Alert
    resolved: float = float("inf")

    def blames(self, model: str, version: str) -> bool:
        """Say whether it is this version of this model that the alert is about."""
        about = self.alert.model == model and (not version or self.alert.version in ("", version))
        return about and not self.alert.attribution.startswith(NOT_ITS_FAULT)


class Guard:
    """Acts on alerts about ramps that are guarded.

    A ramp begins with each ``ramp`` record. An alert that fires in it, or still fires when it begins, is acted upon once;
    one that was over before is passed by.

    Parameters
    ----------
    sleep
        How to wait until streams that fail are tried again.
    """

    def __init__(self, streams: Streams, *, sleep: Callable[[float], object] = time.sleep) -> None:
        self._streams = streams
        self._sleep = sleep
        self.counts: Counter[tuple[str, str]] = Counter()
        """(action, model) counted since the start."""
        self._begin()

    def _begin(self) -> None:
        self._reader = self._streams.reader(_READ, group=GROUP)
        # The group's offsets tell others how far the guard has come; it needs all that there is.
        self._reader.seek(dict.fromkeys(self._streams.ends(_READ), 0))
        self._ledger = Ledger()
        self._ramps: dict[str, Control] = {}
        self._episodes: dict[tuple[str, float], Episode] = {}

    def step(self, timeout: float = _IDLE_SECONDS) -> list[Control]:
        """Wait for news, and do what is to be done.

        All that lies on both streams is read before anything is decided, so that an alert that is over is known to be.

        Returns
        -------
        list of Control
            What was put on control.
        """
        messages = self._reader.poll(timeout=timeout)
        if not messages:
            return []
        self._take(messages)
        for more in catch_up(self._streams, self._reader, _READ):
            self._take(more)
        actions = self._due()
        for action in actions:
            self._streams.append("control", [(CONTROL_KEY, encode(action))])
            self._enter(action)  # it comes back by the stream, and then changes nothing
            self.counts[action.action, action.model] += 1
            warn("guard", f"{action.action} of {action.model} {action.version}: {action.reason}")
        self._reader.commit()
        return actions

    def run(self, stopping: Callable[[], bool]) -> None:
        """Step until asked to stop; when the streams fail, read all again: it has no other memory."""
        while not stopping():
            try:
                self.step()
            except StreamError as error:
                warn("guard", f"reading all again: {error}")
                self._reader.close()
                retry("guard", self._begin, stopping, self._sleep)

    def close(self) -> None:
        """Let go of the reader."""
        self._reader.close()

    def _take(self, messages: list[Message]) -> None:
        for message in messages:
            try:
                if message.stream == "control":
                    self._enter(decode(message.value, Control))
                else:
                    self._take_alert(decode(message.value, Alert))
            except RecordError as error:
                warn("guard", f"passed by on {message.stream} at {message.offset}: {error}")

    def _enter(self, control: Control) -> None:
        if self._ledger.enter(control) is None and control.action == "ramp":
            self._ramps[control.model] = control

    def _take_alert(self, alert: Alert) -> None:
        key = (alert.fingerprint, alert.started)
        known = self._episodes.get(key)
        if alert.state == "firing":
            self._episodes[key] = Episode(alert) if known is None else known._replace(alert=alert)
        elif known is not None:
            self._episodes[key] = known._replace(resolved=alert.ts)

    def _due(self) -> list[Control]:
        fleet = self._ledger.fleet
        if fleet is None:
            return []
        actions = []
        for standing in fleet.standing():
            if standing.guard is None or (standing.guard == "hold" and standing.held):
                continue
            began = self._ramps[standing.model].ts
            blamed = [e for e in self._episodes.values() if e.blames(standing.model, standing.version)]
            meant = [e for e in blamed if e.alert.ts >= began or e.resolved > began]
            if meant:
                alert = min(meant, key=lambda episode: (episode.alert.ts, episode.alert.fingerprint)).alert
                actions.append(_action(standing.guard, alert, standing.model, standing.version, began))
        return actions


def _action(guard: str, alert: Alert, model: str, version: str, began: float) -> Control:
    action: Literal["hold", "rollback"] = "rollback" if guard == "rollback" else "hold"
    cause = f"{alert.attribution}: " if alert.attribution else ""
    params: dict[str, Any] = {"fingerprint": alert.fingerprint, "rule": alert.rule}
    return Control(
        ts=max(alert.ts, began),
        action=action,
        author=AUTHOR,
        reason=f"{cause}{alert.reason} ({alert.rule})",
        model=model,
        version=version,
        params=params,
    )
