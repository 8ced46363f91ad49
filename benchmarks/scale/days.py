"""The store by how many days it has, of minutes and of what is added up of them.

.venv/bin/python -m benchmarks.scale.days MODELS DAYS
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.scale.judged import A_MINUTE, BEGIN, DAY, VARIANTS, fleet

from birdwatch.config import Settings
from birdwatch.windows.rollups import Keep
from birdwatch.windows.store import Store

__all__ = ["main"]

HOUR: Final = 3_600


def main() -> None:
    """Write so many days of minutes as the tail would; print as JSON the bytes of the store and the CPU seconds."""
    models, days = map(int, sys.argv[1:])
    keep = Keep.asked(Settings())
    panes = fleet(models)
    with tempfile.TemporaryDirectory(prefix="birdwatch-bench-") as folder:
        store = Store(Path(folder, "panes.db"), pane_seconds=A_MINUTE)
        began = time.process_time()
        for hour in range(BEGIN, BEGIN + days * DAY, HOUR):
            with store.transaction():
                for start in range(hour, hour + HOUR, A_MINUTE):
                    store.put(start, panes[start // A_MINUTE % VARIANTS])
                store.age(hour + HOUR, keep, open_from=hour + HOUR)
        took = time.process_time() - began
        store.close()
        found = {"cpu": took, "store": sum(file.stat().st_size for file in Path(folder).iterdir())}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
