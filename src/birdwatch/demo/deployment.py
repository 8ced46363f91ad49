"""The deployment in the demo: registered, warmed, ramped up under guard; by the same means as ``birdwatch deploy``."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from birdwatch.check.warmth import Bar, Evidence, Trial, Warmth, gather, judge
from birdwatch.demo import story
from birdwatch.demo.prepare import Layout
from birdwatch.records import Control
from birdwatch.serving.control.schedule import load_schedule
from birdwatch.streams import Streams

__all__ = ["Change", "changes", "say_warmth"]


_SCORES: Final = 200


class Change(NamedTuple):
    """Something that is done at a moment of event time.

    Attributes
    ----------
    make
        Gives what is put on control.
    settled
        Whether what was put there is in force.
    """

    ts: float
    make: Callable[[], Iterable[Control]]
    settled: Callable[[], bool] = lambda: True


def changes(
    streams: Streams,
    layout: Layout,
    since: float,
    until: float,
    *,
    serves: Callable[[str, str], bool],
    say: Callable[[str], None],
) -> list[Change]:
    """Give what is done in [since, until): nothing, when the bad version would come into service outside.

    Parameters
    ----------
    serves
        Whether the runner of a model has loaded a version.
    say
        Told what the check of the version says.
    """

    def register() -> Iterable[Control]:
        return [story.register(layout.model(story.CHALLENGER))]

    def warm_and_ramp() -> Iterator[Control]:
        warmth = try_out(streams, layout)
        say(say_warmth(warmth))
        warm = warmth is not None and warmth.warm
        if warmth is not None and warm:
            evidence = msgspec.to_builtins(warmth.evidence)
            yield msgspec.structs.replace(
                story.ramp(warm=True), action="warm", reason="it passed the check", params=evidence
            )
        yield story.ramp(warm=warm)

    staged = [
        Change(story.FAULT_FROM, register, lambda: serves(story.CHALLENGER, story.BAD_VERSION)),
        Change(story.RAMP_FROM, warm_and_ramp),
    ]
    return [change for change in staged if change.ts < until] if since <= story.FAULT_FROM else []


def try_out(streams: Streams, layout: Layout) -> Warmth | None:
    """Judge the version by all that it has scored so far, as `birdwatch deploy warm` does by default; None if too little."""
    schedule = load_schedule(layout.schedule)
    trial = Trial(story.CHALLENGER, story.BAD_VERSION, story.CHAMPION)
    if not gather(streams, trial, _SCORES):
        return None
    return judge(trial.seen, Bar(schedule.answers_within(story.CHALLENGER)))


def say_warmth(warmth: Warmth | None) -> str:
    """Say in a sentence what the check has found."""
    if warmth is None:
        return f"it has not scored the {_SCORES} flights that the check takes"
    if not warmth.warm:
        return f"it is not warm: {'; '.join(warmth.failed)}"
    return f"it is warm: {_say(warmth.evidence)}"


def _say(found: Evidence) -> str:
    return (
        f"on {found.requests} flights {found.errors} errors, 99 of 100 scores within {found.p99_seconds:.3f} s"
        f" ({found.max_seconds:g} s are allowed), and it differs from the champion {found.ratio:.2f} times as much as the"
        f" canary does (at most {found.ratio_bound:.2f}; {found.tolerance:g} are allowed)"
    )
