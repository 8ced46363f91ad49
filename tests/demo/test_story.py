"""What is staged, and that the settings of both sides can be used."""

from pathlib import Path

import pytest
import yaml

from birdwatch.config import load_settings
from birdwatch.demo import story
from birdwatch.demo.flights import start_of, time_of
from birdwatch.demo.run import Options
from birdwatch.errors import BirdwatchError
from birdwatch.serving.control.schedule import parse_schedule

ARTIFACT = Path("run/models/challenger.skops")


def test_the_bad_version_comes_on_14_may_and_is_ramped_up_six_hours_later():
    bad, ramp = story.register(ARTIFACT), story.ramp(warm=True)
    assert (time_of(bad.ts), bad.action, bad.model, bad.version) == ("2013-05-14 08:00Z", "register", "challenger", "2")
    assert (time_of(ramp.ts), ramp.action, ramp.version) == ("2013-05-14 14:00Z", "ramp", "2")
    assert ramp.params == {"percent": 10, "guard": "rollback"}
    assert all(control.author and control.reason for control in (bad, ramp))


def test_one_that_is_not_warm_is_ramped_up_anyway_for_another_reason():
    ramp = story.ramp(warm=False)
    assert ramp.params["anyway"]
    assert ramp.reason != story.ramp(warm=True).reason


def test_neither_the_challenger_nor_the_canary_can_answer():
    schedule = parse_schedule(story.schedule(0.25), place="the demo")
    assert schedule.models == ("champion", "fallback")
    assert schedule.canary == ("canary",)
    assert schedule.deadline_seconds == 1.0
    assert schedule.tiers[1].after_seconds == 0.4


def test_the_settings_are_those_of_the_observing_side(tmp_path):
    path = tmp_path / "birdwatch.yaml"
    given = story.settings("sqlite:s", tmp_path / "b.db", judge_from=5.0, webhook="http://x", alert_log=tmp_path / "a")
    path.write_text(yaml.safe_dump(given))
    settings = load_settings(path)
    assert (settings.pane_seconds, settings.windows_start_seconds, settings.judge_from) == (3600, 8 * 3600, 5.0)
    assert (settings.champion, settings.canary) == ("champion", "canary")


def test_days_count_from_the_first_and_end_with_the_year():
    assert Options(days=4, first_day="2013-05-12").stretch() == (start_of("2013-05-12"), start_of("2013-05-16"))
    assert Options().stretch()[1] == Options(days=1000).stretch()[1] == start_of("2014-01-01")


@pytest.mark.parametrize("day", ["2013-03-31", "2014-01-01", "May", "2013-02-30"])
def test_days_that_cannot_be_served_are_refused_by_name(day):
    with pytest.raises(BirdwatchError, match=f"--from '?{day}"):
        Options(first_day=day).stretch()
