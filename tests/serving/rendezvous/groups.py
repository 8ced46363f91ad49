"""Streams with lanes and a group that shares them, as Kafka's eager rebalance does it.

A change of the group begins when somebody joins, leaves, or is given up; each member gives back what it holds at its next
poll, and all is given out anew when all have. Who was given up finds out at its next poll. What a poll is given, the next
one reads.
"""

import zlib

from birdwatch.streams import Changes, Committed, Message, Partition

__all__ = ["GroupStreams"]


class Group:
    def __init__(self):
        self.members = []
        self.waiting = set()
        self.generation = 0
        self.kept = {}

    def change(self):
        self.waiting = set(self.members)
        self._complete()

    def join(self, member):
        self.members.append(member)
        self.change()

    def leave(self, member):
        if member in self.members:
            self.members.remove(member)
            self.change()

    def rejoined(self, member):
        self.waiting.discard(member)
        self._complete()

    def _complete(self):
        if not self.waiting:
            self.generation += 1

    def lanes(self, member, count):
        """Give out lanes as the assignor `range` does."""
        place, members = self.members.index(member), len(self.members)
        return {lane for lane in range(count) if lane * members // count == place}


class GroupStreams:
    """Streams of ``lanes`` partitions each; ``control`` has one."""

    address = "memory:"

    def __init__(self, lanes, clock):
        self.lanes = lanes
        self.clock = clock
        self.logs = {}
        self.groups = {}

    def append(self, stream, messages, *, headers=None):
        del headers
        for key, value in messages:
            self._put(stream, zlib.crc32(key) % self._count(stream), key, value)

    def broadcast(self, stream, key, value):
        for number in range(self._count(stream)):
            self._put(stream, number, key, value)

    def _count(self, stream):
        return 1 if stream in ("control", "deadletters", "snapshots") else self.lanes

    def _put(self, stream, number, key, value):
        for each in range(self._count(stream)):
            self.logs.setdefault(Partition(stream, each), [])
        log = self.logs[Partition(stream, number)]
        log.append(Message(stream, number, len(log), key, value))

    def reader(self, streams, *, group=None, start="earliest", on_lost="earliest"):
        del start, on_lost
        return Reader(self, streams, self.groups.setdefault(group, Group()) if group else None)

    def names(self):
        return sorted({stream for stream, _ in self.logs})

    def ends(self, streams):
        return {at: len(log) for at, log in self.logs.items() if at.stream in streams}

    def committed(self, group, streams):
        kept = self.groups[group].kept if group in self.groups else {}
        return {at: offset for at, offset in kept.items() if at.stream in streams}

    def check_partitions(self, streams):
        pass

    def close(self):
        pass

    def read(self, stream):
        """Give all messages of a stream."""
        return [message for at, log in sorted(self.logs.items()) if at.stream == stream for message in log]


class Reader:
    def __init__(self, place, streams, group):
        self.place, self.streams, self.group = place, streams, group
        self.next, self.left, self.sought = {}, {}, {}
        self.taken, self.given, self.back = set(), {}, set()
        self.generation = -1
        self.closed = False
        self.known = False

    def poll(self, limit=1000, timeout=1.0):
        held = set(self.next)
        self._follow()
        found = []
        for at in sorted(self.next.keys() & held):
            fresh = self.place.logs[at][self.next[at] :][: limit - len(found)]
            self.next[at] += len(fresh)
            found += fresh
        if not found:
            self.place.clock.sleep(timeout)
        return found

    def _follow(self):
        there = {at for at in self.place.logs if at.stream in self.streams}
        if self.group is None:
            for at in there - self.next.keys():
                self._give(at, None)
            return
        if self not in self.group.members:
            self.taken |= self.next.keys() | self.left.keys()
            self.given, self.back = {}, set()
            self.next, self.left = {}, {}
            self.group.join(self)
        if self in self.group.waiting:
            self.left |= self.next
            self.next = {}
            self.group.rejoined(self)
        if not self.group.waiting:
            lanes = self.group.lanes(self, self.place.lanes)
            held = {at for at in there if at.number in lanes}
            for at in self.left.keys() - held:
                self.taken.add(at)
                self.given.pop(at, None)
                self.back.discard(at)
            for at in held - self.next.keys():
                if at in self.left:
                    self.next[at] = self.left[at]
                    self.back.add(at)
                else:
                    self._give(at, self.group.kept.get(at))
            self.left = {}

    def _give(self, at, kept):
        self.given[at] = None if kept is None else Committed(kept)
        self.next[at] = self.sought.pop(at, kept or 0)

    def changes(self):
        found = Changes(frozenset(self.taken), self.given, frozenset(self.back))
        self.taken, self.given, self.back = set(), {}, set()
        return found

    def positions(self):
        return dict(self.next)

    def seek(self, positions):
        for at, offset in positions.items():
            (self.next if at in self.next else self.sought)[at] = offset

    def commit(self, positions=None):
        if self in self.group.members:
            kept = self.next if positions is None else positions
            self.group.kept |= {at: offset for at, offset in kept.items() if at in self.next}

    def confirm(self):
        return self in self.group.members

    def gaps(self):
        return []

    def close(self):
        self.closed = True
        if self.group is not None:
            self.group.leave(self)
