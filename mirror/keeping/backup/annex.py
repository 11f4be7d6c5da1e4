"""A repository in which git-annex copies content to a special remote, so that any kind of remote will do.

It is made for some thousands of keys and then thrown away; content is linked into it, one key at a time. So git-annex
touches nothing of the store: neither its repositories, nor their branches, nor is its journal one of a million files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from mirror.config_keeping import BackupRemote
from mirror.errors import MirrorError
from mirror.git.bare import create_bare
from mirror.git.process import command, environment
from mirror.git.repository import Repository
from mirror.keeping.backup.conversation import Conversation, Said, told
from mirror.keeping.backup.lists import Copy, Result
from mirror.keeping.backup.logs import FIRST_SAID, KEPT_LOGS, REMOTE_LOG, line_of
from mirror.store.contents import drop, share
from mirror.store.locations import ANNEX, note_locations

RUNNING = "running"
"""beside the repository: the file that tells which git-annex is at work"""
_AHEAD_OF_JOBS, _MOST_AHEAD = 16, 256
"""keys given to git-annex for each that it works on, so that it never waits for us; all of them fit into a pipe"""
_GONE = "its content is no longer in the store, or only under embargo"

# An address within one's own network is what a backup often has; git-annex warns of those because anybody's dataset
# may name one, while this one was named by whoever runs the mirror.
_CONFIG = {
    "annex.security.allowed-ip-addresses": "all",
    "annex.retry": "3",
    "user.name": "dandi-mirror",
    "user.email": "dandi-mirror@localhost",
}

# Of whoever runs this: how to reach a server.
_OPERATORS = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_SSH", "GIT_SSH_COMMAND")


class Answer(NamedTuple):
    """How it went with one content."""

    copy: Copy
    result: Result
    error: str | None = None


class CopyingAnnex:
    """The repository, ready to copy. `line` is the remote's in `remote.log`, as git-annex made it."""

    def __init__(self, path: Path, remote: BackupRemote, uuid: str) -> None:
        self.path = path
        self.line = b""
        self._remote = remote
        self._uuid = uuid

    def begin(self, known: bytes | None, logs: Mapping[bytes, bytes]) -> None:
        """Make it. `known` is the remote's line where there is one already, `logs` what is known of its keys."""
        create_bare(self.path, head="main", config=_CONFIG)
        if known is not None:
            files = {**logs, REMOTE_LOG: b"%b timestamp=%ds\n" % (known, FIRST_SAID)}
            note_locations(Repository(self.path), self._uuid, more=files)
        self._annex("init", "--quiet", "backup")
        options = [f"{name}={value}" for name, value in sorted(self._options().items())]
        if known is None:
            self._annex("initremote", self._remote.name, f"type={self._remote.type}", f"uuid={self._uuid}", *options)
        else:
            self._annex("enableremote", self._remote.name, *options)
            # It is verified: whoever runs the mirror has named it.
            self._git("config", f"remote.{self._remote.name}.annex-verified", "verified")
        # It has written down there what it read from the environment.
        shutil.rmtree(self.path / "annex/creds", ignore_errors=True)
        line = line_of(self._git("cat-file", "blob", f"{ANNEX}:{REMOTE_LOG.decode()}"), self._uuid)
        if line is None:
            raise MirrorError(f"git-annex has not noted the remote {self._remote.name}")
        self.line = line

    def _options(self) -> dict[str, str]:
        return {"encryption": "none", **self._remote.options, "embedcreds": "no"}

    def copy(self, copies: Iterable[tuple[Copy, Path]], jobs: int) -> Generator[Answer, None, None]:
        """Copy these contents from these files, several at once; an answer for each, in whatever order.

        Those that the remote has already are not copied.
        """
        arguments = ("--batch-keys", f"--to={self._remote.name}", f"-J{jobs}", "--json", "--json-error-messages")
        with self._conversation("copy", *arguments) as talk:
            yield from self._copied(talk, copies, min(jobs * _AHEAD_OF_JOBS, _MOST_AHEAD))

    def _copied(self, talk: Conversation, copies: Iterable[tuple[Copy, Path]], ahead: int) -> Iterator[Answer]:
        waiting: dict[str, Copy] = {}
        for copy, file in copies:
            try:
                share(self.path, copy.key, file, settled=False)
            except FileNotFoundError:
                yield Answer(copy, "failed", _GONE)
                continue
            except OSError as error:
                yield Answer(copy, "failed", f"its content cannot be read: {error.strerror or error}")
                continue
            waiting[copy.key] = copy
            talk.say(copy.key)
            while len(waiting) >= ahead and (said := talk.hear()) is not None:
                yield from self._answer(waiting, said)
            if len(waiting) >= ahead:
                break  # it has ended, whatever for
        talk.end()
        while waiting and (said := talk.hear()) is not None:
            yield from self._answer(waiting, said)
        reason = talk.complaint() if waiting else None
        for copy in waiting.values():
            yield Answer(copy, "failed", reason)

    def _answer(self, waiting: dict[str, Copy], said: Said) -> Iterator[Answer]:
        copy = waiting.pop(said.key, None) if said.key is not None else None
        if copy is None or said.success is None:
            return
        drop(self.path, copy.key)
        if not said.success:
            yield Answer(copy, "failed", told([*said.errors, said.note]))
        else:
            # It says where it copies to when it does.
            yield Answer(copy, "copied" if f"to {self._remote.name}..." in said.note else "there")

    def has(self, keys: Iterable[str]) -> Iterator[tuple[str, bool]]:
        """Whether the remote has each of these keys, by its own word; MirrorError when it cannot be asked."""
        with self._conversation("checkpresentkey", "--batch", self._remote.name) as talk:
            for key in keys:
                talk.say(key)
                # It says no as well when it does not know: that is asked for once more, alone.
                yield key, talk.line() == b"1" or self._has(key)

    def _has(self, key: str) -> bool:
        done = self._run("checkpresentkey", key, self._remote.name)
        if done.returncode not in (0, 1):
            raise MirrorError(f"the remote {self._remote.name} cannot be asked for {key}: {told([_text(done.stderr)])}")
        return done.returncode == 0

    def learnt(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes, bytes]]:
        """What git-annex noted of these keys besides that the remote has them: the key, the log's ending, the log."""
        self._run("merge", "--quiet")  # what one that was ended had noted, but not committed, is committed
        repository = Repository(self.path)
        tip = repository.refs().get(ANNEX)
        wanted = {key.encode(): key for key in keys}
        with repository.objects() as objects:
            for path, entry in objects.list_tree(objects.commit(tip).tree) if tip is not None else ():
                name = path.rpartition(b"/")[2]
                ending = next((one for one in KEPT_LOGS if name.endswith(one)), None)
                if ending is not None and (key := wanted.get(name.removesuffix(ending))) is not None:
                    yield key, ending, objects.blob(entry.oid)

    def _annex(self, *args: str) -> None:
        done = self._run(*args)
        if done.returncode != 0:
            said = told([_text(done.stderr) or _text(done.stdout)])
            raise MirrorError(
                f"the backup {self._remote.name} cannot be used: {said}",
                hint="is the place there, and are the secrets for it in the environment?",
            )

    def _run(self, *args: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self._command(*args), cwd=self.path, env=_environment(), stdin=subprocess.DEVNULL, capture_output=True
        )

    def _conversation(self, *args: str) -> Conversation:
        return Conversation(self._command(*args), self.path, _environment(), self.path.with_name(RUNNING))

    def _command(self, *args: str) -> list[str]:
        return command(self.path, "annex", *args)

    def _git(self, *args: str) -> bytes:
        return subprocess.run(
            command(self.path, *args), cwd=self.path, env=_environment(), capture_output=True, check=True
        ).stdout


def _environment() -> dict[str, str]:
    """git-annex reads the secrets of remotes from there, which are not those of archives and hosts."""
    aws = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    kept = {name: os.environ[name] for name in _OPERATORS if name in os.environ}
    given = {key: value for key, value in environment().items() if key not in _OPERATORS}
    return given | aws | kept


def _text(output: bytes) -> str:
    return output.decode(errors="replace")
