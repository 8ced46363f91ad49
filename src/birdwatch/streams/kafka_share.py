"""A reader's share of the partitions: how far each is read, through every change in the group.

Kafka takes all partitions away at each change, and gives most of them back at once. What was read of one that comes back
still counts, unless somebody else has committed in between; of one that was lost, or moved, nothing counts any more.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from birdwatch.streams.base import Changes, Committed, Gap, OnLost, Partition, Positions
from birdwatch.streams.gaps import go_on

__all__ = ["KafkaShare", "Log"]


class Log(NamedTuple):
    """A partition as Kafka has it now.

    Attributes
    ----------
    identity
        Of its topic: one that was made anew has another.
    begin, end
        The first offset that is there, and the one that the next message will have.
    committed
        By the group.
    """

    identity: str
    begin: int
    end: int
    committed: Committed | None = None


class KafkaShare:
    """Keeps what a reader holds; asks nobody.

    Parameters
    ----------
    begin
        Where to begin in partitions without a commit; the others begin at their first message.
    on_lost
        Where to go on when messages were gone before they were read.

    Attributes
    ----------
    next
        The next offset to read of every partition that is held and has begun.
    waiting
        The partitions that cannot go on until `start` says where.
    kept
        What the group has committed of those held, as far as this reader knows.
    """

    def __init__(self, begin: Positions, on_lost: OnLost) -> None:
        self._begin = dict(begin)
        self._on_lost: OnLost = on_lost
        self.next: Positions = {}
        self.waiting: set[Partition] = set()
        self.kept: dict[Partition, Committed | None] = {}
        self._identity: dict[Partition, str] = {}
        self._sought: Positions = {}
        self._left: Positions = {}
        self._back: set[Partition] = set()
        self._taken: set[Partition] = set()
        self._given: dict[Partition, Committed | None] = {}
        self._returned: set[Partition] = set()
        self._member: str | None = None
        self._gaps: list[Gap] = []

    def holds(self, partitions: Iterable[Partition]) -> bool:
        """Tell whether all of these are held, or may be given back in the rebalance that is under way."""
        return all(partition in self.next or partition in self._back for partition in partitions)

    def give(self, partitions: Collection[Partition], member: str | None = None) -> None:
        """Take note of what a rebalance has given, and to which member; what it has not given back is gone.

        A reader that was thought dead in the midst of a rebalance is told of nothing, but it is another member afterwards.
        """
        if member != self._member:
            self.lose()
            self._member = member
        self._drop(self._back.difference(partitions))
        self.waiting = set(partitions)

    def take_away(self) -> None:
        """Take note that a rebalance begins: nothing is held until it has ended."""
        self._left |= self.next
        self._back |= self.next.keys()
        self.next.clear()
        self.waiting.clear()

    def lose(self) -> None:
        """Take note that this reader was thought dead: what it has read counts no more."""
        self.take_away()
        self._drop(set(self._back))

    def appear(self, topics: Mapping[str, tuple[str, int]], *, alone: bool) -> bool:
        """Compare with the topics there are, by name with identity and number of partitions.

        A reader ``alone`` takes up what is new, and lets go of what is there no more. Tells whether it did.
        """
        there = {
            Partition(name, number): identity for name, (identity, count) in topics.items() for number in range(count)
        }
        self.waiting |= {at for at in self.next if at in there and there[at] != self._identity[at]}
        if not alone:
            return False
        self.waiting |= there.keys() - self.next.keys()
        shrunk = [at for at in self.next if at.stream in topics and at not in there]
        for at in shrunk:
            self._left[at] = self.next.pop(at)
        return bool(shrunk)

    def read_anew(self, partitions: Iterable[Partition]) -> None:
        """Begin these anew at what the group has committed: what is known of them cannot be trusted."""
        doubtful = {at for at in partitions if at in self.next or at in self._back}
        for at in doubtful & self.next.keys():
            self._left[at] = self.next.pop(at)
            self.waiting.add(at)
        self._drop(doubtful)

    def seek(self, positions: Positions) -> bool:
        """Go on at other offsets; tells whether any of these partitions is held."""
        held = {at: offset for at, offset in positions.items() if at in self.next}
        self.next |= held
        self._sought |= {at: offset for at, offset in positions.items() if at not in held}
        return bool(held)

    def start(self, logs: Mapping[Partition, Log]) -> None:
        """Say where partitions that wait go on, by what Kafka has of them; others go on waiting.

        Raises
        ------
        StreamError
            Messages were gone before they were read, and ``on_lost`` is ``stop``; nothing has begun.
        """
        ready = {at: log for at, log in logs.items() if at in self.waiting}
        found = {at: self._where(at, log) for at, log in ready.items()}
        for at, (wanted, gap) in found.items():
            log = ready[at]
            if self._is_back(at, log):
                self._returned.add(at)
            elif at not in self.next:
                self._drop({at} & self._back)
                self._given[at] = log.committed
            self.next[at] = wanted if gap is None else gap.found
            self._gaps += [] if gap is None else [gap]
            self._identity[at] = log.identity
            self.kept[at] = log.committed
            self._sought.pop(at, None)
        self.waiting -= found.keys()
        self._back -= found.keys()

    def changes(self) -> Changes:
        """Give what was taken and given since this was last asked."""
        changes = Changes(frozenset(self._taken), self._given, frozenset(self._returned))
        self._taken, self._given, self._returned = set(), {}, set()
        return changes

    def gaps(self) -> list[Gap]:
        """Give what was found missing since this was last asked."""
        gaps, self._gaps = self._gaps, []
        return gaps

    def _is_back(self, at: Partition, log: Log) -> bool:
        return at in self._back and log.committed == self.kept.get(at)

    def _where(self, at: Partition, log: Log) -> tuple[int, Gap | None]:
        """Give the offset to go on at, unless the gap that comes with it says another."""
        read = self.next.get(at, self._left.get(at))
        another = at in self._identity and self._identity[at] != log.identity
        # The commits of a topic go with it. If there are some, another reader has begun the new one.
        anew = another and (at in self.next or log.committed in (None, self.kept.get(at)))
        if at in self._sought:
            wanted = self._sought[at]
        elif read is not None and (anew or at in self.next or self._is_back(at, log)):
            wanted = read
        elif log.committed is not None:
            wanted = log.committed.offset
        else:
            wanted = self._begin.get(at, log.begin)
        anew = anew or (wanted > log.end and at not in self._identity)
        return wanted, go_on(at, wanted, log.begin, log.end, self._on_lost, anew=anew)

    def _drop(self, partitions: Iterable[Partition]) -> None:
        gone = set(partitions)
        self._taken |= gone
        self._back -= gone
        self._returned -= gone
        for at in gone:
            self._given.pop(at, None)
