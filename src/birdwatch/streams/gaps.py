"""Where reading goes on when the next message is not there any more, or its stream is another one by now."""

from typing import Final

from birdwatch.errors import LostError
from birdwatch.streams.base import Gap, OnLost, Partition

__all__ = ["go_on"]

_REMEDIES: Final = {
    "trimmed": "keep messages for longer than the longest outage, as by retention.ms",
    "made anew": "nobody should delete a stream that is read",
    "cut short": "brokers have lost what they had confirmed: see to replication and min.insync.replicas",
}


def go_on(partition: Partition, wanted: int, begin: int, end: int, on_lost: OnLost, *, anew: bool) -> Gap | None:
    """Say where reading goes on if it cannot at ``wanted``; None if it can.

    A log whose end lies before ``wanted`` without being another one has lost its last messages: reading goes on at its
    end, for what comes takes the offsets of what was read.

    Parameters
    ----------
    wanted
        The next offset to read.
    begin, end
        The first offset that is there, and the one that the next message will have.
    on_lost
        Where to go on.
    anew
        Whether the log is another one than the one for which ``wanted`` holds.

    Raises
    ------
    LostError
        It cannot, and ``on_lost`` is ``stop``; it names the partition, the offsets and the remedy.

    Examples
    --------
    >>> go_on(Partition("scores"), 10, 50, 90, "earliest", anew=False)
    Gap(partition=Partition(stream='scores', number=0), wanted=10, found=50, reason='trimmed')
    >>> go_on(Partition("scores"), 60, 50, 90, "earliest", anew=False)
    """
    if begin <= wanted <= end and not anew:
        return None
    reason = "made anew" if anew else "trimmed" if wanted < begin else "cut short"
    if on_lost == "stop":
        raise LostError(
            f"{partition.stream}, partition {partition.number}: messages from offset {wanted} on were gone before they were "
            f"read ({reason}; there are {begin} to {end} now). To go on, choose where with on_lost: earliest or latest. "
            f"Against the next time: {_REMEDIES[reason]}"
        )
    return Gap(partition, wanted, end if on_lost == "latest" or reason == "cut short" else begin, reason)
