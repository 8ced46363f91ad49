"""Posting to receivers that cannot be trusted: one deadline for all of an attempt, no redirects, no answers read."""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Final

import httpx

from birdwatch.alerts.sinks.guard import Guarded, Resolve, resolve
from birdwatch.errors import DeliveryError, GoneError

__all__ = ["Poster", "retry_after"]

LONGEST_SECONDS: Final = 86_400.0
"""For longer no receiver can silence itself."""


def retry_after(header: str | None, now: float) -> float | None:
    """Read how many seconds a receiver wants to be left alone: a number, or a date; None where it does not say.

    >>> retry_after("120", now=0.0)
    120.0
    >>> retry_after("Thu, 01 Jan 1970 00:05:00 GMT", now=60.0)
    240.0
    >>> retry_after("soon", now=0.0)
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:18]), LONGEST_SECONDS)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    until = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return min(max(0.0, until - now), LONGEST_SECONDS)


class Poster:
    """Posts JSON over HTTP. Only an answer of 2xx, in time, is a success.

    Redirects are not followed (they could lead anywhere), the environment's proxies are not used (they would resolve
    names themselves), and the body of an answer is never read: a receiver may send as much of it, as slowly, as it
    likes. Every attempt has a connection of its own: alerts are rare, and a dead connection would cost an attempt.

    Parameters
    ----------
    timeout_seconds
        For all of an attempt: resolving, connecting, sending, and the head of the answer.
    allow
        See `birdwatch.alerts.sinks.guard.Guarded`.
    transport, resolve, now
        What makes connections, resolves names, and tells the time in Unix seconds.
    """

    def __init__(
        self,
        *,
        timeout_seconds: float = 10.0,
        allow: Sequence[str] = (),
        transport: Callable[[], httpx.AsyncBaseTransport] | None = None,
        resolve: Resolve = resolve,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.timeout_seconds = timeout_seconds
        self.now = now
        self._allow = allow
        # Whom to trust is read once: it takes longer than an attempt.
        self._transport = transport or partial(httpx.AsyncHTTPTransport, verify=httpx.create_ssl_context())
        self._resolve = resolve

    def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> None:
        """Post to one place.

        Raises
        ------
        DeliveryError
            It was not taken. What is said leaves out the address, which may hold a secret.
        """
        (failed,) = self.post_all([url], content, headers)
        if failed is not None:
            raise failed

    def post_all(self, urls: Sequence[str], content: bytes, headers: Mapping[str, str]) -> list[DeliveryError | None]:
        """Post to several places at once; give, for each, why it was not taken, or None."""
        return asyncio.run(self._post_all(urls, content, headers))

    async def _post_all(
        self, urls: Sequence[str], content: bytes, headers: Mapping[str, str]
    ) -> list[DeliveryError | None]:
        return await asyncio.gather(*(self._try(url, content, headers) for url in urls))

    async def _try(self, url: str, content: bytes, headers: Mapping[str, str]) -> DeliveryError | None:
        try:
            async with asyncio.timeout(self.timeout_seconds):
                return await self._post(url, content, headers)
        except (TimeoutError, httpx.TimeoutException):
            return DeliveryError(f"no answer within {self.timeout_seconds:g} s", unsure=True)
        except DeliveryError as error:
            return error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            unsure = not isinstance(error, (httpx.ConnectError, httpx.InvalidURL, httpx.UnsupportedProtocol))
            return DeliveryError(f"cannot be reached: {_cause(error)}", unsure=unsure)

    async def _post(self, url: str, content: bytes, headers: Mapping[str, str]) -> DeliveryError | None:
        guarded = Guarded(self._transport(), allow=self._allow, resolve=self._resolve)
        told = {"content-type": "application/json", "user-agent": "birdwatch", **headers}
        async with (
            httpx.AsyncClient(transport=guarded, timeout=self.timeout_seconds, follow_redirects=False) as client,
            client.stream("POST", url, content=content, headers=told) as answer,
        ):
            return self._judge(answer)

    def _judge(self, answer: httpx.Response) -> DeliveryError | None:
        if answer.is_success:
            return None
        said = f"answered {answer.status_code} {httpx.codes.get_reason_phrase(answer.status_code)}".rstrip()
        if answer.status_code == httpx.codes.GONE:
            return GoneError(said)
        asks = answer.status_code in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
        return DeliveryError(
            said, retry_after=retry_after(answer.headers.get("retry-after"), self.now()) if asks else None
        )


def _cause(error: BaseException) -> str:
    """Say of an error what gives no secret away: a certificate that is wrong, or the error's kind."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {inner.verify_message}"
        inner = inner.__cause__ or inner.__context__
    return type(error).__name__
