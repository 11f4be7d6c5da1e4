"""A small HTTP/1.1 server: a thread for each connection, kept alive.

The standard library's one parses headers through the e-mail package and stops only when it polls next; the whole
test suite runs against this one, so it is made to start, answer and stop at once.
"""

from __future__ import annotations

import contextlib
import io
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, unquote, urlencode

Headers = dict[str, str]

_REASONS = {
    200: "OK",
    201: "Created",
    202: "Accepted",
    204: "No Content",
    206: "Partial Content",
    301: "Moved Permanently",
    302: "Found",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    416: "Range Not Satisfiable",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
_NO_BODY = frozenset({204, 304})


@dataclass(frozen=True)
class Request:
    """A request as a server's `answer` sees it. Header names are lower case."""

    method: str
    path: str
    query: str = ""
    headers: Headers = field(default_factory=dict)
    body: bytes = b""

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def decoded_path(self) -> str:
        return unquote(self.path)

    @property
    def parameters(self) -> dict[str, str]:
        return dict(parse_qsl(self.query, keep_blank_values=True))

    def matches(self, pattern: str) -> bool:
        """Whether this regular expression is found in path and query, as they were sent or decoded."""
        return found_in_target(pattern, self.target)

    def with_parameters(self, **changes: str) -> Request:
        return replace(self, query=urlencode({**self.parameters, **changes}))


def found_in_target(pattern: str, target: str) -> bool:
    """Clients differ in what they encode: `prefix=zarr/` is to find `prefix=zarr%2F`, too."""
    return re.search(pattern, target) is not None or re.search(pattern, unquote(target)) is not None


@dataclass
class Response:
    """What goes out. The last two fields are for servers that misbehave on purpose."""

    status: int = 200
    body: bytes = b""
    headers: Headers = field(default_factory=dict)
    cut_after: int | None = None
    """send only so many bytes of the body, though Content-Length promises all, and hang up"""
    reset: bool = False
    """send nothing and reset the connection"""


Answer = Callable[[Request], Response]


class Server:
    """Listens on loopback and answers each request by calling `answer`, one thread a connection."""

    def __init__(self, answer: Answer, *, port: int = 0) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.closing = threading.Event()
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, name=f"demo-server-{self.port}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop at once, also in the middle of answers."""
        if self.closing.is_set():
            return
        self.closing.set()
        if self._thread.is_alive():
            # A connection of our own wakes accept() on every system; closing its socket does not.
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                pass
            self._thread.join(timeout=5)
        self._listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                continue
            if self.closing.is_set():
                connection.close()
                return
            with self._lock:
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            # A client that hangs up ends its connection, nothing else.
            with connection, connection.makefile("rb") as stream, contextlib.suppress(OSError):
                while not self.closing.is_set():
                    request = read_request(stream, connection)
                    if request is None or not self._reply(connection, request):
                        return
        finally:
            with self._lock:
                self._connections.discard(connection)

    def _reply(self, connection: socket.socket, request: Request) -> bool:
        """Answer one request; whether the connection can carry another."""
        response = self._answer(request)
        if response.reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        keep = request.headers.get("connection", "").lower() != "close" and response.cut_after is None
        body = b"" if request.method == "HEAD" or response.status in _NO_BODY else response.body
        connection.sendall(_head(response, keep) + body[: response.cut_after])
        return keep


def _head(response: Response, keep: bool) -> bytes:
    headers = dict(response.headers)
    if response.status not in _NO_BODY:
        headers.setdefault("Content-Length", str(len(response.body)))
    if not keep:
        headers["Connection"] = "close"
    lines = [f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Unknown')}"]
    lines += (f"{name}: {value}" for name, value in headers.items())
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def read_request(stream: io.BufferedReader, connection: socket.socket) -> Request | None:
    """The next request of this connection; None when there is none, or it makes no sense."""
    line = stream.readline(65536).decode("latin-1").split()
    if len(line) != 3:
        return None
    method, target, _ = line
    headers: Headers = {}
    while (text := stream.readline(65536).decode("latin-1").rstrip("\r\n")) != "":
        name, _, value = text.partition(":")
        headers[name.strip().lower()] = value.strip()
    if headers.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    try:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = b"".join(_chunks(stream))
        else:
            body = stream.read(int(headers.get("content-length") or 0))
    except ValueError:
        return None
    path, _, query = target.partition("?")
    return Request(method, path, query, headers, body)


def _chunks(stream: io.BufferedReader) -> Iterable[bytes]:
    while size := int(stream.readline().split(b";")[0], 16):
        yield stream.read(size)
        stream.readline()
    while stream.readline().strip():
        pass
