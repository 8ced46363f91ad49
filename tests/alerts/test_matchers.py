"""Matchers choose alerts as Alertmanager's do."""

import pytest

from birdwatch.alerts.matchers import Matcher, parse_matcher
from birdwatch.errors import SettingsError
from birdwatch.testing import an_alert

ALERT = an_alert(ts=60.0, started=0.0)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("model=challenger", True),
        ("model=chall", False),
        ("model!=challenger", False),
        ("model=~chall.*", True),
        ("model=~chall", False),  # the whole of it, as in Alertmanager
        ("model!~chall", True),
        ("model!~chall.*|champion", False),
        ("feature=", True),
        ("feature=~.+", False),
        ("version = 2", True),
        ('attribution="the model changed"', True),
        ("fingerprint=b291dd84", True),
        ("fingerprint!=b291dd84", False),
        ("fingerprint=91dd", False),
        ("severity=~page|ticket", True),
        ("rule=a=b", False),
    ],
)
def test_a_matcher_chooses(text, chosen):
    assert parse_matcher(text).matches(ALERT) is chosen


@pytest.mark.parametrize("text", ["model=a", "model!=a", "model=~a.*", "model!~b", "rule=a=b"])
def test_a_matcher_reads_as_it_is_written(text):
    assert str(parse_matcher(text)) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("challenger", "'challenger' is no matcher: write label=value"),
        ("modle=a", "an alert has no 'modle': did you mean 'model'?"),
        ("colour=red", "an alert has no 'colour': there are rule, model"),
        ("model=~(", r"'\(' is no regular expression"),
    ],
)
def test_what_is_no_matcher_says_how_to_write_one(text, said):
    with pytest.raises(SettingsError, match=said):
        parse_matcher(text)


def test_a_matcher_that_takes_what_is_not_there_takes_anything():
    assert [
        Matcher("model", operator, value).takes_anything
        for operator, value in [("=~", ".*"), ("=~", ".+"), ("!=", "a")]
    ] == [
        True,
        False,
        True,
    ]
