"""The month before the first request: scored by the same models, straight onto the streams.

Detectors compare a day with the four weeks before it, so those must be there first. Nobody waited for these scores, so
they carry no times; ``provenance`` says where they come from.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from itertools import islice
from typing import Any, Final

from birdwatch.demo.flights import Question
from birdwatch.demo.models import Model
from birdwatch.errors import StreamError
from birdwatch.records import Request, Score, encode
from birdwatch.streams import Streams

__all__ = ["COMPONENT", "backfill", "skip_to_end"]

COMPONENT: Final = "backfill"
"""The component that these records name in their provenance."""

_CHUNK: Final = 2000
_GROUP_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.1


def backfill(
    streams: Streams,
    questions: Sequence[Question],
    inject: Callable[[dict[str, Any], float], dict[str, Any]],
    models: Mapping[str, Model],
    *,
    canary: str,
    deadline_seconds: float,
) -> int:
    """Write a request for each question and a score by each model; the canary's go to a stream of their own.

    Parameters
    ----------
    inject
        The gateway's feature plug-in.
    models
        By name; they are written as version 1.

    Returns
    -------
    int
        How many requests were written.
    """
    who = {"component": COMPONENT, "version": version("birdwatch")}
    waiting = iter(questions)
    while chunk := list(islice(waiting, _CHUNK)):
        features = [inject(question.features, question.ts) for question in chunk]
        scores = {name: model(features) for name, model in models.items()}
        requests = [
            Request(
                id=question.id,
                ts=question.ts,
                received_ts=question.ts,
                deadline_seconds=deadline_seconds,
                features=seen,
                provenance=who,
            )
            for question, seen in zip(chunk, features, strict=True)
        ]
        streams.append("requests", [(r.id.encode(), encode(r)) for r in requests])
        for stream, names in (("scores", [m for m in models if m != canary]), ("canary", [canary])):
            said = [
                Score(
                    request_id=question.id,
                    request_ts=question.ts,
                    ts=question.ts,
                    model=name,
                    version="1",
                    score=scores[name][place],
                    provenance=who,
                )
                for place, question in enumerate(chunk)
                for name in names
            ]
            streams.append(stream, [(s.request_id.encode(), encode(s)) for s in said])
    return len(questions)


def skip_to_end(streams: Streams, group: str, names: Sequence[str]) -> None:
    """Let a group begin after what is on the streams now: nobody waits for an answer to the backfill.

    Raises
    ------
    StreamError
        The group is another reader's.
    """
    reader = streams.reader(names, group=group, start="latest")
    try:
        until = time.monotonic() + _GROUP_SECONDS
        while missing := streams.ends(names).keys() - reader.positions().keys():
            if time.monotonic() > until:
                raise StreamError(
                    f"{streams.address} gives the group {group!r} no {min(missing).stream}: does another process use it?"
                )
            reader.poll(timeout=_LOOK_SECONDS)
        reader.commit()
    finally:
        reader.close()
