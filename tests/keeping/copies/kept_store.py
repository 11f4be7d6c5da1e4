"""A store that holds content, of an archive that is gone; the commands on it; and clones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from mirror.errors import MirrorError
from mirror.store.contents import adopt, found, has
from mirror.store.locations import annex_uuid, note_locations
from mirror.store.store import Store
from mirror.store.version_keys import version_keys

FILES = {
    "sub-1/a.nwb": b"the first recording",
    "sub-1/odd name [1] & (2).bin": b"bytes under an odd name",
    "sub-2/b.nwb": b"the second recording, a little longer",
}
NOT_HELD = ("sub-2/not-held.nwb", b"what the store does not hold")
ZARR = {".zgroup": b"{}", "0/.zarray": b"{}", "0/0/0": b"one", "0/0/1": b"two"}
UNPUBLISHED = ("sub-3/new.nwb", b"what is in the draft only")


def run(*cmd: object, cwd: Path | None = None, ok: bool = True, env: Mapping[str, str] | None = None) -> str:
    """What a command prints. It must succeed, or with `ok=False` fail: then its complaints, too."""
    words = [str(word) for word in cmd]
    done = subprocess.run(
        words, cwd=cwd, env=os.environ | dict(env or {}), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert (done.returncode == 0) is ok, f"{words} in {cwd} ended with {done.returncode}\n{out}\n{err}"
    return (out if ok else out + err).rstrip("\n")


@dataclass
class Kept:
    """A store, and what its Dandiset holds."""

    root: Path
    one: str
    two: str
    """shares a content with the first"""
    first: str
    second: str
    """the published versions of the first Dandiset"""
    zarr: str

    @property
    def store(self) -> Store:
        return Store.open(self.root)

    @property
    def repository(self) -> Path:
        return self.store.repository(self.one).path

    def key(self, path: str, version: str = "draft", identifier: str | None = None) -> str:
        keys = version_keys(self.store, identifier or self.one, version)
        return next(one.key for one in keys if one.path == path)

    def branch(self, name: str, repository: Path | None = None) -> bytes:
        """A file of the git-annex branch."""
        cmd = ["git", f"--git-dir={repository or self.repository}", "cat-file", "blob", f"git-annex:{name}"]
        return subprocess.run(cmd, capture_output=True, check=True).stdout

    def refs(self, identifier: str | None = None) -> dict[str, str]:
        refs = self.store.repository(identifier or self.one).refs()
        return {name: oid.hex() for name, oid in refs.items()}

    def vanish(self) -> None:
        """The store is gone, too."""
        self.root.rename(self.root.with_name("gone"))


def hold(store: Store, identifier: str, bodies: Mapping[str, bytes]) -> None:
    """Put content into the store, as if it had come from the archive."""
    there: dict[str, set[str]] = {}
    for path, key, _, dataset_id in version_keys(store, identifier):
        if path in bodies:
            repository = store.dataset(dataset_id)
            if not has(repository.path, key):
                file = store.temporary / "content"
                file.write_bytes(bodies[path])
                adopt(repository.path, key, file)
            there.setdefault(dataset_id, set()).add(key)
    for dataset_id, keys in there.items():
        repository = store.dataset(dataset_id)
        note_locations(repository, annex_uuid(repository), present=sorted(keys))


@dataclass
class Said:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str
    error: MirrorError | None

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


def said_of(done: Result) -> Said:
    error = done.exception if isinstance(done.exception, MirrorError) else None
    if done.exception is not None and error is None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Said(error.exit_code if error is not None else done.exit_code, done.stdout, done.stderr, error)


class Commands:
    """The commands, on a store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def bundle(self, *args: object) -> Said:
        from mirror.cli.bundle import bundle

        return self._run(bundle, {}, args)

    def backup(self, *args: object, backup: list[dict[str, Any]]) -> Said:
        from mirror.cli.backup import backup as command

        return self._run(command, {"backup": backup, "jobs": 2}, args)

    def _run(self, command: Any, more: dict[str, Any], args: tuple[object, ...]) -> Said:
        config = self._folder / "config.yaml"
        config.write_text(json.dumps({"store": str(self._folder / "store"), **more}))
        return said_of(CliRunner().invoke(command, ["-c", str(config), *map(str, args)]))


@dataclass(frozen=True)
class BackedUpOnce:
    """A store of which everything was copied to a folder."""

    kept: Kept
    commands: Commands
    nas: dict[str, Any]
    folder: Path
    """has the store, and what was copied to"""
    said: Said
    """by the backup"""
    before: dict[str, object]
    after: dict[str, object]
    """how a repository of the store looked, see `looks_of`"""


def looks_of(kept: Kept) -> dict[str, object]:
    """What a backup is to leave as it is in a repository."""
    place = found(kept.repository, kept.key("sub-1/a.nwb"))
    assert place is not None
    status = place.stat()
    return {
        "content": (status.st_ino, status.st_mode, status.st_nlink, status.st_size),
        "files": sorted(path.name for path in kept.repository.iterdir() if path.name != "mirror.lock"),
        "config": (kept.repository / "config").read_bytes(),
    }


@dataclass(frozen=True)
class Clone:
    """A clone, and the commands people use in it."""

    path: Path

    def git(self, *args: object, ok: bool = True, env: Mapping[str, str] | None = None) -> str:
        return run("git", *args, cwd=self.path, ok=ok, env=env)

    def annex(self, *args: object, ok: bool = True, env: Mapping[str, str] | None = None) -> str:
        return self.git("annex", *args, ok=ok, env=env)

    def read(self, path: str) -> bytes:
        return (self.path / path).read_bytes()

    def sub(self, path: str) -> Clone:
        return Clone(self.path / path)


def moto_server(port_file: Path) -> subprocess.Popen[bytes]:
    """An S3 server of its own; it writes its port into the file."""
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from moto.server import ThreadedMotoServer\n"
        "server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)\n"
        "server.start()\n"
        "Path(sys.argv[1]).write_text(str(server.get_host_and_port()[1]))\n"
        "time.sleep(3600)\n"
    )
    return subprocess.Popen([sys.executable, "-c", program, str(port_file)])
