"""A host of which nothing is known but where repositories are: pushed to, nothing else.

Perhaps with a shell command that makes one.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable

from mirror.config import Host
from mirror.errors import HostError
from mirror.publish.hosts.complaints import spoken
from mirror.publish.hosts.failures import HostUnavailable, RepositoryMissing
from mirror.publish.hosts.git_environment import Remote
from mirror.publish.hosts.git_push import Git
from mirror.publish.hosts.patience import Waiting
from mirror.publish.hosts.processes import duration, run
from mirror.publish.hosts.secret import Secret
from mirror.publish.hosts.target import Prepared, Wanted
from mirror.publish.publication import Release


class Plain:
    def __init__(self, host: Host, secret: Secret, waiting: Waiting) -> None:
        assert host.url is not None
        self._url = host.url
        self._create = host.create
        self._secret = secret
        self._header = secret.basic("git") if secret else None
        self._waiting = waiting
        self._git = Git(secret, waiting)

    def prepare(self, wanted: Wanted, about_to_hide: Callable[[], None]) -> Prepared:  # noqa: ARG002 - cannot hide
        if self._create is None or self._is_seen(wanted):
            return Prepared(created=False, private=wanted.private)
        self._run(self._create.replace("{name}", shlex.quote(wanted.name)))
        return Prepared(created=True, private=wanted.private)

    def push(self, wanted: Wanted) -> None:
        try:
            self._git.push(wanted.repository, self._remote(wanted.name))
        except RepositoryMissing as missing:
            if self._create is None:
                raise RepositoryMissing(missing.message, hint="make it, or give the host a `create` command") from None
            raise

    def set_default_branch(self, wanted: Wanted) -> None:
        """Left to whoever makes the repository: git's protocol cannot say it."""

    def release(self, name: str, release: Release) -> None:
        """Such a host has none."""

    def hide(self, wanted: Wanted) -> None:
        remote = self._remote(wanted.name)
        if self._git.exists(wanted.repository, remote):
            raise HostError(
                f"{wanted.name} is embargoed again, but was pushed to {remote.url} before",
                hint="this host cannot be told to hide it: take it away there",
            )
        raise RepositoryMissing(f"{remote.url} is gone")

    def _is_seen(self, wanted: Wanted) -> bool:
        """Servers say in many ways that a repository is not there; the command knows its own."""
        try:
            return self._git.exists(wanted.repository, self._remote(wanted.name))
        except HostUnavailable:
            raise
        except HostError:
            return False

    def _remote(self, name: str) -> Remote:
        url = self._url.replace("{name}", name)
        over_http = url.startswith(("http://", "https://"))
        return Remote(url, self._header if over_http else None)

    def _run(self, command: str) -> None:
        try:
            done = run(command, seconds=self._waiting.command_seconds)
        except subprocess.TimeoutExpired:
            message = f"`{command}` did not end within {duration(self._waiting.command_seconds)}"
            raise self._waiting.give_up(message) from None
        if done.returncode != 0:
            said = spoken(self._secret.hide((done.stderr or done.stdout).decode(errors="replace")))
            raise HostError(f"`{command}` ended with {done.returncode}: {said}")
