"""Streams in memory with partitions, groups and transactions: Kafka as the tests of this folder need it."""

import zlib
from collections import defaultdict

from birdwatch.errors import MovedError
from birdwatch.streams import Changes, Committed, Message, Partition


class MemoryBroker:
    """A place for streams of so many partitions; a member of a group hears of a rebalance at its next poll."""

    address = "broker:"

    def __init__(self, partitions=1):
        self.partitions = partitions
        self.logs = defaultdict(list)
        self.kept = defaultdict(dict)  # by group
        self.members = defaultdict(list)
        self.appends = 0
        self.hidden = set()  # streams that are not given out

    def append(self, stream, messages, *, headers=None):
        self.appends += 1
        for number, (key, value) in enumerate(messages):
            self._put(stream, key, value, None, headers[number] if headers else ())

    def _put(self, stream, key, value, number, headers=()):
        count = 1 if stream in ("control", "alerts") else self.partitions
        at = Partition(stream, zlib.crc32(key) % count if number is None else number)
        for one in range(count):
            self.logs[Partition(stream, one)]
        self.logs[at].append(Message(*at, len(self.logs[at]), key, value, headers))

    def reader(self, streams, *, group=None, start="earliest", on_lost="earliest"):
        del start, on_lost
        reader = MemoryReader(self, list(streams), group)
        if group is not None:
            self.members[group].append(reader)
            self.rebalance(group)
        return reader

    def rebalance(self, group):
        """Give out the partitions anew, each number of all streams to one member."""
        members = self.members[group]
        for place, member in enumerate(members):
            member.assigned = {
                Partition(stream, number)
                for stream in member.streams
                if stream not in self.hidden
                for number in range(self.partitions)
                if number * len(members) // self.partitions == place
            }
            member.generation = object()

    def expel(self, reader):
        """Take a member for dead; it does not know."""
        self.members[reader.group].remove(reader)
        self.rebalance(reader.group)

    def transactions(self, reader):
        return MemoryTransactions(self, reader)

    def ends(self, streams):
        return {at: len(log) for at, log in self.logs.items() if at.stream in streams}

    def names(self):
        return sorted({at.stream for at in self.logs})

    def close(self):
        pass


class MemoryReader:
    def __init__(self, broker, streams, group):
        self.broker, self.streams, self.group = broker, streams, group
        self.next, self.assigned, self.generation = {}, set(), None
        self.seen = self.generation
        self.paused = set()
        self.struck = False  # taken for dead right after the next poll
        self.taken, self.given = set(), {}
        self.sought = {}

    def poll(self, limit=1000, timeout=1.0):
        del timeout
        self._hear()
        found = []
        for at in sorted(self.next):
            if at not in self.paused:
                fresh = self.broker.logs[at][self.next[at] : self.next[at] + limit - len(found)]
                self.next[at] += len(fresh)
                found += fresh
        if self.struck and self in self.broker.members[self.group]:
            self.broker.expel(self)
        self.struck = False
        return found

    def _hear(self):
        if self.group is None:
            there = {at for at in self.broker.logs if at.stream in self.streams}
            self.next |= {at: self.sought.get(at, 0) for at in there - set(self.next)}
            return
        expelled = self not in self.broker.members[self.group]
        if expelled:
            self.broker.members[self.group].append(self)
            self.broker.rebalance(self.group)
        if self.generation is not self.seen:
            self.seen = self.generation
            gone = set(self.next) if expelled else set(self.next) - self.assigned
            self.taken |= gone
            self.given = {at: kept for at, kept in self.given.items() if at not in gone}
            self.next = {at: offset for at, offset in self.next.items() if at not in gone}
            for at in self.assigned - set(self.next):
                kept = self.broker.kept[self.group].get(at)
                self.next[at] = kept.offset if kept else 0
                self.given[at] = kept

    def changes(self):
        found = Changes(frozenset(self.taken), self.given)
        self.taken, self.given = set(), {}
        return found

    def positions(self):
        return dict(self.next)

    def seek(self, positions):
        self.sought = dict(positions)

    def pause(self, partitions):
        self.paused |= set(partitions)

    def resume(self, partitions):
        self.paused -= set(partitions)

    def gaps(self):
        return []

    def close(self):
        if self.group is not None and self in self.broker.members[self.group]:
            self.broker.expel(self)


class MemoryTransactions:
    def __init__(self, broker, reader):
        self.broker, self.reader = broker, reader

    def write(self, entries, kept):
        """Write all, unless the group has gone on without this member."""
        stale = self.reader.generation is not self.reader.seen
        if stale or self.reader not in self.broker.members[self.reader.group]:
            raise MovedError("the partitions are another member's by now")
        for entry in entries:
            self.broker._put(entry.stream, entry.key, entry.value, entry.partition, entry.headers)
        self.broker.kept[self.reader.group] |= {at: Committed(*one) for at, one in kept.items()}

    def close(self):
        pass
