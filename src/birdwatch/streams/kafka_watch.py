"""An eye on topics while they are read: which have appeared, and which were deleted and made anew."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from birdwatch.errors import StreamError
from birdwatch.streams.kafka_log import LOG
from birdwatch.streams.kafka_topics import KafkaTopics, Topic

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["KafkaWatch"]

_LOOK_SOON_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 5.0


class KafkaWatch:
    """Asks for some topics every few seconds, beside what is read; more often while one is missing.

    Parameters
    ----------
    topics
        Whom to ask.
    names
        Which.
    clock
        Monotonic seconds.
    """

    def __init__(
        self, topics: KafkaTopics, names: Sequence[str], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._topics = topics
        self._names = list(names)
        self._clock = clock
        self._asked: dict[str, Future[Any]] | None = None
        self._ask_at = -float("inf")

    def soon(self) -> None:
        """Look again soon: something seems to have changed."""
        self._ask_at = min(self._ask_at, self._clock() + _LOOK_SOON_SECONDS)

    def look(self) -> dict[str, Topic] | None:
        """Give the topics that exist, when there is a new answer; only the first is waited for."""
        now = self._clock()
        first = self._ask_at == -float("inf")
        if self._asked is None:
            if now < self._ask_at:
                return None
            self._asked = self._topics.ask(self._names)
            self._ask_at = now + _LOOK_SECONDS
        if not first and not all(future.done() for future in self._asked.values()):
            return None
        asked, self._asked = self._asked, None
        try:
            found = self._topics.answer(asked)
        except StreamError as error:
            LOG.warning("%s", error)
            return None
        if found.keys() != set(self._names):
            self._ask_at = now + _LOOK_SOON_SECONDS
        return found
