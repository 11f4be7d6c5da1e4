"""A host of which nothing is known but where repositories are: pushed to, nothing else.

Perhaps with a shell command that makes one.
"""

from __future__ import annotations

import os
import re
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
from mirror.publish.hosts.secret import Secret
from mirror.publish.hosts.target import Prepared, Wanted
from mirror.publish.publication import Release

_CREATE_SECONDS = 600
_ELSEWHERE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|[^/]+:")


class Plain:
    def __init__(self, host: Host, secret: Secret, waiting: Waiting) -> None:
        assert host.url is not None
        self._url = _from_here(host.url)
        self._create = host.create
        self._secret = secret
        self._header = secret.basic("git") if secret else None
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
            done = subprocess.run(
                command, shell=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=_CREATE_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise HostError(f"`{command}` did not end within {_CREATE_SECONDS // 60} minutes") from None
        if done.returncode != 0:
            said = spoken(self._secret.hide((done.stderr or done.stdout).decode(errors="replace")))
            raise HostError(f"`{command}` ended with {done.returncode}: {said}")


def _from_here(url: str) -> str:
    """A path as seen from here, not from the repository that git runs in."""
    return url if _ELSEWHERE.match(url) else os.path.abspath(os.path.expanduser(url))  # noqa: PTH100, PTH111
