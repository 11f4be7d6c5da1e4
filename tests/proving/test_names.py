"""Whatever is damaged in a repository is found, without asking the archive."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.errors import NoRoom
from mirror.git.repository import Repository
from mirror.proving.findings import Stopped, SubjectProved, Teller
from mirror.proving.fsck import fsck
from mirror.proving.names import prove_names
from mirror.proving.records import Need, Needs
from mirror.proving.verify import Prover
from mirror.proving.zarr_names import prove_zarr_names
from mirror.store.ledger import Level
from mirror.store.store import Store
from mirror.sync.engine import sync
from tests.proving.conftest import Git, Mirrored, Told, copied, holding_manifests, slices

Prove = Callable[[], Told]
Found = Callable[[], list[str]]
LEVEL: Level = "names"


@pytest.fixture
def repository(store: Store, dandiset: str) -> Path:
    return store.repository(dandiset).path


@pytest.fixture
def prove(store: Store, dandiset: str) -> Prove:
    """What is found now."""

    def run() -> Told:
        told = Told()
        result = SubjectProved(dandiset, LEVEL, str(store.alias(dandiset)))
        prove_names(store, dandiset, Teller(result, told), stop=lambda: False)
        told.subjects.append(result)
        return told

    return run


@pytest.fixture(params=["by git", "without git"])
def found(repository: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Found:
    """What is wrong with the repository, as git says and as it is said of one that is too large for git."""
    if request.param == "without git":
        monkeypatch.setattr("mirror.proving.fsck.MOST_FOR_GIT", 0)
    return lambda: list(fsck(Repository(repository), tmp_path))


def commit_tree(git: Git, repository: Path, ref: str, tree: str) -> None:
    """Move a branch to a commit of this tree that says what the one before said."""
    message = git(repository, "log", "-1", "--format=%B", ref)
    commit = git(repository, "commit-tree", tree, "-p", ref, "-m", message)
    git(repository, "update-ref", f"refs/heads/{ref}", commit)


def without(git: Git, repository: Path, ref: str, path: str) -> str:
    """The tree of a branch without one file."""
    return with_line(git, repository, ref, f"0 {'0' * 40}\t{path}")


def with_file(git: Git, repository: Path, ref: str, path: str, mode: str, body: bytes) -> str:
    """The tree of a branch with another file at a path."""
    blob = git(repository, "hash-object", "-w", "--stdin", stdin=body)
    return with_line(git, repository, ref, f"{mode} {blob}\t{path}")


def with_line(git: Git, repository: Path, ref: str, line: str) -> str:
    index = repository / "an-index"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_INDEX_FILE", str(index))
        git(repository, "read-tree", ref)
        git(repository, "update-index", "--index-info", stdin=f"{line}\n".encode())
        tree = git(repository, "write-tree")
    index.unlink()
    return tree


def publish(git: Git, repository: Path) -> None:
    """As the mirror does after each change: so that only what a test means is wrong."""
    git(repository, "update-server-info")


def logs_of(git: Git, repository: Path, ending: str) -> list[str]:
    names = git(repository, "ls-tree", "-r", "--name-only", "git-annex").splitlines()
    return [name for name in names if name.endswith(ending)]


def test_of_a_whole_mirror_nothing_is_found(prove: Prove) -> None:
    told = prove()

    assert told.findings == []
    assert told.subjects[0].checked == 3 + 4  # assets of the published version, and of the draft


def loosen(git: Git, repository: Path) -> None:
    """Make every object a file of its own."""
    for pack in list(repository.glob("objects/pack/pack-*")):
        aside = repository / "aside" / pack.name
        aside.parent.mkdir(exist_ok=True)
        pack.rename(aside)
    git(repository, "unpack-objects", stdin=next(repository.glob("aside/*.pack")).read_bytes())


def overwrite(path: Path, change: Callable[[bytearray], None]) -> None:
    body = bytearray(path.read_bytes())
    change(body)
    path.chmod(0o644)
    path.write_bytes(body)


def flip_in_the_middle(body: bytearray) -> None:
    body[len(body) // 2] ^= 1


def test_in_a_whole_repository_nothing_is_found(git: Git, repository: Path, found: Found) -> None:
    assert found() == []
    loosen(git, repository)
    assert found() == []


def test_a_git_object_that_is_gone_is_found(git: Git, repository: Path, found: Found) -> None:
    lost = git(repository, "rev-parse", "draft:README.md")
    loosen(git, repository)
    (repository / "objects" / lost[:2] / lost[2:]).unlink()

    assert any(lost in line for line in found())


def test_a_flipped_byte_of_a_pack_is_found(repository: Path, found: Found) -> None:
    overwrite(next(repository.glob("objects/pack/*.pack")), flip_in_the_middle)
    assert found()


def test_a_flipped_byte_of_an_index_is_found(repository: Path, found: Found) -> None:
    # The last column but the checksums: where the objects stand.
    overwrite(next(repository.glob("objects/pack/*.idx")), lambda body: body.__setitem__(-45, body[-45] ^ 1))
    assert found()


def test_a_flipped_byte_of_a_loose_object_is_found(git: Git, repository: Path, found: Found) -> None:
    name = git(repository, "rev-parse", "draft:README.md")
    loosen(git, repository)
    overwrite(repository / "objects" / name[:2] / name[2:], flip_in_the_middle)
    assert any(name in line for line in found())


def test_a_ref_of_nothing_is_found(repository: Path, found: Found) -> None:
    (repository / "refs/heads/astray").write_text("1" * 40 + "\n")
    assert any("1" * 40 in line for line in found())


def test_of_a_repository_that_lost_all_its_packs_not_everything_is_said(
    git: Git, repository: Path, found: Found
) -> None:
    loosen(git, repository)
    for path in repository.glob("objects/[0-9a-f][0-9a-f]/*"):
        if git(repository, "cat-file", "-t", path.parent.name + path.name) == "blob":
            path.unlink()
    *lines, last = found()
    assert len(lines) == 20
    assert "`git fsck --strict` says what" in last


def test_looking_through_a_large_repository_is_broken_off_when_told_to_stop(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.proving.fsck.MOST_FOR_GIT", 0)
    before = list(tmp_path.iterdir())
    with pytest.raises(Stopped):
        list(fsck(Repository(repository), tmp_path, lambda: True))
    assert list(tmp_path.iterdir()) == before


def test_a_content_without_its_logs_is_found(prove: Prove, repository: Path, git: Git) -> None:
    log = logs_of(git, repository, ".nwb.log")[0]
    commit_tree(git, repository, "git-annex", without(git, repository, "git-annex", log))
    publish(git, repository)

    told = prove()

    assert told.kinds == {"logs"}
    assert "no location log" in told.findings[0].message
    assert told.findings[0].key == log.rpartition("/")[2].removesuffix(".log")


def test_a_content_without_addresses_is_found(prove: Prove, repository: Path, git: Git) -> None:
    log = logs_of(git, repository, ".log.web")[0]
    commit_tree(git, repository, "git-annex", without(git, repository, "git-annex", log))
    publish(git, repository)

    assert "no log of its addresses" in prove().findings[0].message


def test_a_line_that_git_annex_does_not_understand_is_found(prove: Prove, repository: Path, git: Git) -> None:
    log = logs_of(git, repository, ".nwb.log")[0]
    body = git(repository, "show", f"git-annex:{log}").encode() + b"\nyesterday 1 somewhere\n"
    commit_tree(git, repository, "git-annex", with_file(git, repository, "git-annex", log, "100644", body))
    publish(git, repository)

    assert "yesterday 1 somewhere" in prove().findings[0].message


def test_addresses_that_the_location_log_knows_nothing_of_are_found(prove: Prove, repository: Path, git: Git) -> None:
    log = logs_of(git, repository, ".nwb.log")[0]
    body = git(repository, "show", f"git-annex:{log}").replace("s 1 ", "s 0 ").encode() + b"\n"
    commit_tree(git, repository, "git-annex", with_file(git, repository, "git-annex", log, "100644", body))
    publish(git, repository)

    assert "does not say that the web has it" in prove().findings[0].message


def test_a_link_that_leads_elsewhere_is_found(prove: Prove, repository: Path, git: Git) -> None:
    tree = with_file(git, repository, "draft", "sub-3/sub-3_ecephys.nwb", "120000", b"../.git/annex/objects/x/y/Z/Z")
    commit_tree(git, repository, "draft", tree)
    publish(git, repository)

    told = prove()

    assert told.where("tree") == ["sub-3/sub-3_ecephys.nwb"]
    assert told.findings[0].version == "draft"


def test_a_text_that_is_another_is_found(prove: Prove, repository: Path, git: Git) -> None:
    commit_tree(git, repository, "draft", with_file(git, repository, "draft", "README.md", "100644", b"Ripples\n"))
    publish(git, repository)

    assert prove().where("tree") == ["README.md"]


def test_a_file_without_a_record_is_found(prove: Prove, repository: Path, git: Git) -> None:
    commit_tree(git, repository, "draft", with_file(git, repository, "draft", "sub-1/more.txt", "100644", b"more"))
    publish(git, repository)

    assert prove().where("tree") == ["sub-1/more.txt"]


def test_a_record_without_a_file_is_found(prove: Prove, repository: Path, git: Git) -> None:
    tree = without(git, repository, "draft", "sub-3/sub-3_ecephys.nwb")
    commit_tree(git, repository, "draft", tree)
    publish(git, repository)

    assert prove().where("tree") == ["sub-3/sub-3_ecephys.nwb"]


def test_records_that_are_gone_are_found_by_what_the_commit_says(prove: Prove, repository: Path, git: Git) -> None:
    tree = without(git, repository, "draft", ".dandi/assets/sub-3/assets.jsonl")
    commit_tree(git, repository, "draft", tree)
    publish(git, repository)

    told = prove()

    assert told.where("history") == ["draft"]
    assert told.where("tree") == ["sub-3/sub-3_ecephys.nwb"]


def test_a_tag_that_was_moved_is_found(prove: Prove, repository: Path, git: Git) -> None:
    tag = next(name for name in git(repository, "tag").splitlines() if "/" not in name)
    git(repository, "update-ref", f"refs/tags/{tag}", git(repository, "rev-parse", "draft"))
    publish(git, repository)

    told = prove()

    assert set(told.where("history")) >= {f"refs/tags/{tag}"}
    assert any("says that it is draft" in one.message or "says it is draft" in one.message for one in told.findings)


def test_a_tag_that_is_gone_is_found(prove: Prove, repository: Path, git: Git) -> None:
    for tag in git(repository, "tag").splitlines():
        git(repository, "update-ref", "-d", f"refs/tags/{tag}")
    publish(git, repository)

    assert "refs/heads/releases" in prove().where("history")


def test_refs_that_web_servers_do_not_hand_out_are_found(prove: Prove, repository: Path) -> None:
    (repository / "info" / "refs").write_text("")

    assert prove().kinds == {"published"}


def test_an_alias_that_leads_elsewhere_is_found(prove: Prove, store: Store, dandiset: str) -> None:
    alias = store.alias(dandiset)
    alias.unlink()
    alias.symlink_to("../abc/somewhere")

    assert prove().kinds == {"address"}


def test_it_ends_when_it_is_told_to_stop(store: Store, dandiset: str) -> None:
    result = SubjectProved(dandiset, LEVEL, "")

    with pytest.raises(Stopped):
        prove_names(store, dandiset, Teller(result, Told()), stop=lambda: True)


@pytest.fixture(params=[sync, holding_manifests])
def zarr_in_a_form(request: pytest.FixtureRequest, with_zarr: str, settings: Settings, mirrored: Mirrored) -> Store:
    """A mirror of a Zarr, in one of the two forms."""
    assert with_zarr
    return copied(mirrored(slices, request.param), settings)


def proved_zarr(store: Store) -> Told:
    told = Told()
    (zarr_id,) = store.zarrs()
    result = SubjectProved(zarr_id, LEVEL, "")
    prove_zarr_names(store, zarr_id, Teller(result, told), stop=lambda: False)
    told.subjects.append(result)
    return told


def test_the_files_of_a_zarr_add_up_to_its_checksum(zarr_in_a_form: Store) -> None:
    told = proved_zarr(zarr_in_a_form)

    assert told.findings == []
    assert told.subjects[0].checked == 5


def test_a_zarr_with_folders_as_deep_as_can_be_is_gone_through(
    archive: DemoArchive, with_zarr: str, zarr_path: str, settings: Settings
) -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(5000)  # the archive's own reckoning goes deeper
    try:
        archive.change_zarr(with_zarr, zarr_path, {"a/" * 480 + "x": b"deep"})
    finally:
        sys.setrecursionlimit(limit)
    sync(settings, [with_zarr])

    told = proved_zarr(Store.open(settings.store))

    assert (told.findings, told.subjects[0].checked) == ([], 6)


def test_a_zarr_whose_commit_is_gone_is_found(zarr_in_a_form: Store, with_zarr: str) -> None:
    zarr_store = zarr_in_a_form
    (zarr_id,) = zarr_store.zarrs()
    if zarr_store.dataset(zarr_id).path.is_dir():
        zarr_store.dataset(zarr_id).path.rename(zarr_store.root / "aside")
    else:
        (zarr_store.zarr(zarr_id).path / "commits.json").unlink()
    told = Told()

    prove_names(zarr_store, with_zarr, Teller(SubjectProved(with_zarr, LEVEL, ""), told), stop=lambda: False)

    assert told.kinds == {"zarr"}


def test_a_file_that_a_zarr_lost_is_found(zarr_store: Store, git: Git) -> None:
    (zarr_id,) = zarr_store.zarrs()
    repository = zarr_store.dataset(zarr_id).path
    commit_tree(git, repository, "draft", without(git, repository, "draft", "0/0/1"))
    publish(git, repository)

    told = proved_zarr(zarr_store)

    assert told.kinds == {"zarr"}
    assert "add up to" in told.findings[0].message


def test_a_manifest_that_is_cut_short_is_found(settings: Settings, mirrored: Mirrored) -> None:
    store = copied(mirrored(slices, holding_manifests), settings)
    (zarr_id,) = store.zarrs()
    manifest = next(store.zarr(zarr_id).path.glob("manifest-*.gz"))
    manifest.write_bytes(manifest.read_bytes()[:-20])

    assert proved_zarr(store).kinds == {"zarr"}


def test_zarrs_that_the_settings_leave_out_are_nothing_to_find(with_zarr: str, settings: Settings) -> None:
    zarr = settings.zarr.model_copy(update={"hold": "none"})
    sync(settings.model_copy(update={"zarr": zarr}), [with_zarr])
    told = Told()

    with Prover(settings, Store.open(settings.store), ("names", "urls"), watcher=told, against_archive=False) as prover:
        prover.run([with_zarr])

    assert told.findings == []
    assert {one.subject for one in told.subjects} == {with_zarr}


def test_a_disk_that_is_full_is_told_of_as_such(tmp_path: Path) -> None:
    with Needs(tmp_path) as needs:
        needs._db.execute("PRAGMA max_page_count = 8")
        with pytest.raises(NoRoom):
            needs.add(Need(f"SHA256E-s1--{number:064x}", 1, "a", "draft") for number in range(50_000))
