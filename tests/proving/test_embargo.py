"""What is under embargo is proved by those who may see it, and nobody else learns of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.archive.instances import token_variable
from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.proving.verify import Prover, everything
from mirror.store.ledger import Figures, Ledger, ledger_path
from mirror.store.proofs import proofs_of
from mirror.store.store import Store
from mirror.sync.engine import sync
from tests.proving.conftest import START, Told, copied, settings_for


def grid_cells(archive: DemoArchive) -> str:
    """A Dandiset under embargo, with a Zarr in it."""
    identifier = archive.create_dandiset("Grid cells", embargoed=True)
    archive.add_asset(identifier, "README.md", b"Until the paper is out\n")
    for number in (1, 2):
        archive.add_asset(identifier, f"sub-{number}/sub-{number}_ecephys.nwb", b"spikes of %d" % number)
    archive.add_zarr(identifier, "sub-1/sub-1_SPIM.ome.zarr", {".zattrs": b"{}", "0/0": b"pixels", "0/1": b"others"})
    return identifier


@pytest.fixture
def closed(archive: DemoArchive, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> str:
    """The identifier of a Dandiset under embargo; mirrored."""
    monkeypatch.setenv(token_variable("demo-dandi"), archive.token)
    identifier = grid_cells(archive)
    sync(with_embargoed(settings))
    return identifier


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Settings]]:
    """One in an archive that nobody changes, and the settings of its mirror, which is for copying."""
    with pytest.MonkeyPatch.context() as patch, DemoArchive(start=START, seed=1) as archive:
        patch.setenv(token_variable("demo-dandi"), archive.token)
        identifier = grid_cells(archive)
        settings = settings_for(archive, tmp_path_factory.mktemp("closed") / "store")
        sync(with_embargoed(settings))
        yield identifier, settings


@pytest.fixture
def stays_closed(standing: tuple[str, Settings], tmp_path: Path) -> tuple[str, Settings]:
    """It, and the settings of a mirror of it."""
    identifier, settings = standing
    copy = settings.model_copy(update={"store": tmp_path / "store"})
    copied(settings.store, copy)
    return identifier, copy


def with_embargoed(settings: Settings) -> Settings:
    return settings.model_copy(update={"select": settings.select.model_copy(update={"embargoed": True})})


def prove(settings: Settings, *identifiers: str, against_archive: bool = True) -> Told:
    told = Told()
    store = Store.open(settings.store)
    with Prover(
        with_embargoed(settings), store, ("names", "urls"), watcher=told, against_archive=against_archive
    ) as prover:
        prover.run(identifiers or everything(store))
    return told


def test_its_names_and_addresses_are_proved(stays_closed: tuple[str, Settings]) -> None:
    closed, settings = stays_closed
    told = prove(settings, closed)

    assert told.findings == []
    assert [(one.subject == closed, one.trouble) for one in told.subjects if one.trouble] == []
    of_zarr = [one for one in told.subjects if one.subject != closed and one.level == "urls"]
    assert [one.checked > 0 for one in of_zarr] == [True]


def test_what_was_open_before_is_asked_for_at_the_api(
    archive: DemoArchive, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bucket's addresses that were recorded then give it to nobody any more."""
    monkeypatch.setenv(token_variable("demo-dandi"), archive.token)
    identifier = archive.create_dandiset("Ripples")
    archive.add_asset(identifier, "sub-1/sub-1_ecephys.nwb", b"spikes")
    sync(settings)
    archive.clock.advance(60)
    archive.embargo(identifier)
    sync(with_embargoed(settings))

    told = prove(settings, identifier)

    assert told.findings == []
    assert archive.count(server="s3", method="HEAD", status=403) == 1


def test_what_was_found_is_on_the_closed_side_only(stays_closed: tuple[str, Settings]) -> None:
    closed, settings = stays_closed
    prove(settings, closed)
    store = Store.open(settings.store)

    with Ledger(ledger_path(store.closed_side)) as ledger:
        assert {one.dandiset for one in ledger.versions()} == {closed}
    assert ledger_path(store.closed_side).is_relative_to(store.private)
    public: list[Path] = [
        path
        for path in store.root.rglob("*")
        if path.is_file() and store.private not in path.parents and path.name.startswith("ledger")
    ]
    assert not any(closed.encode() in path.read_bytes() for path in public)
    assert not [path for path in store.temporary.iterdir() if path.is_dir()]


def test_once_it_is_open_the_closed_side_forgets_it(settings: Settings, closed: str, archive: DemoArchive) -> None:
    prove(settings, closed, against_archive=False)
    archive.unembargo(closed)
    sync(with_embargoed(settings))

    prove(settings, against_archive=False)

    store = Store.open(settings.store)
    with Ledger(ledger_path(store.closed_side)) as ledger:
        assert list(ledger.rounds()) == list(ledger.versions()) == []
        assert ledger.figures() == Figures()
    with Ledger(ledger_path(store.open_side)) as ledger:
        assert {one.dandiset for one in ledger.versions()} == {closed}


def test_it_counts_in_the_figures(stays_closed: tuple[str, Settings]) -> None:
    closed, settings = stays_closed
    prove(settings, closed)

    found = proofs_of(Store.open(settings.store))

    assert found is not None
    assert found.figures.archive.files == found.figures.all.files > 0


def test_a_content_that_is_gone_is_found_by_the_api(settings: Settings, closed: str, archive: DemoArchive) -> None:
    recording = next(path for path in archive.dandiset(closed).draft.assets if path.endswith(".nwb"))
    archive.remove_asset(closed, recording)

    told = prove(settings, closed, against_archive=False)

    assert [(one.kind, one.where) for one in told.findings] == [("gone", recording)]


def test_without_the_token_nothing_is_known_and_nothing_is_found(
    stays_closed: tuple[str, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, settings = stays_closed
    monkeypatch.delenv(token_variable("demo-dandi"))

    told = prove(settings, closed, against_archive=False)

    assert told.kinds == {"unknown"}
    assert not any(one.severe for one in told.subjects)


def test_while_only_what_is_closed_was_proved_not_everything_was(stays_closed: tuple[str, Settings]) -> None:
    closed, settings = stays_closed
    prove(settings, closed, against_archive=False)
    store = Store.open(settings.store)
    whole = proofs_of(store)
    (store.public / "alias" / "000999").symlink_to("../abc/def")

    found = proofs_of(store)

    assert whole is not None
    assert found is not None
    assert min(whole.oldest.values()) > 0
    assert found.oldest == {"names": 0, "urls": 0}
