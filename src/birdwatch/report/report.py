"""All sections of the report of a period, in order."""

from collections.abc import Callable, Iterator

from birdwatch.evaluate.changed import Changes
from birdwatch.evaluate.periods import Period
from birdwatch.report import panes, records
from birdwatch.report.section import Section
from birdwatch.windows.store import Store

__all__ = ["PARTS", "sections"]

PARTS = 8
"""How many sections there are."""


def sections(
    period: Period,
    changed: Changes | str,
    counted: Store,
    place: str,
    *,
    watched: Store | None = None,
    models: tuple[str, ...] = (),
) -> Iterator[Section]:
    """Answer what is asked of a period.

    Parameters
    ----------
    changed
        What changed in it; or why that cannot be told.
    counted
        The panes, and what was changed on control.
    place
        Where the records lie.
    watched
        The store of a tail that judged them, where there is one.
    models
        Whom it is about; all by default.

    Raises
    ------
    StreamError
        A record cannot be read.
    """
    since, until = period
    yield panes.changes(changed)
    yield panes.alerts(watched, place, since, until)
    yield panes.deployments(counted, since, until)
    found = records.Records.read(place, since, until, models)
    told: tuple[Callable[[records.Records], Section], ...] = (
        records.quality,
        records.policies,
        records.deadlines,
        records.losses,
        records.rejected,
    )
    for part in told:
        yield part(found)
