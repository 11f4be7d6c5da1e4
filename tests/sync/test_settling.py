"""When a published version is taken, and what becomes of one that changes afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mirror.demo import DemoArchive
from mirror.store.state import DandisetState
from mirror.store.store import Store
from mirror.sync.engine import sync

if TYPE_CHECKING:
    from tests.sync.conftest import Git, MirrorOnce, RefsOf, RepositoryOf, SettingsOf

SETTLE: dict[str, Any] = {"archive__settle_seconds": 120}


@pytest.fixture
def dandiset(archive: DemoArchive) -> str:
    identifier = archive.create_dandiset("Ripples", contributors=["Doe, Jane", "Roe, Richard"])
    archive.add_asset(identifier, "a.nwb", b"a")
    archive.add_asset(identifier, "README.md", b"Ripples")
    return identifier


def state_of(store: Path, identifier: str) -> DandisetState:
    return Store.open(store).state(identifier)


def tags(git: Git, repository: Path) -> list[str]:
    return git(repository, "tag", "--list", "--sort=refname", "0.*").split()


def test_a_version_that_just_changed_waits_and_the_draft_goes_on(
    archive: DemoArchive, dandiset: str, store: Path, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    version = archive.publish(dandiset)
    report = mirror_once(**SETTLE)
    repository = repository_of(dandiset)
    assert tags(git, repository) == []
    assert state_of(store, dandiset).waiting == {version: "changed less than 120 s ago"}
    assert f"version {version}: changed less than 120 s ago" in report.outcomes[0].warnings
    assert git(repository, "show", "draft:README.md") == "Ripples"

    archive.clock.advance(110)
    mirror_once(**SETTLE)
    assert tags(git, repository) == []
    archive.clock.advance(15)
    # nothing moved in the archive, and yet it is looked at again
    report = mirror_once(**SETTLE)
    assert tags(git, repository) == [version]
    assert report.outcomes[0].message.startswith(f"version {version}; ")
    assert state_of(store, dandiset).waiting == {}
    assert mirror_once(**SETTLE).still == 1


def test_it_holds_back_those_after_it(
    archive: DemoArchive, dandiset: str, store: Path, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    first = archive.publish(dandiset)
    archive.clock.advance(600)
    archive.replace_asset(dandiset, "README.md", content=b"Second")
    second = archive.publish(dandiset)
    archive.clock.advance(600)
    archive.resave_version(dandiset, first)
    mirror_once(**SETTLE)
    assert tags(git, repository_of(dandiset)) == []
    assert state_of(store, dandiset).waiting == {
        first: "changed less than 120 s ago",
        second: f"waits for {first}",
    }
    archive.clock.advance(121)
    mirror_once(**SETTLE)
    assert tags(git, repository_of(dandiset)) == [first, second]
    assert git(repository_of(dandiset), "rev-list", "--count", "releases") == "2"


def test_a_version_waits_for_its_doi(
    archive: DemoArchive, dandiset: str, store: Path, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    version = archive.publish(dandiset, doi=False)
    archive.clock.advance(3600)
    mirror_once(**SETTLE)
    assert state_of(store, dandiset).waiting == {version: "has no DOI yet"}
    doi = archive.mint_doi(dandiset, version)
    archive.clock.advance(121)
    mirror_once(**SETTLE)
    assert git(repository_of(dandiset), "tag", "--list").split() == [version, f"doi/{doi}"]


def test_one_that_has_none_after_a_week_is_taken_and_that_is_said(
    archive: DemoArchive, dandiset: str, store: Path, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    version = archive.publish(dandiset, doi=False)
    archive.clock.advance(days=6.99)
    mirror_once()
    assert state_of(store, dandiset).waiting == {version: "has no DOI yet"}
    archive.clock.advance(days=0.02)
    report = mirror_once()
    assert git(repository_of(dandiset), "tag", "--list").split() == [version]
    assert f"version {version} has no DOI" in report.outcomes[0].warnings
    message = git(repository_of(dandiset), "tag", "--list", "--format=%(contents)", version)
    assert f"https://demo-dandi.example.org/dandiset/{dandiset}/{version}" in message
    assert "DOI" not in git(repository_of(dandiset), "log", "-1", "--format=%B", "releases")


@pytest.fixture
def archive_without_dois() -> Iterator[DemoArchive]:
    with DemoArchive(start=datetime(2026, 11, 20, tzinfo=UTC), seed=2, doi_prefix=None) as archive:
        yield archive


def test_where_no_dois_are_minted_none_is_waited_for(
    archive_without_dois: DemoArchive, store: Path, git: Git, settings_of: SettingsOf, repository_of: RepositoryOf
) -> None:
    archive = archive_without_dois
    identifier = archive.create_dandiset("Ripples")
    archive.add_asset(identifier, "a.nwb", b"a")
    version = archive.publish(identifier)
    sync(settings_of(archive, store)).check()
    assert git(repository_of(identifier), "tag", "--list").split() == [version]


def test_a_version_saved_again_years_later_has_the_same_hashes_in_a_mirror_made_then(
    archive: DemoArchive, dandiset: str, tmp_path: Path, mirror_once: MirrorOnce, refs_of: RefsOf
) -> None:
    version = archive.publish(dandiset, release_notes="First")
    mirror_once()
    archive.clock.advance(days=5 * 365)
    archive.resave_version(dandiset, version, year=2031)
    assert "(2031)" in archive.version(dandiset, version).stored["citation"]
    later = tmp_path / "later"
    mirror_once(store=later)
    ours, theirs = refs_of(dandiset), refs_of(dandiset, store=later)
    names = {name for name in ours if name.startswith("refs/tags/")} | {"refs/heads/releases", "git-annex^{tree}"}
    assert {name: ours[name] for name in names} == {name: theirs[name] for name in names}
    # and the first mirror has nothing to complain of
    report = mirror_once(everything=True)
    assert Store.open(later).state(dandiset).drift == ()
    assert not any("drift" in warning for warning in report.outcomes[0].warnings)


def test_the_tag_of_a_release_cites_it(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    version = archive.publish(dandiset, release_notes="First release")
    doi = archive.version(dandiset, version).stored["doi"]
    mirror_once()
    message = git(repository_of(dandiset), "tag", "--list", "--format=%(contents)", version)
    assert message.startswith(
        "Ripples\n\n"
        f"Doe, Jane; Roe, Richard (2026) Ripples (Version {version}) [Data set]. DANDI Archive. https://doi.org/{doi}\n\n"
        f"DOI: https://doi.org/{doi}\nLicense: spdx:CC-BY-4.0\n\nFirst release"
    )


class TestDrift:
    """The archive says something else of a version that has its tag."""

    @pytest.fixture
    def version(self, archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce) -> str:
        version = archive.publish(dandiset)
        mirror_once()
        return version

    def test_it_is_reported_field_by_field_and_the_tag_stays(
        self,
        archive: DemoArchive,
        dandiset: str,
        version: str,
        store: Path,
        mirror_once: MirrorOnce,
        refs_of: RefsOf,
    ) -> None:
        before = refs_of(dandiset)
        archive.edit_version(dandiset, version, name="Ripples, improved", keywords=["sleep"])
        report = mirror_once()
        assert [str(drift) for drift in state_of(store, dandiset).drift] == [
            # the citation is composed of the name
            *(str(drift) for drift in state_of(store, dandiset).drift if drift.field == "dandiset.yaml.citation"),
            f'{version}: dandiset.yaml.keywords is absent here, ["sleep"] in the archive',
            f"{version}: dandiset.yaml.name is Ripples here, Ripples, improved in the archive",
        ]
        assert any(re.search(r"drift: .*dandiset\.yaml\.name", warning) for warning in report.outcomes[0].warnings)
        assert refs_of(dandiset) == before

    def test_it_stays_reported_until_it_is_over(
        self, archive: DemoArchive, dandiset: str, version: str, store: Path, mirror_once: MirrorOnce
    ) -> None:
        archive.edit_version(dandiset, version, keywords=["sleep"])
        mirror_once()
        archive.add_asset(dandiset, "b.nwb", b"b")
        mirror_once()
        assert [drift.field for drift in state_of(store, dandiset).drift] == ["dandiset.yaml.keywords"]
        stored = archive.version(dandiset, version).stored
        del stored["keywords"]
        archive.edit_version(dandiset, version)
        mirror_once()
        assert state_of(store, dandiset).drift == ()

    def test_a_silent_change_is_found_by_looking_at_everything(
        self, archive: DemoArchive, dandiset: str, version: str, store: Path, mirror_once: MirrorOnce
    ) -> None:
        archive.version(dandiset, version).stored["license"] = ["spdx:CC0-1.0"]
        assert mirror_once().still == 1
        mirror_once(everything=True)
        assert [(drift.field, drift.mirrored, drift.archive) for drift in state_of(store, dandiset).drift] == [
            ("dandiset.yaml.license", '["spdx:CC-BY-4.0"]', '["spdx:CC0-1.0"]')
        ]

    def test_assets_that_differ_are_named(
        self, archive: DemoArchive, dandiset: str, version: str, store: Path, mirror_once: MirrorOnce
    ) -> None:
        assets = archive.version(dandiset, version).assets
        del assets["README.md"]
        archive.version(dandiset, version).assets_changed()
        assets["a.nwb"].stored["extra"] = 1.5
        assets["a.nwb"].forget_json()
        mirror_once(everything=True)
        found = {(drift.field, drift.mirrored, drift.archive) for drift in state_of(store, dandiset).drift}
        assert ("README.md", "an asset", "absent") in found
        assert ("a.nwb.metadata.extra", "absent", "1.5") in found

    def test_a_version_that_was_deleted_is_drift(
        self,
        archive: DemoArchive,
        dandiset: str,
        version: str,
        store: Path,
        mirror_once: MirrorOnce,
        refs_of: RefsOf,
    ) -> None:
        before = refs_of(dandiset)
        archive.delete_version(dandiset, version)
        mirror_once()
        assert [str(drift) for drift in state_of(store, dandiset).drift] == [
            f"{version}: version is published here, absent in the archive"
        ]
        after = refs_of(dandiset)
        kept = [name for name in before if name.startswith("refs/tags/") or name == "refs/heads/releases"]
        assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
        assert mirror_once().still == 1

    def test_a_version_that_came_to_light_late_is_added_last_and_that_is_said(
        self,
        archive: DemoArchive,
        dandiset: str,
        version: str,
        store: Path,
        git: Git,
        mirror_once: MirrorOnce,
        repository_of: RepositoryOf,
    ) -> None:
        archive.clock.advance(600)
        late = archive.publish(dandiset)
        archive.version(dandiset, late).created = "2020-01-01T00:00:00.000000Z"
        mirror_once()
        assert git(repository_of(dandiset), "log", "--format=%s", "releases").splitlines() == [
            f"{late}: no asset changed",
            f"{version}: 2 added",
        ]
        (drift,) = state_of(store, dandiset).drift
        assert (drift.version, drift.field, drift.mirrored) == (late, "created", f"after {version}")
        # still said after the next look
        mirror_once(everything=True)
        assert state_of(store, dandiset).drift == (drift,)
