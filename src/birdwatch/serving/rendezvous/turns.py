"""Whose turn it is: which of several rendezvous handles a request, by where it lies among the requests.

A swap cuts ``requests`` with a token: what lies before it is the old instance's, what lies after it the new one's. All
instances read everything, so that the new one has its mailboxes ready when the token comes; the log is the snapshot.
"""

from bisect import bisect_right
from typing import Final

from birdwatch.records import Control, Token

__all__ = ["FIRST", "Turns"]

FIRST: Final = "rendezvous"
"""The name of the instance that handles what lies before any token."""


class Turns:
    """The cuts known so far: those read among the requests, and older ones from their ``swapped`` records.

    Parameters
    ----------
    name
        Of this instance.

    Examples
    --------
    >>> turns = Turns("second")
    >>> turns.cut(0, 17, Token(token="t", component="rendezvous", to="second"))
    True
    >>> turns.mine(0, 16), turns.mine(0, 18)
    (False, True)
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._cuts: dict[int, list[tuple[int, str]]] = {}

    def cut(self, partition: int, offset: int, token: Token) -> bool:
        """Take note of a token read among the requests; say whether this instance takes over there, which is news."""
        if token.component != "rendezvous":
            return False
        return self._put(partition, offset, token.to) and token.to == self.name

    def apply(self, control: Control) -> None:
        """Take note of a swap that was done; records of anything else are passed by."""
        if control.action == "swapped" and control.params.get("component") == "rendezvous":
            at, to = control.params.get("at"), control.params.get("to")
            if isinstance(at, dict) and isinstance(to, str):
                for partition, offset in at.items():
                    if str(partition).isdecimal() and isinstance(offset, int):
                        self._put(int(partition), offset, to)

    def _put(self, partition: int, offset: int, to: str) -> bool:
        cuts = self._cuts.setdefault(partition, [])
        if (offset, to) in cuts:
            return False
        cuts.append((offset, to))
        cuts.sort()
        return True

    def mine(self, partition: int, offset: int) -> bool:
        """Say whether the request there is this instance's."""
        cuts = self._cuts.get(partition)
        if not cuts:
            return self.name == FIRST
        place = bisect_right(cuts, offset, key=lambda cut: cut[0])
        return (cuts[place - 1][1] if place else FIRST) == self.name

    @property
    def next(self) -> set[str]:
        """Who handles what comes next, by name: one, but for the moment of a swap."""
        return {cuts[-1][1] for cuts in self._cuts.values()} or {FIRST}

    @property
    def in_charge(self) -> bool:
        """Whether this instance handles what comes next, in any partition."""
        return self.name in self.next
