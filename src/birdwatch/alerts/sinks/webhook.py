"""A webhook: the body that Alertmanager sends to its receivers, signed as Standard Webhooks says.

Sources
-------
https://prometheus.io/docs/alerting/latest/configuration/#webhook_config (version 4) and
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
from typing import Any, Final

import msgspec

from birdwatch.alerts.sinks.post import Poster
from birdwatch.alerts.sinks.sink import Sink, digest
from birdwatch.alerts.wording import Links, annotations, labels, timestamp
from birdwatch.records import Alert

__all__ = ["Webhook", "read_key", "signature"]

_PREFIX: Final = "whsec_"
_NOT_OVER: Final = "0001-01-01T00:00:00Z"  # as Alertmanager says of what fires


class Webhook(Sink):
    """Posts an alert; the header ``webhook-id`` is the same over all attempts.

    Parameters
    ----------
    url
        Where to post.
    key
        What signs it; None sends without a signature.
    receiver
        The sink's name, as the body gives it.
    links
        Where people are sent.
    poster
        What posts.
    """

    def __init__(
        self,
        url: str,
        *,
        key: bytes | None = None,
        receiver: str = "webhook",
        links: Links | None = None,
        poster: Poster | None = None,
    ) -> None:
        self.place = digest([url])
        self._url = url
        self._key = key
        self._receiver = receiver
        self._links = links or Links()
        self._poster = poster or Poster()

    def send(self, alert: Alert, message_id: str) -> None:
        """Post an alert.

        Raises
        ------
        DeliveryError
            The receiver could not be reached in time or did not answer 2xx; a `GoneError` where it answered 410.
        """
        content = msgspec.json.encode(body(alert, self._receiver, self._links))
        headers = {"webhook-id": message_id, "webhook-timestamp": str(int(self._poster.now()))}
        if self._key is not None:
            headers["webhook-signature"] = signature(self._key, message_id, headers["webhook-timestamp"], content)
        self._poster.post(self._url, content, headers)


def body(alert: Alert, receiver: str, links: Links) -> dict[str, Any]:
    """Give an alert as Alertmanager's webhook does, alone in its group."""
    group = {"alertname": alert.rule}
    named, told = labels(alert), annotations(alert, links)
    one = {
        "status": alert.state,
        "labels": named,
        "annotations": told,
        "startsAt": timestamp(alert.started),
        "endsAt": timestamp(max(alert.started, alert.ts)) if alert.state == "resolved" else _NOT_OVER,
        "generatorURL": links.to_dashboard(alert),
        "fingerprint": alert.fingerprint,
    }
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{alert.rule}"}}',
        "truncatedAlerts": 0,
        "status": alert.state,
        "receiver": receiver,
        "groupLabels": group,
        "commonLabels": named,
        "commonAnnotations": told,
        "externalURL": links.dashboard or "",
        "alerts": [one],
    }


def signature(key: bytes, message_id: str, moment: str, content: bytes) -> str:
    """Sign a message: what was sent, under which id, and when, so that none of it can be replaced or sent again late."""
    signed = hmac.digest(key, f"{message_id}.{moment}.".encode() + content, hashlib.sha256)
    return f"v1,{base64.b64encode(signed).decode()}"


def read_key(secret: str) -> bytes:
    """Read the key in a secret: ``whsec_`` (which may be left out), then base64.

    Raises
    ------
    ValueError
        It is none; the message does not repeat it.
    """
    text = secret.strip().removeprefix(_PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        key = b""
    if not 24 <= len(key) <= 64:
        raise ValueError(
            f"is no secret of Standard Webhooks: write {_PREFIX} and base64 of 24 to 64 random bytes, such as"
            f" `echo {_PREFIX}$(openssl rand -base64 32)` prints"
        )
    return key
