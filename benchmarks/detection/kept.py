"""The small version that runs with the unit tests: exact seeds, and no row may become worse than the one that is kept.

After a change for the better: .venv/bin/python -m benchmarks.detection --keep
"""

from pathlib import Path
from typing import Final

from benchmarks.detection.changes import NAMED, UNNAMED
from benchmarks.detection.delays import delay
from benchmarks.detection.section import SIZES, Figures
from benchmarks.detection.streams import FORMS, Streams, references
from benchmarks.detection.unchanged import false_alarms, known
from scipy.stats import norm

__all__ = ["KEPT", "measure", "worse"]

KEPT: Final = Path(__file__).with_name("kept.json")

SEED: Final = 20_260_004
STREAMS: Final = 40
PANES: Final = 8_000
HORIZON: Final = 60


def measure() -> Figures:
    """Give median delays by form, change and size, and false alarms at each level: about ten seconds."""
    drawn = references(STREAMS, SEED)
    figures: Figures = {"delays": {}, "false alarms": {}}
    for form, alternatives in FORMS.items():
        streams = Streams.against(drawn, alternatives)
        figures["delays"][form] = {
            change.name: [delay(streams, change, n, HORIZON) for n in SIZES] for change in (*NAMED, *UNNAMED)
        }
        figures["false alarms"][form] = false_alarms(streams, norm.cdf, 1_000, PANES)["alarms"]
        if form == "δ0 = 0":
            found = false_alarms(known(streams), norm.cdf, 1_000, PANES)
            figures["false alarms"]["δ0 = 0, the source known"] = found["alarms"]
    return figures


def worse(found: Figures, kept: Figures) -> list[str]:
    """Say what has become worse, or was left out."""
    complaints = []
    for form, rows in kept["delays"].items():
        for change, before in rows.items():
            now = found["delays"].get(form, {}).get(change, [None] * len(before))
            if any(b is not None and (a is None or a > b) for a, b in zip(now, before, strict=True)):
                complaints.append(f"{form}, {change}: found after {now} panes, it was {before}")
    for form, levels in kept["false alarms"].items():
        for level, before in levels.items():
            now = found["false alarms"].get(form, {}).get(level)
            if now is None or now > before:
                complaints.append(f"{form}, A = {level}: {now} false alarms in {PANES:,} panes, there were {before}")
    return complaints
