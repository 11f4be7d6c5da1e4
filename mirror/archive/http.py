"""HTTP for reading: pooled connections, bounded retries, no secret in any message.

One `Http` serves the REST API and the bucket, from any number of threads. It never follows a redirect to another
host, never takes credentials from `~/.netrc`, keeps no cookies, and sends the token to the API only.
"""

from __future__ import annotations

import errno
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TypeVar
from urllib.parse import parse_qsl, urljoin, urlsplit, urlunsplit

from mirror import __version__
from mirror.errors import ArchiveError, BadAnswer, ConfigError, ContentRefused, Unreachable
from mirror.http_dates import http_date

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

    from mirror.archive.connections import Connections

logger = logging.getLogger(__name__)
T = TypeVar("T")
Kind = Literal["api", "s3"]
KINDS: tuple[Kind, ...] = ("api", "s3")

TRIES = 8
MALFORMED_TRIES = 3
"""Tries at an answer that arrives whole and makes no sense: more would hardly mend it."""
_TELL_AT = 3
"""After so many tries a person is told, where nobody has answered yet."""
CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 120.0
FIRST_WAIT, LONGEST_WAIT = 0.5, 32.0
LONGEST_RETRY_AFTER = 120.0
MOST_REDIRECTS = 3
MOST_ERROR_BYTES = 64 * 1024
MOST_ANSWER_BYTES = 128 * 1024 * 1024
"""Of an answer whose size nobody told us beforehand: a page of a thousand assets with their metadata is a few MiB."""
CHUNK = 256 * 1024

RETRIED = frozenset({408, 425, 429})
REDIRECTS = frozenset({301, 302, 303, 307, 308})

# Query parameters that messages may show. Whatever else a query holds may be a signature.
PLAIN_PARAMETERS = frozenset({"page", "page_size", "order", "ordering", "metadata", "embargoed"}) | frozenset(
    {"versions", "prefix", "delimiter", "encoding-type", "max-keys", "key-marker", "version-id-marker", "versionId"}
)


class Malformed(Exception):
    """What a reader of answers raises when the content makes no sense: it is worth another try."""


@dataclass(frozen=True)
class Reply:
    """A whole answer. `headers` looks names up in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Count:
    """What was asked of one kind of server: requests, tries they took, and bytes of content received."""

    requests: int = 0
    tries: int = 0
    bytes: int = 0


NO_ANSWER = "none"


@dataclass(frozen=True)
class Tally:
    """How requests were answered: by kind of server and status (`none`: not at all), and the bytes that came."""

    answers: Mapping[tuple[str, str], int] = field(default_factory=dict)
    bytes: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Tally) -> Tally:
        return Tally(_sum(self.answers, other.answers), _sum(self.bytes, other.bytes))

    def __sub__(self, earlier: Tally) -> Tally:
        """What came since."""
        return Tally(_difference(self.answers, earlier.answers), _difference(self.bytes, earlier.bytes))


_K = TypeVar("_K")


def _sum(first: Mapping[_K, int], second: Mapping[_K, int]) -> dict[_K, int]:
    return {key: first.get(key, 0) + second.get(key, 0) for key in (*first, *second)}


def _difference(later: Mapping[_K, int], earlier: Mapping[_K, int]) -> dict[_K, int]:
    return {key: more for key, count in later.items() if (more := count - earlier.get(key, 0))}


class _Failure(Exception):
    """A try that failed in a way another may not. `wait` is the least pause the server asked for."""

    def __init__(self, reason: str, error: type[ArchiveError] = Unreachable, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.error = error
        self.wait = wait


class Http:
    """Reads over HTTP, for the API at `api_url` and for buckets."""

    def __init__(
        self,
        api_url: str | None = None,
        *,
        token: str | None = None,
        tries: int = TRIES,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        pool_size: int = 32,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.api_url = checked_url(api_url) if api_url else None
        self._token = _checked_token(token)
        self._tries = max(1, tries)
        self._timeout = (connect_timeout, read_timeout)
        self._pool_size = pool_size
        self._closed = threading.Event()
        self._sleep = sleep or self._closed.wait
        self._lock = threading.Lock()
        self._counts: dict[str, Count] = {kind: Count() for kind in KINDS}
        self._answers: dict[tuple[str, str], int] = {}
        self._opened: Connections | None = None
        self._proxies: dict[str, dict[str, str]] = {}

    def __repr__(self) -> str:
        return f"Http({self.api_url!r}, {'with' if self._token else 'without'} a token)"

    @property
    def _was_answered(self) -> bool:
        with self._lock:
            return any(answer != NO_ANSWER for _, answer in self._answers)

    @property
    def has_token(self) -> bool:
        return self._token is not None

    def counts(self) -> Mapping[str, Count]:
        """What was asked so far, by kind of server."""
        with self._lock:
            return dict(self._counts)

    def tally(self) -> Tally:
        """How each try was answered so far."""
        with self._lock:
            return Tally(dict(self._answers), {kind: count.bytes for kind, count in self._counts.items()})

    def close(self) -> None:
        """Let whoever waits give up at once, be it for an answer or for a retry; close all connections. Nothing is
        asked any more."""
        self._closed.set()
        if self._opened:
            self._opened.cut()
            self._opened.close()

    def send(
        self,
        method: Literal["GET", "HEAD"],
        url: str,
        read: Callable[[Reply], T],
        *,
        kind: Kind,
        subject: str,
        follow: bool = True,
        max_bytes: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """Ask, and return what `read` makes of the answer.

        `read` sees every final answer: it returns a value, raises `Malformed` to have the request tried again, or
        raises the error that the status means. `subject` names for messages what is being asked for. Content of more
        than `max_bytes` is `ContentRefused`.
        """
        self._count(kind, requests=1)
        what = f"{method} {shown(url)}"
        attempt = malformed = 0
        while True:
            if self._closed.is_set():
                raise Unreachable(f"{subject}: not asked any more, for this is being ended: {what}")
            attempt += 1
            started = time.monotonic()
            try:
                reply = self._follow(method, url, kind, subject, follow, max_bytes, headers or {})
                logger.debug(
                    "%s: %d, %d bytes, %.2f s", what, reply.status, len(reply.body), time.monotonic() - started
                )
                return read(reply)
            except _Failure as failure:
                problem = failure
            except Malformed as failure:
                problem = _Failure(str(failure), BadAnswer)
                malformed += 1
            if attempt >= self._tries or malformed >= MALFORMED_TRIES or self._closed.is_set():
                times = "once" if attempt == 1 else f"{attempt} times"
                raise problem.error(f"{subject}: {problem.reason}; asked {times}: {what}") from None
            wait = max(_backoff(attempt), problem.wait)
            # Who waits for a first answer at all, without a network perhaps, is not left in silence.
            level = logging.WARNING if attempt == _TELL_AT and not self._was_answered else logging.INFO
            logger.log(level, "%s: %s; try %d of %d in %.1f s", what, problem.reason, attempt + 1, self._tries, wait)
            self._sleep(wait)

    def _follow(
        self,
        method: str,
        url: str,
        kind: Kind,
        subject: str,
        follow: bool,
        max_bytes: int | None,
        headers: Mapping[str, str],
    ) -> Reply:
        """One try, along redirects that stay where they are. Only a missing slash is known to need one."""
        for _ in range(MOST_REDIRECTS + 1):
            reply = self._exchange(method, url, kind, subject, max_bytes, headers)
            location = reply.headers.get("Location")
            if not follow or reply.status not in REDIRECTS or not location:
                return reply
            try:
                target = urljoin(url, location)
                stays = origin(target) == origin(url)
            except ValueError:
                raise BadAnswer(f"{subject}: {method} {shown(url)} redirects to what is no URL") from None
            if not stays:
                raise BadAnswer(
                    f"{subject}: {method} {shown(url)} redirects to {origin(target) or 'no web address'}",
                    hint="redirects to other hosts are not followed; check the configured URL",
                )
            url = target
        raise BadAnswer(f"{subject}: {method} {shown(url)}: more than {MOST_REDIRECTS} redirects")

    def _exchange(
        self, method: str, url: str, kind: Kind, subject: str, max_bytes: int | None, headers: Mapping[str, str]
    ) -> Reply:
        from requests import exceptions
        from urllib3.exceptions import LocationValueError

        self._count(kind, tries=1)
        try:
            response = self._adapter().send(
                self._prepare(method, url, kind, headers),
                stream=True,
                timeout=self._timeout,
                verify=os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True,
                proxies=self._proxies_for(url),
            )
        except (
            *(exceptions.InvalidURL, exceptions.InvalidHeader, exceptions.InvalidSchema, exceptions.MissingSchema),
            LocationValueError,  # of a host whose name cannot be one, said while it is looked up
        ):
            raise BadAnswer(f"{subject}: {shown(url)} is no URL that can be asked") from None
        except exceptions.RequestException as error:
            self._count_answer(kind, NO_ANSWER)
            raise self._unanswered(error, method, url, subject) from None
        except OSError as error:
            # Before anything is asked: certificates that are not where the environment says.
            raise Unreachable(f"{subject}: {error}") from None
        with closing(response):
            status = response.status_code
            self._count_answer(kind, str(status))
            if status >= 500 or status in RETRIED:
                raise _Failure(f"HTTP {status}", wait=_retry_after(response.headers))
            limit = MOST_ERROR_BYTES if status >= 300 else max_bytes
            body = self._body(response, kind, limit, status < 300, f"{subject}: {shown(url)}")
            return Reply(status, response.headers, body)

    def _unanswered(self, error: Exception, method: str, url: str, subject: str) -> Exception:
        """What to raise where no answer began: a bad certificate stays bad, anything else may pass."""
        import ssl

        roots = list(_roots(error))
        bad = next((root for root in roots if isinstance(root, ssl.SSLCertVerificationError)), None)
        if bad:
            return Unreachable(
                f"{subject}: {method} {shown(url)}: the certificate is not trusted: {bad.verify_message}"
            )
        return _Failure(_reason(roots, error))

    def _body(self, response: Response, kind: Kind, limit: int | None, whole: bool, subject: str) -> bytes:
        """The content. Bounded by `limit`: beyond it, `whole` content is refused and an error's text cut short."""
        from urllib3.exceptions import HTTPError, ReadTimeoutError

        bound, refusal = (MOST_ANSWER_BYTES, BadAnswer) if limit is None else (limit, ContentRefused)
        announced = response.headers.get("Content-Length", "")
        if whole and announced.isdecimal() and int(announced) > bound and response.request.method != "HEAD":
            raise refusal(f"{subject}: announced as {announced} bytes, more than the {bound} allowed")
        chunks: list[bytes] = []
        size = 0
        try:
            # Stored content is taken as it is, even where the bucket says it is gzip: digests are of those bytes.
            for chunk in response.raw.stream(CHUNK, decode_content=kind == "api"):
                chunks.append(chunk)
                size += len(chunk)
                if size > bound:
                    if whole:
                        raise refusal(f"{subject}: more bytes than the {bound} allowed")
                    break
            else:
                response.raw.release_conn()
        except ReadTimeoutError:
            raise _Failure(f"nothing came for {self._timeout[1]:g} s, {size} bytes into the answer") from None
        except (HTTPError, OSError):
            of = f" of {announced}" if announced else ""
            raise _Failure(f"the answer broke off, {size}{of} bytes read", BadAnswer) from None
        self._count(kind, bytes=size)
        return b"".join(chunks)

    def _adapter(self) -> Connections:
        """The pool of connections.

        An adapter, not a `requests.Session`: adapters are safe to share among threads, and it is the session that
        would add cookies, follow redirects and look into `~/.netrc`.
        """
        with self._lock:
            if self._opened is None:
                from mirror.archive.connections import Connections

                # Its debug lines spell out whole queries, signatures too; ours say the same without.
                logging.getLogger("urllib3.connectionpool").setLevel(logging.WARNING)
                self._opened = Connections(pool_connections=8, pool_maxsize=self._pool_size, max_retries=0)
            return self._opened

    def _proxies_for(self, url: str) -> dict[str, str]:
        """The proxies that the environment names for this server, looked up once: of many small requests this is what
        would cost most."""
        server = origin(url)
        found = self._proxies.get(server)
        if found is None:
            found = self._proxies[server] = _proxies(url)
        return found

    def _prepare(self, method: str, url: str, kind: Kind, more: Mapping[str, str]) -> PreparedRequest:
        from requests import Request

        headers = {"User-Agent": f"dandi-mirror/{__version__}"}
        if kind == "api":
            headers |= {"Accept": "application/json", "Accept-Encoding": "gzip, deflate"}
            if self._token and self.api_url and url.startswith(f"{self.api_url}/"):
                headers["Authorization"] = f"token {self._token}"
        else:
            headers["Accept-Encoding"] = "identity"
        return Request(method, url, headers={**headers, **more}).prepare()

    def _count_answer(self, kind: Kind, status: str) -> None:
        with self._lock:
            self._answers[kind, status] = self._answers.get((kind, status), 0) + 1

    def _count(self, kind: Kind, *, requests: int = 0, tries: int = 0, bytes: int = 0) -> None:
        with self._lock:
            old = self._counts[kind]
            self._counts[kind] = replace(
                old, requests=old.requests + requests, tries=old.tries + tries, bytes=old.bytes + bytes
            )


def checked_url(url: str) -> str:
    """`url` without trailing slash, if it can be the address of an API or an S3 endpoint."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError("the URL of the archive or its bucket must be like https://host/path")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ConfigError(f"the URL of {parts.hostname} must not hold a user name, a password or a query")
    # Scheme and host are written in lower case, so that comparing origins is comparing text.
    return urlunsplit((parts.scheme, parts.netloc.lower(), parts.path, "", "")).rstrip("/")


def origin(url: str) -> str:
    """Scheme, host and port of `url`, in one form; empty where it has no web address."""
    parts = urlsplit(url)
    defaults = {"http": 80, "https": 443}
    if parts.scheme not in defaults or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = parts.port or defaults[parts.scheme]
    return f"{parts.scheme}://{host}" if port == defaults[parts.scheme] else f"{parts.scheme}://{host}:{port}"


def shown(url: str) -> str:
    """`url` as messages may show it: without user, password, and any query that might be a signature."""
    try:
        parts = urlsplit(url)
        names = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
        return f"{origin(url)}{parts.path}{f'?{parts.query}' if names and names <= PLAIN_PARAMETERS else ''}"
    except ValueError:
        return "(no URL)"


def _checked_token(token: str | None) -> str | None:
    token = token.strip() if token else None
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        # Said here, not by the HTTP library: its message would hold the token.
        raise ConfigError("the token holds characters that no token has", hint="copy it anew from the archive's site")
    return token or None


def _proxies(url: str) -> dict[str, str]:
    from requests.utils import get_environ_proxies

    return get_environ_proxies(url)


def _backoff(attempt: int) -> float:
    """Doubling pauses, each shortened at random by up to half so that many clients do not come back at once."""
    longest: float = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1))
    return longest * random.uniform(0.5, 1.0)


def _retry_after(headers: Mapping[str, str]) -> float:
    """The pause that the server asks for, in seconds or up to a date; never more than our limit."""
    said = headers.get("Retry-After", "").strip()
    if said.isdecimal():
        return min(float(said[:9]), LONGEST_RETRY_AFTER)
    until = http_date(said)
    if until is None:
        return 0.0
    # Counted by the server's own clock where it tells it, which ours may not agree with.
    now = http_date(headers.get("Date", "")) or datetime.now(UTC)
    return min(max((until - now).total_seconds(), 0.0), LONGEST_RETRY_AFTER)


def _roots(error: BaseException) -> Iterator[BaseException]:
    """`error` and all that it wraps, in any of the ways requests and urllib3 wrap."""
    todo: list[object] = [error]
    known: set[int] = set()
    while todo:
        item = todo.pop()
        if isinstance(item, BaseException) and id(item) not in known:
            known.add(id(item))
            yield item
            todo += [item.__cause__, item.__context__, getattr(item, "reason", None), *item.args]


def _reason(roots: list[BaseException], error: BaseException) -> str:
    """Why there was no answer, in words that hold no URL: the libraries' own texts spell out whole queries."""
    from requests import exceptions

    if isinstance(error, exceptions.Timeout):
        return "no connection in time" if isinstance(error, exceptions.ConnectTimeout) else "no answer in time"
    for root in roots:
        if isinstance(root, OSError) and type(root).__module__ not in ("requests.exceptions", "urllib3.exceptions"):
            if root.errno == errno.ECONNREFUSED:
                return "connection refused"
            if root.strerror:
                return f"no connection: {root.strerror}"
            return f"no answer: {type(root).__name__}"
    return f"no answer: {type(error).__name__}"
