"""What the stand-ins have in common: HTTP, git's own CGI program, scripted faults, a record of what happened."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

TOKEN = "tok-3f9a-THE+SECRET/one"
MEMBER = "labuser"
"""the user whose token that is"""


@dataclass
class Answer:
    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    handler: BaseHTTPRequestHandler

    def fields(self) -> dict[str, Any]:
        return json.loads(self.body) if self.body else {}


@dataclass
class Fault:
    """An answer given instead of the true one, `times` times, where `wanted` says so."""

    answer: Answer
    wanted: Callable[[Request], bool]
    times: int = 1
    late: bool = False
    """what was asked for is done first: only the answer is lost"""


class GitServer:
    """A server of bare repositories over git's smart HTTP protocol, for those who have the token."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.requests: list[Request] = []
        self.events: list[tuple[str, ...]] = []
        self.faults: list[Fault] = []
        self.violations: list[str] = []
        self.on_git: Callable[[Request], None] = lambda _: None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def answer(self) -> None:
                outer._answer(self)

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = do_HEAD = do_PROPFIND = answer

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fault(
        self, status: int, body: Any = None, *, times: int = 1, on: str = "", late: bool = False, **headers: str
    ) -> None:
        """Answer the next requests so; `on` is a pattern for `METHOD /path`. `late`: only after doing as asked."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        pattern = re.compile(on)
        self.faults.append(
            Fault(
                Answer(status, body, named),
                lambda request: bool(pattern.search(f"{request.method} {request.path}")),
                times,
                late,
            )
        )

    def bare(self, path: str) -> Path:
        """A new bare repository that takes pushes over HTTP."""
        folder = self.root / path
        subprocess.run(["git", "init", "-q", "--bare", "--template=", str(folder)], check=True)
        subprocess.run(["git", f"--git-dir={folder}", "config", "http.receivepack", "true"], check=True)
        return folder

    def api_requests(self) -> list[str]:
        return [f"{request.method} {request.path}" for request in self.requests if ".git/" not in request.path]

    # Answering

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        request = Request(handler.command, handler.path, handler.headers, _body(handler), handler)
        self.requests.append(request)
        for fault in self.faults:
            if fault.times and fault.wanted(request):
                fault.times -= 1
                if fault.late:
                    self.answer(request)
                self._send(handler, fault.answer)
                return
        if re.match(r"/[^?]+\.git/", request.path):
            self._git(request)
        else:
            self._send(handler, self.answer(request))

    def answer(self, request: Request) -> Answer:
        self.violations.append(f"{request.method} {request.path}: there is no such address")
        return Answer(404)

    def _send(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        body = b"" if answer.body is None else json.dumps(answer.body).encode()
        handler.send_response(answer.status)
        for name, value in {**self.usual_headers(), **answer.headers}.items():
            handler.send_header(name, value)
        handler.send_header("Content-Type", "application/json; charset=utf-8")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def usual_headers(self) -> dict[str, str]:
        return {}

    def may(self, request: Request) -> bool:
        """Whether a git client says the token, as a password."""
        kind, _, value = request.headers.get("Authorization", "").partition(" ")
        return kind == "Basic" and base64.b64decode(value).decode().partition(":")[2] == TOKEN

    def _git(self, request: Request) -> None:
        handler = request.handler
        path, _, query = request.path.partition("?")
        name = path[1 : path.index(".git/")]
        if not self.may(request):
            self._plain(handler, 401, "Unauthorized", {"WWW-Authenticate": 'Basic realm="git"'})
            return
        if not (self.root / f"{name}.git" / "HEAD").exists():
            self._plain(handler, 404, "Not Found")
            return
        if path.endswith("/git-receive-pack"):
            self.on_git(request)
            self.pushed(name)
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": request.method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(request.body)),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "pusher",
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(
            ["git", "http-backend"], input=request.body, capture_output=True, env=environment, check=False
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(headers.pop("Status", "200 OK").split()[0])
        handler.send_response(status)
        for key, value in headers.items():
            handler.send_header(key, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def pushed(self, name: str) -> None:
        self.events.append(("push", name.rpartition("/")[2]))

    def _plain(
        self, handler: BaseHTTPRequestHandler, status: int, text: str, headers: Mapping[str, str] | None = None
    ) -> None:
        handler.send_response(status)
        for key, value in (headers or {}).items():
            handler.send_header(key, value)
        handler.send_header("Content-Type", "text/plain")
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text.encode())


@dataclass
class Repo:
    """A repository on a stand-in."""

    owner: str
    name: str
    folder: Path
    private: bool
    fields: dict[str, Any]
    releases: dict[str, dict[str, Any]] = field(default_factory=dict)

    def has(self, ref: str) -> bool:
        done = subprocess.run(
            ["git", f"--git-dir={self.folder}", "rev-parse", "-q", "--verify", ref], capture_output=True, check=False
        )
        return done.returncode == 0

    @property
    def empty(self) -> bool:
        done = subprocess.run(["git", f"--git-dir={self.folder}", "for-each-ref"], capture_output=True, check=False)
        return not done.stdout


class StrictHost(GitServer):
    """A git host with a REST API, one organization `lab`, and one user."""

    kind: ClassVar[str]
    api: ClassVar[str]
    """where the API is, below the address of the server"""
    organizations = ("lab",)

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.repos: dict[tuple[str, str], Repo] = {}
        self.remaining = 4999
        self.moved: dict[str, str] = {}

    def repo(self, name: str, owner: str = "lab") -> Repo:
        return self.repos[owner, name]

    def add(self, owner: str, name: str, *, private: bool, fields: dict[str, Any] | None = None) -> Repo:
        """Make a repository, as somebody might by hand."""
        repo = Repo(owner, name, self.bare(f"{owner}/{name}.git"), private, dict(fields or {}))
        self.repos[owner, name] = repo
        return repo

    def pushed(self, name: str) -> None:
        owner, _, short = name.rpartition("/")
        self.events.append(("push", short, "private" if self.repos[owner, short].private else "public"))

    def check(
        self, request: Request, allowed: Mapping[str, type | tuple[type, ...]], required: tuple[str, ...] = ()
    ) -> bool:
        """Whether the body has fields of the right types, and only those the documentation names."""
        if request.headers.get("Content-Type") != "application/json":
            self.violations.append(f"{request.method} {request.path}: not sent as JSON")
            return False
        fields = request.fields()
        wrong = [
            name for name, value in fields.items() if name not in allowed or type(value) not in _types(allowed[name])
        ]
        missing = [name for name in required if name not in fields]
        if wrong or missing:
            self.violations.append(f"{request.method} {request.path}: wrong fields {wrong}, missing {missing}")
        return not (wrong or missing)

    def expect_header(self, request: Request, name: str, value: str) -> None:
        if request.headers.get(name) != value:
            self.violations.append(f"{request.method} {request.path}: {name} is {request.headers.get(name)!r}")

    def answer(self, request: Request) -> Answer:
        if request.method in ("GET", "HEAD") and request.body:
            self.violations.append(f"{request.method} {request.path}: has a body")
        prefix = self.api
        if not request.path.startswith(prefix):
            return super().answer(request)
        return self.route(request, request.path.removeprefix(prefix))

    def route(self, request: Request, path: str) -> Answer:
        raise NotImplementedError

    def unknown(self, request: Request) -> Answer:
        return GitServer.answer(self, request)

    def reset_at(self) -> str:
        return str(int(time.time()) + 1800)


def _types(wanted: type | tuple[type, ...]) -> tuple[type, ...]:
    return wanted if isinstance(wanted, tuple) else (wanted,)


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    if handler.headers.get("Transfer-Encoding", "").lower() == "chunked":
        chunks = []
        while size := int(handler.rfile.readline().split(b";")[0], 16):
            chunks.append(handler.rfile.read(size))
            handler.rfile.readline()
        handler.rfile.readline()
        return b"".join(chunks)
    return handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
