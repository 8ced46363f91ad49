"""Every Alertmanager is told everything; one that has taken a change is enough."""

import json
from datetime import datetime

import httpx
import pytest

from birdwatch.alerts.sinks.alertmanager import FIRES_FOR_SECONDS, Alertmanager
from birdwatch.alerts.sinks.post import Poster
from birdwatch.errors import DeliveryError
from birdwatch.records import Alert

NOW = 1_700_000_000.0


def alert(state="firing", ts=120.0, started=60.0, model="m"):
    return Alert(
        fingerprint="ab12",
        ts=ts,
        started=started,
        state=state,
        rule="shift",
        severity="page",
        attribution="",
        model=model,
        version="2",
        reason="moved",
    )


class Instances:
    """Two instances that answer what they are told, and keep what they heard."""

    def __init__(self, one=200, two=200):
        self.answers = {"one.test": one, "two.test": two}
        self.heard = {"one.test": [], "two.test": []}

        async def resolve(host, port):
            return ["192.0.2.1"]

        transport = httpx.MockTransport(self.answer)
        poster = Poster(transport=lambda: transport, resolve=resolve, now=lambda: NOW)
        self.sink = Alertmanager(["http://one.test:9093/", "http://two.test/prefix"], poster=poster)

    def answer(self, request):
        host = request.headers["host"].partition(":")[0]
        assert request.url.path == ("/api/v2/alerts" if host == "one.test" else "/prefix/api/v2/alerts")
        self.heard[host] += json.loads(request.content)
        if self.answers[host] is None:
            raise httpx.ConnectError("refused")
        return httpx.Response(self.answers[host])


def seconds(text):
    return datetime.fromisoformat(text).timestamp()


def test_every_instance_is_told():
    both = Instances()
    both.sink.send(alert(), "id")
    assert both.heard["one.test"] == both.heard["two.test"]
    (said,) = both.heard["one.test"]
    assert said["labels"] == {"alertname": "shift", "severity": "page", "model": "m", "version": "2"}
    assert said["annotations"]["description"] == "moved"


def test_one_instance_that_takes_a_change_is_enough_and_the_other_is_named(caplog):
    both = Instances(one=None)
    for _ in range(2):
        both.sink.send(alert(), "id")
    assert [record.message for record in caplog.records] == [
        "Alertmanager 1 of 2: cannot be reached: ConnectError; it is told again"
    ]
    both.answers["one.test"] = 200
    both.sink.repeat([alert()])
    assert caplog.records[-1].message == "Alertmanager 1 of 2: well again"
    assert both.heard["one.test"][-1] == both.heard["two.test"][-1]


def test_no_instance_that_takes_it_is_a_failure_that_is_tried_again_soon():
    both = Instances(one=None, two=500)
    with pytest.raises(
        DeliveryError, match=r"none of 2 instances took it: cannot be reached: .*; answered 500"
    ) as raised:
        both.sink.send(alert(), "id")
    assert raised.value.retry_after == 5.0


def test_what_stands_is_said_in_one_message_and_nothing_is_not_said():
    both = Instances()
    both.sink.repeat([])
    assert both.heard["one.test"] == []
    both.sink.repeat([alert(model="a"), alert("resolved", model="b")])
    assert [said["labels"]["model"] for said in both.heard["one.test"]] == ["a", "b"]


@pytest.mark.parametrize("started", [-1e12, 60.0, NOW - 60, NOW, NOW + 500])
@pytest.mark.parametrize("lasted", [-60.0, 0.0, 60.0, 1e6])
@pytest.mark.parametrize("state", ["firing", "resolved"])
def test_nothing_ends_before_it_starts_or_is_over_while_it_fires(state, lasted, started):
    both = Instances()
    both.sink.send(alert(state, ts=started + lasted, started=started), "id")
    (said,) = both.heard["one.test"]
    starts, ends = seconds(said["startsAt"]), seconds(said["endsAt"])
    assert starts <= ends
    assert ends == NOW + FIRES_FOR_SECONDS if state == "firing" else ends <= NOW


def test_an_end_is_that_of_event_time():
    both = Instances()
    both.sink.send(alert("resolved", ts=600.0), "id")
    assert seconds(both.heard["one.test"][0]["endsAt"]) == 600.0
