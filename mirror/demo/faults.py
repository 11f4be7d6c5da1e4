"""Ways in which a server can misbehave, to be injected by rules.

archive.api_faults.add(Status(503), path=r"/dandisets/$", times=2)
archive.api_faults.add(Before(replace_an_asset), path=r"assets/.*page=2")
archive.s3_faults.add(LostVersions(), path=rf"versions.*prefix=zarr/{zarr_id}/")
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from mirror.demo.web import Answer, Headers, Request, Response


class Fault:
    """One way to misbehave: gets the request and the server's honest `answer`, and may call it or not."""

    def apply(self, request: Request, answer: Answer) -> Response:
        raise NotImplementedError


@dataclass(frozen=True)
class Status(Fault):
    """An error status, as a server or a proxy before it gives; `Status(429, retry_after=2)` asks for patience."""

    status: int
    retry_after: int | str | None = None
    body: bytes = b'{"detail":"The demo archive was told to fail."}'

    def apply(self, request: Request, answer: Answer) -> Response:  # noqa: ARG002
        headers: Headers = {"Content-Type": "application/json"}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        return Response(self.status, self.body, headers)


class Reset(Fault):
    """The connection is reset before a byte of an answer."""

    def apply(self, request: Request, answer: Answer) -> Response:  # noqa: ARG002
        return Response(0, reset=True)


@dataclass(frozen=True)
class Slow(Fault):
    """The honest answer, so many seconds late. With many seconds it is a server that hangs."""

    seconds: float

    def apply(self, request: Request, answer: Answer) -> Response:
        time.sleep(self.seconds)
        return answer(request)


@dataclass(frozen=True)
class Truncated(Fault):
    """Content-Length promises the whole body, and the connection ends after this share of it."""

    share: float = 0.5

    def apply(self, request: Request, answer: Answer) -> Response:
        response = answer(request)
        response.cut_after = int(len(response.body) * self.share)
        return response


@dataclass(frozen=True)
class WrongBody(Fault):
    """Status 200 with a body that is not what was asked for."""

    body: bytes = b"this is not JSON"
    content_type: str = "application/json"

    def apply(self, request: Request, answer: Answer) -> Response:  # noqa: ARG002
        return Response(200, self.body, {"Content-Type": self.content_type})


def html_page() -> WrongBody:
    """A proxy's page of apology, with status 200."""
    return WrongBody(b"<!doctype html><html><body><h1>Service temporarily unavailable</h1></body></html>", "text/html")


@dataclass(frozen=True)
class Redirect(Fault):
    """A redirect to elsewhere."""

    location: str
    status: int = 302

    def apply(self, request: Request, answer: Answer) -> Response:  # noqa: ARG002
        return Response(self.status, b"", {"Location": self.location})


@dataclass(frozen=True)
class OtherETag(Fault):
    """The honest bytes, said to be of another object: it was replaced, or a cache mixed two up."""

    etag: str = "0123456789abcdef0123456789abcdef"

    def apply(self, request: Request, answer: Answer) -> Response:
        response = answer(request)
        response.headers["ETag"] = f'"{self.etag}"'
        return response


class NoRanges(Fault):
    """The whole of an object, whichever part of it was asked for: some proxies do so."""

    def apply(self, request: Request, answer: Answer) -> Response:
        return answer(replace(request, headers={**request.headers, "range": ""}))


@dataclass(frozen=True)
class Beyond(Fault):
    """Another fault, on parts of an object that begin at this byte or after it; the others are given."""

    first: int
    fault: Fault

    def apply(self, request: Request, answer: Answer) -> Response:
        asked = re.match(r"bytes=(\d+)-", request.headers.get("range", ""))
        is_beyond = asked is not None and int(asked[1]) >= self.first
        return self.fault.apply(request, answer) if is_beyond else answer(request)


@dataclass(frozen=True)
class OtherPart(Fault):
    """A part of the object that was not asked for, and said to be that one."""

    first: int = 0
    last: int = 9

    def apply(self, request: Request, answer: Answer) -> Response:
        return answer(replace(request, headers={**request.headers, "range": f"bytes={self.first}-{self.last}"}))


@dataclass(frozen=True)
class LostVersions(Fault):
    """A page of an S3 listing of versions that lacks its first ones and does not say so."""

    count: int = 1

    def apply(self, request: Request, answer: Answer) -> Response:
        response = answer(request)
        response.body = re.sub(rb"<Version>.*?</Version>", b"", response.body, count=self.count, flags=re.DOTALL)
        return response


class RepeatedPage(Fault):
    """The results of the page before this one, with this one's links."""

    def apply(self, request: Request, answer: Answer) -> Response:
        request = _uncompressed(request)
        response = answer(request)
        before = answer(request.with_parameters(page=str(max(1, _page(request) - 1))))
        document = json.loads(response.body)
        document["results"] = json.loads(before.body)["results"]
        return Response(200, json.dumps(document).encode(), response.headers)


class LostPage(Fault):
    """The page after this one in its place, so that this one is never seen."""

    def apply(self, request: Request, answer: Answer) -> Response:
        return answer(request.with_parameters(page=str(_page(request) + 1)))


@dataclass(frozen=True)
class Before(Fault):
    """Something happens just before the honest answer: an asset is replaced between two pages, say."""

    happening: Callable[[], object]

    def apply(self, request: Request, answer: Answer) -> Response:
        self.happening()
        return answer(request)


def _page(request: Request) -> int:
    return int(request.parameters.get("page", "1"))


def _uncompressed(request: Request) -> Request:
    return replace(request, headers={**request.headers, "accept-encoding": "identity"})


@dataclass
class Rule:
    """When a fault strikes: on requests that match, but for the first `after` of them, `times` times; of those that it
    might strike only a `share`, by chance."""

    fault: Fault
    path: str
    method: str | None
    after: int
    times: int | None
    share: float = 1.0
    chance: random.Random = field(default_factory=random.Random, repr=False)
    struck: int = field(default=0, init=False)

    def strikes(self, request: Request) -> bool:
        if self.method not in (None, request.method) or not request.matches(self.path):
            return False
        if self.times is not None and self.struck >= self.times:
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.share < 1 and self.chance.random() >= self.share:
            return False
        self.struck += 1
        return True


class Faults:
    """The rules of one server. The first rule that strikes a request decides its answer.

    With a `seed` the same of as many requests are struck by rules that leave it to chance.
    """

    def __init__(self, seed: int | str | None = None) -> None:
        self._chance = random.Random(seed)
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def add(
        self,
        fault: Fault,
        *,
        path: str = "",
        method: str | None = None,
        after: int = 0,
        times: int | None = 1,
        share: float = 1.0,
    ) -> Rule:
        """Misbehave on requests whose path and query match this regular expression; `times=None` for always.

        Both are looked at as they were sent and decoded, so `prefix=zarr/` strikes the listing of any Zarr.
        `share=0.03`: only three in a hundred of them, by chance. The returned rule counts how often it `struck`.
        """
        rule = Rule(fault, path, method, after, times, share, self._chance)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def striking(self, request: Request) -> Fault | None:
        with self._lock:
            return next((rule.fault for rule in self._rules if rule.strikes(request)), None)
