"""The store on disk: a RIA store that anybody may read, whoever made it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.archive.records import Instance
from mirror.errors import NoStore, StoreError
from mirror.store.state import DandisetState
from mirror.store.store import Store


@pytest.fixture(params=[0o022, 0o077, 0o000], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): stat.filemode(path.lstat().st_mode)
        for path in folder.rglob("*")
        if not path.is_symlink()
    }


def git_config(repository: Path, name: str) -> str:
    done = subprocess.run(
        ["git", "config", "--file", str(repository / "config"), name], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_new_store_is_a_ria_store(store: Store) -> None:
    assert (store.public / "ria-layout-version").read_bytes() == b"1\n"
    assert {path.name for path in store.public.iterdir()} == {"ria-layout-version", "error_logs", "alias"}
    assert {path.name for path in store.root.iterdir()} == {"public", "state"}


def test_a_dataset_lies_under_its_id_and_is_found_by_its_alias(store: Store) -> None:
    repository = store.create_repository("000027")
    dataset_id = store.dataset_id("000027")
    assert repository.path == store.public / dataset_id[:3] / dataset_id[3:]
    assert (repository.path / "ria-layout-version").read_bytes() == b"2\n"
    assert store.dandisets() == []
    store.publish_alias("000027")
    assert str(store.alias("000027").readlink()) == f"../{dataset_id[:3]}/{dataset_id[3:]}"
    assert store.alias("000027").resolve() == repository.path.resolve()
    assert store.dandisets() == ["000027"]


def test_an_alias_that_points_elsewhere_is_put_right(store: Store) -> None:
    repository = store.create_repository("000027")
    store.alias("000027").symlink_to("../nowhere")
    store.publish_alias("000027")
    assert store.alias("000027").resolve() == repository.path.resolve()
    assert [path.name for path in store.alias("").iterdir()] == ["000027"]


def test_a_repository_knows_its_annex_uuid_so_that_content_in_it_is_found(store: Store, tmp_path: Path) -> None:
    repository = store.create_repository("000027")
    uuid = git_config(repository.path, "annex.uuid")
    assert git_config(repository.path, "annex.version") == "10"
    assert (repository.path / "HEAD").read_text() == "ref: refs/heads/draft\n"
    other = Store.open_or_create(tmp_path / "other", Instance("DANDI", "https://dandiarchive.org"))
    assert git_config(other.create_repository("000027").path, "annex.uuid") != uuid
    assert other.dataset_id("000027") == store.dataset_id("000027")


def test_what_is_there_already_is_left_as_it_is(store: Store, instance: Instance) -> None:
    repository = store.create_repository("000027")
    (repository.path / "config").write_text("[annex]\n\tuuid = mine\n")
    facts = store.facts
    again = Store.open_or_create(store.root, instance)
    assert again.facts == facts
    assert (again.create_repository("000027").path / "config").read_text() == "[annex]\n\tuuid = mine\n"


@pytest.mark.usefixtures("umask")
def test_everybody_may_read_it_whatever_the_umask(tmp_path: Path, instance: Instance) -> None:
    store = Store.open_or_create(tmp_path / "deep" / "store", instance)
    store.create_repository("000027")
    store.publish_alias("000027")
    store.save_state(DandisetState(identifier="000027"))
    found = modes(tmp_path)
    private = {path for path in found if path.endswith("mirror.lock")}
    assert {mode for path, mode in found.items() if path not in private} <= {"drwxr-xr-x", "-rw-r--r--"}
    assert found["deep/store/public/alias"] == "drwxr-xr-x"


def test_where_there_is_no_store_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoStore, match=r"there is no store at .*nothing") as caught:
        Store.open(tmp_path / "nothing")
    assert caught.value.exit_code == 10


def test_a_store_is_of_one_archive(store: Store) -> None:
    with pytest.raises(StoreError, match=r"mirrors https://dandiarchive\.org, not https://other\.example\.org"):
        Store.open_or_create(store.root, Instance("OTHER", "https://other.example.org"))


def test_a_folder_with_something_else_in_it_is_no_place_for_a_store(tmp_path: Path, instance: Instance) -> None:
    (tmp_path / "thesis.docx").write_text("years of work")
    with pytest.raises(StoreError, match="neither empty nor a store"):
        Store.open_or_create(tmp_path, instance)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


def test_a_store_whose_making_was_interrupted_is_made_again(store: Store, instance: Instance) -> None:
    (store.root / "state" / "store.json").unlink()
    assert Store.open_or_create(store.root, instance).facts.instance == "DANDI"


@pytest.mark.parametrize("body", [b"", b"{", b'{"id": "x"}'])
def test_a_store_that_lost_its_id_is_not_given_another_in_silence(
    store: Store, instance: Instance, body: bytes
) -> None:
    (store.root / "state" / "store.json").write_bytes(body)
    with pytest.raises(StoreError, match="restore it from a backup"):
        Store.open_or_create(store.root, instance)


def test_what_was_looked_at_is_known_though_nothing_of_it_is_mirrored(store: Store) -> None:
    store.save_state(DandisetState(identifier="000004"))
    store.create_repository("000003")
    store.publish_alias("000003")
    assert store.known() == ["000003", "000004"]
    assert [state.identifier for state in store.states()] == ["000003", "000004"]


def test_a_superdataset_is_no_dandiset(store: Store) -> None:
    (store.public / "alias" / "dandisets").symlink_to("../abc/def")
    assert store.dandisets() == []


def test_folders_that_are_gone_are_made_again(store: Store) -> None:
    """Somebody put `store.json` back, and nothing else."""
    for folder in ("dandisets", "tmp"):
        (store.root / "state" / folder).rmdir()
    with store.lock("test"):
        store.save_state(DandisetState(identifier="000001"))
    assert Store.open(store.root).known() == ["000001"]


def test_a_store_without_its_state_says_what_it_lacks(store: Store, instance: Instance) -> None:
    shutil.rmtree(store.root / "state")
    with pytest.raises(StoreError, match="has lost its folder `state`"):
        Store.open_or_create(store.root, instance)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_nobody_works_in_the_store_of_somebody_else(store: Store) -> None:
    """What root writes, the store's owner could not change any more."""
    os.chown(store.root / "state" / "store.json", 65534, 65534)
    with pytest.raises(StoreError, match=r"belongs to \w+, not to root .* sudo -u \w+"), store.lock("test"):
        pytest.fail("it was locked")


def test_a_disk_of_its_own_is_empty(tmp_path: Path, instance: Instance) -> None:
    (tmp_path / "disk" / "lost+found").mkdir(parents=True)
    Store.open_or_create(tmp_path / "disk", instance)
    (tmp_path / "used" / "holiday").mkdir(parents=True)
    with pytest.raises(StoreError, match="neither empty nor a store"):
        Store.open_or_create(tmp_path / "used", instance)
