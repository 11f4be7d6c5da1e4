"""Superdatasets, written from what a catalogue could tell, and looked at with git's own eyes."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from hashlib import sha1
from pathlib import Path

import msgspec
import pytest
import yaml

from mirror.archive.records import Instance
from mirror.config import Select, Settings, Superdataset
from mirror.dataset.facts import Facts
from mirror.dataset.superdataset import rows
from mirror.dataset.times import moment
from mirror.publish.horizon import Horizon
from mirror.publish.releases import Skipped
from mirror.publish.superdatasets import SuperdatasetWriter, Written, holdings, subjects_of
from mirror.store.catalogue import Standing
from mirror.store.store import Store

DANDI = Instance("DANDI", "https://dandiarchive.org", "10.48324", "https://api.dandiarchive.org/api")
ALL = Horizon((moment("2030-01-01T00:00:00Z"), "", ""))
MICE = {"species": ("Mus musculus - House mouse",)}


def published(identifier: str, version: str, created: str, **more: object) -> Standing:
    facts = Facts(
        identifier=identifier,
        version=version,
        name=f"Dandiset {identifier}",
        created=f"{created}T10:00:00.5Z",
        published=f"{created}T10:00:00.5Z",
        assets=3,
        size=1000,
        doi=f"10.48324/dandi.{identifier}/{version}",
        citation=f"Doe ({created[:4]}) Dandiset {identifier}",
        **more,  # type: ignore[arg-type]
    )
    return Standing(sha1(f"{identifier} {version}".encode()).hexdigest(), facts)


def draft(identifier: str, modified: str = "2025-01-01", *, commit: str = "", **more: object) -> Standing:
    facts = Facts(
        identifier=identifier,
        version="draft",
        name=f"Dandiset {identifier}",
        created="2020-01-01T00:00:00Z",
        modified=f"{modified}T10:00:00Z",
        assets=4,
        size=2000,
        **more,  # type: ignore[arg-type]
    )
    return Standing(sha1(f"{identifier} {modified} {commit}".encode()).hexdigest(), facts)


@dataclass
class Mirror:
    """A store whose catalogue says what a test wants."""

    root: Path
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        self.store = Store.open_or_create(self.root, DANDI)

    def write(
        self,
        *standings: Standing,
        horizon: Horizon = ALL,
        skipped: tuple[Skipped, ...] = (),
        anew: bool = False,
    ) -> dict[str, Written]:
        writer = SuperdatasetWriter(self.settings, self.store, "2", horizon, skipped)
        held = holdings(self.store, standings)
        return {one.name: writer.write(one, held, anew=anew) for one in subjects_of(self.settings, self.store)}

    def git(self, *args: str, name: str = "dandisets") -> str:
        command = ["git", "-C", str(self.store.alias(name)), *args]
        done = subprocess.run(command, capture_output=True, env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull})
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().rstrip("\n")

    def refs(self, name: str = "dandisets") -> dict[str, str]:
        lines = self.git("for-each-ref", "--format=%(refname) %(objectname)", name=name).splitlines()
        return dict(line.rsplit(" ", 1) for line in lines)

    def links(self, ref: str, name: str = "dandisets") -> dict[str, str]:
        """The Dandisets in a tree, with their commits."""
        lines = [line.split() for line in self.git("ls-tree", ref, name=name).splitlines()]
        return {path: oid for mode, _, oid, path in lines if mode == "160000"}

    def table(self, ref: str, file: str, name: str = "dandisets") -> list[dict[str, str]]:
        return rows(self.git("show", f"{ref}:{file}", name=name).encode() + b"\n")

    def subjects(self, ref: str, name: str = "dandisets") -> list[str]:
        """The subjects of the commits of a branch's own line, oldest first."""
        return self.git("log", "--first-parent", "--reverse", "--format=%s", ref, name=name).splitlines()


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror(tmp_path / "store")


TWO = (
    published("000003", "0.210101.1000", "2021-01-01"),
    published("000005", "0.220101.1000", "2022-01-01"),
    published("000003", "0.230101.1000", "2023-01-01"),
)
DRAFTS = (draft("000003"), draft("000005"), draft("000007", "2025-03-01"))


def test_the_draft_has_every_dandiset_at_its_draft(mirror: Mirror) -> None:
    mirror.write(*DRAFTS, *TWO)
    assert mirror.git("symbolic-ref", "HEAD") == "refs/heads/draft"
    assert mirror.links("draft") == {one.facts.identifier: one.commit for one in DRAFTS}
    table = mirror.table("draft", "dandisets.tsv")
    assert [(row["identifier"], row["latest_version"], row["assets"]) for row in table] == [
        ("000003", "0.230101.1000", "4"),
        ("000005", "0.220101.1000", "4"),
        ("000007", "", "4"),
    ]
    assert table[2]["modified"] == "2025-03-01T10:00:00Z"
    assert mirror.git("log", "-1", "--format=%aI", "draft") == "2025-03-01T10:00:00+00:00"
    assert len(mirror.table("draft", "releases.tsv")) == 3


def test_git_finds_nothing_wrong(mirror: Mirror) -> None:
    mirror.write(*DRAFTS, *TWO)
    mirror.write(draft("000003", "2025-06-01"), *DRAFTS[1:], *TWO, published("000007", "0.250601.1000", "2025-06-01"))
    mirror.git("fsck", "--strict", "--full", "--no-dangling")


def test_releases_has_one_commit_for_each_version_in_order_of_time(mirror: Mirror) -> None:
    mirror.write(*DRAFTS, *reversed(TWO))
    assert mirror.subjects("releases") == [
        "000003 0.210101.1000: Dandiset 000003",
        "000005 0.220101.1000: Dandiset 000005",
        "000003 0.230101.1000: Dandiset 000003",
    ]
    assert mirror.git("log", "--reverse", "--format=%ai %ci", "releases").splitlines()[1] == (
        "2022-01-01 10:00:00 +0000 2022-01-01 10:00:00 +0000"
    )
    assert mirror.links("releases~2") == {"000003": TWO[0].commit}
    assert mirror.links("releases~1") == {"000003": TWO[0].commit, "000005": TWO[1].commit}
    assert mirror.links("releases") == {"000003": TWO[2].commit, "000005": TWO[1].commit}


def test_versions_of_one_moment_stand_in_the_order_of_their_names(mirror: Mirror) -> None:
    both = [published(identifier, "0.210101.1000", "2021-01-01") for identifier in ("000010", "000009")]
    mirror.write(draft("000009"), draft("000010"), *both)
    assert [line.split()[0] for line in mirror.subjects("releases")] == ["000009", "000010"]


def test_each_release_is_tagged_with_its_doi_and_says_what_it_is(mirror: Mirror) -> None:
    mirror.write(*DRAFTS, *TWO)
    tag = "doi/10.48324/dandi.000005/0.220101.1000"
    assert mirror.refs()[f"refs/tags/{tag}"] == mirror.git("rev-parse", "releases~1")
    trailers = mirror.git("log", "-1", "--format=%(trailers)", tag).splitlines()
    assert trailers == [
        "Dandiset: 000005",
        "Version: 0.220101.1000",
        "DOI: 10.48324/dandi.000005/0.220101.1000",
        "Dandisets: 2",
        "Versions: 2",
        "Assets: 6",
        "Bytes: 2000",
        "Layout: 1/2",
    ]
    assert [row["version"] for row in mirror.table(tag, "releases.tsv")] == ["0.210101.1000", "0.220101.1000"]
    assert yaml.safe_load(mirror.git("show", f"{tag}:CITATION.cff"))["identifiers"][0]["value"] == tag


def test_every_release_is_an_ancestor_of_the_draft(mirror: Mirror) -> None:
    mirror.write(*DRAFTS, *TWO)
    mirror.git("merge-base", "--is-ancestor", "releases", "draft")
    assert mirror.git("describe", "--tags", "draft").startswith("doi/10.48324/dandi.000003/0.230101.1000-1-g")


def test_written_bit_by_bit_or_at_once_the_chain_is_the_same(mirror: Mirror, tmp_path: Path) -> None:
    several = [
        published(f"{100 + n % 7:06}", f"0.21{n:04}.1000", f"20{10 + n // 12}-{1 + n % 12:02}-01") for n in range(150)
    ]
    drafts = [draft(f"{100 + n:06}") for n in range(7)]
    other = Mirror(tmp_path / "other")
    for count in (1, 2, 60, 61, 149, 150):
        other.write(*drafts[: 7 if count == 150 else 1 + count % 7], *several[:count])
    mirror.write(*drafts, *several)
    tags = {ref: oid for ref, oid in mirror.refs().items() if ref != "refs/heads/draft"}
    assert tags == {ref: oid for ref, oid in other.refs().items() if ref != "refs/heads/draft"}
    assert mirror.git("rev-parse", "draft^{tree}") == other.git("rev-parse", "draft^{tree}")
    mirror.git("fsck", "--strict", "--full")
    assert len(mirror.subjects("releases")) == 150


def test_nothing_new_makes_no_commit(mirror: Mirror) -> None:
    mirror.write(*DRAFTS, *TWO)
    before = mirror.refs()
    written = mirror.write(*DRAFTS, *TWO)["dandisets"]
    assert not written.changed
    assert mirror.refs() == before


def test_one_changed_draft_is_one_commit_that_says_which(mirror: Mirror) -> None:
    mirror.write(*DRAFTS, *TWO)
    mirror.write(draft("000003", "2025-06-01"), *DRAFTS[1:], draft("000009"), *TWO)
    assert mirror.subjects("draft")[-2:] == ["000003 000005 000007 added", "000009 added, 000003 changed"]
    assert mirror.git("diff", "--numstat", "draft~1", "draft", "--", "dandisets.tsv").split()[:2] == ["2", "1"]


def test_submodules_are_found_beside_the_superdataset(mirror: Mirror) -> None:
    mirror.write(*DRAFTS, *TWO)
    modules = mirror.git("show", "draft:.gitmodules")
    dataset_id = mirror.store.dataset_id("000003")
    assert modules.startswith(
        f'[submodule "000003"]\n\tpath = 000003\n\turl = ../000003\n\tdatalad-id = {dataset_id}\n'
    )
    assert mirror.git("show", "draft:.datalad/config").split()[-1] == str(
        subjects_of(Settings(), mirror.store)[0].dataset_id
    )


# --- the horizon --------------------------------------------------------------------------------------------------


def test_the_chain_stops_at_the_horizon_and_goes_on_from_there(mirror: Mirror, tmp_path: Path) -> None:
    missing = (moment("2022-01-01T10:00:00.5Z"), "000005", "0.220101.1000")
    mirror.write(*DRAFTS, TWO[0], TWO[2], horizon=Horizon(missing, "000005 0.220101.1000: has no DOI yet"))
    assert mirror.subjects("releases") == ["000003 0.210101.1000: Dandiset 000003"]
    mirror.write(*DRAFTS, *TWO)
    other = Mirror(tmp_path / "other")
    other.write(*DRAFTS, *TWO)
    assert mirror.git("rev-parse", "releases") == other.git("rev-parse", "releases")


def test_a_horizon_that_comes_nearer_takes_nothing_back(mirror: Mirror) -> None:
    mirror.write(*DRAFTS, *TWO)
    before = mirror.refs()
    mirror.write(*DRAFTS, *TWO, horizon=Horizon((moment("2021-06-01T00:00:00Z"), "", ""), "something"))
    assert mirror.refs() == before


def test_a_version_that_comes_too_late_is_put_at_the_end_and_said_so(mirror: Mirror) -> None:
    mirror.write(*DRAFTS, TWO[0], TWO[2])
    tip = mirror.git("rev-parse", "releases")
    written = mirror.write(*DRAFTS, *TWO)["dandisets"]
    assert written.late == ("000005 0.220101.1000",)
    assert mirror.git("rev-parse", "releases~1") == tip
    assert mirror.links("releases") == {"000003": TWO[2].commit, "000005": TWO[1].commit}


def test_a_late_version_of_a_dandiset_that_has_a_newer_one_does_not_stay_its_latest(mirror: Mirror) -> None:
    mirror.write(*DRAFTS, *TWO)
    late = published("000003", "0.220601.1000", "2022-06-01")
    mirror.write(*DRAFTS, *TWO, late)
    assert mirror.links("doi/10.48324/dandi.000003/0.220601.1000")["000003"] == late.commit
    assert mirror.links("releases")["000003"] == TWO[2].commit
    assert mirror.refs()["refs/heads/releases"] == mirror.git("rev-parse", "releases")
    assert len(mirror.table("releases", "releases.tsv")) == 4


def test_written_anew_the_chain_is_as_in_a_mirror_made_today(mirror: Mirror, tmp_path: Path) -> None:
    mirror.write(*DRAFTS, TWO[0], TWO[2])
    mirror.write(*DRAFTS, *TWO)
    mirror.write(*DRAFTS, *TWO, anew=True)
    other = Mirror(tmp_path / "other")
    other.write(*DRAFTS, *TWO)
    assert mirror.git("rev-parse", "releases") == other.git("rev-parse", "releases")
    tags = "refs/tags/"
    assert {k: v for k, v in mirror.refs().items() if k.startswith(tags)} == {
        k: v for k, v in other.refs().items() if k.startswith(tags)
    }


def test_skipped_versions_are_named_by_those_behind_them_only(mirror: Mirror) -> None:
    skip = Skipped((moment("2021-06-01T00:00:00Z"), "000005", "0.210601.0000"))
    mirror.write(*DRAFTS, *TWO, skipped=(skip,))
    layouts = mirror.git("log", "--reverse", "--format=%(trailers:key=Layout,valueonly,separator=%x20)", "releases")
    assert layouts.splitlines() == ["1/2", "1/2 skip=000005@0.210601.0000", "1/2 skip=000005@0.210601.0000"]


def test_the_selection_is_part_of_the_layout_and_bounds_the_chain(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path / "store", Settings(select=Select(dandisets=("000003",))))
    mirror.write(*DRAFTS, *TWO)
    assert mirror.links("releases") == {"000003": TWO[2].commit}
    assert mirror.links("draft").keys() == {"000003", "000005", "000007"}
    layout = mirror.git("log", "-1", "--format=%(trailers:key=Layout,valueonly)", "releases")
    assert layout == "1/2 select.dandisets=000003"


# --- queries ------------------------------------------------------------------------------------------------------


def of_mice(where: str = "species ~ 'mus musculus'") -> Settings:
    return Settings(superdatasets=(Superdataset(name="mice", where=where),))


def test_a_query_makes_a_superdataset_of_what_matches(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path / "store", of_mice())
    mouse = published("000005", "0.220101.1000", "2022-01-01", **MICE)
    mirror.write(draft("000003"), draft("000005", **MICE), TWO[0], mouse)
    assert mirror.links("draft", "mice").keys() == {"000005"}
    assert mirror.subjects("releases", "mice") == ["000005 0.220101.1000: Dandiset 000005"]
    assert "where=species ~" in mirror.git("log", "-1", "--format=%B", "releases", name="mice")
    assert "species ~" in mirror.git("show", "draft:README.md", name="mice")


def test_a_version_that_matches_no_more_takes_its_dandiset_out(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path / "store", of_mice())
    versions = [
        published("000003", "0.210101.1000", "2021-01-01", **MICE),
        published("000005", "0.220101.1000", "2022-01-01", **MICE),
        published("000003", "0.230101.1000", "2023-01-01"),
    ]
    mirror.write(*DRAFTS, *versions)
    assert mirror.subjects("releases", "mice")[-1] == "no match any more: 000003"
    assert mirror.links("releases", "mice") == {"000005": versions[1].commit}
    assert len(mirror.table("releases", "releases.tsv", "mice")) == 2
    before = mirror.refs("mice")
    mirror.write(*DRAFTS, *versions)
    assert mirror.refs("mice") == before


def test_a_changed_query_is_followed_without_rewriting(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path / "store", of_mice())
    versions = [
        published("000003", "0.210101.1000", "2021-01-01", **MICE),
        published("000005", "0.220101.1000", "2022-01-01", species=("Rattus norvegicus",)),
    ]
    mirror.write(*DRAFTS, *versions)
    tip = mirror.git("rev-parse", "releases", name="mice")
    mirror.settings = of_mice("species ~ rattus")
    mirror.write(*DRAFTS, *versions)
    assert mirror.links("releases", "mice") == {"000005": versions[1].commit}
    mirror.git("merge-base", "--is-ancestor", tip, "releases", name="mice")
    mirror.settings = of_mice("species is present")
    mirror.write(*DRAFTS, *versions)
    assert mirror.links("releases", "mice") == {one.facts.identifier: one.commit for one in versions}
    mirror.git("fsck", "--strict", "--full", "--no-dangling", name="mice")


def test_nothing_that_matches_makes_no_superdataset(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path / "store", of_mice())
    assert not mirror.write(*DRAFTS, *TWO)["mice"].changed
    assert not mirror.store.alias("mice").exists()


def test_a_superdataset_that_empties_on_the_way_is_whole(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path / "store", of_mice())
    versions = [
        published("000003", "0.210101.1000", "2021-01-01", **MICE),
        published("000003", "0.220101.1000", "2022-01-01"),
        published("000003", "0.230101.1000", "2023-01-01", **MICE),
    ]
    mirror.write(*DRAFTS, *versions)
    mirror.git("fsck", "--strict", "--full", "--no-dangling", name="mice")
    assert mirror.git("show", "releases~1:.gitmodules", name="mice") == ""
    assert mirror.links("releases", "mice") == {"000003": versions[2].commit}


def test_an_embargoed_dandiset_stands_in_no_superdataset(mirror: Mirror) -> None:
    mirror.write(*DRAFTS, draft("000009", embargoed=True), *TWO)
    assert "000009" not in mirror.links("draft")
    assert "000009" not in mirror.git("show", "draft:dandisets.tsv")


# --- what people write --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a\tb\nc\u2028d\x0be", "'quoted' \"name\"", "x" * 5000, "\x00nul", "# : { } é 🐭"])
def test_whatever_a_name_holds_it_stays_in_its_cell(mirror: Mirror, name: str) -> None:
    version = published("000003", "0.210101.1000", "2021-01-01")
    odd = Standing(version.commit, _renamed(version.facts, name))
    other = published("000005", "0.220101.1000", "2022-01-01")
    mirror.write(draft("000003"), draft("000005"), odd)
    mirror.write(draft("000003"), draft("000005"), odd, other)
    table = mirror.table("releases", "dandisets.tsv")
    assert [row["identifier"] for row in table] == ["000003", "000005"]
    assert table[0]["name"] == " ".join(name.split()).replace("\0", "")
    mirror.git("fsck", "--strict", "--full")


def _renamed(facts: Facts, name: str) -> Facts:
    return msgspec.structs.replace(facts, name=name, citation=name)


def test_a_version_without_doi_has_its_commit_and_no_tag(mirror: Mirror) -> None:
    bare = Standing(TWO[0].commit, msgspec.structs.replace(TWO[0].facts, doi=None))
    mirror.write(*DRAFTS, bare)
    assert mirror.refs().keys() == {"refs/heads/draft", "refs/heads/releases"}
    assert mirror.table("releases", "releases.tsv")[0]["doi"] == ""


def test_one_doi_for_two_versions_is_given_once(mirror: Mirror) -> None:
    same = Standing(TWO[1].commit, msgspec.structs.replace(TWO[1].facts, doi=TWO[0].facts.doi))
    below = Standing(TWO[2].commit, msgspec.structs.replace(TWO[2].facts, doi=f"{TWO[0].facts.doi}/x"))
    mirror.write(*DRAFTS, TWO[0], same, below)
    tags = [ref for ref in mirror.refs() if ref.startswith("refs/tags/")]
    assert tags == ["refs/tags/doi/10.48324/dandi.000003/0.210101.1000"]
    assert mirror.git("rev-parse", "releases~2") == mirror.refs()[tags[0]]
