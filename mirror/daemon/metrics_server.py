"""`/metrics` and `/healthz` over HTTP, on this machine only."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from prometheus_client.exposition import choose_encoder

from mirror.daemon.health import Health
from mirror.daemon.listening import Listeners
from mirror.daemon.metrics import Figures
from mirror.errors import MirrorError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from mirror.config import Settings

logger = logging.getLogger(__name__)

CLIENT_SECONDS = 10.0
"""What a client may take to send a request, and to take what it is sent."""

MOST_CLIENTS = 16
"""at a time"""

_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"


class Exposition(Listeners):
    """Follows the jobs, and answers for them at the address that the settings have, until it is closed.

    `is_alive`: whether the daemon's main thread shows signs of life.
    """

    def __init__(self, settings: Settings, is_alive: Callable[[], bool] = lambda: True) -> None:
        assert settings.metrics_address is not None, "only where it was asked for"
        figures, health = Figures(settings), Health(settings, is_alive)
        super().__init__([figures, health])
        self._server = _Server(settings.metrics_address, figures.registry, health)
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def close(self) -> None:
        super().close()
        self._server.shutdown()
        self._thread.join(CLIENT_SECONDS)
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], registry: CollectorRegistry, health: Health) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.registry = registry
        self.health = health
        self._room = threading.BoundedSemaphore(MOST_CLIENTS)
        self._taken: dict[Any, float] = {}
        """the connections that are answered, with the time when each came"""
        try:
            super().__init__(address, _Handler)
        except OSError as error:
            raise MirrorError(
                f"metrics cannot be served at {address[0]} port {address[1]}: {error.strerror or error}",
                hint="choose another port with the setting `metrics`",
            ) from None

    def server_bind(self) -> None:
        # Not HTTPServer's, which asks for the name that the address has.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self._taken[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._forget(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(request)

    def _forget(self, request: Any) -> None:
        del self._taken[request]
        self._room.release()

    def service_actions(self) -> None:
        """Called twice a second: whoever sends a byte now and then would keep others out for hours."""
        now = time.monotonic()
        for request, since in list(self._taken.items()):
            if now - since > CLIENT_SECONDS:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's signature
        broken = isinstance(sys.exception(), ConnectionError | TimeoutError)
        logger.log(logging.DEBUG if broken else logging.WARNING, "a request for metrics failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = CLIENT_SECONDS
    error_content_type = _TEXT
    error_message_format = "%(message)s\n"

    def version_string(self) -> str:
        return "dandi-mirror"

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/metrics":
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
            self._answer(HTTPStatus.OK, kind, encode(self.server.registry))
        elif path == "/healthz":
            verdict = self.server.health.verdict()
            status = HTTPStatus.OK if verdict.well else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, _JSON, json.dumps(verdict.as_dict()).encode() + b"\n")
        else:
            self._answer(HTTPStatus.NOT_FOUND, _TEXT, b"There are /metrics and /healthz.\n")

    do_HEAD = do_GET

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        if code == HTTPStatus.NOT_IMPLEMENTED and hasattr(self, "headers"):
            self.send_response(HTTPStatus.METHOD_NOT_ALLOWED)
            self.send_header("Allow", "GET, HEAD")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        with contextlib.suppress(OSError):
            super().send_error(code, message, explain)

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug("metrics: " + format, *args)
