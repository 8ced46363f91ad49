import pytest
from pydantic import TypeAdapter, ValidationError

from birdwatch.detect.duration import Duration, parse_duration, parse_moment, say_duration, say_moment


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h", 3600), ("28d", 28 * 86_400), ("1w", 604_800), ("200ms", 0.2), ("1.5m", 90), (60, 60)]
)
def test_durations_are_read(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["soon", "-1h", "1 fortnight", "", True])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="no duration"):
        parse_duration(text)


@pytest.mark.parametrize("seconds", [0.2, 1, 60, 90, 3600, 86_400, 28 * 86_400])
def test_what_is_said_is_read_back(seconds):
    assert parse_duration(say_duration(seconds)) == pytest.approx(seconds)


def test_windows_are_whole_seconds():
    assert TypeAdapter(Duration).validate_python("1d") == 86_400
    with pytest.raises(ValidationError, match="whole number"):
        TypeAdapter(Duration).validate_python("1500ms")


def test_moments_are_utc_unless_they_say_otherwise():
    assert parse_moment("2013-05-14") == parse_moment("2013-05-14T02:00+02:00") == 1_368_489_600
    assert say_moment(parse_moment("2013-05-14T08:00Z")) == "2013-05-14 08:00"
    with pytest.raises(ValueError, match="no time"):
        parse_moment("yesterday")
