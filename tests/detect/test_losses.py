"""Messages that were gone before they were read are told of once, and then that no more were."""

import pytest

from birdwatch.alerts.history import read_alerts
from birdwatch.alerts.lifecycle import advance
from birdwatch.detect.losses import losses
from birdwatch.streams import Gap, Partition
from birdwatch.windows.gaps import put_gaps
from birdwatch.windows.store import Store


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store.db", pane_seconds=60)
    yield store
    store.close()


def test_where_nothing_was_ever_missing_there_is_nothing_to_say(store):
    assert losses(store, 60) == []


def test_what_was_missing_raises_an_alert_that_names_it_and_is_over_when_no_more_is(store):
    put_gaps(store, [Gap(Partition("scores", 2), 100, 150, "trimmed"), Gap(Partition("canary", 0), 7, 0, "made anew")])
    for until in range(60, 60 * 6, 60):
        advance(store, losses(store, until))
    (fired,) = (alert for alert in read_alerts(store, 0, 1e9))
    assert fired.rule == "streams"
    assert fired.fired == 60
    assert "scores/2: 50 messages from offset 100 on" in fired.reason
    assert "canary/0: all from offset 7 on (made anew" in fired.reason
    assert fired.resolved == 240
