"""Sinks take an alert, or raise."""

import json

import httpx
import pytest

from birdwatch.alerts.sinks import Log, Stream, Webhook, open_sinks, sink_names
from birdwatch.config import Settings
from birdwatch.errors import AddressError, DeliveryError
from birdwatch.records import Alert, decode
from birdwatch.streams import open_streams

ALERT = Alert(
    fingerprint="ab12",
    ts=120.0,
    started=60.0,
    state="firing",
    rule="shift",
    severity="page",
    attribution="the model changed",
    model="m",
    version="2",
    reason="moved",
)


def webhook(answer):
    hook = Webhook("http://receiver.test/secret-token")
    hook._client = httpx.Client(transport=httpx.MockTransport(answer), follow_redirects=False)
    return hook


def test_a_webhook_posts_the_record_with_its_id():
    seen = []

    def answer(request):
        seen.append(request)
        return httpx.Response(204)

    hook = webhook(answer)
    hook.send(ALERT, "ab12-120-firing")
    hook.close()
    (request,) = seen
    assert request.method == "POST"
    assert request.headers["webhook-id"] == "ab12-120-firing"
    assert request.headers["content-type"] == "application/json"
    assert decode(request.content, Alert) == ALERT


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 410, 500, 503])
def test_a_webhook_takes_nothing_but_2xx_for_an_answer(status):
    hook = webhook(lambda _request: httpx.Response(status, headers={"location": "http://elsewhere.test/"}))
    with pytest.raises(DeliveryError, match=f"answered {status}"):
        hook.send(ALERT, "id")
    hook.close()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx.ReadTimeout("late"), "no answer within 10 s"),
        (httpx.ConnectError("http://receiver.test/secret-token refused"), "cannot be reached: ConnectError"),
    ],
)
def test_a_webhook_that_fails_says_so_without_its_address(error, said):
    def answer(_request):
        raise error

    hook = webhook(answer)
    with pytest.raises(DeliveryError) as raised:
        hook.send(ALERT, "id")
    hook.close()
    assert str(raised.value) == said


def test_a_webhook_whose_address_is_none_fails_as_an_attempt():
    hook = Webhook("nowhere")
    with pytest.raises(DeliveryError, match="cannot be reached"):
        hook.send(ALERT, "id")
    hook.close()


def test_the_log_has_an_alert_a_line(tmp_path):
    log = Log(tmp_path / "logs" / "alerts.jsonl")
    log.send(ALERT, "1")
    log.send(ALERT, "2")
    assert [json.loads(line)["fingerprint"] for line in log.path.read_text().splitlines()] == ["ab12", "ab12"]


def test_a_torn_line_in_the_log_spoils_only_itself(tmp_path):
    log = Log(tmp_path / "alerts.jsonl")
    log.path.write_bytes(b'{"fingerprint": "cd')
    log.send(ALERT, "1")
    torn, whole = log.path.read_bytes().splitlines()
    assert torn == b'{"fingerprint": "cd'
    assert decode(whole, Alert) == ALERT


def test_the_stream_carries_the_record_under_its_fingerprint(tmp_path):
    address = f"sqlite:{tmp_path / 'streams'}"
    sink = Stream(address)
    sink.send(ALERT, "1")
    sink.close()
    streams = open_streams(address)
    reader = streams.reader(["alerts"])
    (message,) = reader.poll(timeout=0.0)
    assert (message.key, decode(message.value, Alert)) == (b"ab12", ALERT)
    reader.close()
    streams.close()


def test_a_stream_out_of_reach_fails_as_an_attempt():
    sink = Stream("nowhere:at all")
    with pytest.raises(AddressError):
        sink.send(ALERT, "1")
    sink.close()


def test_the_settings_say_which_sinks_there_are(tmp_path):
    everything = Settings(webhook="http://receiver.test/", alert_log=tmp_path / "log", streams=f"sqlite:{tmp_path}/s")
    for settings, names in [
        (everything, ("webhook", "log", "stream")),
        (Settings(streams="files:recorded"), ()),
        (Settings(streams="files:recorded", alert_log=tmp_path / "log"), ("log",)),
    ]:
        sinks = open_sinks(settings)
        assert sink_names(settings) == tuple(sinks) == names
        for sink in sinks.values():
            sink.close()
