"""A Dandiset that was open, and came under embargo."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from mirror.dataset.references import parse
from mirror.dataset.superdataset import RELEASES_FILE
from mirror.demo import DemoArchive
from mirror.demo.faults import Status
from mirror.store.feed import read_changes
from mirror.store.resolving.addresses import Addresses
from mirror.store.resolving.answers import Missing
from mirror.store.resolving.resolver import Resolver
from tests.sync.embargo.conftest import TOKEN_VARIABLE, Mirror

PATH = "sub-2/sub-2.ome.zarr"


@pytest.fixture
def shut(archive: DemoArchive, mirror: Mirror, opened: str) -> str:
    """A Dandiset that was public with a version and a Zarr, and is under embargo by now."""
    archive.add_zarr(opened, PATH, {".zgroup": b"{}", "0/0": b"chunk"})
    archive.publish(opened, allow_zarrs=True)
    another = archive.create_dandiset("Another")
    archive.add_asset(another, "a.nwb", b"a")
    archive.clock.advance(3600)
    archive.publish(another)
    archive.clock.advance(3600)
    mirror.run().check()
    archive.embargo(opened)
    return opened


@pytest.fixture
def zarr_id(archive: DemoArchive, shut: str) -> str:
    zarr = archive.dandiset(shut).draft.assets[PATH].zarr
    assert zarr is not None
    return zarr.zarr_id


@pytest.fixture(params=["token", "no token", "no setting"])
def allowed(request: pytest.FixtureRequest, archive: DemoArchive, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether what is under embargo is asked for."""
    if request.param != "no token":
        monkeypatch.setenv(TOKEN_VARIABLE, archive.token)
    return bool(request.param != "no setting")


def test_it_is_withdrawn_at_the_next_poll(mirror: Mirror, shut: str, zarr_id: str, allowed: bool) -> None:
    mirror.run(embargoed=allowed).check()
    store = mirror.store
    assert (store.embargoed(), shut in store.dandisets(), store.zarrs()) == ([shut], False, [])
    for name, dataset_id in ((shut, store.dataset_id(shut)), (zarr_id, zarr_id)):
        assert not (store.public / "alias" / name).is_symlink()
        assert store.alias(name).parent == store.private / "alias"
        assert store.dataset(dataset_id).path.is_relative_to(store.private)
    assert not (store.root / "state" / "dandisets" / f"{shut}.json").exists()
    assert mirror.run(embargoed=allowed).outcomes == []


@pytest.mark.usefixtures("token")
def test_superdatasets_name_it_no_more(mirror: Mirror, shut: str) -> None:
    assert shut in mirror.git("dandisets", "show", f"releases:{RELEASES_FILE.decode()}")
    mirror.run().check()
    for ref in ("draft", "releases"):
        tree = mirror.git("dandisets", "ls-tree", "-r", ref)
        assert shut not in tree
        for name in ("dandisets.tsv", "README.md", ".gitmodules"):
            assert shut not in mirror.git("dandisets", "show", f"{ref}:{name}")
    assert shut not in mirror.git("dandisets", "log", "--format=%B", "releases")


def test_the_releases_of_others_wait_for_it_no_longer_than_the_archive_leaves_it_open(
    archive: DemoArchive, mirror: Mirror, shut: str, token: str
) -> None:
    """Without a token, it may be a trouble of a moment: so it is waited for some days."""
    assert token
    mirror.run().check()
    assert mirror.store.embargoed() == [shut]
    archive.clock.advance(3600)
    third = archive.create_dandiset("Third")
    archive.add_asset(third, "a.nwb", b"third")
    archive.publish(third)
    archive.clock.advance(3600)
    _, published = mirror.publish()
    assert (published.held_back, published.waits_for) == (0, None)
    assert "000003" in mirror.git("dandisets", "ls-tree", "--name-only", "releases")


def test_the_feed_says_no_more_of_it_and_nothing_finds_it(mirror: Mirror, shut: str, zarr_id: str, token: str) -> None:
    assert token
    before = len(list(read_changes(mirror.store.changes)))
    mirror.run().check()
    assert len(list(read_changes(mirror.store.changes))) == before
    store = mirror.store
    with store.catalogue() as catalogue:
        assert {standing.facts.identifier for standing in catalogue.standings()} == {"000002"}
        resolver = Resolver(store, catalogue, Addresses.of(store.public, None))
        for text in (shut, zarr_id, store.dataset_id(shut), mirror.git(shut, "rev-parse", "draft")):
            assert isinstance(resolver.resolve(parse(text)), Missing), text


def test_what_had_been_public_is_told(
    archive: DemoArchive, mirror: Mirror, shut: str, caplog: pytest.LogCaptureFixture
) -> None:
    (version,) = archive.dandiset(shut).published
    mirror.run(embargoed=False).check()
    (told,) = [record.message for record in caplog.records if "is withdrawn" in record.message]
    assert f"Dandiset {shut} came under embargo" in told
    assert f"version {version} and the draft had been public" in told
    assert str(mirror.store.public / "alias" / shut) in told


def test_with_a_token_it_is_mirrored_on(archive: DemoArchive, mirror: Mirror, shut: str, token: str) -> None:
    assert token
    mirror.run().check()
    public = {url for url in mirror.urls(shut) if "versionId=" in url}
    assert public
    archive.clock.advance(60)
    archive.add_asset(shut, "later.nwb", b"later")
    mirror.run().check()
    later = mirror.urls(shut)
    assert mirror.git(shut, "ls-tree", "--name-only", "draft", "later.nwb") == "later.nwb"
    assert {url for url in later if "versionId=" in url} == public
    asset_id = archive.dandiset(shut).draft.assets["later.nwb"].asset_id
    assert any(asset_id in url for url in later)
    assert mirror.git(shut, "config", "--blob", "draft:.datalad/config", "dandi.dandiset.embargo-status") == "EMBARGOED"


def test_a_zarr_that_changes_meanwhile_keeps_the_addresses_it_had(
    archive: DemoArchive, mirror: Mirror, shut: str, zarr_id: str, token: str
) -> None:
    assert token
    mirror.run().check()
    before = {url for url in mirror.urls(zarr_id) if "versionId=" in url}
    assert len(before) == 2
    archive.clock.advance(60)
    archive.change_zarr(shut, PATH, {"0/1": b"new chunk"})
    mirror.run().check()
    after = mirror.urls(zarr_id)
    assert {url for url in after if "versionId=" in url} == before
    assert any(url.endswith("?prefix=0/1&download=true") for url in after)
    archive.unembargo(shut)
    mirror.run().check()
    assert {url for url in mirror.urls(zarr_id) if "versionId=" in url} > before


def test_without_one_it_is_kept_as_it_was(archive: DemoArchive, mirror: Mirror, shut: str, zarr_id: str) -> None:
    before = {name: mirror.git(name, "for-each-ref") for name in (shut, zarr_id)}
    archive.add_asset(shut, "later.nwb", b"later")
    mirror.run().check()
    assert {name: mirror.git(name, "for-each-ref") for name in (shut, zarr_id)} == before
    assert mirror.store.state(shut).holding is not None


def test_once_there_is_a_token_it_goes_on(
    archive: DemoArchive, mirror: Mirror, shut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.run().check()
    monkeypatch.setenv(TOKEN_VARIABLE, archive.token)
    assert mirror.results() == {shut: "changed"}
    assert "embargo-status = EMBARGOED" in mirror.git(shut, "show", "draft:.datalad/config")


@pytest.mark.parametrize("allowed", ["token", "no token"], indirect=True)
def test_opened_again_everything_is_as_if_it_had_never_been_closed(
    archive: DemoArchive, mirror: Mirror, another: Callable[[str], Mirror], shut: str, zarr_id: str, allowed: bool
) -> None:
    mirror.run(embargoed=allowed).check()
    archive.unembargo(shut)
    before = len(list(read_changes(mirror.store.changes)))
    mirror.run(embargoed=allowed).check()
    fresh = another("fresh")
    fresh.run().check()
    assert mirror.store.dandisets() == fresh.store.dandisets()
    for name, refs in {
        shut: ("draft^{tree}", "releases"),
        zarr_id: ("draft", "git-annex^{tree}"),
        "dandisets": ("releases",),
    }.items():
        for ref in refs:
            assert mirror.git(name, "rev-parse", ref) == fresh.git(name, "rev-parse", ref), (name, ref)
    # What was told before it was closed is not told once more.
    new = [change for _, change in read_changes(mirror.store.changes)][before:]
    assert {change.old for change in new if change.version == "draft"} <= set(
        mirror.git(shut, "rev-list", "draft").split()
    )
    assert all(change.version in ("draft", "git-annex") for change in new)


def test_one_that_rests_after_a_failure_is_withdrawn_all_the_same(
    archive: DemoArchive, mirror: Mirror, opened: str, token: str
) -> None:
    assert token
    mirror.run().check()
    archive.clock.advance(60)
    archive.add_asset(opened, "b.nwb", b"b")
    archive.api_faults.add(Status(404), path=f"/dandisets/{opened}/versions/", times=None)
    mirror.run(patient=True)
    state = mirror.store.state(opened)
    assert state.failure is not None
    failure = msgspec.structs.replace(state.failure, since="2026-01-01T00:00:00+00:00")
    mirror.store.save_state(msgspec.structs.replace(state, failure=failure))
    assert mirror.run(patient=True).resting == 1
    archive.embargo(opened)
    mirror.run(patient=True)
    assert mirror.store.embargoed() == [opened]


def test_one_whose_withdrawal_fails_is_not_mirrored_where_others_see_it(
    archive: DemoArchive, mirror: Mirror, shut: str, token: str
) -> None:
    assert token
    before = mirror.git(shut, "for-each-ref")
    mirror.store.private.write_text("in the way")
    archive.add_asset(shut, "secret.nwb", b"secret")
    assert mirror.results()[shut] == "failed"
    assert mirror.git(shut, "for-each-ref") == before
    mirror.store.private.unlink()
    assert mirror.results()[shut] == "changed"
    assert mirror.store.embargoed() == [shut]


def test_a_store_from_before_there_was_a_closed_side_puts_it_there(mirror: Mirror, shut: str) -> None:
    """Such a Dandiset was marked, and left where it was."""
    store = mirror.store
    store.save_state(msgspec.structs.replace(store.state(shut), embargoed="2026-01-01T00:00:00+00:00"))
    mirror.run(embargoed=False).check()
    assert mirror.store.embargoed() == [shut]
    assert mirror.store.state(shut).embargoed == "2026-01-01T00:00:00+00:00"
