"""What is written depends on what the archive says, not on the way there.

A mirror that followed a Dandiset step by step, losing its caches on the way, holds what a mirror made just now holds.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.annex import hashdirs, logs, metadata
from mirror.dataset import records
from mirror.demo import DemoArchive
from mirror.errors import NotFound, UsageError
from mirror.git.objects import MODE_GITLINK, MODE_LINK, Entry
from mirror.store.store import Store
from mirror.sync.engine import sync
from tests.conftest import examples

if TYPE_CHECKING:
    from tests.sync.conftest import SettingsOf

START = datetime(2026, 11, 20, 15, 34, 17, tzinfo=UTC)
IDENTIFIER = "000001"

FOLDER = [f"sub-1/sub-1_ses-{number}.nwb" for number in range(7)]
PATHS = [
    *FOLDER,
    *(f"sub-1/deep/part-{number}.bin" for number in range(3)),
    *("README.md", "participants.tsv", "top.nwb", "sub-1/notes.json"),
    # what is escaped, in the tree or in the folders of records
    *("dandiset.yaml", "100%/x.nwb", "sub-1/assets.jsonl/a.nwb", ".gitattributes", "ünï/😀 a.nwb"),
]
CONTENTS = [b"", b"one\n", b"two\n", b"\x00three"]


@dataclass(frozen=True)
class Edit:
    """One thing that happens to the archive, or to the mirror."""

    what: str
    path: str
    other: str
    content: bytes


edits = st.builds(
    Edit,
    st.sampled_from(
        [
            *("add", "replace", "describe", "rename", "remove", "publish", "fill", "clear"),
            *("add_unhashed", "hash", "add_zarr", "link_zarr", "change_zarr", "upload_zarr", "ingest", "touch"),
            *("retitle", "lose_index"),
        ]
    ),
    st.sampled_from(PATHS),
    st.sampled_from(PATHS),
    st.sampled_from(CONTENTS),
)
rounds = st.lists(st.lists(edits, min_size=1, max_size=4), min_size=1, max_size=4)
"""What happens between one sync and the next."""


@pytest.fixture(autouse=True, scope="module")
def _small_files() -> Iterator[None]:
    """Folders of records are spread over several files from four assets on, over 256 from 49 on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "RECORDS_PER_FILE", 3)
        yield


def apply(archive: DemoArchive, store: Path, edit: Edit) -> None:
    """Do it, where it can be done."""
    # There may be no such asset, or one already.
    with suppress(UsageError, NotFound):
        _apply(archive, store, edit)


def _apply(archive: DemoArchive, store: Path, edit: Edit) -> None:
    assets = archive.dandiset(IDENTIFIER).draft.assets
    match edit.what:
        case "add":
            archive.add_asset(IDENTIFIER, edit.path, edit.content, _species(edit.other))
        case "add_unhashed":
            archive.add_asset(IDENTIFIER, edit.path, edit.path.encode(), hashed=False)
        case "add_zarr":
            archive.add_zarr(IDENTIFIER, f"{edit.path}.zarr", {"0/0": edit.content, "0.0/x.y": b"x", edit.path: b"y"})
        case "link_zarr":
            archive.link_zarr(IDENTIFIER, f"{edit.path}.zarr", next(iter(archive.zarrs), ""))
        case "change_zarr":
            archive.change_zarr(IDENTIFIER, f"{edit.path}.zarr", {"0/0": edit.content, edit.other: b"z"})
        case "upload_zarr":
            archive.change_zarr(IDENTIFIER, f"{edit.path}.zarr", {"0/1": edit.content}, ingested=False)
        case "ingest":
            archive.ingest_zarr(IDENTIFIER, f"{edit.path}.zarr")
        case "replace":
            archive.replace_asset(IDENTIFIER, edit.path, content=edit.content)
        case "describe":
            archive.replace_asset(IDENTIFIER, edit.path, metadata=_species(edit.other))
        case "rename":
            archive.rename_asset(IDENTIFIER, edit.path, edit.other)
        case "remove":
            archive.remove_asset(IDENTIFIER, edit.path)
        case "fill":
            missing = [path for path in FOLDER if path not in assets]
            archive.add_assets(IDENTIFIER, [(path, edit.content) for path in missing])
        case "clear":
            for path in [path for path in assets if path.startswith("sub-1/")]:
                archive.remove_asset(IDENTIFIER, path)
        case "hash":
            archive.hash_now()
        case "touch":
            archive.touch_draft(IDENTIFIER)
        case "retitle":
            archive.edit_dandiset(IDENTIFIER, name=f"About {edit.path}")
        case "publish":
            archive.hash_now()
            archive.publish(IDENTIFIER)
        case "lose_index":
            for file in store.glob("state/index.sqlite*"):
                file.unlink()
        case _:
            raise AssertionError(edit.what)


def take_in(archive: DemoArchive) -> bool:
    """Let the archive take in the Zarrs that are being uploaded, if any are.

    Until then a mirror that followed has them as they were before, and one made now does not have them.
    """
    assets = list(archive.dandiset(IDENTIFIER).draft.assets.values())
    waiting = [asset.path for asset in assets if asset.zarr is not None and asset.zarr.checksum is None]
    for path in waiting:
        archive.ingest_zarr(IDENTIFIER, path)
    return bool(waiting)


def _species(name: str) -> dict[str, object]:
    return {"wasAttributedTo": [{"species": {"name": name, "identifier": name}}]}


@given(rounds)
@examples(12)
def test_a_mirror_that_followed_and_one_made_now_hold_the_same(
    settings_of: SettingsOf, history: list[list[Edit]]
) -> None:
    with tempfile.TemporaryDirectory() as folder, DemoArchive(start=START, seed=1) as archive:
        archive.create_dandiset("A Dandiset", identifier=IDENTIFIER)
        archive.add_assets(IDENTIFIER, [(path, path.encode()) for path in (*FOLDER[:5], "README.md")])
        followed = settings_of(archive, Path(folder, "followed"))
        sync(followed).check()
        for number, happened in enumerate(history):
            for edit in happened:
                apply(archive, followed.store, edit)
            sync(followed).check()
            if take_in(archive):
                sync(followed).check()
            made_now = settings_of(archive, Path(folder, f"made-{number}"))
            sync(made_now).check()
            assert _said_of_trees(followed.store) == _said_of_trees(made_now.store)
            assert _said_of_keys(followed.store) == _said_of_keys(made_now.store)


@pytest.mark.parametrize("left", range(8))
def test_a_folder_that_shrinks_all_at_once_is_as_if_it_had_never_been_large(
    settings_of: SettingsOf, tmp_path: Path, left: int
) -> None:
    """From several files of records to fewer, to one, and to none."""
    with DemoArchive(start=START, seed=1) as archive:
        archive.create_dandiset("A Dandiset", identifier=IDENTIFIER)
        archive.add_assets(IDENTIFIER, [(path, path.encode()) for path in (*FOLDER, "top.nwb")])
        followed, made_now = settings_of(archive, tmp_path / "followed"), settings_of(archive, tmp_path / "made now")
        sync(followed).check()
        for path in FOLDER[left:]:
            archive.remove_asset(IDENTIFIER, path)
        for mirror in (followed, made_now):
            sync(mirror).check()
        assert _said_of_trees(followed.store) == _said_of_trees(made_now.store)


def _said_of_trees(store: Path) -> dict[str, object]:
    """Every file of the draft, and every tag and branch of releases.

    Draft commits are the mirror's own, and when only the draft's times and status moved it writes none.
    """
    opened = Store.open(store)
    repository = opened.repository(IDENTIFIER)
    refs = repository.refs()
    with repository.objects() as objects:
        draft: dict[str, object] = {}
        for path, entry in objects.list_tree(objects.commit(refs["refs/heads/draft"]).tree):
            draft[path.decode()] = _tree_of(opened, path, entry) if entry.mode == MODE_GITLINK else entry
            if path == b".dandi/version.json":
                record = json.loads(objects.blob(entry.oid))
                draft[path.decode()] = {name: record[name] for name in record if name not in ("modified", "status")}
    return draft | {name: oid for name, oid in refs.items() if name not in ("refs/heads/draft", "refs/heads/git-annex")}


def _tree_of(store: Store, path: bytes, link: Entry) -> str:
    """The tree of a Zarr: its commits tell in which states it was seen before."""
    for zarr_id in store.zarrs():
        zarr = store.dataset(zarr_id)
        with zarr.objects() as objects:
            if link.oid in set(zarr.refs().values()) | {objects.commit(zarr.refs()["refs/heads/draft"]).parents[0]}:
                return objects.commit(link.oid).tree.hex()
    raise AssertionError(path)


def _said_of_keys(store: Path) -> dict[bytes, tuple[set[bytes], dict[str, list[str]]]]:
    """S3 addresses and metadata of every key that the draft holds, by git-annex's rules."""
    repository = Store.open(store).repository(IDENTIFIER)
    refs = repository.refs()
    found = {}
    with repository.objects() as objects:
        annex = objects.commit(refs["refs/heads/git-annex"]).tree
        for _, entry in objects.list_tree(objects.commit(refs["refs/heads/draft"]).tree):
            if entry.mode != MODE_LINK:
                continue
            key = objects.blob(entry.oid).rpartition(b"/")[2]
            path = hashdirs.lower(key.decode()) + b"/" + key
            web, told = objects.lookup(annex, path + b".log.web"), objects.lookup(annex, path + b".log.met")
            assert web is not None
            urls = {url for url in logs.present(objects.blob(web.oid)) if b"/blobs/" in url}
            found[key] = urls, metadata.decode(objects.blob(told.oid)) if told is not None else {}
    return found
