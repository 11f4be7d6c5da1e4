"""`git push`: all branches and tags in one, all or none of them, nothing by force, nothing deleted."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mirror.errors import HostError
from mirror.git.process import PUBLIC_UMASK, command
from mirror.git.repository import Repository
from mirror.publish.hosts.complaints import Complaint, complaint, lock_in_the_way, shortened, spoken
from mirror.publish.hosts.failures import HostUnavailable, LockInTheWay, PushRefused, RepositoryMissing
from mirror.publish.hosts.git_environment import Remote, push_environment
from mirror.publish.hosts.patience import Waiting
from mirror.publish.hosts.processes import duration, run
from mirror.publish.hosts.secret import Secret

T = TypeVar("T")

# Patterns, as a superdataset has thousands of tags; what only the host has is left alone.
_REFSPECS = ("refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*")

_SECONDS_AFTER_429 = 300.0
"""Git does not tell how long a host that it found limited wants to be left alone."""


@dataclass(frozen=True)
class _Answer:
    code: int
    out: str
    err: str


class _Stumble(Exception):
    """Another try may do; if none does, `error` is raised."""

    def __init__(self, error: HostError) -> None:
        super().__init__()
        self.error = error


class Git:
    """Git at one host."""

    def __init__(self, secret: Secret, waiting: Waiting) -> None:
        self._secret = secret
        self._waiting = waiting

    def push(self, repository: Path, remote: Remote) -> None:
        """Bring all branches and tags there."""
        args = ("push", "--porcelain", "--atomic", "--no-verify", "--", remote.url, *_REFSPECS)

        def read(answer: _Answer) -> None:
            if answer.code == 0:
                return
            refused = [line.split("\t") for line in answer.out.splitlines() if line.startswith("!\t")]
            if refused:
                raise self._refusal(repository, remote, {_target(line[1]): line[2] for line in refused}, answer.err)
            raise self._failure(answer, remote)

        self._ask(repository, remote, args, read, seconds=self._waiting.push_seconds)

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

    def branches_and_tags(self, repository: Path, remote: Remote) -> dict[str, str]:
        """What the repository at this address has: full names, and object ids in hex."""

        def read(answer: _Answer) -> dict[str, str]:
            if answer.code != 0:
                raise self._failure(answer, remote)
            return _listed(answer)

        return self._ask(
            repository, remote, ("ls-remote", "--refs", "--", remote.url, "refs/heads/*", "refs/tags/*"), read
        )

    def _ask(
        self,
        repository: Path,
        remote: Remote,
        args: Sequence[str],
        read: Callable[[_Answer], T],
        *,
        seconds: float | None = None,
    ) -> T:
        """Run git until it gets through, or was tried enough."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return read(self._run(repository, remote, args, seconds))
            except _Stumble as stumble:
                if not self._waiting.again(attempt):
                    raise stumble.error from None

    def _run(self, repository: Path, remote: Remote, args: Sequence[str], seconds: float | None = None) -> _Answer:
        seconds = seconds or self._waiting.command_seconds
        try:
            done = run(
                command(repository, *args),
                seconds=seconds,
                cwd=repository,
                env=push_environment(remote),
                umask=PUBLIC_UMASK,
            )
        except subprocess.TimeoutExpired:
            message = f"`git {args[0]}` at {remote.url} did not end within {duration(seconds)}"
            raise self._waiting.give_up(message) from None
        out, err = (self._secret.hide(text.decode(errors="replace")) for text in (done.stdout, done.stderr))
        return _Answer(done.returncode, out, err)

    def _failure(self, answer: _Answer, remote: Remote) -> HostError | _Stumble:
        """What to raise when git ended without having talked of any ref."""
        said = spoken(answer.err)
        where = remote.url
        if (lock := lock_in_the_way(answer.err)) is not None:
            return LockInTheWay(where, lock)
        match complaint(answer.err):
            case Complaint.NOT_ATOMIC:
                return HostError(
                    f"{where} cannot take several branches and tags at once, all or none (git's --atomic)",
                    hint="a server that speaks git's own protocol can; one that only stores files (WebDAV) cannot",
                )
            case Complaint.NOT_LET_IN:
                return HostUnavailable(f"we are not let in at {where}: {said}", hint="check the token, or the ssh key")
            case Complaint.LIMITED:
                self._waiting.limited(_SECONDS_AFTER_429)
                return _Stumble(HostUnavailable(f"{where} limits how much is asked of it"))
            case Complaint.REDIRECTED:
                return HostError(f"{where} redirects elsewhere", hint="set push_url to where it leads")
            case Complaint.OUT_OF_REACH:
                return _Stumble(HostUnavailable(f"{where} is out of reach: {said}"))
            case Complaint.MISSING:
                return RepositoryMissing(f"there is no repository at {where}: {said}")
            case Complaint.BROKEN_OFF:
                # A push may be too large for this server: that says nothing of the next one.
                return _Stumble(HostError(f"{where} failed: {said}"))
            case None:
                return HostError(f"git at {where} ended with {answer.code}: {said}")

    def _refusal(self, repository: Path, remote: Remote, refused: Mapping[str, str], said: str) -> PushRefused:
        """What to raise when refs were refused. Those that only shared the fate of another are passed over."""
        if (lock := lock_in_the_way(said)) is not None:
            return LockInTheWay(remote.url, lock)
        own = {ref: why for ref, why in refused.items() if "atomic push fail" not in why} or refused
        moved = [ref for ref, why in own.items() if "non-fast-forward" in why or "fetch first" in why]
        moved += [ref for ref, why in own.items() if "already exists" in why]
        if moved:
            return self._diverged(repository, remote, moved)
        reasons = {why.partition("] ")[2].strip("()") or why for why in own.values()}
        words = "; ".join(sorted(reasons))
        told = " ".join(line.removeprefix("remote:").strip() for line in said.splitlines() if "remote:" in line).strip()
        names = ", ".join(few(sorted(map(_short, own))))
        return PushRefused(f"{remote.url} refused {names}: {words}{f': {shortened(told)}' if told else ''}")

    def _diverged(self, repository: Path, remote: Remote, moved: list[str]) -> PushRefused:
        """What stands in the way is worth a look: so it is told which commits these are."""
        ours = Repository(repository).refs()
        answer = self._run(repository, remote, ("ls-remote", "--", remote.url, *moved))
        theirs = _listed(answer)
        named = [
            f"{ref} is at {theirs.get(ref, '(unknown)')[:12]} there, which our {ours[ref].hex()[:12]} is not built on"
            for ref in moved
        ]
        return PushRefused(
            f"{remote.url}: {'; '.join(few(named))}",
            hint="nothing is overwritten: look what that is, rename or delete it on the host, and the next run pushes",
        )


def _listed(answer: _Answer) -> dict[str, str]:
    pairs = (line.split("\t") for line in answer.out.splitlines() if "\t" in line)
    return {ref: oid for oid, ref in pairs}


def _target(refspec: str) -> str:
    return refspec.rpartition(":")[2]


def _short(ref: str) -> str:
    return ref.removeprefix("refs/heads/").removeprefix("refs/tags/")


def few(items: Sequence[str]) -> list[str]:
    """The first of them, and how many more there are."""
    return list(items) if len(items) <= 4 else [*items[:3], f"{len(items) - 3} more"]
