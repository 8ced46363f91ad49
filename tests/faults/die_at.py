"""Runs ``birdwatch`` so that it kills itself with SIGKILL at a named point: ``die_at.py POINT COUNT -- ARGUMENTS``.

A point is a place before or after a call that makes something last; the process dies there for the COUNT-th time that
it comes by. The program itself knows nothing of this.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["POINTS"]


class Countdown:
    """Kills this process when it was called so many times."""

    def __init__(self, count: int) -> None:
        self._left = count

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _before_the_state_commit(die: Countdown) -> None:
    _in_transactions_that_keep_offsets(die, lambda: None)


def _after_the_state_commit(die: Countdown) -> None:
    _in_transactions_that_keep_offsets(lambda: None, die)


def _in_transactions_that_keep_offsets(before: Callable[[], None], after: Callable[[], None]) -> None:
    """Do something before and after each commit of the store that keeps panes or offsets."""
    from birdwatch.windows.store import Store

    transaction = Store.transaction

    @contextmanager
    def watched(self: Store) -> Iterator[None]:
        outermost = not self.connection.in_transaction
        changed = self.connection.total_changes()
        wrote = False
        with transaction(self):
            yield
            wrote = outermost and self.connection.total_changes() > changed
            if wrote:
                before()
        if wrote:
            after()

    Store.transaction = watched  # type: ignore[method-assign]


ARMS: dict[str, Callable[[Countdown], None]] = {
    "before the state commit": _before_the_state_commit,
    "after the state commit": _after_the_state_commit,
}
"""By point: what arms it."""

POINTS = {
    "before the state commit": {"tail", "judge"},
    "after the state commit": {"tail", "judge"},
}
"""By point: which processes come by it."""


if __name__ == "__main__":
    point, count, dashes, *arguments = sys.argv[1:]
    assert dashes == "--"
    ARMS[point](Countdown(int(count)))
    from birdwatch.cli import main

    sys.argv = ["birdwatch", *arguments]
    main()
