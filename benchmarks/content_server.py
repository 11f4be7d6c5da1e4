"""A bucket a way off: files of a folder over HTTP, each request late, each connection slow.

`python -m benchmarks.content_server FOLDER LATENCY RATE` prints its address and serves until its input ends. What it
cannot do by itself (`RATE` 0) is far more than what is asked of it; threads wait, or are in `sendfile`.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mirror.demo.web import Request, read_request

_CHUNK = 256 * 1024
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Bucket:
    """Answers GET and HEAD, by parts where parts are asked for."""

    def __init__(self, folder: Path, latency: float, rate: float) -> None:
        self._folder = folder
        self._latency = latency
        self._rate = rate
        """bytes a second of one connection; 0: as many as there are"""

    def serve(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        time.sleep(self._latency)  # the way there and back that a connection takes to be made
        with connection, connection.makefile("rb") as stream, suppress(OSError):
            while (request := read_request(stream, connection)) is not None:
                time.sleep(self._latency)
                self._answer(connection, request)

    def _answer(self, connection: socket.socket, request: Request) -> None:
        path = self._folder / Path(request.decoded_path).name
        if not path.is_file():
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        size = path.stat().st_size
        asked = _RANGE.fullmatch(request.headers.get("range", ""))
        first = int(asked[1]) if asked else 0
        last = min(int(asked[2] or size - 1), size - 1) if asked else size - 1
        lines = ["HTTP/1.1 206 Partial Content" if asked else "HTTP/1.1 200 OK", f'ETag: "{path.name}"']
        lines += [f"Content-Range: bytes {first}-{last}/{size}"] if asked else []
        lines += [f"Content-Length: {last - first + 1}", "Accept-Ranges: bytes", "x-amz-version-id: one", "", ""]
        connection.sendall("\r\n".join(lines).encode())
        if request.method == "GET":
            self._send(connection, path, first, last + 1)

    def _send(self, connection: socket.socket, path: Path, begin: int, end: int) -> None:
        started, at = time.monotonic(), begin
        with path.open("rb") as file:
            while at < end:
                at += os.sendfile(connection.fileno(), file.fileno(), at, min(_CHUNK, end - at))
                ahead = started + (at - begin) / self._rate - time.monotonic() if self._rate else 0
                if ahead > 0:
                    time.sleep(ahead)


@contextmanager
def running(folder: Path, latency: float, rate: float) -> Iterator[str]:
    """Such a server in a process of its own; its address."""
    command = [sys.executable, "-m", "benchmarks.content_server", str(folder), str(latency), str(rate)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


def main() -> None:
    folder, latency, rate = sys.argv[1:]
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    threading.Thread(
        target=Bucket(Path(folder), float(latency), float(rate)).serve, args=(listener,), daemon=True
    ).start()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
