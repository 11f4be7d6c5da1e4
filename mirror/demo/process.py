"""A demo archive in a process of its own, so that its work is not counted as its clients'."""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from mirror.demo.control import PREFIX, encoded
from mirror.errors import MirrorError


class DemoProcess:
    """`python -m mirror.demo.server`, started and stopped by a `with`, and driven through its control.

    with DemoProcess("bench-2000") as archive:
        archive.call("publish", identifier="000001")
    """

    def __init__(
        self,
        preset: str = "empty",
        *,
        start: str | None = None,
        seed: int | None = None,
        port: int = 0,
        s3_port: int = 0,
    ) -> None:
        self._command = [sys.executable, "-m", "mirror.demo.server", "--control", "--until-eof"]
        self._command += ["--preset", preset, "--port", str(port), "--s3-port", str(s3_port)]
        self._command += ["--start", start] if start else []
        self._command += ["--seed", str(seed)] if seed is not None else []
        self._process: subprocess.Popen[bytes] | None = None
        self.api_url = self.s3_endpoint = self.bucket = self.token = self.other_token = ""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def call(self, method: str, **arguments: object) -> Any:
        """Call a method of the archive, by name; contents may be bytes."""
        address = f"{self.api_url.removesuffix('/api')}{PREFIX}{method}"
        body = json.dumps(encoded(arguments)).encode()
        request = Request(address, body, {"Content-Type": "application/json"}, method="POST")
        try:
            with urlopen(request) as response:
                return json.load(response)["result"]
        except HTTPError as refused:
            raise MirrorError(f"the demo archive could not {method}: {json.load(refused)['error']}") from None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise MirrorError(f"the demo archive did not start: it ended with {self._process.wait()}")
        addresses = json.loads(line)
        self.api_url, self.s3_endpoint = addresses["api_url"], addresses["s3_endpoint"]
        self.bucket, self.token, self.other_token = addresses["bucket"], addresses["token"], addresses["other_token"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        # The end of its input tells it to stop; it sees the same when this process dies.
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
