"""A small HTTP server on loopback that answers as a test tells it to, faults included."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

RECORDINGS = Path(__file__).parents[3] / "shared" / "data" / "api"


@dataclass
class Turn:
    """What to answer one request with."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    announce: int | None = None
    reset: bool = False
    stall: float = 0.0


@dataclass
class Seen:
    """A request that came in."""

    method: str
    path: str
    headers: dict[str, str]


class Theatre:
    """Answers by `routes` (path with query → turn) or else by the queued turns, one per request."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.connections = 0
        self.turns: deque[Turn] = deque()
        self.routes: dict[str, Turn] = {}
        self.answer: Callable[[Seen], Turn] | None = None
        theatre = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body go out in two pieces: the second would wait for the first to be acknowledged.
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                theatre._play(self)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

            def setup(self) -> None:
                theatre.connections += 1
                super().setup()

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """Clients that go away are part of the play."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def paths(self) -> list[str]:
        return [seen.path for seen in self.seen]

    def then(
        self,
        body: Any = b"",
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        announce: int | None = None,
        reset: bool = False,
        stall: float = 0.0,
        at: str | None = None,
    ) -> None:
        """Queue an answer, or set the one for the path `at`. What is not bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        turn = Turn(status, data, headers or {}, announce, reset, stall)
        if at is None:
            self.turns.append(turn)
        else:
            self.routes[at] = turn

    def close(self) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _play(self, handler: BaseHTTPRequestHandler) -> None:
        seen = Seen(handler.command, handler.path, {name.lower(): value for name, value in handler.headers.items()})
        self.seen.append(seen)
        if self.answer:
            turn = self.answer(seen)
        elif handler.path in self.routes:
            turn = self.routes[handler.path]
        else:
            turn = self.turns.popleft() if self.turns else Turn(599, b"the test queued no answer for this")
        self._ended.wait(turn.stall)
        if turn.reset:
            # Linger zero: closing sends RST, not FIN.
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.close_connection = True
            handler.connection.close()
            return
        handler.send_response_only(turn.status)
        for name, value in ({"Date": handler.date_time_string()} | turn.headers).items():
            handler.send_header(name, value)
        if "Transfer-Encoding" not in turn.headers:
            handler.send_header("Content-Length", str(len(turn.body) if turn.announce is None else turn.announce))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(turn.body)
        if turn.announce is not None and turn.announce != len(turn.body):
            handler.close_connection = True


@pytest.fixture
def server() -> Iterator[Theatre]:
    theatre = Theatre()
    yield theatre
    theatre.close()


@pytest.fixture
def other_server() -> Iterator[Theatre]:
    theatre = Theatre()
    yield theatre
    theatre.close()


@pytest.fixture
def pauses() -> list[float]:
    """The pauses between tries; `pauses.append` is the `sleep` that only takes note."""
    return []


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Exchanges recorded with the real server software, where they are at hand."""
    if not RECORDINGS.is_dir():
        pytest.skip("no recorded exchanges here")
    return RECORDINGS
