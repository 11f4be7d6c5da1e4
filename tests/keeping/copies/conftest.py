"""A store that holds content, of an archive that is gone; each test has a copy of its own."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.keeping.bundle.making import make_bundle
from mirror.store.store import Store
from mirror.sync.engine import sync

sys.path.insert(0, str(Path(__file__).parent))  # for `kept_store`

from kept_store import FILES, NOT_HELD, UNPUBLISHED, ZARR, BackedUpOnce, Commands, Kept, hold, looks_of


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    root = tmp_path_factory.mktemp("kept") / "store"
    with DemoArchive(seed=1) as archive:
        where = {"instance": "demo-dandi", "api_url": archive.api_url, "s3_endpoint": archive.s3_endpoint}
        settings = Settings.model_validate({"archive": {**where, "settle_seconds": 0}, "store": root, "jobs": 1})
        one = archive.create_dandiset("Ripples")
        archive.add_assets(one, [*FILES.items(), ("README.md", b"# Ripples\n")])
        first = archive.publish(one)
        archive.add_assets(one, [NOT_HELD])
        zarr = archive.add_zarr(one, "sub-1/image.zarr", ZARR)
        second = archive.publish(one, allow_zarrs=True)
        archive.add_assets(one, [UNPUBLISHED])
        two = archive.create_dandiset("Waves")
        archive.add_assets(two, [("same.nwb", FILES["sub-1/a.nwb"]), ("other.nwb", b"another recording")])
        sync(settings).check()
    store = Store.open(root)
    zarr_files = {f"sub-1/image.zarr/{name}": body for name, body in ZARR.items()}
    hold(store, one, {**FILES, **zarr_files, UNPUBLISHED[0]: UNPUBLISHED[1]})
    hold(store, two, {"same.nwb": FILES["sub-1/a.nwb"], "other.nwb": b"another recording"})
    return Kept(root, one, two, first, second, zarr)


@pytest.fixture
def kept(made: Kept, tmp_path: Path) -> Kept:
    root = tmp_path / "store"
    shutil.copytree(made.root, root, symlinks=True)
    return replace(made, root=root)


@pytest.fixture(scope="session")
def backed_up(made: Kept, tmp_path_factory: pytest.TempPathFactory) -> BackedUpOnce:
    """The same after a first backup, made once. A remote knows its path: so each test has it at the same one."""
    folder = tmp_path_factory.mktemp("backed")
    now = folder / "now"
    shutil.copytree(made.root, now / "store", symlinks=True)
    (now / "nas").mkdir()
    nas = {"name": "nas", "type": "directory", "options": {"directory": str(now / "nas")}}
    kept = replace(made, root=now / "store")
    before = looks_of(kept)
    said = Commands(now).backup("--json", backup=[nas])
    after = looks_of(kept)
    now.rename(folder / "made")
    return BackedUpOnce(kept, Commands(now), nas, now, said, before, after)


@pytest.fixture
def backed(backed_up: BackedUpOnce) -> BackedUpOnce:
    now = backed_up.folder
    shutil.rmtree(now, ignore_errors=True)
    shutil.copytree(now.with_name("made"), now, symlinks=True)
    return backed_up


@pytest.fixture(scope="session")
def bundled(made: Kept, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the first Dandiset as a folder, made once, of a store that is gone."""
    folder = tmp_path_factory.mktemp("bundled")
    shutil.copytree(made.root, folder / "store", symlinks=True)
    make_bundle(Store.open(folder / "store"), made.one, None, folder / "disk")
    shutil.rmtree(folder / "store")
    return folder / "disk"


@pytest.fixture
def disk(bundled: Path, tmp_path: Path) -> Path:
    """A copy of it, for which nothing else is there."""
    return shutil.copytree(bundled, tmp_path / "disk")


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


@pytest.fixture
def plain_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """git as most people have it: without what the tests' own settings allow."""
    config = tmp_path / "gitconfig"
    config.write_text("[user]\n\tname = A Tester\n\temail = tester@example.org\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
