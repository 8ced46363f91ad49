"""An archive with the panes that its records make: those that the tail counted, bit for bit."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from birdwatch.archive.narrowing import Moment, as_seconds, day_of
from birdwatch.archive.reader import Records
from birdwatch.config import Settings
from birdwatch.streams import open_streams
from birdwatch.streams.archived import ArchiveStreams
from birdwatch.streams.parquet import EVERY_DAY, Days
from birdwatch.windows.counting import CONTROL, Counting
from birdwatch.windows.lane import OLDEST_SECONDS
from birdwatch.windows.pane import Counts, Pane, Series
from birdwatch.windows.store import Store
from birdwatch.windows.tail import Tail

if TYPE_CHECKING:
    from birdwatch.streams import Streams

__all__ = ["Archive"]


class Archive(Records):
    """An archive: its records as tables, joined, and counted into panes."""

    def panes(
        self, settings: Settings | None = None, *, since: Moment | None = None, until: Moment | None = None
    ) -> dict[int, Pane]:
        """Give the panes of the archive's records, by their starts.

        They are those of the tail, bit for bit, as far as what came late was counted in both; the tail too counts in the
        panes of requests what was said of them up to a month later. All of them are in memory: for a long time use `count`.

        Parameters
        ----------
        settings
            As for the tail: length of a pane, mappings, watched features, segments. By default those of the working
            directory's ``birdwatch.yaml`` do not count, but the defaults.
        since, until
            Panes that start from the one time on, and before the other.
        """
        low, high = self._between(since, until)
        # The store is gone at once: nothing in it is so old that its sums are enough.
        settings = (settings or Settings()).model_copy(update={"keep_panes_days": None})
        with tempfile.TemporaryDirectory(prefix="birdwatch-panes-") as scratch:
            store = self.count(Path(scratch) / "panes.db", settings, since=since, until=until)
            found: dict[int, dict[Series, Counts]] = {}
            for start, series, counts in store.rows(-(2**62), 2**62):
                if (low is None or low <= start) and (high is None or start < high):
                    found.setdefault(start, {})[series] = counts
            store.close()
        return {start: found[start] for start in sorted(found)}

    def count(
        self,
        path: Path,
        settings: Settings | None = None,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        letters: "Streams | None" = None,
        on_step: Callable[[int], object] = lambda _: None,
    ) -> Store:
        """Count the archive into a store, as the tail counts streams; give it open.

        Panes at the edges of ``since`` and ``until`` may lack a part, and lie outside.

        Parameters
        ----------
        path
            The store's file.
        letters
            Where dead letters go; a stream beside the store by default.
        on_step
            Is told how many messages were read.

        Raises
        ------
        ValueError
            It is narrowed by model or feature: panes are of all.
        """
        if self._narrowed.models is not None or self._narrowed.features:
            raise ValueError(
                "panes are of all models and requests: count the whole archive, or narrow it by time alone"
            )
        settings = settings or Settings()
        low, high = self._between(since, until)
        place = ArchiveStreams(
            f"archive:{self.directory}",
            days=Days(
                EVERY_DAY.since if low is None else day_of(low, -1),
                # What is said of a request a month later still counts in its pane.
                EVERY_DAY.until if high is None else day_of(high + OLDEST_SECONDS, 1),
            ),
            whole=[Counting(settings, now=lambda: 0.0).topic_of(CONTROL)],
        )
        letters = letters or open_streams(f"sqlite:{path.with_suffix('.deadletters')}")
        store = Store(path, pane_seconds=settings.pane_seconds)
        tail = Tail(place, store, settings, letters=letters, finite=True)
        while read := tail.step(timeout=0.0):
            on_step(read)
        tail.finish()
        tail.close()
        letters.close()
        return store

    def _between(self, since: Moment | None, until: Moment | None) -> tuple[float | None, float | None]:
        return (
            self._narrowed.since if since is None else as_seconds(since),
            self._narrowed.until if until is None else as_seconds(until),
        )
