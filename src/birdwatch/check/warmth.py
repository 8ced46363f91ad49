"""Is a version fit to answer? What it said in shadow, beside what the champion and the canary said of the same requests.

Three things are asked of it. *Errors*: the share of requests that it could not score, as seen. *Latency*: the 99th
percentile of the time from a request's receipt to its score, against the time in which it would have to answer.
*Difference*: how far its scores lie from the champion's, in the mean over requests, as a multiple of how far the canary's
do. The canary is an older model of the same thing, so its difference is what is usual between two that are both in order.

It keeps out what is grossly wrong before anybody is answered by it. What is wrong by less than two models usually differ
shows in days rather than in hundreds of requests: the rules of the observing side, which know the pair, find that.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from birdwatch.errors import RecordError
from birdwatch.records import Score, decode
from birdwatch.stats import special
from birdwatch.streams import Streams

__all__ = ["Bar", "Evidence", "Seen", "Trial", "Warmth", "gather", "judge", "mean_bound", "ratio_bound", "share_bound"]

CONFIDENCE: Final = 0.95
"""Of each bound, one-sided."""

_MOST_OPEN: Final = 100_000
_LOOK_BACK: Final = 100_000
_POLL_SECONDS: Final = 0.2
_LEVEL: Final = 0.99


class Seen(NamedTuple):
    """What one request shows of a version.

    Attributes
    ----------
    score
        None where the version gave an error.
    seconds
        From the request's receipt to the score, or None where nobody measured.
    """

    score: float | None
    champion: float
    canary: float | None
    seconds: float | None


class Bar(NamedTuple):
    """What a version must meet.

    Attributes
    ----------
    max_seconds
        The time in which it would have to answer.
    errors
        The share of requests that it may fail to score.
    tolerance
        How many times as far from the champion as the canary it may be.
    max_difference
        How far from the champion it may be, in units of the score: where there is no canary, or beside it. It decides alone
        where the canary scores as the champion does, which tells no scale.
    """

    max_seconds: float
    errors: float = 0.01
    tolerance: float = 2.0
    max_difference: float | None = None


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, beside what was asked; it goes into the ``warm`` record.

    Attributes
    ----------
    errors_bound
        What the share may be (Wilson's upper bound).
    difference, canary_difference
        The mean of |score - champion's|, of the version and of the canary.
    ratio, ratio_bound
        The one as a multiple of the other, and what it may be; None without a canary, and where there is no bound.
    difference_bound
        What the mean difference may be; None where there is no bound.
    """

    requests: int
    errors: int
    errors_bound: float
    max_errors: float
    p99_seconds: float | None
    max_seconds: float
    difference: float | None
    difference_bound: float | None
    max_difference: float | None
    canary_difference: float | None
    ratio: float | None
    ratio_bound: float | None
    tolerance: float | None


class Warmth(NamedTuple):
    """The answer: what speaks against the version, in words; it is warm if nothing does."""

    evidence: Evidence
    failed: list[str]

    @property
    def warm(self) -> bool:
        """Whether the version is fit to answer."""
        return not self.failed


def judge(seen: Sequence[Seen], bar: Bar) -> Warmth:
    """Decide by all that was seen.

    The share of errors and the percentile are those seen; of the difference its one-sided 95 % bound must meet the bar,
    so that a version that was hardly tried, or that differs much on a few requests, does not pass by luck. (To ask the
    same of the errors would take 268 requests without a single one for 1 %.) Requests count as independent.

    Parameters
    ----------
    seen
        By request; either all have a canary's score or none.
    bar
        What is asked.

    Raises
    ------
    ValueError
        Nothing was seen; or there is neither a canary nor a largest difference to measure by.
    """
    if not seen:
        raise ValueError("no request was seen, so there is nothing to judge by")
    if seen[0].canary is None and bar.max_difference is None:
        raise ValueError("without a canary there must be a largest difference: set max_difference")
    evidence = _evidence(seen, bar)
    failed = [
        *_too_many_errors(evidence),
        *_too_slow(evidence),
        *_too_different(evidence),
    ]
    return Warmth(evidence, failed)


def _evidence(seen: Sequence[Seen], bar: Bar) -> Evidence:
    pairs = [each for each in seen if each.score is not None]
    times = [each.seconds for each in seen if each.seconds is not None]
    with_canary = seen[0].canary is not None
    ours = np.abs([each.score - each.champion for each in pairs if each.score is not None])
    canary = np.abs([each.canary - each.champion for each in pairs if each.canary is not None])
    known = len(pairs) > 0
    ratio = float(ours.mean() / canary.mean()) if with_canary and known and canary.mean() > 0 else None
    return Evidence(
        requests=len(seen),
        errors=len(seen) - len(pairs),
        errors_bound=share_bound(len(seen) - len(pairs), len(seen)),
        max_errors=bar.errors,
        p99_seconds=float(np.quantile(times, _LEVEL, method="inverted_cdf")) if times else None,
        max_seconds=bar.max_seconds,
        difference=float(ours.mean()) if known else None,
        difference_bound=_finite(mean_bound(ours)),
        max_difference=bar.max_difference,
        canary_difference=float(canary.mean()) if with_canary and known else None,
        ratio=ratio,
        ratio_bound=_finite(ratio_bound(ours, canary)) if with_canary else None,
        tolerance=bar.tolerance if with_canary else None,
    )


def _too_many_errors(found: Evidence) -> list[str]:
    if found.errors <= found.max_errors * found.requests:
        return []
    share = found.errors / found.requests
    seen = f"{found.errors} of {found.requests} requests were errors ({share:.1%}, and may be up to {found.errors_bound:.1%})"
    return [f"{seen}: {found.max_errors:.1%} is allowed"]


def _too_slow(found: Evidence) -> list[str]:
    if found.p99_seconds is None:
        return ["nobody measured how long it takes: its scores carry no times"]
    if found.p99_seconds <= found.max_seconds:
        return []
    return [
        f"1 in 100 scores comes after more than {found.p99_seconds:.3g} s: it has {found.max_seconds:.3g} s to answer"
    ]


def _too_different(found: Evidence) -> list[str]:
    if found.difference is None:
        return ["it gave no score that could be compared with the champion's"]
    failed = []
    if found.tolerance is not None and (found.ratio_bound is None or not found.ratio_bound <= found.tolerance):
        if found.ratio is None:
            if found.max_difference is None:
                failed.append(
                    "the canary's scores are the champion's, and tell no scale for a difference: set a largest one"
                )
        else:
            failed.append(
                f"it differs from the champion {found.ratio:.2f} times as much as the canary does"
                f" ({found.difference:.3g} against {found.canary_difference:.3g}), and may do so {_at_most(found.ratio_bound)}"
                f" times: {found.tolerance:g} times is allowed"
            )
    if found.max_difference is not None and (
        found.difference_bound is None or not found.difference_bound <= found.max_difference
    ):
        failed.append(
            f"its difference from the champion is {found.difference:.3g} in the mean, and may be {_at_most(found.difference_bound)}:"
            f" {found.max_difference:g} is allowed"
        )
    return failed


def _at_most(bound: float | None) -> str:
    return "any number of" if bound is None else f"up to {bound:.3g}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def share_bound(k: int, n: int) -> float:
    """Give the upper bound of a share of which k in n were seen: Wilson's score interval (1927), one-sided at 95 %.

    Examples
    --------
    >>> round(share_bound(0, 268), 4)
    0.01
    """
    z = float(special.ndtri(CONFIDENCE))
    share = k / n
    spread = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return (share + z**2 / (2 * n) + spread) / (1 + z**2 / n)


def mean_bound(values: ArrayLike) -> float:
    """Give the upper bound of a mean, one-sided at 95 %: mean + t·s/√n, with Student's t of n-1 degrees of freedom.

    Returns
    -------
    float
        Infinity for fewer than two values.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.size < 2:
        return math.inf
    t = float(special.stdtrit(x.size - 1, CONFIDENCE))
    return float(x.mean() + t * x.std(ddof=1) / math.sqrt(x.size))


def ratio_bound(values: ArrayLike, base: ArrayLike) -> float:
    """Give the upper bound of the ratio of two paired means, one-sided at 95 % (Fieller 1954).

    It is the smallest τ at which the paired t-test still finds the mean of ``values - τ·base`` below 0: with k = t²/n the
    larger root of (ā - τ·b̄)² = k·(s_aa - 2τ·s_ab + τ²·s_bb).

    Returns
    -------
    float
        Infinity where there is no bound: fewer than two pairs, or a base that may be 0.
    """
    a, b = np.asarray(values, dtype=np.float64), np.asarray(base, dtype=np.float64)
    if a.size < 2 or b.size != a.size:
        return math.inf
    if not a.any():
        return 0.0
    k = float(special.stdtrit(a.size - 1, CONFIDENCE)) ** 2 / a.size
    (s_aa, s_ab), (_, s_bb) = np.cov(a, b)
    square = b.mean() ** 2 - k * s_bb
    linear = a.mean() * b.mean() - k * s_ab
    constant = a.mean() ** 2 - k * s_aa
    if square <= 0:
        return math.inf
    return float((linear + math.sqrt(max(0.0, linear**2 - square * constant))) / square)


class Trial:
    """Brings together what a version, the champion and the canary said of the same requests, in whatever order they come.

    Parameters
    ----------
    canary
        Whether a canary's score is waited for; the first of a request counts.

    Attributes
    ----------
    seen
        The requests that all of them have answered, in the order in which they became so. Requests that the champion or
        the canary could not score tell nothing and are left out.
    """

    def __init__(self, model: str, version: str, champion: str, *, canary: bool = True) -> None:
        self.seen: list[Seen] = []
        self._model = model
        self._version = version
        self._champion = champion
        self._parts = {"ours", "champion", "canary"} if canary else {"ours", "champion"}
        self._open: dict[str, dict[str, Score]] = {}
        self._done: set[str] = set()

    def take(self, score: Score, *, canary: bool = False) -> None:
        """Take note of a score; those of others are passed by."""
        if canary:
            part = "canary"
        elif (score.model, score.version) == (self._model, self._version):
            part = "ours"
        elif score.model == self._champion:
            part = "champion"
        else:
            return
        if part not in self._parts or score.request_id in self._done:
            return
        said = self._open.setdefault(score.request_id, {})
        said.setdefault(part, score)
        if said.keys() == self._parts:
            del self._open[score.request_id]
            self._done.add(score.request_id)
            self._keep(said)
        elif len(self._open) > _MOST_OPEN:
            del self._open[next(iter(self._open))]

    def _keep(self, said: dict[str, Score]) -> None:
        ours, champion = said["ours"], said["champion"].score
        canary = said["canary"].score if "canary" in said else None
        if champion is None or ("canary" in said and canary is None):
            return
        timed = ours.queue_seconds is not None and ours.elapsed_seconds is not None
        seconds = (ours.queue_seconds or 0.0) + (ours.elapsed_seconds or 0.0) if timed else None
        self.seen.append(Seen(None if ours.error is not None else ours.score, champion, canary, seconds))


def gather(
    streams: Streams,
    trial: Trial,
    wanted: int,
    *,
    timeout_seconds: float = 0.0,
    progress: Callable[[int], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Read the scores until enough has been seen: first the last of those that are there, then those that come.

    Parameters
    ----------
    wanted
        How many requests are enough. Of what is there already, all is used.
    timeout_seconds
        How long to wait for what comes.
    progress
        Called with the number seen so far.

    Returns
    -------
    bool
        Whether there were enough.
    """
    names = ("scores", "canary")
    until = clock() + timeout_seconds
    ends = streams.ends(names)
    with closing(streams.reader(names)) as reader:
        reader.seek({at: max(0, end - _LOOK_BACK) for at, end in ends.items()})
        while True:
            behind = any(reader.positions().get(at, 0) < end for at, end in ends.items())
            if not behind and (len(trial.seen) >= wanted or clock() >= until):
                return len(trial.seen) >= wanted
            messages = reader.poll(timeout=_POLL_SECONDS if behind else min(_POLL_SECONDS, max(0.0, until - clock())))
            if behind and not messages and clock() >= until:
                return len(trial.seen) >= wanted
            for message in messages:
                try:
                    trial.take(decode(message.value, Score), canary=message.stream == "canary")
                except RecordError:
                    continue  # the rendezvous sends it to the dead letters
            progress(len(trial.seen))
