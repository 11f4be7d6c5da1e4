"""A mirror of a small archive, and `dandi-mirror populate` as people type it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from mirror.annex.keys import sha256e_key
from mirror.cli.populate import populate
from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.errors import MirrorError
from mirror.store import contents
from mirror.store.chronicle import Chronicle
from mirror.store.locations import annex_uuid, present_in
from mirror.store.store import Store
from mirror.sync.engine import sync

START = datetime(2026, 11, 20, 15, 34, 17, tzinfo=UTC)
FILES = {
    "sub-1/a.nwb": b"one",
    "sub-1/b.nwb": b"three",
    "sub-2/ses-1/c.nwb": b"seven of them",
    "sub-2/d.dat": b"a larger file" * 100,
}
"""Those of the first Dandiset that are annexed, from small to large."""
POPULATE = "from mirror.cli.populate import populate; populate()"


Fill = Callable[[Any], None]
"""Puts more into the archive of a mirror, the same every time."""


def nothing_more(_: Any) -> None: ...


def key_of(path: str, body: bytes) -> str:
    return sha256e_key(path, len(body), sha256(body).hexdigest())


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    code: int
    records: list[dict[str, Any]]
    lines: list[str]
    error: MirrorError | None = None

    def of(self, path: str) -> dict[str, Any]:
        (found,) = [one for one in self.records if one["path"] == path]
        return found


@dataclass
class Mirror:
    """An archive with one Dandiset, and its mirror, which is made if it is not there."""

    archive: DemoArchive
    folder: Path
    more: dict[str, Any]
    fill: Fill

    def __post_init__(self) -> None:
        self.one = self.archive.create_dandiset("Ripples")
        self.archive.add_assets(self.one, [*FILES.items(), ("README.md", b"# Read\n")])
        self.fill(self)
        if not self.folder.exists():
            self.sync()

    def settings(self, **more: Any) -> Settings:
        where = {"instance": "demo-dandi", "api_url": self.archive.api_url, "s3_endpoint": self.archive.s3_endpoint}
        given = {"archive": {**where, "settle_seconds": 0}, "store": self.folder, "jobs": 1, **self.more, **more}
        return Settings.model_validate(given)

    def sync(self, *named: str) -> None:
        """As the command does: what was mirrored can be looked up then."""
        sync(self.settings(), named).check()
        with self.store.lock("a test"), Chronicle(self.store) as chronicle:
            chronicle.begin()
        with self.store.lock("a test"), Chronicle(self.store) as chronicle:
            chronicle.catch_up()
            chronicle.finish()

    @property
    def store(self) -> Store:
        return Store.open(self.folder)

    def populate(self, *args: str, **more: Any) -> Said:
        """What the command says, with `--json`."""
        done = CliRunner().invoke(populate, ["-c", self._config(**more), "--json", *args])
        error = done.exception if isinstance(done.exception, MirrorError) else None
        if done.exception is not None and error is None and not isinstance(done.exception, SystemExit):
            raise done.exception
        code = error.exit_code if error is not None else done.exit_code
        return Said(code, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.splitlines(), error)

    def populating(self, *args: str, program: str = POPULATE) -> subprocess.Popen[bytes]:
        """The same in a process of its own, which is still at work."""
        command = [sys.executable, "-c", program, "-c", self._config(), *args]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _config(self, **more: Any) -> str:
        path = self.folder.with_name("populate.yaml")
        path.write_text(json.dumps(self.settings(**more).model_dump(mode="json")))
        return str(path)

    def held(self, dataset_id: str | None = None) -> dict[str, int]:
        """The keys whose content is there. The location log says so of each, and of no other."""
        repository = self.store.dataset(dataset_id or self.store.dataset_id(self.one))
        held = dict(contents.held(repository.path))
        uuid = annex_uuid(repository)
        known = self.keys_known(repository.path)
        noted = {key for key, is_there in present_in(repository, uuid, known) if is_there}
        assert noted == set(held)
        return held

    @staticmethod
    def keys_known(repository: Path) -> list[str]:
        """The keys that the git-annex branch has logs of."""
        command = ["git", "-C", str(repository), "ls-tree", "-r", "--name-only", "git-annex"]
        listed = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
        return [Path(name).name.removesuffix(".log") for name in listed if name.endswith(".log") and "/" in name]

    def asked(self, method: str = "GET") -> int:
        """How often the bucket was asked for content."""
        return self.archive.count(server="s3", method=method, path=r"/(blobs|zarr)/")

    def body(self, key: str, dataset_id: str | None = None) -> bytes:
        place = contents.found(self.store.dataset(dataset_id or self.store.dataset_id(self.one)).path, key)
        assert place is not None
        return place.read_bytes()


class Originals:
    """Mirrors that are made once, each with its archive. Tests have copies, at the addresses that are recorded in
    them: an archive with the same start and seed, filled alike, is the same archive."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, tuple[Path, int, int]] = {}

    @contextmanager
    def copied(self, to: Path, fill: Fill, more: dict[str, Any]) -> Iterator[Mirror]:
        folder, port, s3_port = self._original(fill, more)
        shutil.copytree(folder, to, symlinks=True)
        try:
            archive = DemoArchive(start=START, seed=1, port=port, s3_port=s3_port)
        except OSError:  # somebody has that port by now: made anew, at another
            shutil.rmtree(to)
            archive = DemoArchive(start=START, seed=1)
        with archive:
            yield Mirror(archive, to, more, fill)

    def _original(self, fill: Fill, more: dict[str, Any]) -> tuple[Path, int, int]:
        name = f"{fill.__qualname__} {json.dumps(more)}"
        if name not in self._made:
            folder = self._folder / str(len(self._made)) / "mirror"
            with DemoArchive(start=START, seed=1) as archive:
                Mirror(archive, folder, more, fill)
                ports = [urlsplit(url).port for url in (archive.api_url, archive.s3_endpoint)]
            self._made[name] = folder, ports[0] or 0, ports[1] or 0
        return self._made[name]


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Originals:
    return Originals(tmp_path_factory.mktemp("originals"))


@pytest.fixture
def mirror_with(originals: Originals, tmp_path: Path) -> Iterator[Callable[..., Mirror]]:
    """A mirror with more in its archive, or with other settings."""
    with ExitStack() as stack:
        yield lambda fill=nothing_more, **more: stack.enter_context(originals.copied(tmp_path / "mirror", fill, more))


@pytest.fixture
def mirror(mirror_with: Callable[..., Mirror]) -> Mirror:
    return mirror_with()


@pytest.fixture(name="key_of", scope="session")
def key_of_content() -> Callable[[str, bytes], str]:
    """The key of a file's content."""
    return key_of


@pytest.fixture(scope="session")
def files() -> dict[str, bytes]:
    """What is annexed of the first Dandiset, from small to large."""
    return FILES
