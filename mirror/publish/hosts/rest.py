"""Requests to a host's REST API: JSON in, JSON out, retries, rate limits, no secret in any message.

The token is sent to the API alone: redirects are followed within its own server and refused beyond. Nothing is taken
from `~/.netrc`, no cookie is kept.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from mirror import __version__
from mirror.errors import HostError
from mirror.http_dates import http_date
from mirror.publish.hosts.complaints import shortened
from mirror.publish.hosts.failures import HostUnavailable
from mirror.publish.hosts.patience import Waiting
from mirror.publish.hosts.secret import Secret

if TYPE_CHECKING:
    from requests.adapters import HTTPAdapter

logger = logging.getLogger(__name__)

_TIMEOUT = (10.0, 60.0)
_MOST_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_METHOD_KEPT = frozenset({301, 307, 308})
_SECONDS_WHEN_UNTOLD = 60.0
"""GitHub's advice for a secondary limit that tells no time."""
_AT_MOST = 300  # characters of what the host said


@dataclass(frozen=True)
class Reply:
    """A whole answer. `headers` looks names up in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def fields(self) -> dict[str, Any]:
        """The object that was answered; empty when it is none."""
        try:
            answer = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return answer if isinstance(answer, dict) else {}


class _Stumble(Exception):
    """Another try may do."""


class Rest:
    """The API at one address, asked one thing at a time."""

    def __init__(
        self, url: str, headers: Mapping[str, str], secret: Secret, waiting: Waiting, *, pause_after_change: float = 0.0
    ) -> None:
        self.url = url
        self._headers = {"User-Agent": f"dandi-mirror/{__version__}", **headers}
        self._secret = secret
        self._waiting = waiting
        self._pause_after_change = pause_after_change
        self._opened: HTTPAdapter | None = None

    def send(
        self, method: str, path: str, body: Mapping[str, object] | None = None, *, expect: Collection[int]
    ) -> Reply:
        """Ask, and return the answer if its status is one of those expected; otherwise `HostError`."""
        url = f"{self.url}{path}"
        attempt = 0
        while True:
            self._waiting.before_asking()
            try:
                reply = self._follow(method, url, body)
            except _Stumble as stumble:
                attempt += 1
                if self._waiting.again(attempt):
                    continue
                raise HostUnavailable(f"{self.url} is out of reach: {stumble}") from None
            logger.debug("%s %s: %d", method, url, reply.status)
            seconds = _limit(reply, self._waiting.now())
            if reply.status in (403, 429, 503) and seconds is not None:
                self._waiting.limited(seconds)
                continue
            if reply.status >= 500 or reply.status == 408:
                attempt += 1
                if self._waiting.again(attempt):
                    continue
                raise self._waiting.give_up(f"{method} {url} was answered {self._said(reply)}")
            self._after(method, reply, seconds)
            if reply.status in expect:
                return reply
            raise self._refusal(f"{method} {url} was answered {self._said(reply)}", reply.status)

    def _after(self, method: str, reply: Reply, seconds: float | None) -> None:
        if seconds is not None:
            self._waiting.exhausted(seconds)
        if method != "GET" and self._pause_after_change and reply.status < 400:
            self._waiting.pause(self._pause_after_change)

    @staticmethod
    def _refusal(message: str, status: int) -> HostError:
        if status == 401:
            return HostUnavailable(message, hint="the token is wrong, or has expired")
        return HostError(message, hint="the token may not do this" if status == 403 else None)

    def said(self, reply: Reply) -> str:
        """What the host had to say, in one line."""
        answer = reply.fields()
        parts = [_flat(answer.get(key)) for key in ("message", "error", "errors") if answer.get(key)]
        return shortened(self._secret.hide(": ".join(parts)), _AT_MOST)

    def _said(self, reply: Reply) -> str:
        words = self.said(reply)
        return f"{reply.status}: {words}" if words else str(reply.status)

    def _follow(self, method: str, url: str, body: Mapping[str, object] | None) -> Reply:
        for _ in range(_MOST_REDIRECTS + 1):
            reply = self._exchange(method, url, body)
            location = reply.headers.get("Location")
            if reply.status not in _REDIRECTS or not location:
                return reply
            target = _target(url, location)
            if target is None:
                raise HostError(
                    f"{url} redirects to another server", hint="check the host's url: it is not followed there"
                )
            if method != "GET" and reply.status not in _METHOD_KEPT:
                return reply
            url = target
        raise HostError(f"{url}: more than {_MOST_REDIRECTS} redirects")

    def _exchange(self, method: str, url: str, body: Mapping[str, object] | None) -> Reply:
        from requests import Request, exceptions
        from requests.utils import get_environ_proxies

        headers = dict(self._headers)
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        try:
            prepared = Request(method, url, headers=headers, data=data).prepare()
            response = self._adapter().send(
                prepared,
                timeout=_TIMEOUT,
                verify=os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True,
                proxies=get_environ_proxies(url),
            )
            return Reply(response.status_code, response.headers, response.content)
        except exceptions.SSLError:
            raise HostUnavailable(f"the certificate of {_origin(url)} is not trusted") from None
        except exceptions.RequestException as error:
            # The library's own text spells out addresses of objects and whole queries.
            raise _Stumble(_reason(error)) from None

    def _adapter(self) -> HTTPAdapter:
        """An adapter, not a `Session`: it is the session that would add cookies and look into `~/.netrc`."""
        if self._opened is None:
            from requests.adapters import HTTPAdapter

            self._opened = HTTPAdapter(max_retries=0)
        return self._opened


def _limit(reply: Reply, now: datetime) -> float | None:
    """How many seconds the host wants to be left alone from now on; None when it does not mind.

    GitHub limits with 403 as well as 429, and does not always tell until when.
    """
    headers = reply.headers
    # Counted by the host's own clock, where it tells it.
    here = http_date(headers.get("Date", "")) or now
    after = headers.get("Retry-After", "").strip()
    if after.isdecimal():
        return float(after)
    if (until := http_date(after)) is not None:
        return max(0.0, (until - here).total_seconds())
    for prefix in ("X-RateLimit", "RateLimit"):
        reset = headers.get(f"{prefix}-Reset", "").strip()
        if headers.get(f"{prefix}-Remaining", "").strip() == "0" and reset.isdecimal():
            return max(0.0, float(reset) - here.timestamp()) + 1.0
    if reply.status == 429 or (reply.status == 403 and b"rate limit" in reply.body.lower()):
        return _SECONDS_WHEN_UNTOLD
    return None


def _target(url: str, location: str) -> str | None:
    """Where a redirect leads; None when that is not the same server, or nowhere."""
    try:
        target = urljoin(url, location)
        return target if _origin(target) == _origin(url) else None
    except ValueError:
        return None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _reason(error: Exception) -> str:
    from requests import exceptions

    if isinstance(error, exceptions.Timeout):
        return "no answer in time"
    text = str(error)
    if "refused" in text:
        return "connection refused"
    if "resolve" in text or "Name or service not known" in text:
        return "its name is not known"
    return "the connection broke off" if "abort" in text or "broken" in text else "no connection"


def _flat(value: object, levels: int = 5) -> str:
    """Whatever a host puts into its messages, as words."""
    if isinstance(value, Mapping | list) and not levels:
        return "…"
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {_flat(item, levels - 1)}" for key, item in value.items() if key != "resource")
    if isinstance(value, list):
        return "; ".join(_flat(item, levels - 1) for item in value)
    return str(value)
