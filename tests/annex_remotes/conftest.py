"""The program as git-annex meets it: started, talked to by lines; and clones of a mirror with the real git-annex."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mirror.demo import DemoArchive
from mirror.demo.faults import Fault
from mirror.demo.web import Answer, Request, Response

PROGRAM = "git-annex-remote-dandi"


@dataclass
class Conversation:
    """git-annex's side of the pipe: answers what the program asks for, and takes down every line that it says."""

    process: subprocess.Popen[str]
    urls: Sequence[str]
    git_dir: Path
    remote: str
    said: list[str] = field(default_factory=list)

    def ask(self, request: str) -> str:
        """The answer to a request. What it says on the way there is in `said`, progress and debugging, too."""
        self.tell(request)
        while True:
            line = self.hear()
            name, _, rest = line.partition(" ")
            if name == "GETURLS":
                prefix = rest.partition(" ")[2]
                self.tell(*[f"VALUE {url}" for url in self.urls if url.startswith(prefix)], "VALUE")
            elif name == "GETGITDIR":
                self.tell(f"VALUE {self.git_dir}")
            elif name == "GETGITREMOTENAME":
                self.tell(f"VALUE {self.remote}")
            elif name not in ("PROGRESS", "DEBUG"):
                return line

    def tell(self, *lines: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("".join(f"{line}\n" for line in lines))
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.endswith("\n"), f"it ended: {self.said}"
        self.said.append(line.removesuffix("\n"))
        return self.said[-1]

    def progress(self) -> list[int]:
        return [int(line.split()[1]) for line in self.said if line.startswith("PROGRESS")]

    def end(self) -> tuple[int, str]:
        """Close the pipe; its status, and what it wrote to where errors go."""
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        self.process.stdin.close()
        return self.process.wait(timeout=30), self.process.stderr.read()


Started = Callable[..., Conversation]


@contextmanager
def programs(folder: Path) -> Iterator[Started]:
    """Starts the program in a repository, and begins as git-annex does."""
    with ExitStack() as stack:

        def start(
            urls: Sequence[str] = (),
            *,
            repository: Path | None = None,
            settings: Mapping[str, str] | None = None,
            extensions: str = "INFO GETGITREMOTENAME",
            env: Mapping[str, str] | None = None,
        ) -> Conversation:
            where = repository or folder / "empty"
            if not where.exists():
                run("git", "init", "-q", where)
            for name, value in (settings or {}).items():
                run("git", "config", name, value, cwd=where)
            process = stack.enter_context(
                subprocess.Popen(
                    [PROGRAM],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    cwd=where,
                    env={**os.environ, **(env or {})},
                )
            )
            stack.callback(process.kill)
            talk = Conversation(process, urls, Path(".git"), "dandi")
            assert talk.hear() == "VERSION 1"
            if extensions:
                assert talk.ask(f"EXTENSIONS {extensions}").strip() == "EXTENSIONS"
            assert talk.ask("PREPARE") == "PREPARE-SUCCESS"
            return talk

        yield start


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    with programs(tmp_path) as start:
        yield start


def run(*cmd: object, cwd: Path | None = None, ok: bool = True, env: Mapping[str, str] | None = None) -> str:
    """What a command says, complaints too. It must succeed, or with `ok=False` fail."""
    done = subprocess.run(
        [str(word) for word in cmd],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) is ok, f"{cmd} ended with {done.returncode}\n{done.stdout}"
    return done.stdout


@dataclass
class Noted(Fault):
    """Honest answers, or those of another fault, and what each request said and was sent."""

    faults: dict[int, Fault] = field(default_factory=dict)
    """by the number of the request, from 0"""
    headers: list[dict[str, str]] = field(default_factory=list)
    sent: int = 0

    def apply(self, request: Request, answer: Answer) -> Response:
        self.headers.append(request.headers)
        fault = self.faults.get(len(self.headers) - 1)
        response = fault.apply(request, answer) if fault else answer(request)
        if request.method == "GET":
            self.sent += len(response.body[: response.cut_after])
        return response


@pytest.fixture
def hasty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program waits hardly at all before it asks a server again."""
    hasty = tmp_path / "hasty" / PROGRAM
    hasty.parent.mkdir()
    hasty.write_text(
        f"#!{sys.executable}\n"
        "from mirror.archive import http\n"
        "from mirror.annex_remotes.dandi import main\n"
        "http.FIRST_WAIT = 0.02\n"
        "main()\n"
    )
    hasty.chmod(0o755)
    monkeypatch.setenv("PATH", f"{hasty.parent}:{os.environ['PATH']}")


@pytest.fixture
def archive() -> Iterator[DemoArchive]:
    with DemoArchive() as archive:
        yield archive
