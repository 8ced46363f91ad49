"""Sinks take an alert, or raise; the settings say which there are."""

import json
import sys
import threading

import pytest
from msgspec import structs

from birdwatch.alerts.sinks import Alertmanager, Apprise, Log, Stream, Webhook, open_sink, open_sinks, sink_names
from birdwatch.config import Settings, load_settings
from birdwatch.errors import AddressError, DeliveryError, SettingsError
from birdwatch.records import Alert, decode
from birdwatch.streams import open_streams
from birdwatch.testing import an_alert

ALERT = an_alert(fingerprint="ab12", ts=120.0, started=60.0, rule="shift", model="m", reason="moved", partner="")


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


SECRET = "whsec_c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0"  # noqa: S105 - of nobody

EVERY_KIND = f"""
streams: files:recorded
sinks:
  hook: {{kind: webhook, url: "https://receiver.test/token-of-mine", secret: {SECRET}}}
  plain: {{kind: webhook, url: "https://receiver.test/token-of-mine", signed: false}}
  pages: {{kind: alertmanager, urls: ["http://one.test:9093", "http://user:token-of-mine@two.test"]}}
  kept: {{kind: log, path: alerts.jsonl}}
  there: {{kind: stream, streams: "sqlite:elsewhere"}}
"""


@pytest.fixture
def settings(tmp_path):
    def load(text):
        path = tmp_path / "birdwatch.yaml"
        path.write_text(text)
        return load_settings(path)

    return load


def test_every_kind_of_sink_is_opened_by_its_name(settings):
    sinks = open_sinks(settings(EVERY_KIND))
    kinds = {name: type(sink) for name, sink in sinks.items()}
    assert kinds == {"hook": Webhook, "plain": Webhook, "pages": Alertmanager, "kept": Log, "there": Stream}
    for sink in sinks.values():
        sink.close()


def test_secrets_are_not_in_what_is_printed_or_kept(settings):
    loaded = settings(EVERY_KIND)
    printed = repr(loaded) + str(loaded) + repr(loaded.sinks) + loaded.model_dump_json()
    printed += "".join(sink.place for sink in open_sinks(loaded).values())
    assert "token-of-mine" not in printed
    assert SECRET not in printed


def test_a_secret_may_lie_in_the_environment_which_only_the_delivery_needs(settings, monkeypatch):
    loaded = settings("sinks: {hook: {kind: webhook, url: 'https://receiver.test/', secret_env: HOOK_KEY}}")
    assert "hook" in sink_names(loaded)
    with pytest.raises(SettingsError, match=r"sinks\.hook: the environment variable HOOK_KEY, .* is not set"):
        open_sink(loaded, "hook")
    monkeypatch.setenv("HOOK_KEY", "no base64!")
    with pytest.raises(SettingsError, match=r"sinks\.hook: HOOK_KEY is no secret of Standard Webhooks") as raised:
        open_sink(loaded, "hook")
    assert "no base64" not in str(raised.value)
    monkeypatch.setenv("HOOK_KEY", SECRET)
    open_sink(loaded, "hook").close()


@pytest.mark.parametrize(
    ("sink", "said"),
    [
        (
            "{url: 'https://token-of-mine'}",
            "sinks.x: say in `kind` what it is: webhook, alertmanager, apprise, log, stream",
        ),
        ("{kind: pagerduty, key: token-of-mine}", "'pagerduty' found using 'kind' does not match any of"),
        (
            "{kind: webhook, url: token-of-mine, signed: false}",
            "sinks.x.url: an address begins with http:// or https://",
        ),
        (
            "{kind: webhook, url: 'https://token-of-mine/'}",
            "give `secret` or `secret_env`; `signed: false` does without",
        ),
        ("{kind: webhook, url: 'https://h/', secret: token-of-mine, secret_env: B}", "is missing or given twice"),
        ("{kind: webhook, url: 'https://h/', secret: token-of-mine, signed: false}", "leave out one of them"),
        (
            "{kind: webhook, url: 'https://h/', secrt: token-of-mine}",
            "unknown setting 'sinks.x.secrt': did you mean 'secret'?",
        ),
        (
            "{kind: webhook, url: 'https://h/', secret: [token-of-mine]}",
            "sinks.x.secret: Input should be a valid string",
        ),
        ("{kind: alertmanager, urls: [token-of-mine]}", "sinks.x.urls: an address begins with http:// or https://"),
        ("{kind: alertmanager, urls: []}", "sinks.x.urls: List should have at least 1 item"),
        ("{kind: log}", "sinks.x.path: Field required"),
        ("{kind: webhook, url: *token-of-mine}", "line 1, column 33: found undefined alias '…'"),
    ],
)
def test_misuse_is_said_with_its_place_and_without_secrets(settings, sink, said):
    with pytest.raises(SettingsError) as raised:
        settings(f"sinks: {{x: {sink}}}")
    assert said in str(raised.value)
    assert "birdwatch.yaml" in str(raised.value)
    assert "token-of-mine" not in str(raised.value)


def test_an_environment_that_is_no_json_is_not_repeated(settings, monkeypatch):
    monkeypatch.setenv("BIRDWATCH_SINKS", '{"x": {"url": "https://token-of-mine"')
    with pytest.raises(
        SettingsError, match=r'"sinks" .*: an environment variable of names and values holds JSON'
    ) as raised:
        settings("{}")
    assert "token-of-mine" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("name", ["webhook", "log", "stream"])
def test_the_names_of_the_short_forms_are_taken(settings, name):
    with pytest.raises(SettingsError, match=f"sinks: '{name}' is what the setting .* is called as a sink"):
        settings(f"sinks: {{{name}: {{kind: log, path: x}}}}")


def test_a_sink_that_is_not_there_is_named_with_those_that_are(settings):
    with pytest.raises(SettingsError, match="there is no sink 'hock': there are hook, plain, pages, kept, there"):
        open_sink(settings(EVERY_KIND), "hock")


def test_a_sink_that_needs_an_extra_names_it(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "apprise", None)
    loaded = settings("sinks: {team: {kind: apprise, urls: ['slack://token-of-mine']}}")
    with pytest.raises(
        SettingsError, match=r"sinks\.team: apprise is not installed: pip install 'birdwatch\[apprise\]'"
    ):
        open_sink(loaded, "team")


_OF_APPRISE = pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")  # what apprise imports


@_OF_APPRISE
def test_an_address_that_apprise_does_not_know_is_not_repeated(settings):
    loaded = settings("sinks: {team: {kind: apprise, urls: ['json://h', 'nothing://token-of-mine']}}")
    with pytest.raises(SettingsError, match=r"^sinks\.team: address 2 of 2 is none that apprise knows$"):
        open_sink(loaded, "team")


class Place:
    """Stands in for a place that apprise notifies."""

    def __init__(self):
        self.takes = True
        self.got = []

    def notify(self, **told):
        if self.takes:
            self.got.append(told)
        return self.takes


@_OF_APPRISE
def test_apprise_tells_the_places_that_have_not_taken_it_yet():
    sink = Apprise(["json://one.test", "json://two.test"])
    sink._places = one, two = Place(), Place()
    two.takes = False
    with pytest.raises(DeliveryError, match=r"^address 2 of 2 did not take it$"):
        sink.send(ALERT, "id")
    two.takes = True
    sink.send(ALERT, "id")
    assert one.got == two.got
    (told,) = one.got
    assert told["title"] == "page: m 2: the model changed"
    assert told["body"].startswith("moved\nsince 1970-01-01 00:01 UTC")
    assert told["notify_type"] == "failure"
    sink.send(ALERT, "another")
    assert len(one.got) == 2


class Drawn:
    """Has a picture of every alert."""

    def __init__(self):
        self.asked = []

    def png(self, alert):
        self.asked.append(alert.state)
        return b"\x89PNG"

    def address(self, alert):
        return f"https://watch.test/pictures/{alert.fingerprint}.png"


@_OF_APPRISE
def test_apprise_gets_a_picture_with_the_first_attempt_and_one_that_failed_comes_again_without():
    sink = Apprise(["json://one.test"], pictures=Drawn())
    (place,) = sink._places = [Place()]
    sink.send(ALERT, "id")
    attached = place.got[0]["attach"]
    assert (attached.name, attached.mimetype) == ("shift-ab12.png", "image/png")
    assert attached.open().read() == b"\x89PNG"
    place.takes = False
    with pytest.raises(DeliveryError):
        sink.send(ALERT, "another")
    place.takes = True
    sink.send(ALERT, "another")
    assert place.got[1]["attach"] is None


@_OF_APPRISE
def test_a_place_that_hangs_is_given_up_asked_nothing_meanwhile_and_holds_up_no_other():
    sink = Apprise(["json://one.test", "json://two.test"], timeout_seconds=0.01)
    sink._places = one, two = Place(), Place()
    over, asked = threading.Event(), []

    def hang(**told):
        asked.append(told)
        return over.wait(60)

    two.notify = hang
    for message in ("id", "id", "another"):
        with pytest.raises(DeliveryError, match=r"address .*2 of 2 did not take it$"):
            sink.send(ALERT, message)
    assert len(asked) == 1
    over.set()
    sink._asking[1].join()
    sink._timeout_seconds = 60.0
    sink.send(ALERT, "id")
    sink.send(ALERT, "another")
    assert len(asked) == 3
    assert len(one.got) == 2


@_OF_APPRISE
def test_a_place_that_raises_has_not_taken_it(caplog):
    sink = Apprise(["json://one.test"])
    (place,) = sink._places = [Place()]
    place.notify = lambda **_: 1 / 0
    with pytest.raises(DeliveryError, match=r"^address 1 of 1 did not take it$"):
        sink.send(ALERT, "id")
    assert "address 1: ZeroDivisionError" in caplog.text


@_OF_APPRISE
def test_apprise_gets_no_picture_of_what_is_over_or_where_there_is_none():
    drawn = Drawn()
    sink = Apprise(["json://one.test"], pictures=drawn)
    (place,) = sink._places = [Place()]
    sink.send(structs.replace(ALERT, state="resolved"), "id")
    drawn.png = lambda _: None
    sink.send(ALERT, "another")
    assert [told["attach"] for told in place.got] == [None, None]
    assert drawn.asked == []


@_OF_APPRISE
def test_the_settings_say_who_is_given_pictures(settings):
    loaded = settings(
        EVERY_KIND
        + "  team: {kind: apprise, urls: ['json://h'], timeout_seconds: 5}\n"
        + "  bare: {kind: apprise, urls: ['json://h'], pictures: false}\n"
    )
    drawn = Drawn()
    sinks = open_sinks(loaded, drawn)
    assert [sinks[name]._pictures for name in ("team", "bare")] == [drawn, None]
    assert sinks["team"]._timeout_seconds == 5.0
    assert sinks["hook"]._links.to_picture(ALERT) == "https://watch.test/pictures/ab12.png"
    assert open_sink(loaded, "pages")._links.to_picture(ALERT) == ""
