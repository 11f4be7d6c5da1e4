"""Another RIA store, at a path or over ssh: laid out like our own, fit for `datalad clone` and any static HTTP server.

What is done there besides pushing is done by two short shell scripts, here or at the other end of ssh.
"""

from __future__ import annotations

import logging
import shlex
import subprocess
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

from mirror.config import Host
from mirror.dataset.identity import store_annex_uuid
from mirror.errors import HostError
from mirror.git.process import PUBLIC_UMASK
from mirror.publish.hosts.complaints import lock_in_the_way, spoken
from mirror.publish.hosts.failures import HostUnavailable, LockInTheWay, RepositoryMissing
from mirror.publish.hosts.git_environment import Remote, push_environment
from mirror.publish.hosts.git_push import Git
from mirror.publish.hosts.patience import Waiting
from mirror.publish.hosts.processes import duration, run
from mirror.publish.hosts.secret import Secret
from mirror.publish.hosts.takeover import check_ours
from mirror.publish.hosts.target import Prepared, Wanted
from mirror.publish.publication import Release

logger = logging.getLogger(__name__)

_WRONG_LAYOUT, _NOT_MOUNTED, _NO_PARENT, _GONE, _NOT_EMPTY = 61, 62, 63, 64, 65
_SSH_FAILED = 255

# Arguments: the store, whether it must exist already, the repository within it, its branch, its annex uuid, its mode,
# whether it may have something in it.
# The file ria-layout-version comes last, so that by it a store and a repository are known to be whole.
# git-annex writes into repositories that it finds without an annex uuid, which would stand in the way of our pushes.
_PREPARE = """
set -eu
umask 022
if [ ! -s "$1/ria-layout-version" ]; then
    [ "$2" = new ] || exit 62
    [ -d "$(dirname "$1")" ] || exit 63
    mkdir -p "$1/alias" "$1/error_logs"
    echo 1 > "$1/.ria-layout-version.$$"
    mv "$1/.ria-layout-version.$$" "$1/ria-layout-version"
fi
case "$(cat "$1/ria-layout-version")" in 1|1\\|*) ;; *) exit 61 ;; esac
repository=$1/$3
if [ ! -s "$repository/ria-layout-version" ]; then
    mkdir -p "$repository"
    chmod "$6" "$repository"
    git init --quiet --bare --template= "$repository"
    git --git-dir="$repository" config core.sharedRepository 0644
    git --git-dir="$repository" config annex.uuid "$5"
    git --git-dir="$repository" config annex.version 10
    echo 2 > "$repository/.ria-layout-version.$$"
    mv "$repository/.ria-layout-version.$$" "$repository/ria-layout-version"
    echo created
elif [ "$7" = empty ] && [ -n "$(git --git-dir="$repository" for-each-ref --count=1)" ]; then
    exit 65
fi
chmod "$6" "$repository"
git --git-dir="$repository" symbolic-ref HEAD "refs/heads/$4"
"""

# Arguments: the store, the repository within it, its alias. A static HTTP server shows what update-server-info wrote.
_FINISH = """
set -eu
umask 022
git --git-dir="$1/$2" update-server-info
[ "$(readlink "$1/alias/$3" || :)" = "../$2" ] || ln -sfn "../$2" "$1/alias/$3"
"""

# Arguments: the store, the repository within it.
_HIDE = """
[ -d "$1/$2" ] || exit 64
chmod 700 "$1/$2"
"""


# Arguments: the store, the repository within it, minutes. No name of a ref, and none of an object, ends so.
_UNLOCK = """
find "$1/$2" -name '*.lock' -type f -mmin "+$3" -print -exec rm -f '{}' +
"""

T = TypeVar("T")


class _NotEmpty(HostError):
    """A repository that we do not know holds something. Nothing was changed."""


class Ria:
    """`known`: whether anything was pushed there before, so that the store must be there."""

    def __init__(self, host: Host, secret: Secret, waiting: Waiting, *, known: bool) -> None:
        assert host.url is not None
        self._url = host.url
        self._store = _Store(host.url)
        self._known = known
        self._waiting = waiting
        self._git = Git(secret, waiting)

    def prepare(self, wanted: Wanted, about_to_hide: Callable[[], None]) -> Prepared:
        if wanted.private:
            about_to_hide()
        # The uuid must not be the one of our own store's copy.
        annex_uuid = store_annex_uuid(wanted.dataset_id, str(uuid5(NAMESPACE_URL, self._url)))
        mode = "700" if wanted.private else "755"
        age = "known" if self._known else "new"
        args = (age, _within(wanted), wanted.default_branch, annex_uuid, mode)
        try:
            said = self._past_locks(wanted, lambda: self._do(_PREPARE, *args, "known" if wanted.is_known else "empty"))
        except _NotEmpty:
            check_ours(self._git, wanted.repository, self._remote(wanted))
            said = self._past_locks(wanted, lambda: self._do(_PREPARE, *args, "known"))
        self._known = True
        return Prepared(created="created" in said.split(), private=wanted.private)

    def push(self, wanted: Wanted) -> None:
        self._past_locks(wanted, lambda: self._git.push(wanted.repository, self._remote(wanted)))
        self._do(_FINISH, _within(wanted), wanted.name)

    def set_default_branch(self, wanted: Wanted) -> None:
        """`prepare` has done it."""

    def release(self, name: str, release: Release) -> None:
        """A RIA store has none."""

    def hide(self, wanted: Wanted) -> None:
        self._do(_HIDE, _within(wanted))

    def _remote(self, wanted: Wanted) -> Remote:
        return Remote(f"{self._store.git_url}/{_within(wanted)}")

    def _past_locks(self, wanted: Wanted, step: Callable[[], T]) -> T:
        """Do it, if need be without the lock files of a git that was killed there: nobody but us writes into it."""
        try:
            return step()
        except LockInTheWay as error:
            removed = self._do(_UNLOCK, _within(wanted), str(self._waiting.lock_minutes)).splitlines()
            if not removed:
                raise
            logger.warning("%s: removed %s", error.message, ", ".join(removed))
            return step()

    def _do(self, script: str, *args: str) -> str:
        """Run a script there, for this store, in plain English; what it printed."""
        attempt = 0
        while True:
            attempt += 1
            done = self._run(script, args)
            if done.returncode == 0:
                return done.stdout.decode(errors="replace")
            if done.returncode == _SSH_FAILED and self._store.host and self._waiting.again(attempt):
                continue
            raise self._failure(done.returncode, spoken(done.stderr.decode(errors="replace")))

    def _run(self, script: str, args: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
        seconds = self._waiting.command_seconds
        try:
            return run(
                self._store.command(*args),
                seconds=seconds,
                stdin=f"LC_ALL=C; export LC_ALL\n{script}".encode(),
                env=push_environment(),
                umask=PUBLIC_UMASK,
            )
        except subprocess.TimeoutExpired:
            message = f"the store {self._url} did not answer within {duration(seconds)}"
            raise self._waiting.give_up(message) from None

    def _failure(self, code: int, said: str) -> HostError:
        path = self._store.path
        if (lock := lock_in_the_way(said)) is not None:
            return LockInTheWay(self._url, lock)
        if code == _SSH_FAILED and self._store.host:
            return HostUnavailable(f"{self._store.host} is out of reach: {said}")
        if code == _WRONG_LAYOUT:
            return HostUnavailable(f"{path} is a store of another layout than DataLad's version 1")
        if code == _NOT_MOUNTED:
            return HostUnavailable(f"the store is no longer at {path}", hint="is its disk mounted?")
        if code == _NO_PARENT:
            return HostUnavailable(f"there is no folder for {path} to be in")
        if code == _NOT_EMPTY:
            return _NotEmpty(f"in the store {self._url} there is something already")
        if code == _GONE:
            return RepositoryMissing(f"it is no longer in {path}")
        return HostError(f"in the store {self._url}: {said}")


class _Store:
    """Where a RIA store is, from `ssh://host/path`, a path, or either as DataLad writes it."""

    def __init__(self, url: str) -> None:
        url = url.removeprefix("ria+")
        parts = urlsplit(url)
        self.host: str | None = None
        self.git_url = url
        if parts.scheme == "ssh":
            self.host = parts.netloc.rpartition(":")[0] if parts.port else parts.netloc
            self._port = parts.port
            self.path = parts.path
        else:
            self.path = url.removeprefix("file://")
            self.git_url = self.path

    def command(self, *args: str) -> list[str]:
        """Runs the script it is given as its input; whatever the login shell there, it sees plain words only."""
        words = ["sh", "-s", "--", self.path, *args]
        if self.host is None:
            return words
        environment = push_environment()
        ssh = shlex.quote(environment["GIT_SSH"]) if "GIT_SSH" in environment else environment["GIT_SSH_COMMAND"]
        port = ["-p", str(self._port)] if self._port else []
        return ["sh", "-c", f'{ssh} "$@"', "ssh", *port, self.host, shlex.join(words)]


def _within(wanted: Wanted) -> str:
    return f"{wanted.dataset_id[:3]}/{wanted.dataset_id[3:]}"
