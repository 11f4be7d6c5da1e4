"""Going through a Zarr next to what was held of it comes to the same as going through it anew.

And what a repository then has is, file by file and key by key, what git and git-annex expect.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote

from hypothesis import example, given
from hypothesis import strategies as st

from mirror.annex import hashdirs
from mirror.annex.keys import md5e_key
from mirror.annex.remotes import dandiapi_remote
from mirror.archive.records import Instance
from mirror.archive.s3 import ObjectVersion
from mirror.dataset.layout import NUMBER
from mirror.dataset.names import tree_path
from mirror.dataset.zarr.folders import Folder, folders_of
from mirror.dataset.zarr.manifest import Change, Origin, read_manifest
from mirror.demo.zarr_checksums import ZarrFile, zarr_checksum
from mirror.git.objects import MODE_LINK, Oid, hash_object
from mirror.git.repository import Repository
from mirror.store.store import Store
from mirror.sync.zarr.held import HeldZarr
from mirror.sync.zarr.in_repository import RepositoryTarget
from mirror.sync.zarr.recording import Recorded, Recorder
from mirror.sync.zarr.subject import Subject
from mirror.sync.zarr.trees import FolderTrees, own_entries
from tests.conftest import examples

if TYPE_CHECKING:
    from tests.sync.conftest import Git

ZARR_ID = "2c57d0e2-3cf4-4be9-8c36-0dc2f1e6c5a1"
PREFIX = f"zarr/{ZARR_ID}/"
SUBJECT = Subject(
    ZARR_ID,
    f"https://dandiarchive.s3.amazonaws.com/{PREFIX}",
    "https://api.dandiarchive.org/api",
    dandiapi_remote("b3b4b6b0-0000-5000-8000-000000000000", "api.dandiarchive.org"),
)


@dataclass(frozen=True)
class File:
    """A content, how often it was written, and when."""

    content: bytes
    version: int
    second: int


State = dict[str, File]

PARTS = st.sampled_from(
    ["a", "b", "a.b", "a-", "0", "0.0", ".git", ".zarray", "é \U0001f9e0", "100%", "x.nii.gz", "\uffee"]
)
FILES = st.builds(File, st.sampled_from([b"", b"one", b"two"]), st.integers(1, 2), st.integers(10, 59))


def without_conflicts(files: State) -> State:
    needed = {str(parent) for path in files for parent in PurePosixPath(path).parents}
    return {path: file for path, file in files.items() if path not in needed}


STATES = st.dictionaries(st.lists(PARTS, min_size=1, max_size=3).map("/".join), FILES, max_size=14).map(
    without_conflicts
)


@st.composite
def neighbours(draw: st.DrawFn) -> tuple[State, State]:
    """Two states of which the second is the first with some files put, changed and removed."""
    before = draw(STATES)
    gone = draw(st.sets(st.sampled_from(sorted(before)), max_size=4)) if before else set()
    after = {path: file for path, file in before.items() if path not in gone} | draw(STATES)
    return before, without_conflicts(after)


PAIRS = st.one_of(neighbours(), st.tuples(STATES, STATES))


def listed(state: State) -> list[Folder]:
    pages = [[_listed(path, state[path])] for path in sorted(state, key=str.encode)]
    return list(folders_of(pages, PREFIX))


def _listed(path: str, file: File) -> ObjectVersion:
    digest = md5(file.content, usedforsecurity=False).hexdigest()
    when = f"2026-11-20T15:34:{file.second}.000Z"
    return ObjectVersion(PREFIX + path, f"v.{file.version}", digest, len(file.content), when, True)


def record(state: State, held: bytes | None = None, *, trusted: bool = True) -> tuple[Recorded, bytes, list[Change]]:
    """What it comes to, the manifest, and the files that were said to differ."""
    manifest, changes = bytearray(), list[Change]()
    recorder = Recorder(
        facts_for=SUBJECT.facts,
        own=lambda facts: own_entries(facts, hash_object),
        trees=FolderTrees(hash_object),
        head=Origin(NUMBER, SUBJECT.address, SUBJECT.api).head(),
        manifest=manifest.extend,
        held=read_manifest([held]) if held is not None else None,
        changed=changes.append,
        trusted=trusted,
    )
    return recorder.record(listed(state)), bytes(manifest), changes


@given(PAIRS, st.booleans())
@examples(60)
@example(({"a/b": File(b"", 1, 10)}, {"a": File(b"", 1, 10)}), True)
@example(({"a": File(b"", 1, 10)}, {"a/b/c": File(b"", 1, 10)}), True)
@example(({"a/b": File(b"", 1, 10), "a.b/b": File(b"", 1, 10)}, {"a.b/b": File(b"", 1, 10)}), True)
@example(({}, {}), True)
def test_next_to_a_held_state_it_comes_to_the_same_as_anew(pair: tuple[State, State], trusted: bool) -> None:
    before, after = pair
    _, held, changes = record(before)
    assert changes == []
    anew, manifest, _ = record(after)
    found, manifest_found, _ = record(after, held, trusted=trusted)
    assert found == anew
    assert manifest_found == manifest
    files = [
        ZarrFile(path, md5(file.content, usedforsecurity=False).hexdigest(), len(file.content))
        for path, file in after.items()
    ]
    assert str(found.checksum) == zarr_checksum(files)


@given(PAIRS, st.booleans())
def test_exactly_the_files_that_differ_are_told_and_when_the_latest_of_all_was_written(
    pair: tuple[State, State], trusted: bool
) -> None:
    before, after = pair
    found, _, changes = record(after, record(before)[1], trusted=trusted)
    different = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert sorted(change.path for change in changes) == sorted(quote(path).encode() for path in different)
    for change in changes:
        assert (change.before is None) == (change.path not in {quote(path).encode() for path in before})
        assert (change.after is None) == (change.path not in {quote(path).encode() for path in after})
    times = [f"2026-11-20T15:34:{file.second}.000Z" for file in after.values()]
    assert found.modified == max(times, default="")


@given(STATES)
def test_a_zarr_that_is_as_it_was_is_taken_over_as_a_whole(state: State) -> None:
    recorded, held, _ = record(state)
    again, manifest, changes = record(state, held)
    assert (again, manifest, changes) == (recorded, held, [])


def new_store(folder: Path) -> Store:
    return Store.open_or_create(folder, Instance("DANDI", "https://dandiarchive.org", "10.48324"))


def write(store: Store, state: State, held: HeldZarr | None) -> HeldZarr:
    folder = store.zarr(ZARR_ID)
    with folder.lock(), RepositoryTarget(store, folder, SUBJECT, held) as target:
        return target.keep(target.record(listed(state)))


def links(repository: Repository, commit: Oid) -> dict[str, str]:
    """Path in the tree and key of every file that is a link."""
    found = {}
    with repository.objects() as objects:
        for path, entry in objects.list_tree(objects.commit(commit).tree):
            if entry.mode == MODE_LINK:
                target = objects.blob(entry.oid).decode()
                key = target.rpartition("/")[2]
                assert target.encode() == hashdirs.link_target(path, key)
                found[path.decode()] = key
    return found


def expected_links(state: Mapping[str, File]) -> dict[str, str]:
    found = {}
    for path, file in state.items():
        where = tree_path(path).decode()
        found[where] = md5e_key(path, len(file.content), md5(file.content, usedforsecurity=False).hexdigest())
    return found


@given(st.lists(STATES, min_size=1, max_size=4))
@examples(12)
def test_the_repository_of_every_state_has_exactly_its_files_and_keys(git: Git, states: list[State]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = new_store(Path(folder, "store"))
        held: HeldZarr | None = None
        for number, state in enumerate(states):
            held = write(store, state, held)
            alone = write(new_store(Path(folder, f"alone-{number}")), state, None)
            tree = alone.draft.tree.hex()
            repository = store.dataset(ZARR_ID)
            assert links(repository, held.oid) == expected_links(state)
            assert git(repository.path, "rev-parse", "draft^{tree}") == tree
            assert git(repository.path, "rev-parse", f"refs/tags/{held.checksum}^{{tree}}") == tree
        git(repository.path, "fsck", "--strict", "--full")
