"""A store that holds content, of an archive that is gone; each test has a copy of its own."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.store.store import Store
from mirror.sync.engine import sync

sys.path.insert(0, str(Path(__file__).parent))  # for `kept_store`

from kept_store import FILES, NOT_HELD, UNPUBLISHED, ZARR, Commands, Kept, hold


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
    return Kept(root, made.one, made.two, made.first, made.second, made.zarr)


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


@pytest.fixture
def plain_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """git as most people have it: without what the tests' own settings allow."""
    config = tmp_path / "gitconfig"
    config.write_text("[user]\n\tname = A Tester\n\temail = tester@example.org\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
