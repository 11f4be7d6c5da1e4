"""What a dead process, lost marks or a later layout leave undone of a Zarr is done by the next sync."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mirror.dataset.zarr import documents
from mirror.demo import DemoArchive
from mirror.demo.faults import LostVersions
from mirror.store.store import Store
from mirror.store.zarrs import ZarrFolder
from mirror.sync.zarr import held, in_manifest, in_repository, materializing, target
from mirror.sync.zarr.materialize import materialize

if TYPE_CHECKING:
    from tests.sync.conftest import Git, MirrorOnce
    from tests.sync.zarr.conftest import Submodules, ZarrRefs

PATH = "sub-1/image.zarr"
FILES = {".zgroup": b"{}", "0/0": b"one", "0/1": b"two"}


class Killed(BaseException):
    """As good as a kill: nothing catches it."""


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> object:
    """Lets the next call of a method end everything, once."""

    def arm(where: object, name: str) -> None:
        honest = getattr(where, name)

        def strike(*_: object, **__: object) -> None:
            monkeypatch.setattr(where, name, honest)
            raise Killed

        monkeypatch.setattr(where, name, strike)

    return arm


@pytest.mark.parametrize("lost", ["killed before the marks are saved", "the marks are lost"])
def test_a_zarr_that_failed_is_looked_at_again_though_nobody_remembers_that_it_failed(
    archive: DemoArchive,
    dandiset: str,
    mirror_once: MirrorOnce,
    submodules: Submodules,
    zarr_refs: ZarrRefs,
    store: Path,
    killed_at: object,
    lost: str,
) -> None:
    zarr_id = archive.add_zarr(dandiset, PATH, FILES)
    mirror_once().check()
    archive.change_zarr(dandiset, PATH, {"0/2": b"three"})
    archive.s3_faults.add(LostVersions(1), path=f"prefix=zarr/{zarr_id}/", times=None)
    if lost.startswith("killed"):
        killed_at(Store, "save_state")  # type: ignore[operator]
        with pytest.raises(Killed):
            mirror_once()
    else:
        mirror_once()
        (store / "state/dandisets" / f"{dandiset}.json").unlink()
    archive.s3_faults.clear()
    mirror_once().check()
    assert submodules(dandiset) == {PATH: zarr_refs(zarr_id)["refs/heads/draft"]}
    assert f"refs/tags/{archive.zarr(zarr_id).checksum}" in zarr_refs(zarr_id)


@pytest.mark.parametrize("step", ["publish_as", "forget_commits"])
def test_a_repository_that_was_just_written_from_its_manifest_is_finished_by_asking_again(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, store: Path, killed_at: object, step: str
) -> None:
    zarr_id = archive.add_zarr(dandiset, PATH, FILES)
    mirror_once(zarr__hold="manifest").check()
    mirror = Store.open(store)
    killed_at(Store if step == "publish_as" else ZarrFolder, step)  # type: ignore[operator]
    with pytest.raises(Killed):
        materialize(mirror, zarr_id)
    assert materialize(mirror, zarr_id).result == "there"
    assert mirror.alias(zarr_id).exists()
    assert sorted(path.name[:8] for path in mirror.zarr(zarr_id).path.iterdir()) == ["lock", "manifest"]


def test_a_zarr_with_a_repository_is_known_though_all_else_of_it_was_lost(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, store: Path
) -> None:
    zarr_id = archive.add_zarr(dandiset, PATH, FILES)
    mirror_once().check()
    mirror = Store.open(store)
    for path in mirror.zarr(zarr_id).path.iterdir():
        path.unlink()
    mirror.zarr(zarr_id).path.rmdir()
    assert materialize(mirror, zarr_id).result == "there"


@pytest.mark.parametrize("hold", ["repository", "manifest"])
def test_in_a_later_layout_a_zarr_is_recorded_anew(
    archive: DemoArchive,
    dandiset: str,
    mirror_once: MirrorOnce,
    submodules: Submodules,
    zarr_refs: ZarrRefs,
    git: Git,
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    hold: str,
) -> None:
    zarr_id = archive.add_zarr(dandiset, PATH, FILES)
    mirror_once(zarr__hold=hold).check()
    later = documents.NUMBER + 1
    for module in (documents, target, in_manifest, in_repository, materializing, held):
        monkeypatch.setattr(module, "NUMBER", later)
    archive.add_asset(dandiset, "a.nwb", b"a")
    mirror_once(everything=True).check()
    draft = zarr_refs(zarr_id)["refs/heads/draft"]
    assert submodules(dandiset) == {PATH: draft}
    message = git(Store.open(store).alias(zarr_id), "show", "-s", "--format=%B", draft)
    assert f"Layout: {later}" in message.splitlines()


@pytest.mark.parametrize("checksum", ["0" * 32, f"{'0' * 32}-{'9' * 5000}--1", "nonsense"])
def test_a_checksum_that_is_none_is_the_trouble_of_its_zarr_alone(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, submodules: Submodules, store: Path, checksum: str
) -> None:
    other = "other.zarr"
    archive.add_zarr(dandiset, other, FILES)
    zarr_id = archive.add_zarr(dandiset, PATH, FILES)
    archive.zarr(zarr_id).checksum = checksum
    for asset in archive.assets.values():
        asset.forget_json()
    report = mirror_once()
    assert report.count("failed") == 1
    assert submodules(dandiset).keys() == {other}
    assert Store.open(store).state(dandiset).zarrs_failed.keys() == {PATH}


def test_names_in_a_zarr_that_may_trouble_somebody_are_mirrored_and_told(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, git: Git, store: Path
) -> None:
    odd = {"0/A": b"1", "0/a": b"2", "B/x": b"3", "b/y": b"4", "tab\t": b"5", "n" * 256: b"6", "fine/0": b"7"}
    zarr_id = archive.add_zarr(dandiset, PATH, odd)
    (outcome,) = mirror_once().outcomes
    told = [text for text in outcome.warnings if zarr_id in text]
    assert len(told) == 4
    for name, why in (("'0/a'", "differs only in case"), ("'b'", "case"), (r"'tab\t'", "control"), ("'nnn", "255")):
        assert any(name in text and why in text for text in told), (name, told)
    files = git(Store.open(store).alias(zarr_id), "ls-tree", "-rz", "--name-only", "draft").split("\0")
    assert odd.keys() < set(files)


def test_that_another_zarr_stands_at_a_path_is_said(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, submodules: Submodules, zarr_refs: ZarrRefs
) -> None:
    archive.add_zarr(dandiset, PATH, FILES)
    mirror_once().check()
    archive.remove_asset(dandiset, PATH)
    second = archive.add_zarr(dandiset, PATH, FILES)
    report = mirror_once()
    assert any(PATH in text and "another Zarr" in text for text in report.outcomes[0].warnings)
    assert submodules(dandiset) == {PATH: zarr_refs(second)["refs/heads/draft"]}
