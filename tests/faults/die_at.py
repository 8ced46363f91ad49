"""Runs ``birdwatch`` so that it kills itself with SIGKILL at a named point: ``die_at.py POINT COUNT -- ARGUMENTS``.

A point is a place before or after a call that makes something last; the process dies there for the COUNT-th time that
it comes by. At a point that begins with "stopped" it stops itself with SIGSTOP instead. The program itself knows nothing
of this.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["POINTS"]


class Countdown:
    """Kills this process, or stops it, when it was called so many times."""

    def __init__(self, count: int, number: signal.Signals = signal.SIGKILL) -> None:
        self._left = count
        self._number = number

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), self._number)


def _nothing() -> None:
    pass


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


def _around_appends(stream: str, before: Callable[[], None], after: Callable[[], None]) -> None:
    """Do something before and after each append to a stream of Kafka."""
    from birdwatch.streams.kafka import KafkaStreams

    append = KafkaStreams.append

    def watched(self: KafkaStreams, to: str, *args: Any, **options: Any) -> None:
        if to == stream:
            before()
        append(self, to, *args, **options)
        if to == stream:
            after()

    KafkaStreams.append = watched  # type: ignore[method-assign]


def _around_offset_commits(before: Callable[[], None], after: Callable[[], None]) -> None:
    """Do something before and after each commit of a reader's offsets."""
    from birdwatch.streams.kafka_reader import KafkaReader

    commit = KafkaReader.commit

    def watched(self: KafkaReader, *args: Any) -> None:
        before()
        commit(self, *args)
        after()

    KafkaReader.commit = watched  # type: ignore[method-assign]


def _with_results_in_hand(stop: Callable[[], None]) -> None:
    """Do something where the rendezvous has made up its mind, and has not yet written what it will answer."""
    from birdwatch.serving.rendezvous.mailboxes import Mailboxes

    settle = Mailboxes.settle

    def watched(self: Mailboxes, *args: Any) -> Any:
        settled = settle(self, *args)
        if settled[0]:
            stop()
        return settled

    Mailboxes.settle = watched  # type: ignore[method-assign]


def _before_the_transaction_commits(die: Countdown) -> None:
    _at_commits_of_transactions(die, lambda: None)


def _after_the_transaction_committed(die: Countdown) -> None:
    _at_commits_of_transactions(lambda: None, die)


def _at_commits_of_transactions(before: Callable[[], None], after: Callable[[], None]) -> None:
    """Do something before and after each commit of what was produced, with the group's offsets, to Kafka."""
    from confluent_kafka import Producer

    from birdwatch.streams import kafka_transactions

    class Watched(Producer):
        def commit_transaction(self, *arguments: float) -> None:
            before()
            super().commit_transaction(*arguments)
            after()

    kafka_transactions.Producer = Watched  # type: ignore[misc]


ARMS: dict[str, Callable[[Countdown], None]] = {
    "before the state commit": _before_the_state_commit,
    "after the state commit": _after_the_state_commit,
    "produced, before the offset commit": _before_the_transaction_commits,
    "after the offset commit": _after_the_transaction_committed,
    "before results are appended": lambda die: _around_appends("results", die, _nothing),
    "after results are appended": lambda die: _around_appends("results", _nothing, die),
    "before decisions are appended": lambda die: _around_appends("metrics", die, _nothing),
    "after decisions are appended": lambda die: _around_appends("metrics", _nothing, die),
    "before a reader commits": lambda die: _around_offset_commits(die, _nothing),
    "after a reader committed": lambda die: _around_offset_commits(_nothing, die),
    "stopped with results in hand": _with_results_in_hand,
}
"""By point: what arms it."""

POINTS = {
    "before the state commit": {"tail", "judge"},
    "after the state commit": {"tail", "judge"},
    "produced, before the offset commit": {"worker"},
    "after the offset commit": {"worker"},
    "before results are appended": {"rendezvous"},
    "after results are appended": {"rendezvous"},
    "before decisions are appended": {"rendezvous"},
    "after decisions are appended": {"rendezvous"},
    "before a reader commits": {"rendezvous"},
    "after a reader committed": {"rendezvous"},
}
"""By point: which processes come by it."""


if __name__ == "__main__":
    point, count, dashes, *arguments = sys.argv[1:]
    assert dashes == "--"
    ARMS[point](Countdown(int(count), signal.SIGSTOP if point.startswith("stopped") else signal.SIGKILL))
    from birdwatch.cli import main

    sys.argv = ["birdwatch", *arguments]
    main()
