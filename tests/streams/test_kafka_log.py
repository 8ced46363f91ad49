"""What librdkafka repeats while a broker is away is said once a minute."""

import logging

from birdwatch.streams.kafka_log import Seldom
from birdwatch.testing import FakeClock

GONE = (
    "FAIL [thrd:127.0.0.1:%d/1]: Connect to ipv4#127.0.0.1:%d failed: Connection refused (after %dms in state CONNECT)"
)


def said(seldom, message, *args):
    record = logging.LogRecord("birdwatch.kafka", logging.ERROR, "", 0, message, args, None)
    return record.getMessage() if seldom.filter(record) else None


def test_the_same_is_said_once_a_minute_with_how_often_it_was_not():
    clock = FakeClock(0.0)
    seldom = Seldom(clock)
    first = [said(seldom, GONE, 9092, 9092, took) for took in range(50)]
    assert first[0].endswith("(after 0ms in state CONNECT)")
    assert first[1:] == [None] * 49
    clock.now = 61.0
    assert said(seldom, GONE, 9092, 9092, 3).endswith("(after 3ms in state CONNECT) (49 times more in the last while)")


def test_another_thing_is_said_at_once():
    seldom = Seldom(FakeClock(0.0))
    assert said(seldom, GONE, 1, 1, 1)
    assert said(seldom, "SASL authentication failed")


def test_that_producers_pass_by_what_is_said_to_consumers_in_one_address_is_not_said():
    told = "CONFWARN [rdkafka#producer-1] [thrd:app]: Configuration property session.timeout.ms is a consumer property and will be ignored by this producer instance"
    assert said(Seldom(FakeClock(0.0)), told) is None
