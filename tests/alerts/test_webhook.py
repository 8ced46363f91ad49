"""A webhook posts what Alertmanager's would, signed, and takes nothing but 2xx for an answer, whatever the receiver does."""

import asyncio
import json
import socket
import ssl

import httpx
import msgspec
import pytest
import standardwebhooks
import time_machine

from birdwatch.alerts.sinks.guard import Guarded, forbidden
from birdwatch.alerts.sinks.post import Poster
from birdwatch.alerts.sinks.webhook import Webhook, read_key
from birdwatch.alerts.wording import Links
from birdwatch.errors import DeliveryError, GoneError
from birdwatch.testing import an_alert

SECRET = "whsec_c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0"  # noqa: S105 - of nobody
KEY = read_key(SECRET)
NOW = 1_700_000_000.0
FIRING = an_alert(
    fingerprint="ab12",
    ts=120.0,
    started=60.0,
    rule="shift",
    model="m",
    reason="moved by 0.4",
    statistic="ks",
    value=0.4,
    tolerance=0.1,
    n=5000,
    partner="",
)
RESOLVED = msgspec.structs.replace(FIRING, state="resolved", ts=600.0)


def resolving(*addresses):
    async def resolve(host, port):
        if not addresses:
            raise socket.gaierror("no such name")
        return addresses

    return resolve


def poster(answer, *, addresses=("192.0.2.1",), allow=(), timeout=10.0):
    return Poster(
        timeout_seconds=timeout,
        allow=allow,
        transport=lambda: httpx.MockTransport(answer),
        resolve=resolving(*addresses),
        now=lambda: NOW,
    )


def webhook(answer, key=KEY, **how):
    return Webhook("https://receiver.test/token-of-mine", key=key, links=Links(), poster=poster(answer, **how))


class Receiver:
    """Answers what it is told, and keeps what it was asked."""

    def __init__(self, status=204, **headers):
        self.status, self.headers, self.seen = status, headers, []

    def __call__(self, request):
        self.seen.append(request)
        return httpx.Response(self.status, headers={k.replace("_", "-"): v for k, v in self.headers.items()})


def test_what_is_posted_is_verified_by_the_library_of_standard_webhooks():
    receiver = Receiver()
    webhook(receiver).send(FIRING, "ab12-120-firing")
    (request,) = receiver.seen
    with time_machine.travel(NOW, tick=False):
        body = standardwebhooks.Webhook(SECRET).verify(request.content, dict(request.headers))
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            standardwebhooks.Webhook(SECRET).verify(request.content + b" ", dict(request.headers))
    assert request.headers["webhook-id"] == "ab12-120-firing"
    assert body["alerts"][0]["fingerprint"] == "ab12"


def test_one_id_goes_with_all_attempts_and_each_is_signed_at_its_time():
    receiver, clock = Receiver(500), iter((NOW, NOW + 5))
    posts = poster(receiver)
    posts.now = lambda: next(clock)
    hook = Webhook("https://receiver.test/", key=KEY, poster=posts)
    for _ in range(2):
        with pytest.raises(DeliveryError):
            hook.send(FIRING, "ab12-120-firing")
    first, second = (request.headers for request in receiver.seen)
    assert first["webhook-id"] == second["webhook-id"]
    assert (int(first["webhook-timestamp"]), int(second["webhook-timestamp"])) == (NOW, NOW + 5)
    assert first["webhook-signature"] != second["webhook-signature"]


def test_without_a_key_there_is_no_signature():
    receiver = Receiver()
    webhook(receiver, key=None).send(FIRING, "id")
    assert "webhook-signature" not in receiver.seen[0].headers


def test_the_body_is_that_of_alertmanagers_webhook():
    receiver = Receiver()
    hook = Webhook(
        "https://receiver.test/",
        receiver="hook",
        links=Links("https://watch.test", "https://wiki.test/{rule}"),
        poster=poster(receiver),
    )
    hook.send(FIRING, "1")
    hook.send(RESOLVED, "2")
    firing, resolved = (json.loads(request.content) for request in receiver.seen)
    (alert,) = firing["alerts"]
    assert {
        name: firing[name] for name in ("version", "groupKey", "status", "receiver", "groupLabels", "externalURL")
    } == {
        "version": "4",
        "groupKey": '{}:{alertname="shift"}',
        "status": "firing",
        "receiver": "hook",
        "groupLabels": {"alertname": "shift"},
        "externalURL": "https://watch.test",
    }
    assert firing["commonLabels"] == alert["labels"]
    assert firing["commonAnnotations"] == alert["annotations"]
    assert (alert["status"], alert["startsAt"], alert["endsAt"]) == (
        "firing",
        "1970-01-01T00:01:00.000Z",
        "0001-01-01T00:00:00Z",
    )
    assert alert["generatorURL"] == alert["annotations"]["dashboard"]
    assert alert["annotations"]["runbook_url"] == "https://wiki.test/shift"
    assert (resolved["status"], resolved["alerts"][0]["endsAt"]) == ("resolved", "1970-01-01T00:10:00.000Z")
    assert resolved["alerts"][0]["labels"] == alert["labels"]
    assert resolved["alerts"][0]["fingerprint"] == alert["fingerprint"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 400, 401, 404, 500, 502])
def test_nothing_but_2xx_takes_an_alert_and_redirects_are_not_followed(status):
    receiver = Receiver(status, location="http://169.254.169.254/latest/meta-data/")
    with pytest.raises(DeliveryError, match=f"^answered {status}") as raised:
        webhook(receiver).send(FIRING, "id")
    assert raised.value.retry_after is None
    assert len(receiver.seen) == 1


def test_410_says_that_the_receiver_is_gone():
    with pytest.raises(GoneError, match="answered 410 Gone"):
        webhook(Receiver(410)).send(FIRING, "id")


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("120", 120.0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),  # NOW is 22:13:20
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("1000000000000", 86_400.0),
        ("9" * 400, 86_400.0),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_a_receiver_says_how_long_it_wants_to_be_left_alone(status, said, seconds):
    with pytest.raises(DeliveryError) as raised:
        webhook(Receiver(status, retry_after=said)).send(FIRING, "id")
    assert raised.value.retry_after == seconds


def test_only_a_receiver_with_too_much_to_do_is_left_alone():
    with pytest.raises(DeliveryError) as raised:
        webhook(Receiver(500, retry_after="120")).send(FIRING, "id")
    assert raised.value.retry_after is None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx.ReadTimeout("late"), "no answer within 10 s"),
        (httpx.ConnectError("https://receiver.test/token-of-mine refused"), "cannot be reached: ConnectError"),
        (httpx.RemoteProtocolError("token-of-mine"), "cannot be reached: RemoteProtocolError"),
    ],
)
def test_what_fails_is_said_without_the_address(error, said):
    def answer(_request):
        raise error

    with pytest.raises(DeliveryError) as raised:
        webhook(answer).send(FIRING, "id")
    assert str(raised.value) == said


def test_a_wrong_certificate_is_named():
    def answer(_request):
        wrong = ssl.SSLCertVerificationError(1, "token-of-mine")
        wrong.verify_message = "certificate has expired"
        raise httpx.ConnectError("token-of-mine") from wrong

    with pytest.raises(
        DeliveryError, match=r"^cannot be reached: its certificate is not trusted: certificate has expired$"
    ):
        webhook(answer).send(FIRING, "id")


def test_an_attempt_that_never_ends_ends():
    async def hangs(_request):
        await asyncio.Event().wait()

    with pytest.raises(DeliveryError, match=r"^no answer within 0\.01 s$"):
        webhook(hangs, timeout=0.01).send(FIRING, "id")


def test_an_answer_is_not_read():
    async def endless():
        yield b"x"
        raise AssertionError("somebody reads on")

    webhook(lambda _request: httpx.Response(200, content=endless())).send(FIRING, "id")


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
    ],
)
def test_metadata_services_and_link_local_addresses_get_nothing(address):
    receiver = Receiver()
    assert forbidden(address)
    with pytest.raises(DeliveryError, match="nothing was sent; if that is meant, name the host in `allow_hosts`"):
        webhook(receiver, addresses=("192.0.2.1", address)).send(FIRING, "id")
    assert receiver.seen == []


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.1", "192.0.2.1", "2001:db8::1"])
def test_other_addresses_are_nobodys_business(address):
    receiver = Receiver()
    webhook(receiver, addresses=(address,)).send(FIRING, "id")
    assert len(receiver.seen) == 1


@pytest.mark.parametrize("allowed", ["receiver.test", "Receiver.TEST", "169.254.10.1", "169.254.10.0/24"])
def test_what_is_allowed_is_sent_there(allowed):
    receiver = Receiver()
    webhook(receiver, addresses=("169.254.10.1",), allow=["elsewhere.test", allowed]).send(FIRING, "id")
    assert len(receiver.seen) == 1


def test_what_is_connected_to_is_the_address_that_was_looked_at():
    receiver = Receiver()
    webhook(receiver, addresses=("2001:db8::1",)).send(FIRING, "id")
    (request,) = receiver.seen
    assert request.url.host == "2001:db8::1"
    assert request.headers["host"] == "receiver.test"
    assert request.extensions["sni_hostname"] == "receiver.test"


def test_the_next_address_is_tried_where_one_does_not_answer():
    def answer(request):
        if request.url.host == "192.0.2.1":
            raise httpx.ConnectError("refused")
        return httpx.Response(200)

    webhook(answer, addresses=("192.0.2.1", "192.0.2.2")).send(FIRING, "id")


def test_a_name_that_does_not_resolve_fails_as_an_attempt():
    with pytest.raises(DeliveryError, match="its name cannot be resolved"):
        webhook(Receiver(), addresses=()).send(FIRING, "id")


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "token-of-mine!", "whsec_" + "A" * 100])
def test_a_secret_that_is_none_is_refused_without_being_repeated(secret):
    with pytest.raises(ValueError, match="is no secret of Standard Webhooks: write whsec_") as raised:
        read_key(secret)
    assert "token-of-mine" not in str(raised.value)


def test_a_secret_is_the_same_without_its_prefix_and_padding():
    assert read_key(SECRET.removeprefix("whsec_").rstrip("=")) == read_key(SECRET)


def test_the_guard_closes_what_it_guards():
    closed = []

    class Inner(httpx.AsyncBaseTransport):
        async def aclose(self):
            closed.append(True)

    asyncio.run(Guarded(Inner()).aclose())
    assert closed == [True]
