"""A mirror as its users meet it: a store made by real syncs, served as the README says, cloned with the real tools."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy
import pytest

from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.demo.model import Asset
from mirror.demo.nwb import MOUSE, RAT, Recording, Species
from mirror.demo.zarr_files import Files, changed_files, ome_zarr_files, sample_image, zarr_files
from mirror.sync.engine import sync

if TYPE_CHECKING:
    from numpy.typing import NDArray

IDENTIFIER = "000001"
START = datetime(2026, 11, 20, 15, 34, 17, tzinfo=UTC)


def run(*cmd: object, cwd: Path | None = None, ok: bool = True, env: Mapping[str, str | None] | None = None) -> str:
    """What a command prints. It must succeed, or with `ok=False` fail: then all it says, complaints too.

    `env` adds to the environment; None takes a variable out of it.
    """
    words = [str(word) for word in cmd]
    if words[0] == "datalad" and not any(name.startswith("DATALAD_") for name in env or {}):  # it reads them at first
        return _said(_warm_datalad().run(words, cwd, env or {}), cwd, ok=ok)
    environment = {key: value for key, value in (os.environ | dict(env or {})).items() if value is not None}
    done = subprocess.run(words, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return _said(done, cwd, ok=ok)


def _said(done: subprocess.CompletedProcess[bytes], cwd: Path | None, *, ok: bool) -> str:
    out, err = (text.decode("utf-8", "surrogateescape") for text in (done.stdout, done.stderr))
    assert (done.returncode == 0) is ok, f"{done.args} in {cwd} ended with {done.returncode}\n{out}\n{err}"
    return (out if ok else out + err).rstrip("\n")


class WarmDatalad:
    """The real DataLad, imported once for all of its commands; it ends with this process."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        program = Path(__file__).with_name("warm_datalad.py")
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen([sys.executable, program, str(number)], pass_fds=[number])

    def run(
        self, words: Sequence[str], cwd: Path | None, env: Mapping[str, str | None]
    ) -> subprocess.CompletedProcess[bytes]:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            asked = json.dumps([words, str(cwd or Path.cwd()), dict(env)]).encode()
            socket.send_fds(self._socket, [asked], [out.fileno(), err.fileno()])
            code = int(self._socket.recv(16) or b"-1")
            said = [file.read() for file in (out, err) if not file.seek(0)]
        return subprocess.CompletedProcess(words, code, *said)


@cache
def _warm_datalad() -> WarmDatalad:
    return WarmDatalad()


@dataclass(frozen=True)
class Clone:
    """A clone, and the commands people use in it."""

    path: Path
    env: Mapping[str, str | None] | None = None

    def git(self, *args: object, ok: bool = True) -> str:
        return run("git", *args, cwd=self.path, ok=ok, env=self.env)

    def annex(self, *args: object, ok: bool = True) -> str:
        return self.git("annex", *args, ok=ok)

    def datalad(self, *args: object, ok: bool = True) -> str:
        return run("datalad", *args, cwd=self.path, ok=ok, env=self.env)

    def read(self, path: str) -> bytes:
        return (self.path / path).read_bytes()

    def has(self, path: str) -> bool:
        """Whether the content of an annexed file is here."""
        return (self.path / path).exists()

    def key(self, path: str, at: str = "HEAD") -> str:
        return Path(self.git("cat-file", "blob", f"{at}:{path}")).name

    def sub(self, path: str) -> Clone:
        """The dataset at a path within this one."""
        return Clone(self.path / path, self.env)

    def assert_clean(self) -> None:
        """Neither git nor DataLad see anything to be saved."""
        assert self.git("status", "--porcelain") == ""
        assert self.datalad("status", "-r") == "nothing to save, working tree clean"
        # A submodule that is not installed is shown with "-", one at another commit with "+".
        assert not [line for line in self.git("submodule", "status").splitlines() if line.startswith("+")]


class Mirror:
    """An archive with one Dandiset, and a store that mirrors it."""

    def __init__(self, archive: DemoArchive, store: Path, **settings: Any) -> None:
        self.archive = archive
        self.store = store
        self.public = store / "public"
        self.alias = self.public / "alias" / IDENTIFIER
        self.identifier = archive.create_dandiset("Ripples", identifier=IDENTIFIER, contributors=["Doe, Jane"])
        connection = {"instance": "demo-dandi", "api_url": archive.api_url, "s3_endpoint": archive.s3_endpoint}
        self._settings = Settings.model_validate(
            {"archive": {**connection, "settle_seconds": 0}, "store": store, **settings}
        )

    def sync(self, *others: str, everything: bool = False) -> str:
        """Sync; what it said of the Dandiset. `others` are synced after it."""
        report = sync(self._settings, [self.identifier, *others], everything=everything)
        report.check()
        return report.outcomes[0].message if report.outcomes else ""

    def add(self, path: str, content: bytes, metadata: dict[str, Any] | None = None) -> None:
        self.archive.add_asset(self.identifier, path, content, metadata)

    def add_zarr(self, path: str, files: Mapping[str, bytes]) -> str:
        """Its Zarr id."""
        return self.archive.add_zarr(self.identifier, path, files)

    def change_zarr(self, path: str, before: Mapping[str, bytes], after: Mapping[str, bytes]) -> None:
        put, remove = changed_files(before, after)
        self.archive.change_zarr(self.identifier, path, put, remove)

    def zarr_checksum(self, path: str) -> str:
        zarr = self.asset(path).zarr
        assert zarr is not None
        assert zarr.checksum is not None
        return zarr.checksum

    def alias_of(self, name: str) -> Path:
        """Of another Dandiset, or of a Zarr."""
        return self.public / "alias" / name

    def asset(self, path: str) -> Asset:
        return self.archive.asset(self.identifier, path)

    def publish(self, notes: str = "") -> str:
        return self.archive.publish(self.identifier, release_notes=notes)

    def doi(self, version: str) -> str:
        return f"{self.archive.addresses.doi_prefix}/demo-dandi.{self.identifier}/{version}"

    def move_object(self, path: str) -> None:
        """The archive stores an asset's bytes anew: the address recorded for them is dead, the API's is not."""
        blob = self.asset(path).blob
        assert blob is not None
        self._store_anew(blob.key)

    def move_zarr_file(self, path: str, name: str) -> None:
        """The same with a file of a Zarr."""
        zarr = self.asset(path).zarr
        assert zarr is not None
        self._store_anew(f"zarr/{zarr.zarr_id}/{name}")

    def _store_anew(self, key: str) -> None:
        old = self.archive.objects.latest(key)
        assert old is not None
        assert old.content is not None
        self.archive.objects.put(key, old.content, etag=old.etag)
        assert self.archive.objects.delete_version(key, old.version_id)

    def refs(self) -> dict[str, str]:
        lines = run("git", f"--git-dir={self.alias}", "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return dict(line.split(" ") for line in lines)

    def files(self) -> dict[str, bytes]:
        """Every file that is served, with its content."""
        return {
            str(path.relative_to(self.public)): path.read_bytes() for path in self.public.rglob("*") if path.is_file()
        }


def metadata_of(subject: str, session: str, species: Species) -> dict[str, Any]:
    return Recording(subject, session, species=species).metadata()


FIRST: Sequence[tuple[str, bytes, dict[str, Any] | None]] = (
    ("README.md", b"# Ripples\n\nTwo animals.\n", None),
    ("participants.tsv", b"participant_id\tspecies\nM1\tmouse\nR1\trat\n", None),
    ("sub-M1/sub-M1_ecephys.nwb", b"a recording of a mouse", metadata_of("M1", "a", MOUSE)),
    ("sub-R1/ses-1/sub-R1_ses-1_ecephys.nwb", b"a recording of a rat", metadata_of("R1", "1", RAT)),
    ("sub-R1/odd name [1] & (2).bin", b"bytes under an odd name", metadata_of("R1", "2", RAT)),
    ("-notes of the lab.dat", b"notes that begin with a dash", None),
)
BINARY = {path: content for path, content, _ in FIRST if not path.endswith((".md", ".tsv"))}
LATER = ("sub-M1/sub-M1_image.nwb", b"an image of a mouse")
UNPUBLISHED = ("sub-M1/sub-M1_draft.nwb", b"a recording not published yet")


def fill(mirror: Mirror) -> tuple[str, str]:
    """Two published versions and a draft that went on; the versions' names."""
    mirror.archive.add_assets(mirror.identifier, FIRST)
    first = mirror.publish("The first release.")
    mirror.archive.replace_asset(mirror.identifier, "README.md", content=b"# Ripples\n\nTwo animals, one image.\n")
    mirror.add(*LATER, metadata_of("M1", "b", MOUSE))
    second = mirror.publish("An image was added.")
    mirror.add(*UNPUBLISHED, metadata_of("M1", "c", MOUSE))
    return first, second


@contextmanager
def made(store: Path, *, strict: bool = True, **settings: Any) -> Iterator[Mirror]:
    """`strict=False`: the archive takes every path."""
    with DemoArchive(strict=strict) as archive:
        yield Mirror(archive, store, **settings)


def archive_at(port: int = 0, s3_port: int = 0) -> DemoArchive:
    """One that is the same each time it is filled alike, but for its addresses."""
    return DemoArchive(strict=True, start=START, seed=1, port=port, s3_port=s3_port)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The plain static server that comes with Python, as the README starts it; its address."""
    cmd = [sys.executable, "-u", "-m", "http.server", "--protocol", "HTTP/1.1", "--bind", "127.0.0.1"]
    with subprocess.Popen(
        [*cmd, "--directory", folder, "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            port = re.search(r"port (\d+)", process.stdout.readline())
            assert port is not None
            yield f"http://127.0.0.1:{port[1]}"
        finally:
            process.terminate()


@dataclass(frozen=True)
class Scene:
    """A store that stands still, and where it can be cloned from."""

    mirror: Mirror
    versions: tuple[str, str]
    url: str
    contents: Mapping[str, bytes]
    """the annexed files of the draft"""

    def address(self, way: str) -> str:
        return {
            "path": str(self.mirror.alias),
            "ria+file": f"ria+file://{self.mirror.public}#~{IDENTIFIER}",
            "ria+http": f"ria+{self.url}#~{IDENTIFIER}",
            "http": f"{self.url}/alias/{IDENTIFIER}",
        }[way]


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """For tests that change nothing in the archive or the store."""
    with ExitStack() as stack:
        mirror = stack.enter_context(made(tmp_path_factory.mktemp("scene") / "store"))
        versions = fill(mirror)
        mirror.sync()
        url = stack.enter_context(served(mirror.public))
        yield Scene(mirror, versions, url, {**BINARY, **dict([LATER, UNPUBLISHED])})


@dataclass(frozen=True)
class Zarr:
    """A Zarr as it was given to the archive."""

    files: Mapping[str, bytes]
    array: NDArray[Any]
    within: str = ""
    """where in the Zarr that array is"""


def labelled(image: NDArray[Any]) -> Files:
    """An image with labels, as OME-Zarr has them."""
    files = ome_zarr_files(image, chunks=(16, 16), levels=2)
    labels = ome_zarr_files(image // 100, chunks=(16, 16), levels=1)
    return {
        **files,
        **{f"labels/cells/{name}": content for name, content in labels.items()},
        "labels/.zgroup": files[".zgroup"],
        "labels/.zattrs": b'{"labels": ["cells"]}',
    }


def zarrs() -> dict[str, Zarr]:
    image, even = sample_image(32), numpy.full((40, 40), 7, dtype="<u2")
    return {
        "sub-1/micr/sub-1_SPIM.ome.zarr": Zarr(labelled(image), image, "0"),
        "sub-1/v2.zarr": Zarr(zarr_files(image, chunks=(16, 16)), image),
        "sub-1/v2 flat.zarr": Zarr(zarr_files(image + 1, chunks=(16, 16), separator="."), image + 1),
        "sub-1/v3.zarr": Zarr(zarr_files(image + 2, chunks=(16, 16), zarr_format=3), image + 2),
        "sub-1/v3.ome.zarr": Zarr(ome_zarr_files(image + 3, chunks=(16, 16), levels=2, zarr_format=3), image + 3, "0"),
        "even.zarr": Zarr(zarr_files(even, chunks=(8, 8)), even),
    }


@dataclass(frozen=True)
class ZarrScene:
    """A store that stands still: a Dandiset of Zarrs, and another that has one of these, too."""

    mirror: Mirror
    url: str
    zarrs: Mapping[str, Zarr]
    ids: Mapping[str, str]
    """of the Zarrs, by path"""
    shared: str
    """the path of the Zarr that has a second path, and a place in a second Dandiset"""
    second_path: str
    other: str
    """that second Dandiset's identifier; the Zarr is at the same path there"""

    def address(self, way: str, name: str = IDENTIFIER) -> str:
        return {
            "path": str(self.mirror.alias_of(name)),
            "ria+file": f"ria+file://{self.mirror.public}#~{name}",
            "ria+http": f"ria+{self.url}#~{name}",
            "http": f"{self.url}/alias/{name}",
        }[way]


@pytest.fixture(scope="session")
def zarr_scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZarrScene]:
    """For tests that change nothing in the archive or the store."""
    with ExitStack() as stack:
        mirror = stack.enter_context(made(tmp_path_factory.mktemp("zarrs") / "store", jobs=1))
        mirror.add("README.md", b"# Zarrs\n")
        given = zarrs()
        ids = {path: mirror.add_zarr(path, zarr.files) for path, zarr in given.items()}
        shared, second_path = "sub-1/v2.zarr", "derived/the same.zarr"
        mirror.archive.link_zarr(mirror.identifier, second_path, ids[shared])
        other = mirror.archive.create_dandiset("Shares a Zarr", identifier="000002")
        mirror.archive.link_zarr(other, shared, ids[shared])
        mirror.sync(other)
        url = stack.enter_context(served(mirror.public))
        yield ZarrScene(mirror, url, given, ids, shared, second_path, other)


@pytest.fixture
def mirror_with(tmp_path: Path) -> Iterator[Callable[..., Mirror]]:
    """A mirror of one's own with other settings; with `strict=False` its archive takes every path."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(made(tmp_path / "store", **settings))


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    """A mirror of one's own, not synced yet, in an archive that tests may change."""
    with made(tmp_path / "store") as mirror:
        yield mirror


@pytest.fixture(scope="session")
def filled_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """A store, and the ports of the archive that it mirrors."""
    store = tmp_path_factory.mktemp("filled") / "store"
    with archive_at() as archive:
        mirror = Mirror(archive, store)
        fill(mirror)
        mirror.sync()
        return store, [urlsplit(url).port or 0 for url in (archive.api_url, archive.s3_endpoint)]


@pytest.fixture
def filled(filled_once: tuple[Path, list[int]], tmp_path: Path) -> Iterator[Mirror]:
    """A mirror of one's own with two versions and a draft, synced: a copy, at the addresses that are recorded in it."""
    store, ports = filled_once
    try:
        archive = archive_at(*ports)
        shutil.copytree(store, tmp_path / "store", symlinks=True)
    except OSError:  # somebody has that port by now
        archive = archive_at()
    with archive:
        mirror = Mirror(archive, tmp_path / "store")
        fill(mirror)
        if not mirror.store.exists():
            mirror.sync()
        yield mirror


@pytest.fixture
def clone_of(tmp_path: Path) -> Callable[..., Clone]:
    """`datalad clone` an address."""

    def clone(address: object, name: str = "clone", env: Mapping[str, str | None] | None = None) -> Clone:
        run("datalad", "clone", address, tmp_path / name, env=env)
        return Clone(tmp_path / name, env)

    return clone


@pytest.fixture(scope="module")
def reading(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone shared by the tests of a module."""
    path = tmp_path_factory.mktemp("reading") / "clone"
    run("datalad", "clone", scene.address("ria+file"), path)
    return Clone(path)


@pytest.fixture(scope="session")
def clone_at() -> Callable[..., Clone]:
    """A clone made by other means than `clone_of`."""
    return Clone


@pytest.fixture(scope="session", name="run")
def _run() -> Callable[..., str]:
    return run


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can look into; pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="mirror-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def shared(open_folder: Path) -> Iterator[Mirror]:
    """A store in such a folder, made and moved on by somebody whose umask keeps everything to himself."""
    with made(open_folder / "store") as mirror:
        before = os.umask(0o077)
        try:
            fill(mirror)
            mirror.sync()
            mirror.add("sub-M1/sub-M1_later.nwb", b"later")
            mirror.sync()
        finally:
            os.umask(before)
        yield mirror


@pytest.fixture(scope="session", name="served")
def _served() -> Callable[[Path], AbstractContextManager[str]]:
    return served
