"""What librdkafka says, said seldom: while a broker is away each client would repeat it ten times a second."""

import logging
import re
import time
from collections.abc import Callable
from typing import Final

__all__ = ["LOG", "Seldom"]

_SECONDS: Final = 60.0
_NUMBERS: Final = re.compile(r"\d+")
_OTHERS: Final = "and will be ignored by this"
"""One address has the properties of consumers and of producers: that each passes by the other's is as it should be."""


class Seldom(logging.Filter):
    """Lets the same be said once in a while; numbers in it do not make it another. What means nothing is not said at all.

    Parameters
    ----------
    clock
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to say it, and how often it was not said since the last time."""
        if _OTHERS in record.getMessage():
            return False
        what = _NUMBERS.sub("#", record.getMessage())
        now = self._clock()
        since, passed_over = self._said.get(what, (-_SECONDS, 0))
        if now - since < _SECONDS:
            self._said[what] = (since, passed_over + 1)
            return False
        # What was not said for long is forgotten: there are as many as there are brokers and clients.
        self._said = {said: at for said, at in self._said.items() if now - at[0] < _SECONDS}
        self._said[what] = (now, 0)
        if passed_over:
            record.msg, record.args = f"{record.getMessage()} ({passed_over} times more in the last while)", ()
        return True


LOG: Final = logging.getLogger("birdwatch.kafka")
"""librdkafka's own log, instead of its lines on standard error."""

LOG.addFilter(Seldom())
