"""The tail over Parquet as the stream grows, the fleet, or the segments by which it is counted.

.venv/bin/python -m benchmarks.scale.grown EVENTS MODELS SEGMENTS [FOLDER to write them to, and no more]
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.tail import events

from birdwatch.config import Segment, Settings
from birdwatch.streams import open_streams
from birdwatch.windows.store import Store
from birdwatch.windows.tail import Tail

__all__ = ["AT_ONCE"]

AT_ONCE: Final = 1_000_000


def write(folder: Path, count: int, models: int, segments: int) -> None:
    """Write a recorded stream of scores, in parts; where there are segments, the requests as well."""
    folder.mkdir()
    scores: pq.ParquetWriter | None = None
    requests: pq.ParquetWriter | None = None
    for part in range(-(-count // AT_ONCE)):
        rows = events.table(models, min(count, AT_ONCE), part)
        scores = scores or pq.ParquetWriter(folder / "scores.parquet", rows.schema)
        scores.write_table(rows)
        if segments > 1:
            asked = _asked(rows, segments)
            requests = requests or pq.ParquetWriter(folder / "requests.parquet", asked.schema)
            requests.write_table(asked)
    for writer in (scores, requests):
        if writer is not None:
            writer.close()


def _asked(rows: pa.Table, segments: int) -> pa.Table:
    once = rows.group_by(["request_id"], use_threads=False).aggregate([("request_ts", "min")])
    which = pa.array([{"place": f"place-{number % segments}"} for number in range(once.num_rows)])
    ts = once["request_ts_min"]
    nothing = pa.array([1.0] * once.num_rows)
    return pa.table(
        {"id": once["request_id"], "ts": ts, "received_ts": ts, "deadline_seconds": nothing, "features": which}
    )


def main() -> None:
    """Count them; print as JSON what it took."""
    count, models, segments = map(int, sys.argv[1:4])
    if len(sys.argv) > 4:
        write(Path(sys.argv[4]), count, models, segments)
        return
    with tempfile.TemporaryDirectory(prefix="birdwatch-bench-") as temporary:
        folder = Path(temporary)
        # By a process of its own, whose memory is not this one's.
        subprocess.run([sys.executable, "-m", "benchmarks.scale.grown", *sys.argv[1:4], folder / "streams"], check=True)
        named = {"place": Segment(most=segments)} if segments > 1 else {}
        settings = Settings(champion=events.CHAMPION, segments=named)
        began, clock = time.process_time(), time.perf_counter()
        store = Store(folder / "panes.db", pane_seconds=settings.pane_seconds)
        streams = open_streams(f"files:{folder / 'streams'}")
        tail = Tail(streams, store, settings, finite=True)
        ends = streams.ends(["scores", "requests"])
        while not tail.reading.reached(ends):
            tail.step()
        tail.finish()
        tail.close()
        streams.close()
        store.close()
        found = {
            "cpu": time.process_time() - began,
            "wall": time.perf_counter() - clock,
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "store": sum(file.stat().st_size for file in folder.glob("panes.db*")),
        }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
