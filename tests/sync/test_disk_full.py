"""A full disk: noticed before anything is written, or run into; the store stays whole, and goes on with room."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import pytest

from mirror.demo import DemoArchive
from mirror.publish.publishing import Publisher
from mirror.store.room import RESERVE_BYTES
from mirror.sync.dandiset import layout_of
from mirror.sync.engine import sync
from tests.warm import warm_program

if TYPE_CHECKING:
    from tests.sync.conftest import MakeSettings

_MIB = 1 << 20
_SIZE = RESERVE_BYTES + 16 * _MIB
_KIB_FREE = (0, 80, 200, 300, 380, 450, 600)
"""The first are less than SQLite needs to begin with, the last enough for one of two Dandisets."""

# Mounted where nobody but the processes in there sees it: an interrupted test leaves nothing mounted.
_MOUNT = 'mount -t tmpfs -o size="$1" none "$2" && echo ready && read -r _'

# Lets the process in, as `nsenter` would: it is a fork of one that has imported the program already.
_ENTERED = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for handle in [os.open(f"/proc/{pid}/ns/{{kind}}", os.O_RDONLY) for kind in ("user", "mnt")]:
    if libc.setns(handle, 0):
        raise OSError(ctypes.get_errno(), "setns")
    os.close(handle)
"""
_PROGRAM = """
from mirror.cli.main import main
main()
"""
# A disk that does not tell how full it is, as one with a quota for its users does not.
_OF_A_LIAR = """
honest = os.statvfs
def statvfs(path):
    found = list(honest(path)) + [0]
    found[2:5] = [1 << 40] * 3
    return os.statvfs_result(found)
os.statvfs = statvfs
"""


class SmallDisk:
    """A file system of its own, and processes that see it."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self._command = ["unshare", "-Ur", "-m", "sh", "-c", _MOUNT, "sh", str(size), str(folder)]

    def __enter__(self) -> Self:
        self.folder.mkdir()
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, stderr=pipe)
        except OSError as error:
            pytest.skip(f"no namespaces here: {error}")
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            _, said = self._process.communicate()
            pytest.skip(f"nothing can be mounted here: {said.decode()}")
        self.seen_from_here = Path(f"/proc/{self._process.pid}/root{self.folder}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(b"\n")

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", "-U", "-m", "-t", str(self._process.pid), "--preserve-credentials", "--"]
        return subprocess.run([*enter, *map(str, command)], capture_output=True, text=True, check=False)

    def run_mirror(self, *words: str | Path, before: str = "") -> subprocess.CompletedProcess[str]:
        """The program; `before`: what its process does first."""
        code = _ENTERED.format(pid=self._process.pid) + before + _PROGRAM
        return warm_program().run(*map(str, words), cwd=self.folder.parent, code=code)

    def leave_free(self, size: int) -> None:
        """Have so much room left, by a balloon of what else there would be."""
        balloon = self.seen_from_here / "balloon"
        balloon.unlink(missing_ok=True)
        found = os.statvfs(self.seen_from_here)
        with balloon.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - size)

    def clear(self) -> None:
        (self.seen_from_here / "balloon").unlink()


class Mirror:
    """A store on the small disk, synced by processes as a user's."""

    def __init__(self, disk: SmallDisk, archive: DemoArchive, **settings: Any) -> None:
        self.disk = disk
        self.store = disk.folder / "store"
        self._settings = disk.folder.with_suffix(".yaml")
        where = {"instance": "demo-dandi", "api_url": archive.api_url, "s3_endpoint": archive.s3_endpoint}
        known = {"archive": {**where, "settle_seconds": 0}, "store": str(self.store), "jobs": 1}
        self._settings.write_text(json.dumps({**known, **settings}))

    def run(self, what: str, before: str = "") -> subprocess.CompletedProcess[str]:
        return self.disk.run_mirror(what, "-c", self._settings, before=before)

    def sync(self, before: str = "") -> subprocess.CompletedProcess[str]:
        return self.run("sync", before)

    def lose_what_was_published(self) -> None:
        alias = self._seen("public/alias/dandisets")
        shutil.rmtree(alias.parent / alias.readlink())
        for path in (alias, self._seen("state/catalogue.sqlite"), self._seen("state/published.json")):
            path.unlink()

    def status(self) -> dict[str, dict[str, Any]]:
        told = self.disk.run_mirror("status", "--json", "-c", self._settings).stdout
        records = map(json.loads, told.splitlines())
        return {record["dandiset"]: record for record in records if "dandiset" in record}

    def refs(self) -> dict[str, str]:
        """What every repository has, by the name that it is known by."""
        return refs_of_all(self._seen("public/alias"))

    def check(self) -> None:
        """Nothing is half finished, and every repository is what git calls whole."""
        assert self.leftovers() == []
        for name in self.refs():
            repository = self.store / "public" / "alias" / name
            fsck = self.disk.run("git", "-c", "safe.directory=*", "-C", repository, "fsck", "--strict", "--no-dangling")
            assert (fsck.returncode, fsck.stdout) == (0, ""), fsck.stdout + fsck.stderr

    def leftovers(self) -> list[str]:
        """Whatever is half finished."""
        found = [path for path in self._seen("").rglob("*") if _looks_unfinished(path)]
        packs = self._seen("public").glob("*/*/objects/pack/pack-*")
        stems: dict[Path, set[str]] = {}
        for pack in packs:
            stems.setdefault(pack.with_suffix(""), set()).add(pack.suffix)
        half = [stem for stem, suffixes in stems.items() if suffixes != {".pack", ".idx"}]
        return sorted(path.relative_to(self._seen("")).as_posix() for path in (*found, *half))

    def _seen(self, part: str) -> Path:
        return self.disk.seen_from_here / "store" / part


def refs_of_all(aliases: Path) -> dict[str, str]:
    found = {}
    for alias in sorted(aliases.iterdir()):
        repository = aliases / alias.readlink()
        found[alias.name] = (repository / "packed-refs").read_text()
        assert not any(path.is_file() for path in (repository / "refs").rglob("*"))
    return found


def _looks_unfinished(path: Path) -> bool:
    if path.parent.name == "tmp" or path.name.startswith((".", "tmp_")):
        return True
    return path.name.endswith((".new", "refs.lock", "HEAD.lock"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with SmallDisk(tmp_path / "disk", _SIZE) as disk:
        yield disk


@pytest.fixture
def mirrored(disk: SmallDisk, archive: DemoArchive, twin: Twin) -> Mirror:
    """A Dandiset, which since then has got a version, a text and a Zarr, and another that is not mirrored yet."""
    one = archive.create_dandiset("One")
    archive.add_asset(one, "sub-1/a.nwb", b"first")
    mirror = Mirror(disk, archive)
    done = mirror.sync()
    assert done.returncode == 0, done.stderr
    twin()
    archive.clock.advance(60)
    archive.add_asset(one, "README.md", random_text(20_000))
    archive.publish(one)
    archive.add_zarr(one, "sub-1/a.ome.zarr", {".zgroup": b"{}"} | {f"0/{n}": b"%d" % n for n in range(200)})
    archive.add_assets(archive.create_dandiset("Two"), [(f"sub-{n}/b.nwb", b"%d" % n) for n in range(100)])
    return mirror


def random_text(size: int) -> bytes:
    return Random(1).randbytes(size).hex().encode()


class Twin(Protocol):
    def __call__(self) -> dict[str, str]: ...


@pytest.fixture
def twin(settings: MakeSettings, tmp_path: Path) -> Twin:
    """Sync another store, where there is room; what every repository of it has then."""
    asked = settings(store=tmp_path / "twin")

    def sync_it() -> dict[str, str]:
        with Publisher(asked, layout_of(asked)) as publisher:
            sync(asked, follower=publisher).check()
        return refs_of_all(tmp_path / "twin" / "public" / "alias")

    return sync_it


def test_so_it_does_where_superdatasets_are_written(mirrored: Mirror, twin: Twin) -> None:
    whole, before = twin(), mirrored.sync()
    assert before.returncode == 0, before.stderr
    mirrored.lose_what_was_published()
    for free in (0, 100, 200, 240, 280):
        mirrored.disk.leave_free(free << 10)
        done = mirrored.run("publish", _OF_A_LIAR)
        if done.returncode == 0:
            break
        assert "no room left on the disk" in done.stderr, f"{free} kB: {done.stderr}"
        assert "Traceback" not in done.stderr, f"{free} kB: {done.stderr}"
        mirrored.check()
    mirrored.disk.clear()
    assert mirrored.run("publish").returncode == 0
    mirrored.check()
    assert _but_for_drafts(mirrored.refs()["dandisets"]) == _but_for_drafts(whole["dandisets"])


def _but_for_drafts(refs: str) -> list[str]:
    """A superdataset written anew knows nothing of the drafts that went before."""
    return [line for line in refs.splitlines() if not line.endswith(" refs/heads/draft")]


def test_it_is_noticed_before_anything_is_written(mirrored: Mirror) -> None:
    before = mirrored.refs()
    mirrored.disk.leave_free(RESERVE_BYTES // 2)
    done = mirrored.sync()
    assert done.returncode == 1
    assert "kept in reserve" in done.stderr
    assert f"the disk at {mirrored.disk.folder}" in done.stderr
    assert "make room" in done.stderr
    assert "Traceback" not in done.stderr
    assert mirrored.refs() == before
    mirrored.check()
    assert {name: state["failure"] for name, state in mirrored.status().items()} == {"000001": None}


def test_the_next_sync_with_room_goes_on(mirrored: Mirror, twin: Twin) -> None:
    mirrored.disk.leave_free(RESERVE_BYTES // 2)
    assert mirrored.sync().returncode == 1
    mirrored.disk.clear()
    done = mirrored.sync()
    assert done.returncode == 0, done.stderr
    assert mirrored.refs() == twin()
    mirrored.check()


def test_a_disk_that_does_not_tell_leaves_a_whole_store_wherever_it_ends(mirrored: Mirror, twin: Twin) -> None:
    before, whole = mirrored.refs(), twin()
    got_to = []
    for free in _KIB_FREE:
        mirrored.disk.leave_free(free << 10)
        done = mirrored.sync(_OF_A_LIAR)
        if done.returncode == 0:
            break
        assert "no room left on the disk" in done.stderr, f"{free} kB: {done.stderr}"
        assert "Traceback" not in done.stderr, f"{free} kB: {done.stderr}"
        now = mirrored.refs()
        for name in now.keys() - {"dandisets"}:
            assert now[name] in (before.get(name), whole[name]), f"{free} kB: {name}"
        mirrored.check()
        got_to.append(sum(now.get(name) == whole[name] for name in whole))
    assert got_to[0] == 0
    assert got_to == sorted(got_to)
    assert len(got_to) > 3
    assert not any(state["failure"] for state in mirrored.status().values())
    mirrored.disk.clear()
    assert mirrored.sync().returncode == 0
    assert mirrored.refs() == whole
