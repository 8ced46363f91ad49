"""A rule that looks back further than panes are kept is refused when it starts, and told what to set."""

import pytest

from birdwatch.config import Settings
from birdwatch.content import content
from birdwatch.detect.reach import refuse_dropped
from birdwatch.detect.reference import DAY
from birdwatch.detect.rules import KINDS, load_rules
from birdwatch.errors import SettingsError
from birdwatch.windows.rollups import Keep

MINUTE, HOUR = 60, 3600


def rule(**more):
    return KINDS["distribution"].model_validate({"name": "scores", "kind": "distribution", **more})


def test_windows_that_need_panes_must_find_them():
    short = rule(window="10m", reference={"trailing": "28d"})
    with pytest.raises(
        SettingsError, match=r"'scores' compares windows of 10m .* 28d before.*: set keep_panes_days to 31"
    ):
        refuse_dropped([short], Keep(panes=28 * DAY), MINUTE)
    refuse_dropped([short], Keep(panes=31 * DAY), MINUTE)


def test_windows_of_whole_hours_and_days_find_sums_of_them():
    hourly, daily = (rule(window=window, reference={"trailing": "91d"}) for window in ("1h", "1d"))
    refuse_dropped([hourly, daily], Keep(panes=DAY), MINUTE)
    refuse_dropped([daily], Keep(panes=DAY, hours=DAY), MINUTE)
    with pytest.raises(SettingsError, match="set keep_hours_days to 99"):
        refuse_dropped([hourly], Keep(panes=DAY, hours=91 * DAY), MINUTE)
    with pytest.raises(SettingsError, match="sums of hours are dropped after 91d"):
        refuse_dropped([daily], Keep(panes=DAY, hours=91 * DAY), MINUTE, windows_start_seconds=4 * HOUR)


@pytest.mark.parametrize("pane_seconds", [MINUTE, HOUR, DAY])
def test_the_starter_set_fits_what_is_kept_unless_told_otherwise(pane_seconds):
    refuse_dropped(load_rules(content("detectors")).rules, Keep.asked(Settings()), pane_seconds)
