"""`git push`, and what its complaints mean.

All branches and tags in one push, all or none of them, nothing by force, nothing deleted. The token goes to git
through its environment, bound to the one server it is for; redirects are not followed with it.

How to reach a server (proxies, certificates, ssh) is a matter of this machine, so git's own configuration counts here,
other than for work in the store; what it could change of the push itself is set.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from mirror.errors import HostError
from mirror.git.process import PUBLIC_UMASK, command, environment
from mirror.git.repository import Repository
from mirror.publish.hosts.failures import HostUnavailable, PushRefused, RepositoryMissing
from mirror.publish.hosts.patience import Waiting
from mirror.publish.hosts.secret import Secret

T = TypeVar("T")

REFSPECS = ("refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*")

DEFAULT_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=60"

# Of whoever runs this: how to reach a server.
_OPERATORS = (
    *("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"),
    *("GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT"),
    *("GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSL_NO_VERIFY"),
)

_SETTINGS = {
    "push.followTags": "false",
    "push.gpgSign": "false",
    "push.pushOption": "",
    "push.recurseSubmodules": "no",
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "600",
}

_AT_MOST = 400  # characters of what git said


def _words(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.IGNORECASE)


_NOT_ATOMIC = _words("does not support --atomic push")
_NOT_LET_IN = _words(
    "authentication failed", "could not read (username|password)", r"returned error: 401\b", r"permission denied \(",
    "host key verification failed", "server certificate verification failed", "ssl certificate problem",
)  # fmt: skip
_LIMITED = _words(r"returned error: 429\b")
_REDIRECTED = _words(r"returned error: 30[1278]\b", "unable to update url base from redirection")
_OUT_OF_REACH = _words(
    "ssh: connect to host", "could not resolve host", "failed to connect", "network is unreachable", "no route to host",
    "kex_exchange_identification",
)  # fmt: skip
_MISSING = _words(
    "repository '.*' not found", "repository not found", "does not appear to be a git repository",
    "could not be found", "cannot find repository", "repository .* does not exist", "no such project",
)  # fmt: skip
_BROKEN_OFF = _words(
    r"returned error: 5\d\d\b", r"returned error: 408\b", "unexpected disconnect", "early eof", "hung up unexpectedly",
    "broken pipe", "rpc failed", "operation too slow", "empty reply from server", "connection reset",
    "connection closed", "(connection|operation) timed out",
)  # fmt: skip

_SECONDS_AFTER_429 = 300.0
"""Git does not tell how long a host that it found limited wants to be left alone."""


@dataclass(frozen=True)
class Remote:
    """Where to push to, and what to say there."""

    url: str
    header: str | None = None
    """the value of an `Authorization` header, for that server alone"""


@dataclass(frozen=True)
class _Answer:
    code: int
    out: str
    err: str


class Git:
    """Git at one host."""

    def __init__(self, secret: Secret, waiting: Waiting) -> None:
        self._secret = secret
        self._waiting = waiting

    def push(self, repository: Path, remote: Remote) -> None:
        """Bring all branches and tags there."""
        args = ("push", "--porcelain", "--atomic", "--no-verify", "--", remote.url, *REFSPECS)

        def read(answer: _Answer) -> None:
            if answer.code == 0:
                return
            refused = [line.split("\t") for line in answer.out.splitlines() if line.startswith("!\t")]
            if refused:
                raise self._refusal(repository, remote, {_target(line[1]): line[2] for line in refused}, answer.err)
            raise self._failure(answer, remote)

        self._ask(repository, remote, args, read)

    def exists(self, repository: Path, remote: Remote) -> bool:
        """Whether there is a repository at this address."""

        def read(answer: _Answer) -> bool:
            if answer.code == 0:
                return True
            failure = self._failure(answer, remote)
            if isinstance(failure, RepositoryMissing):
                return False
            raise failure

        return self._ask(repository, remote, ("ls-remote", "--", remote.url, "HEAD"), read)

    def _ask(self, repository: Path, remote: Remote, args: Iterable[str], read: Callable[[_Answer], T]) -> T:
        """Run git until it gets through, or was tried enough."""
        attempt = 0
        while True:
            attempt += 1
            answer = self._run(repository, remote, args)
            try:
                return read(answer)
            except _Stumble as stumble:
                if self._waiting.again(attempt):
                    continue
                raise stumble.end() from None

    def _run(self, repository: Path, remote: Remote, args: Iterable[str]) -> _Answer:
        done = subprocess.run(
            command(repository, *args),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=repository,
            env=push_environment(remote),
            umask=PUBLIC_UMASK,
            check=False,
        )
        out, err = (self._secret.hide(text.decode(errors="replace")) for text in (done.stdout, done.stderr))
        return _Answer(done.returncode, out, err)

    def _failure(self, answer: _Answer, remote: Remote) -> Exception:
        """What to raise when git ended without having talked of any ref."""
        said = spoken(answer.err)
        where = self._secret.hide(remote.url)
        if _NOT_ATOMIC.search(answer.err):
            return HostError(
                f"{where} cannot take several branches and tags at once, all or none (git's --atomic)",
                hint="a server that speaks git's own protocol can; one that only stores files (WebDAV) cannot",
            )
        if _NOT_LET_IN.search(answer.err):
            return HostUnavailable(f"we are not let in at {where}: {said}", hint="check the token, or the ssh key")
        if _LIMITED.search(answer.err):
            self._waiting.limited(_SECONDS_AFTER_429)
            return _Stumble(f"{where} limits how much is asked of it", whole_host=True)
        if _REDIRECTED.search(answer.err):
            return HostError(f"{where} redirects elsewhere", hint="set push_url to where it leads")
        if _OUT_OF_REACH.search(answer.err):
            return _Stumble(f"{where} is out of reach: {said}", whole_host=True)
        if _MISSING.search(answer.err):
            return RepositoryMissing(f"there is no repository at {where}: {said}")
        if _BROKEN_OFF.search(answer.err):
            return _Stumble(f"{where} failed: {said}", whole_host=False)
        return HostError(f"git push to {where} ended with {answer.code}: {said}")

    def _refusal(self, repository: Path, remote: Remote, refused: Mapping[str, str], said: str) -> PushRefused:
        """What to raise when refs were refused. Those that only shared the fate of another are passed over."""
        own = {ref: why for ref, why in refused.items() if "atomic push fail" not in why} or refused
        moved = [ref for ref, why in own.items() if "non-fast-forward" in why or "fetch first" in why]
        moved += [ref for ref, why in own.items() if "already exists" in why]
        if moved:
            return self._diverged(repository, remote, moved)
        reasons = {why.partition("] ")[2].strip("()") or why for why in own.values()}
        words = "; ".join(sorted(reasons))
        quoted = " ".join(line.removeprefix("remote:").strip() for line in said.splitlines() if "remote:" in line)
        told = f": {quoted.strip()[:_AT_MOST]}" if quoted.strip() else ""
        return PushRefused(f"{remote.url} refused {', '.join(_few(sorted(map(_short, own))))}: {words}{told}")

    def _diverged(self, repository: Path, remote: Remote, moved: list[str]) -> PushRefused:
        """What stands in the way is worth a look: so it is told which commits these are."""
        ours = Repository(repository).refs()
        answer = self._run(repository, remote, ("ls-remote", "--", remote.url, *moved))
        pairs = (line.split("\t") for line in answer.out.splitlines() if "\t" in line)
        theirs = {ref: oid for oid, ref in pairs}
        named = [
            f"{ref} is at {theirs.get(ref, '(unknown)')[:12]} there, which our {ours[ref].hex()[:12]} is not built on"
            for ref in moved
        ]
        return PushRefused(
            f"{remote.url}: {'; '.join(_few(named))}",
            hint="nothing is overwritten: look what that is, rename or delete it on the host, and the next run pushes",
        )


class _Stumble(Exception):
    """Another try may do. `end` tells what to raise when none did."""

    def __init__(self, message: str, *, whole_host: bool) -> None:
        super().__init__(message)
        self._whole_host = whole_host

    def end(self) -> HostError:
        # A push that breaks off may be too large for this server: that says nothing of the next one.
        return HostUnavailable(str(self)) if self._whole_host else HostError(str(self))


def push_environment(remote: Remote | None = None) -> dict[str, str]:
    """The environment for talking to a host."""
    base = {key: value for key, value in environment().items() if key not in _OPERATORS}
    kept = {key: os.environ[key] for key in _OPERATORS if key in os.environ}
    if "GIT_SSH" not in kept:
        kept.setdefault("GIT_SSH_COMMAND", DEFAULT_SSH)
    settings = _SETTINGS | _certificates(kept)
    if remote is not None and remote.header:
        server = _server(remote.url)
        settings |= {
            f"http.{server}.extraHeader": f"Authorization: {remote.header}",
            f"http.{server}.followRedirects": "false",
            "credential.helper": "",
        }
    variables = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return base | kept | {"GIT_ASKPASS": "", "SSH_ASKPASS_REQUIRE": "never"} | variables


def _certificates(kept: Mapping[str, str]) -> dict[str, str]:
    """The bundle that our own requests trust, for git too."""
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    return {"http.sslCAInfo": bundle} if bundle and "GIT_SSL_CAINFO" not in kept else {}


def _server(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/"


def spoken(text: str) -> str:
    """What a program complained of, in one line: without the advice that git adds."""
    lines = [line.strip() for line in text.splitlines()]
    useful = [
        line for line in lines if line and not line.startswith(("hint:", "Please make sure", "and the repository"))
    ]
    return " ".join(useful)[:_AT_MOST] or "it did not say why"


def _target(refspec: str) -> str:
    return refspec.rpartition(":")[2]


def _short(ref: str) -> str:
    return ref.removeprefix("refs/heads/").removeprefix("refs/tags/")


def _few(items: Sequence[str]) -> list[str]:
    return list(items) if len(items) <= 4 else [*items[:3], f"{len(items) - 3} more"]
