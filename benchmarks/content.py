"""Getting content into a clone: git-annex's own web remote and ours, from one server, in one run.

The server is a process of its own. It answers each request 20 ms late and gives each connection 25 MB/s, as a bucket
does that is a way off; what it gives without such bounds is measured, too.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from urllib.parse import urlsplit

from benchmarks.content_server import running
from benchmarks.measure import Cost, run
from benchmarks.results import Results
from mirror.archive.download import CONNECTIONS

FULL = 1024
"""MiB of the large file"""
SMALL_FILES, TURNS = 1000, 2
LATENCY, RATE = 0.020, 25e6
_ENABLE = ["initremote", "--sameas=web", "dandi", "type=external", "externaltype=dandi", "encryption=none"]


@dataclass(frozen=True)
class File:
    """A file of the bucket, as a mirror records it."""

    path: str
    """in repositories; the bucket has them side by side"""
    key: str
    size: int


def benchmark(folder: Path, mebibytes: int = FULL) -> Iterator[Results]:
    """One large file, and a thousand small ones; fewer where the large one is smaller, too."""
    bench = _Bench(folder)
    count = SMALL_FILES if mebibytes >= FULL else SMALL_FILES // 10
    large, small = bench.write_large(mebibytes), bench.write_small(count)
    with running(bench.bucket, LATENCY, RATE) as url:
        yield _large_file(bench, url, large, mebibytes)
        yield _small_files(bench, url, small)


def _large_file(bench: _Bench, url: str, large: File, mebibytes: int) -> Results:
    web, ours = (bench.got_by(remote, url, [large]) for remote in ("web", "dandi"))
    results = Results(f"One file of {mebibytes:,} MiB; 20 ms to the server, 25 MB/s a connection")
    results.add("`git annex get` by git-annex's own web remote", web.wall, "s")
    results.add("`git annex get` by git-annex-remote-dandi", ours.wall, "s")
    results.add("times as fast", web.wall / ours.wall, limit=3, least=True)
    results.add("CPU, web remote", web.cpu, "s")
    results.add("CPU, git-annex-remote-dandi with git-annex", ours.cpu, "s")
    results.add("peak memory of the largest process", ours.peak_mib, "MiB")
    results.add("the server by itself, without bounds", bench.unbounded(large), "MiB/s")
    return results


def _small_files(bench: _Bench, url: str, small: list[File]) -> Results:
    """In turns of a half each, so that other work on the machine hinders both alike."""
    results = Results(f"{len(small):,} files of 1 to 64 KiB; 20 ms to the server")
    for jobs in (1, 4):
        repositories = {remote: bench.repository(remote, url, small) for remote in ("web", "dandi")}
        costs: dict[str, list[Cost]] = {"web": [], "dandi": []}
        for turn in range(TURNS):
            for remote in ("web", "dandi") if turn % 2 == 0 else ("dandi", "web"):
                costs[remote].append(bench.get(repositories[remote], remote, f"part-{turn}", jobs))
        for repository in repositories.values():
            bench.remove(repository, small)
        web, ours = (sum(cost.wall for cost in costs[remote]) for remote in ("web", "dandi"))
        results.add(f"`git annex get -J{jobs}` by git-annex's own web remote", web, "s")
        results.add(f"`git annex get -J{jobs}` by git-annex-remote-dandi", ours, "s")
        results.add("of the time that the web remote takes", ours / web, limit=1.05)
        results.add("CPU, web remote", sum(cost.cpu for cost in costs["web"]), "s")
        results.add("CPU, git-annex-remote-dandi with git-annex", sum(cost.cpu for cost in costs["dandi"]), "s")
    return results


class _Bench:
    """A folder that is served, and repositories that get from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bucket = folder / "bucket"
        self.bucket.mkdir()
        home = folder / "home"
        home.mkdir()
        (home / ".gitconfig").write_text(
            "[user]\nname = bench\nemail = bench@example.org\n[annex.security]\nallowed-ip-addresses = 127.0.0.1\n"
        )
        self._environment = {"HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C.UTF-8"}

    def write_large(self, mebibytes: int) -> File:
        block = random.Random(1).randbytes(1 << 20)
        return self._write("large.nwb", (block for _ in range(mebibytes)))

    def write_small(self, count: int) -> list[File]:
        chance = random.Random(2)
        sizes = [chance.randint(1 << 10, 64 << 10) for _ in range(count)]
        return [
            self._write(f"part-{number % TURNS}/small-{number:04}.dat", [chance.randbytes(size)])
            for number, size in enumerate(sizes)
        ]

    def _write(self, path: str, blocks: Iterable[bytes]) -> File:
        digest, size = sha256(), 0
        with (self.bucket / Path(path).name).open("wb") as out:
            for block in blocks:
                digest.update(block)
                size += out.write(block)
        return File(path, f"SHA256E-s{size}--{digest.hexdigest()}{Path(path).suffix}", size)

    def got_by(self, remote: str, url: str, files: list[File]) -> Cost:
        """What it costs to get the files into a fresh repository."""
        repository = self.repository(remote, url, files)
        cost = self.get(repository, remote, ".", jobs=1)
        self.remove(repository, files)
        return cost

    def repository(self, remote: str, url: str, files: list[File]) -> Path:
        """A fresh one, that knows where the files are."""
        repository = self.folder / remote
        self._run("git", "init", "--quiet", str(repository))
        self._annex(repository, "init", "--quiet")
        if remote == "dandi":
            self._annex(repository, *_ENABLE)
        listing = "".join(f"{file.key} {file.path}\n" for file in files)
        self._annex(repository, "fromkey", "--quiet", "--force", "--batch", given=listing)
        listing = "".join(f"{file.key} {url}/bucket/{Path(file.path).name}?versionId=one\n" for file in files)
        self._annex(repository, "registerurl", "--quiet", "--batch", given=listing)
        os.sync()
        return repository

    def get(self, repository: Path, remote: str, what: str, jobs: int) -> Cost:
        command = ["git", "annex", "get", "--quiet", f"-J{jobs}", "--from", remote, what]
        return run(command, cwd=repository, environment=self._environment)

    def remove(self, repository: Path, files: list[File]) -> None:
        """It is not needed any more; all files must be there."""
        for file in files:
            assert (repository / file.path).stat().st_size == file.size, f"{file.path} was not got"
        self._run("chmod", "-R", "u+w", str(repository))
        rmtree(repository)

    def _annex(self, repository: Path, *args: str, given: str = "") -> None:
        self._run("git", "annex", *args, cwd=repository, given=given)

    def _run(self, *command: str, cwd: Path | None = None, given: str = "") -> None:
        environment = {**os.environ, **self._environment}
        subprocess.run(command, cwd=cwd, env=environment, input=given, text=True, check=True, stdout=subprocess.DEVNULL)

    def unbounded(self, file: File) -> float:
        """MiB/s that the server gives to as many connections as we make, when nothing holds it back."""
        size = file.size
        with running(self.bucket, 0, 0) as url:
            started = time.perf_counter()
            parts = [(size * at // CONNECTIONS, size * (at + 1) // CONNECTIONS) for at in range(CONNECTIONS)]
            _in_threads([partial(_drained, url, file.path, *part) for part in parts])
            return size / (1 << 20) / (time.perf_counter() - started)


def _in_threads(work: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _drained(url: str, name: str, begin: int, end: int) -> None:
    """Read a part of a file, and throw it away."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 80)) as connection:
        head = f"GET /bucket/{name} HTTP/1.1\r\nHost: bench\r\nRange: bytes={begin}-{end - 1}\r\n\r\n"
        connection.sendall(head.encode())
        buffer, left = bytearray(1 << 20), end - begin
        while left > 0:
            count = connection.recv_into(buffer)
            assert count, "the server broke off"
            left -= count
