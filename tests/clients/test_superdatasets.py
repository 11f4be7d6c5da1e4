"""Superdatasets as their users meet them: cloned, taken apart, set to a state by its DOI, and followed for years."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.demo.nwb import MOUSE, RAT, Recording
from mirror.publish.publishing import Published, Publisher
from mirror.store.state import DandisetState
from mirror.store.store import Store
from mirror.sync.dandiset import layout_of
from mirror.sync.engine import sync

START = datetime(2026, 11, 20, 15, 34, 17, tzinfo=UTC)
MICE, TRACK, PILOT, LATER = "000001", "000002", "000003", "000004"
"""two published versions; a draft with a Zarr; one version and a draft that went on; one that comes later"""
RAT_FILE = Recording("R1", "a").path
ZARR = "sub-R1/sub-R1_SPIM.zarr"
CHUNKS = {".zarray": b'{"zarr_format": 2}', "0/0": b"the first chunk", "0/1": b"the second chunk"}
OF_MICE = {"name": "of-mice", "where": "species ~ 'Mus musculus'"}
FOLLOW = ("update", "-r", "--how", "ff-only", "--follow", "parentds")
"""everything that is here, to what the superdataset has of it"""


@dataclass
class Mirror:
    """A mirror of a demo archive."""

    archive: DemoArchive
    root: Path

    def sync(self, amid: Callable[[], object] | None = None) -> Published:
        """As the command does it. `amid` is called when every Dandiset is written, and no superdataset yet."""
        connection = {"instance": "demo-dandi", "api_url": self.archive.api_url, "settle_seconds": 0}
        archive = {**connection, "s3_endpoint": self.archive.s3_endpoint}
        settings = Settings.model_validate(
            {"archive": archive, "store": self.root, "jobs": 1, "superdatasets": [OF_MICE]}
        )
        with Publisher(settings, layout_of(settings)) as publisher:
            sync(settings, (), follower=_Interrupted(publisher, amid or (lambda: None))).check()
        publisher.published.check()
        return publisher.published

    @property
    def public(self) -> Path:
        return self.root / "public"

    def alias(self, name: str) -> Path:
        return self.public / "alias" / name

    def dataset_id(self, identifier: str) -> str:
        return Store.open(self.root).dataset_id(identifier)


@dataclass
class _Interrupted:
    """Follows a sync as the publisher does, with something in between."""

    publisher: Publisher
    amid: Callable[[], object]

    def begin(self, store: Store) -> None:
        self.publisher.begin(store)

    def moved(self, identifier: str) -> None:
        self.publisher.moved(identifier)

    def end(self, states: Mapping[str, DandisetState]) -> None:
        self.amid()
        self.publisher.end(states)


@dataclass(frozen=True)
class Authors:
    """Those who write the Dandisets of a demo archive."""

    archive: DemoArchive
    versions: list[tuple[str, str]]
    """what they published so far, in this order"""

    def publish(self, identifier: str) -> None:
        self.archive.clock.advance(days=1)
        self.versions.append((identifier, self.archive.publish(identifier)))

    def doi(self, number: int) -> str:
        identifier, version = self.versions[number]
        return f"{self.archive.addresses.doi_prefix}/demo-dandi.{identifier}/{version}"

    @property
    def latest(self) -> dict[str, str]:
        return dict(self.versions)

    def write(self, identifier: str, text: str) -> None:
        self.archive.replace_asset(identifier, "README.md", content=text.encode())

    def record(self, identifier: str, recording: Recording) -> None:
        content = f"what was recorded of {recording.subject} in {recording.session}".encode()
        self.archive.add_asset(identifier, recording.path, content, recording.metadata())

    def first_round(self) -> None:
        """A version, a draft beyond it, a changed Zarr, a Dandiset that was not there before."""
        self.write(MICE, "# Mice, once more\n")
        self.publish(MICE)
        self.record(MICE, Recording("M1", "unpublished"))
        self.archive.change_zarr(TRACK, ZARR, {"0/1": b"another second chunk"})
        self.archive.create_dandiset("Came later", identifier=LATER)
        self.archive.add_asset(LATER, "README.md", b"# Came later\n")
        self.record(LATER, Recording("M9", "a"))

    def second_round(self) -> None:
        """The same again, and what came later is published, too."""
        self.write(PILOT, "# Pilot, finished\n")
        self.publish(PILOT)
        self.publish(LATER)
        self.archive.change_zarr(TRACK, ZARR, {"1/0": b"a third chunk"}, ["0/0"])
        self.write(MICE, "# Mice, and an edit\n")


def authors_of(archive: DemoArchive) -> Authors:
    authors = Authors(archive, [])
    for identifier, name in ((MICE, "Mice"), (TRACK, "Rats on a track"), (PILOT, "Pilot")):
        archive.create_dandiset(name, identifier=identifier)
        archive.add_asset(identifier, "README.md", f"# {name}\n".encode())
    authors.record(MICE, Recording("M1", "a", species=MOUSE))
    authors.record(TRACK, Recording("R1", "a", species=RAT))
    archive.add_zarr(TRACK, ZARR, CHUNKS)
    authors.record(PILOT, Recording("M2", "a", species=MOUSE))
    authors.publish(MICE)
    authors.publish(PILOT)
    authors.write(MICE, "# Mice, again\n")
    authors.publish(MICE)
    authors.write(PILOT, "# Pilot, and what came of it\n")
    return authors


@dataclass(frozen=True)
class Scene:
    """A store that stands still, and where its superdatasets can be cloned from."""

    mirror: Mirror
    authors: Authors
    url: str

    def address(self, way: str, name: str = "dandisets", at: str = "") -> str:
        version = f"@{at}" if at else ""
        return {
            "path": str(self.mirror.alias(name)),
            "ria+file": f"ria+file://{self.mirror.public}#~{name}{version}",
            "ria+http": f"ria+{self.url}#~{name}{version}",
            "http": f"{self.url}/alias/{name}",
        }[way]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, served: Callable[..., Any]) -> Iterator[Scene]:
    with DemoArchive(start=START, seed=1) as archive:
        authors = authors_of(archive)
        mirror = Mirror(archive, tmp_path_factory.mktemp("superdatasets") / "store")
        mirror.sync()
        with served(mirror.public) as url:
            yield Scene(mirror, authors, url)


@pytest.fixture
def authors() -> Iterator[Authors]:
    """An archive of one's own, to change."""
    with DemoArchive(start=START, seed=1) as archive:
        yield authors_of(archive)


@pytest.fixture
def mirror(authors: Authors, tmp_path: Path) -> Mirror:
    mirror = Mirror(authors.archive, tmp_path / "store")
    mirror.sync()
    return mirror


def installed(clone: Any) -> dict[str, str]:
    """The Dandisets that are here, with the commits they are at."""
    lines = [line.split() for line in clone.git("submodule", "status").splitlines() if line[0] != "-"]
    return {name: commit.lstrip("+") for commit, name, *_ in lines}


def described(clone: Any) -> dict[str, str]:
    """The Dandisets that are here, with the versions they are at."""
    return {name: clone.sub(name).git("describe") for name in installed(clone)}


def drafts(run: Callable[..., str], mirror: Mirror, *identifiers: str) -> dict[str, str]:
    return {one: run("git", "-C", mirror.alias(one), "rev-parse", "draft") for one in identifiers}


def ids(clone: Any) -> dict[str, str]:
    """The dataset ids of what is here, at whatever level, each as the dataset itself has it.

    `.gitmodules` of the dataset above has to say the same.
    """
    found = {}
    for path in clone.git("submodule", "foreach", "--quiet", "--recursive", "echo $displaypath").splitlines():
        inside = clone.sub(path)
        found[path] = inside.git("config", "-f", ".datalad/config", "datalad.dataset.id")
        above = inside.git("rev-parse", "--show-superproject-working-tree")
        name = str(inside.path.relative_to(above))
        given = clone.git("config", "-f", f"{above}/.gitmodules", f"submodule.{name}.datalad-id")
        assert given == found[path]
    return found


@pytest.mark.parametrize("way", ["path", "ria+file", "ria+http", "http"])
def test_one_dandiset_is_had_and_a_file_of_another(
    scene: Scene, clone_of: Callable[..., Any], run: Callable[..., str], way: str
) -> None:
    clone = clone_of(scene.address(way))
    assert clone.git("symbolic-ref", "--short", "HEAD") == "draft"
    assert installed(clone) == {}
    clone.datalad("get", "-n", PILOT)
    assert installed(clone) == drafts(run, scene.mirror, PILOT)
    assert clone.read(f"{PILOT}/README.md") == b"# Pilot, and what came of it\n"
    clone.datalad("get", f"{TRACK}/{RAT_FILE}")
    assert clone.read(f"{TRACK}/{RAT_FILE}") == b"what was recorded of R1 in a"
    assert ids(clone) == {name: scene.mirror.dataset_id(name) for name in (TRACK, PILOT)}
    clone.assert_clean()


@pytest.mark.parametrize("way", ["path", "ria+http"])
def test_all_is_had_at_once_down_to_the_chunks_of_a_zarr(
    scene: Scene, clone_of: Callable[..., Any], run: Callable[..., str], way: str
) -> None:
    clone = clone_of(scene.address(way))
    clone.datalad("get", "-r", ".")
    assert installed(clone) == drafts(run, scene.mirror, MICE, TRACK, PILOT)
    assert {name: clone.read(f"{TRACK}/{ZARR}/{name}") for name in CHUNKS} == CHUNKS
    assert clone.read(f"{MICE}/{Recording('M1', 'a').path}") == b"what was recorded of M1 in a"
    assert ids(clone).keys() == {MICE, TRACK, f"{TRACK}/{ZARR}", PILOT}
    clone.assert_clean()


@pytest.mark.parametrize("way", ["path", "http"])
def test_git_alone_does_without_datalad(
    scene: Scene, run: Callable[..., str], clone_at: Callable[..., Any], tmp_path: Path, way: str
) -> None:
    run("git", "clone", "-q", scene.address(way), tmp_path / "clone")
    clone = clone_at(tmp_path / "clone")
    clone.git("submodule", "update", "-q", "--init")
    assert installed(clone) == drafts(run, scene.mirror, MICE, TRACK, PILOT)
    clone.sub(TRACK).git("submodule", "update", "-q", "--init")
    assert (clone.path / TRACK / ZARR / "0").is_dir()
    clone.sub(MICE).annex("get", ".")
    assert clone.read(f"{MICE}/{Recording('M1', 'a').path}") == b"what was recorded of M1 in a"
    clone.assert_clean()


@pytest.mark.parametrize("way", ["path", "ria+http"])
def test_a_doi_is_the_state_of_all_that_was_published_then(
    scene: Scene, clone_of: Callable[..., Any], way: str
) -> None:
    """Of the path, DataLad knows no `@`: there one checks it out."""
    tag = f"doi/{scene.authors.doi(1)}"
    clone = clone_of(scene.address(way, at=tag))
    if way == "path":
        clone.git("checkout", "-q", tag)
    clone.datalad("get", "-n", MICE)
    assert described(clone) == dict(scene.authors.versions[:1])
    assert clone.read(f"{MICE}/README.md") == b"# Mice\n"
    clone.datalad("get", "-n", "-r", ".")
    assert described(clone) == dict(scene.authors.versions[:2])
    assert clone.git("describe", "--tags") == tag
    clone.assert_clean()


def test_releases_has_each_dandiset_at_its_latest_version(scene: Scene, clone_of: Callable[..., Any]) -> None:
    clone = clone_of(scene.address("ria+file", at="releases"))
    assert clone.git("symbolic-ref", "--short", "HEAD") == "releases"
    clone.datalad("get", "-n", "-r", ".")
    assert described(clone) == scene.authors.latest
    clone.assert_clean()


def test_the_log_of_releases_is_the_archives_own(scene: Scene, clone_of: Callable[..., Any]) -> None:
    clone = clone_of(scene.address("http"))
    lines = clone.git("log", "--reverse", "--format=%as %(trailers:key=DOI,valueonly)", "origin/releases").split("\n")
    expected = [f"2026-11-{21 + day} {scene.authors.doi(day)}" for day in range(3)]
    assert [line for line in lines if line] == expected
    tags = clone.git("tag", "--list", "--sort=creatordate", "--merged", "draft").splitlines()
    assert tags == [f"doi/{scene.authors.doi(number)}" for number in range(3)]


def test_git_finds_nothing_wrong(scene: Scene, clone_of: Callable[..., Any], run: Callable[..., str]) -> None:
    clone = clone_of(scene.address("http"))
    assert clone.git("fsck", "--strict", "--full", "--no-dangling") == ""
    for name in ("dandisets", "of-mice"):
        assert run("git", "-C", scene.mirror.alias(name), "fsck", "--strict", "--full") == ""
    assert (
        clone.git("describe", "--tags") == f"doi/{scene.authors.doi(2)}-1-g{clone.git('rev-parse', '--short', 'HEAD')}"
    )


def test_a_query_has_what_matches_and_works_alike(
    scene: Scene, clone_of: Callable[..., Any], run: Callable[..., str]
) -> None:
    clone = clone_of(scene.address("ria+http", "of-mice"))
    clone.datalad("get", "-r", ".")
    assert installed(clone) == drafts(run, scene.mirror, MICE, PILOT)
    assert clone.read(f"{PILOT}/{Recording('M2', 'a').path}") == b"what was recorded of M2 in a"
    clone.assert_clean()
    old = clone_of(scene.address("ria+http", "of-mice", at=f"doi/{scene.authors.doi(0)}"), "old")
    old.datalad("get", "-n", "-r", ".")
    assert described(old) == dict(scene.authors.versions[:1])
    old.assert_clean()


def test_dandisets_that_are_here_are_set_to_another_state_by_git(
    scene: Scene, clone_of: Callable[..., Any], run: Callable[..., str]
) -> None:
    """Git leaves in place what that state has none of, and nothing is lost on the way there and back."""
    clone = clone_of(scene.address("path"))
    clone.datalad("get", "-n", "-r", ".")
    clone.git("checkout", "-q", f"doi/{scene.authors.doi(0)}")
    clone.git("submodule", "update")
    assert described(clone) == dict(scene.authors.versions[:1])
    assert clone.git("status", "--porcelain").splitlines() == [f"?? {TRACK}/", f"?? {PILOT}/"]
    clone.git("checkout", "-q", "draft")
    clone.git("submodule", "update")
    assert installed(clone) == drafts(run, scene.mirror, MICE, TRACK, PILOT)
    clone.assert_clean()


@pytest.mark.parametrize(
    ("update", "way"),
    [
        (FOLLOW, "path"),
        (("update", "-r", "--how", "ff-only"), "ria+http"),
        (("update", "-r", "--how", "merge"), "path"),
    ],
)
def test_a_clone_follows_two_rounds_of_changes(
    authors: Authors,
    mirror: Mirror,
    clone_of: Callable[..., Any],
    run: Callable[..., str],
    served: Callable[..., Any],
    update: tuple[str, ...],
    way: str,
) -> None:
    with served(mirror.public) as url:
        clone = clone_of(mirror.alias("dandisets") if way == "path" else f"ria+{url}#~dandisets")
        clone.datalad("get", "-n", "-r", ".")
        here = [MICE, TRACK, PILOT]
        for change in (authors.first_round, authors.second_round):
            change()
            mirror.sync()
            clone.datalad(*update)
            assert clone.git("rev-parse", "HEAD") == clone.git("rev-parse", "origin/draft")
            assert installed(clone) == drafts(run, mirror, *here)
            clone.assert_clean()
            if LATER not in here:
                clone.datalad("get", "-n", LATER)
                here.append(LATER)
        clone.datalad("get", "-r", ".")
        assert {name: clone.read(f"{TRACK}/{ZARR}/{name}") for name in ("0/1", "1/0")} == {
            "0/1": b"another second chunk",
            "1/0": b"a third chunk",
        }
        assert not (clone.path / TRACK / ZARR / "0/0").is_symlink()
        assert clone.read(f"{MICE}/README.md") == b"# Mice, and an edit\n"
        clone.assert_clean()


@pytest.mark.parametrize("how", ["ff-only", "merge"])
def test_without_r_the_superdataset_alone_moves_until_an_update_with_r(
    authors: Authors, mirror: Mirror, clone_of: Callable[..., Any], run: Callable[..., str], how: str
) -> None:
    clone, bare = (clone_of(mirror.alias("dandisets"), name) for name in ("clone", "bare"))
    clone.datalad("get", "-n", MICE)
    before = installed(clone)
    authors.first_round()
    mirror.sync()
    for one in (clone, bare):
        one.datalad("update", "--how", how)
        assert one.git("rev-parse", "HEAD") == one.git("rev-parse", "origin/draft")
    bare.assert_clean()  # with no Dandiset in it there is nothing to be left behind
    assert installed(clone) == before
    assert clone.git("status", "--porcelain") == f" M {MICE}"
    clone.datalad(*FOLLOW)
    assert installed(clone) == drafts(run, mirror, MICE)
    clone.assert_clean()


def test_work_of_ones_own_beside_the_dandisets_is_merged(
    authors: Authors, mirror: Mirror, clone_of: Callable[..., Any], run: Callable[..., str]
) -> None:
    clone = clone_of(mirror.alias("dandisets"))
    clone.datalad("get", "-n", "-r", ".")
    (clone.path / "analysis.txt").write_text("my own result\n")
    clone.datalad("save", "-m", "My work")
    for change in (authors.first_round, authors.second_round):
        change()
        mirror.sync()
        clone.datalad("update", "-r", "--how", "merge", "--follow", "parentds")
        assert installed(clone) == drafts(run, mirror, MICE, TRACK, PILOT)
        clone.assert_clean()
    assert (
        clone.git("diff", "--stat", "origin/draft", "--format=")
        == " analysis.txt | 1 +\n 1 file changed, 1 insertion(+)"
    )


def test_a_clone_of_releases_follows_what_is_published(
    authors: Authors, mirror: Mirror, clone_of: Callable[..., Any]
) -> None:
    clone = clone_of(f"ria+file://{mirror.public}#~dandisets@releases")
    clone.datalad("get", "-n", "-r", ".")
    for change in (authors.first_round, authors.second_round):
        change()
        mirror.sync()
        clone.datalad(*FOLLOW)
        assert clone.git("rev-parse", "HEAD") == clone.git("rev-parse", "origin/releases")
        assert described(clone) == {name: authors.latest[name] for name in (MICE, PILOT)}
        clone.assert_clean()
    clone.datalad("get", "-n", LATER)
    assert described(clone) == authors.latest
    clone.assert_clean()


def test_dandisets_without_a_branch_are_updated_too(
    authors: Authors, mirror: Mirror, clone_of: Callable[..., Any], run: Callable[..., str]
) -> None:
    """`git submodule update` leaves them so; without `--follow parentds` DataLad would not know where to go."""
    clone = clone_of(mirror.alias("dandisets"))
    clone.git("checkout", "-q", f"doi/{authors.doi(0)}")
    clone.datalad("get", "-n", MICE)
    clone.git("checkout", "-q", "draft")
    clone.git("submodule", "update")
    assert clone.sub(MICE).git("branch", "--show-current") == ""
    authors.first_round()
    mirror.sync()
    clone.datalad(*FOLLOW)
    assert installed(clone) == drafts(run, mirror, MICE)
    clone.assert_clean()


def test_an_update_amid_a_sync_stays_with_the_superdataset(
    authors: Authors, mirror: Mirror, clone_of: Callable[..., Any], run: Callable[..., str]
) -> None:
    """Without `--follow parentds`, DataLad goes ahead of it and saves that: such a clone has to be set back."""
    staying, ahead = (clone_of(mirror.alias("dandisets"), name) for name in ("staying", "ahead"))
    for clone in (staying, ahead):
        clone.datalad("get", "-n", MICE)
    before = installed(staying)

    def update() -> None:
        staying.datalad(*FOLLOW)
        ahead.datalad("update", "-r", "--how", "ff-only")

    authors.first_round()
    mirror.sync(amid=update)
    assert installed(staying) == before
    staying.assert_clean()
    staying.datalad(*FOLLOW)
    assert "Not possible to fast-forward" in ahead.datalad(*FOLLOW, ok=False)
    ahead.git("reset", "-q", "--hard", "origin/draft")
    ahead.datalad(*FOLLOW)
    for clone in (staying, ahead):
        assert clone.git("rev-parse", "HEAD") == clone.git("rev-parse", "origin/draft")
        assert installed(clone) == drafts(run, mirror, MICE)
        clone.assert_clean()


@pytest.mark.parametrize("when", ["before the update", "after it"])
def test_a_dandiset_that_matches_no_more_is_dropped_by_its_user(
    authors: Authors, mirror: Mirror, clone_of: Callable[..., Any], run: Callable[..., str], when: str
) -> None:
    """Git leaves in place what a user may have worked in."""
    clone = clone_of(mirror.alias("of-mice"))
    clone.datalad("get", "-r", ".")
    authors.archive.remove_asset(PILOT, Recording("M2", "a").path)
    authors.record(PILOT, Recording("R2", "a", species=RAT))
    mirror.sync()
    if when == "before the update":
        clone.datalad("drop", "--what", "all", "-r", PILOT)
        clone.datalad(*FOLLOW)
    else:
        clone.datalad(*FOLLOW)
        assert clone.git("status", "--porcelain") == f"?? {PILOT}/"
        clone.datalad("drop", "--what", "all", "--reckless", "kill", "-r", PILOT)
    assert not (clone.path / PILOT).exists()
    assert installed(clone) == drafts(run, mirror, MICE)
    clone.assert_clean()


def test_two_mirrors_made_at_different_times_have_the_same_releases(
    authors: Authors, mirror: Mirror, run: Callable[..., str], tmp_path: Path
) -> None:
    for change in (authors.first_round, authors.second_round):
        change()
        published = mirror.sync()
        assert not any(written.late for written in published.superdatasets)
    late = Mirror(authors.archive, tmp_path / "late")
    late.sync()
    for name in ("dandisets", "of-mice"):
        early_refs, late_refs = (
            run("git", "-C", one.alias(name), "for-each-ref", "refs/heads/releases", "refs/tags")
            for one in (mirror, late)
        )
        assert early_refs == late_refs
        assert len(early_refs.splitlines()) == 1 + len(authors.versions)
        for one in (mirror, late):
            assert run("git", "-C", one.alias(name), "fsck", "--strict", "--full") == ""
