"""Content that is held here is read: what is damaged is never given to anybody again."""

from __future__ import annotations

import errno
import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.keeping.books import Books
from mirror.proving.sample import Sample
from mirror.proving.verify import Prover
from mirror.store.content_book import HeldContent
from mirror.store.contents import adopt, drop, found, held, share
from mirror.store.ledger import Found, Ledger, ledger_path
from mirror.store.locations import annex_uuid, note_locations, present_in
from mirror.store.proofs import proofs_of_dandiset
from mirror.store.store import Store
from mirror.sync.engine import sync
from tests.proving.conftest import Told

CONTENTS = [b"spikes of one", b"spikes of two", b"spikes of three"]


def key_of(content: bytes) -> str:
    return f"SHA256E-s{len(content)}--{hashlib.sha256(content).hexdigest()}.nwb"


@pytest.fixture
def repository(store: Store, dandiset: str, tmp_path: Path) -> Path:
    """The repository of the Dandiset, with all its content in it."""
    repository = store.repository(dandiset)
    for content in CONTENTS:
        file = tmp_path / "content"
        file.write_bytes(content)
        adopt(repository.path, key_of(content), file, settled=False)
    note_locations(repository, annex_uuid(repository), present=map(key_of, CONTENTS))
    return repository.path


def prove(settings: Settings, store: Store, dandiset: str, sample: Sample | None = None) -> Told:
    told = Told()
    with Prover(settings, store, ("bytes",), watcher=told, sample=sample) as prover:
        prover.run([dandiset])
    return told


def spoil(repository: Path, content: bytes) -> None:
    """Flip one bit of a content, as a disk does that says nothing of it."""
    place = found(repository, key_of(content))
    assert place is not None
    place.chmod(0o644)
    place.write_bytes(bytes([content[0] ^ 1]) + content[1:])


def said_here(store: Store, dandiset: str) -> set[str]:
    repository = store.repository(dandiset)
    told = present_in(repository, annex_uuid(repository), map(key_of, CONTENTS))
    return {key for key, present in told if present}


def test_content_that_is_whole_is_remembered_as_read(
    settings: Settings, store: Store, dandiset: str, repository: Path
) -> None:
    assert repository

    told = prove(settings, store, dandiset)

    assert told.findings == []
    assert (told.subjects[0].checked, told.subjects[0].bytes) == (3, sum(map(len, CONTENTS)))
    with Ledger(ledger_path(store.open_side)) as ledger:
        rows = ledger.rows(map(key_of, CONTENTS))
    assert {row.store for row in rows.values()} == {Found.OK}
    assert all(row.hashed_at for row in rows.values())


def test_a_flipped_bit_is_found_and_the_content_moved_aside(
    settings: Settings, store: Store, dandiset: str, repository: Path
) -> None:
    spoil(repository, CONTENTS[1])

    told = prove(settings, store, dandiset)

    damaged = key_of(CONTENTS[1])
    assert told.where("damaged") == [damaged]
    assert found(repository, damaged) is None
    assert (repository / "annex" / "bad" / damaged).is_file()
    assert said_here(store, dandiset) == {key_of(CONTENTS[0]), key_of(CONTENTS[2])}


def test_what_is_damaged_counts_as_not_held(settings: Settings, store: Store, dandiset: str, repository: Path) -> None:
    with Books(store) as books:
        dataset_id = store.dataset_id(dandiset)
        books.of(dataset_id).add(HeldContent(dataset_id, key_of(one), len(one), False) for one in CONTENTS)
    spoil(repository, CONTENTS[1])

    prove(settings, store, dandiset)

    with Books(store) as books:
        assert {one.key for one in books.of(dataset_id).held(dataset_id)} == {
            key_of(CONTENTS[0]),
            key_of(CONTENTS[2]),
        }
    with Ledger(ledger_path(store.open_side)) as ledger:
        figures = {one.version: one.figures for one in ledger.versions(dandiset)}["draft"]
    assert figures.store.files == 2


def test_content_that_is_cut_short_is_found(settings: Settings, store: Store, dandiset: str, repository: Path) -> None:
    place = found(repository, key_of(CONTENTS[0]))
    assert place is not None
    place.chmod(0o644)
    place.write_bytes(CONTENTS[0][:-1])

    told = prove(settings, store, dandiset)

    assert "12 bytes, not 13" in told.findings[0].message


def test_content_that_is_said_to_be_here_and_is_not_is_withdrawn(
    settings: Settings, store: Store, dandiset: str, repository: Path
) -> None:
    place = found(repository, key_of(CONTENTS[2]))
    assert place is not None
    place.unlink()

    told = prove(settings, store, dandiset)

    assert told.where("missing") == [key_of(CONTENTS[2])]
    assert key_of(CONTENTS[2]) not in said_here(store, dandiset)


def test_of_a_sample_only_some_is_read(settings: Settings, store: Store, dandiset: str, repository: Path) -> None:
    assert repository

    assert prove(settings, store, dandiset, Sample.parse("1")).subjects[0].checked == 1


def test_a_file_of_a_zarr_is_proved_as_well(
    settings: Settings, with_zarr: str, zarr_store: Store, tmp_path: Path
) -> None:
    store = zarr_store
    (zarr_id,) = store.zarrs()
    repository = store.dataset(zarr_id)
    key = f"MD5E-s6--{hashlib.md5(b'pixels').hexdigest()}"
    (tmp_path / "content").write_bytes(b"pixelS")
    adopt(repository.path, key, tmp_path / "content")
    note_locations(repository, annex_uuid(repository), present=[key])

    told = prove(settings, store, with_zarr)

    assert told.where("damaged") == [key]
    assert told.findings[0].subject == zarr_id


def test_a_zarr_that_was_broken_off_is_gone_on_with(
    settings: Settings, with_zarr: str, archive: DemoArchive, tmp_path: Path
) -> None:
    files = {f"1/{number}": b"chunk %d" % number for number in range(50)}
    archive.change_zarr(with_zarr, "sub-1/sub-1_image.ome.zarr", files)
    sync(settings, [with_zarr])
    store = Store.open(settings.store)
    (zarr_id,) = store.zarrs()
    repository = store.dataset(zarr_id)
    for content in files.values():
        (tmp_path / "content").write_bytes(content)
        key = f"MD5E-s{len(content)}--{hashlib.md5(content).hexdigest()}"
        adopt(repository.path, key, tmp_path / "content", settled=False)
    told, again = Told(), Told()
    with Prover(settings, store, ("bytes",), watcher=told, stop=lambda: reading(told) >= 30) as prover:
        assert prover.run([with_zarr]).stopped

    with Prover(settings, store, ("bytes",), watcher=again) as prover:
        assert not prover.run([with_zarr]).stopped

    assert (told.subjects[0].checked, again.subjects[0].checked) == (30, 20)


def reading(told: Told) -> int:
    """How many contents were read so far, by what is told."""
    counts = [int(text.split()[0]) for text in told.said if text.endswith("contents read")]
    return counts[-1] if counts else 0


def test_content_that_only_we_may_not_read_is_left_where_it_is(
    settings: Settings, store: Store, dandiset: str, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = found(repository, key_of(CONTENTS[1]))
    opened = Path.open

    def refused(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path == place:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refused)

    told = prove(settings, store, dandiset)

    assert told.findings == []
    assert "Permission denied" in told.subjects[0].trouble
    assert found(repository, key_of(CONTENTS[1])) == place
    assert key_of(CONTENTS[1]) in said_here(store, dandiset)


def test_content_that_the_disk_lost_is_damaged(
    settings: Settings, store: Store, dandiset: str, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = found(repository, key_of(CONTENTS[1]))
    opened = Path.open

    def broken(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path == place:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", broken)

    assert prove(settings, store, dandiset).where("damaged") == [key_of(CONTENTS[1])]


def test_content_that_is_dropped_while_it_is_looked_for_is_nothing_to_find(
    settings: Settings, store: Store, dandiset: str, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = found(repository, key_of(CONTENTS[1]))
    opened = Path.open

    def dropped(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path == place:
            note_locations(store.repository(dandiset), uuid, absent=[key_of(CONTENTS[1])])
            drop(repository, key_of(CONTENTS[1]))
        return opened(path, *args, **kwargs)

    uuid = annex_uuid(store.repository(dandiset))
    monkeypatch.setattr(Path, "open", dropped)

    told = prove(settings, store, dandiset)

    assert told.findings == []
    assert (told.subjects[0].checked, told.subjects[0].trouble) == (2, "")


def test_content_that_is_lost_with_all_its_folders_is_missing(
    settings: Settings, store: Store, dandiset: str, repository: Path
) -> None:
    dataset_id = store.dataset_id(dandiset)
    with Books(store) as books:
        books.of(dataset_id).add(HeldContent(dataset_id, key_of(one), len(one), False) for one in CONTENTS)
    shutil.rmtree(repository / "annex")

    told = prove(settings, store, dandiset)

    assert sorted(told.where("missing")) == sorted(map(key_of, CONTENTS))
    assert said_here(store, dandiset) == set()


def test_what_was_damaged_before_a_stop_is_told_of_after_it(
    settings: Settings, store: Store, dandiset: str, repository: Path
) -> None:
    first, *_ = (key for key, _ in held(repository))
    spoil(repository, next(one for one in CONTENTS if key_of(one) == first))
    told = Told()
    with Prover(settings, store, ("bytes",), watcher=told, stop=lambda: bool(told.findings)) as prover:
        assert prover.run([dandiset]).stopped
    assert told.where("damaged") == [first]

    prove(settings, store, dandiset)

    assert [(one, found.where) for one, found in proofs_of_dandiset(store, dandiset).complaints] == [(dandiset, first)]


def test_what_is_damaged_is_given_up_wherever_it_is_the_same_file(
    settings: Settings, store: Store, dandiset: str, repository: Path, archive: DemoArchive
) -> None:
    other = archive.create_dandiset("The same")
    archive.add_asset(other, "same.nwb", CONTENTS[1])
    archive.add_asset(other, "copied.nwb", CONTENTS[0])
    sync(settings)
    ours, theirs = store.repository(dandiset), store.repository(other)
    for content, link in ((CONTENTS[1], True), (CONTENTS[0], False)):
        place = found(repository, key_of(content))
        assert place is not None
        share(theirs.path, key_of(content), place, link=link)
    keys = [key_of(CONTENTS[1]), key_of(CONTENTS[0])]
    note_locations(theirs, annex_uuid(theirs), present=keys)
    ids = store.dataset_id(dandiset), store.dataset_id(other)
    with Books(store) as books:
        for dataset_id in ids:
            books.of(dataset_id).add(HeldContent(dataset_id, key, 13, False) for key in keys)
    for content in CONTENTS[:2]:
        spoil(ours.path, content)

    told = prove(settings, store, dandiset)

    assert sorted(told.where("damaged")) == sorted(keys)
    assert [found(theirs.path, key) is not None for key in keys] == [False, True]
    assert (theirs.path / "annex" / "bad" / keys[0]).is_file()
    assert dict(present_in(theirs, annex_uuid(theirs), keys)) == {keys[0]: False, keys[1]: True}
    with Books(store) as books:
        assert [[one.key for one in books.of(ids[0]).held(one)] for one in ids] == [[], [keys[1]]]


def test_very_many_that_are_missing_are_withdrawn_some_at_a_time(
    settings: Settings, store: Store, dandiset: str, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.proving.contents._MISSING_AT_ONCE", 2)
    for content in CONTENTS:
        drop(repository, key_of(content))

    told = prove(settings, store, dandiset)

    assert sorted(told.where("missing")) == sorted(map(key_of, CONTENTS))
    assert said_here(store, dandiset) == set()
    assert prove(settings, store, dandiset).findings == []
