"""The real git-annex, in clones of a mirror, with the remote enabled as the README says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.demo.faults import Beyond, OtherETag, Reset, Status, Truncated
from mirror.sync.engine import sync

from .conftest import PROGRAM, Noted, run

ENABLE = ["initremote", "--sameas=web", "dandi", "type=external", "externaltype=dandi", "encryption=none"]
BIG, SMALL, GOING = "sub-1/big.nwb", "sub-1/small.nwb", "sub-3/going.nwb"
CONTENT = bytes(range(256)) * (36 << 10)  # 9 MiB
MANY = {f"sub-2/{number}.dat": f"the bytes of {number}".encode() for number in range(40)}


@dataclass(frozen=True)
class Clone:
    path: Path

    def annex(self, *args: object, ok: bool = True, **env: str) -> str:
        return run("git", "annex", *args, cwd=self.path, ok=ok, env=env)

    def git(self, *args: object, ok: bool = True) -> str:
        return run("git", *args, cwd=self.path, ok=ok)

    def has(self, path: str) -> bool:
        return (self.path / path).exists()

    def key(self, path: str = BIG) -> str:
        return (self.path / path).readlink().name


@dataclass(frozen=True)
class Scene:
    """An archive, what is mirrored of it, and a clone of that."""

    archive: DemoArchive
    identifier: str
    clone: Path

    def object_of(self, path: str) -> str:
        blob = self.archive.asset(self.identifier, path).blob
        assert blob is not None
        return blob.key


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """For all tests here: they misuse the archive by faults only, or where nobody else looks."""
    folder = tmp_path_factory.mktemp("world")
    with DemoArchive() as archive:
        identifier = archive.create_dandiset("Ripples")
        files = {BIG: CONTENT, SMALL: b"few bytes", GOING: b"not for long", **MANY}
        archive.add_assets(identifier, [(path, content, None) for path, content in files.items()])
        where = {"instance": "demo-dandi", "api_url": archive.api_url, "s3_endpoint": archive.s3_endpoint}
        given = {"archive": {**where, "settle_seconds": 0}, "store": folder / "store", "jobs": 1}
        sync(Settings.model_validate(given), [identifier]).check()
        run("git", "clone", "-q", folder / "store/public/alias" / identifier, folder / "clone")
        Clone(folder / "clone").annex(*ENABLE)
        yield Scene(archive, identifier, folder / "clone")


@pytest.fixture
def scene(world: Scene) -> Iterator[Scene]:
    world.archive.requests.clear()
    yield world
    world.archive.s3_faults.clear()
    world.archive.api_faults.clear()


@pytest.fixture
def clone(scene: Scene, tmp_path: Path) -> Clone:
    run("cp", "-a", scene.clone, tmp_path / "clone")
    return Clone(tmp_path / "clone")


def test_one_command_makes_it_usable_for_everything(scene: Scene, clone: Clone) -> None:
    assert "(from dandi...)" in clone.annex("get", BIG)
    assert (clone.path / BIG).read_bytes() == CONTENT
    assert "(from dandi...)" in clone.annex("get", "--from", "dandi", SMALL)
    assert "checksum" in clone.annex("fsck", "sub-1")
    clone.annex("drop", "sub-1")
    assert not clone.has(BIG)
    assert clone.annex("fsck", "--from", "dandi", "sub-1").count("ok\n") >= 2
    assert clone.annex("fsck", "--fast", "--from", "dandi", "sub-1").count("ok\n") >= 2
    assert "(1 copy)" in clone.annex("whereis", BIG)
    clone.annex("copy", "--from", "dandi", "sub-1")
    assert (clone.path / SMALL).read_bytes() == b"few bytes"
    # From the bucket, all of it.
    assert scene.archive.count(path="/download/") == 0


def test_neither_pushing_nor_fetching_is_hindered(clone: Clone, tmp_path: Path) -> None:
    run("git", "init", "-q", "--bare", tmp_path / "mine")
    clone.git("remote", "add", "mine", tmp_path / "mine")
    clone.git("push", "-q", "mine", "HEAD", "git-annex")
    clone.git("fetch", "--all")


def test_git_annex_s_own_tests_of_a_special_remote_pass(clone: Clone) -> None:
    clone.annex("get", BIG)
    said = clone.annex("testremote", "dandi", "--test-readonly", BIG)
    assert "All" in said
    assert "tests passed" in said


def test_several_at_a_time(clone: Clone) -> None:
    clone.annex("get", "-J4", "--from", "dandi", "sub-2")
    assert {path: (clone.path / path).read_bytes() for path in MANY} == MANY


def test_a_broken_download_is_resumed_by_the_next(scene: Scene, clone: Clone) -> None:
    scene.archive.s3_faults.add(Beyond(3 << 20, Status(404)), times=None)
    scene.archive.api_faults.add(Status(404), times=None)
    said = clone.annex("get", "--from", "dandi", BIG, ok=False)
    assert "it is not there (HTTP 404)" in said
    begun = (clone.path / ".git/annex/tmp" / clone.key()).stat().st_size
    assert begun == 3 << 20
    scene.archive.s3_faults.clear()
    later = Noted()
    scene.archive.s3_faults.add(later, times=None)
    clone.annex("get", "--from", "dandi", BIG)
    assert later.sent == len(CONTENT) - begun
    assert (clone.path / BIG).read_bytes() == CONTENT


@pytest.mark.usefixtures("hasty")
def test_a_connection_cut_in_the_middle_does_not_show(scene: Scene, clone: Clone) -> None:
    noted = Noted({2: Truncated(0.9), 3: Truncated(0.1), 4: Status(503), 5: Status(503)})
    scene.archive.s3_faults.add(noted, times=None)
    clone.annex("get", "--from", "dandi", BIG)
    assert (clone.path / BIG).read_bytes() == CONTENT


def test_a_bad_beginning_costs_one_download_and_heals(clone: Clone) -> None:
    """Nobody can tell by its length that what is there already is not the beginning. The hash of the whole does."""
    unfinished = clone.path / ".git/annex/tmp" / clone.key()
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    unfinished.write_bytes(b"x" * (3 << 20))
    assert "Verification of content failed" in clone.annex("get", "--from", "dandi", BIG, ok=False)
    assert not unfinished.exists()
    clone.annex("get", "--from", "dandi", BIG)
    assert (clone.path / BIG).read_bytes() == CONTENT


def test_an_object_that_changes_while_it_is_read_is_never_taken(scene: Scene, clone: Clone) -> None:
    scene.archive.s3_faults.add(OtherETag(), after=3, times=None)
    scene.archive.api_faults.add(Status(404), times=None)
    said = clone.annex("get", "--from", "dandi", BIG, ok=False)
    assert "it was replaced while it was read" in said
    assert not clone.has(BIG)


def test_what_is_gone_is_not_dropped_here_and_said_to_be_gone(scene: Scene, clone: Clone) -> None:
    clone.annex("get", GOING)
    key = scene.object_of(GOING)
    latest = scene.archive.objects.latest(key)
    assert latest is not None
    scene.archive.objects.delete_version(key, latest.version_id)
    assert "unsafe" in clone.annex("drop", GOING, ok=False)
    assert clone.has(GOING)
    clone.annex("drop", "--force", GOING)
    said = clone.annex("get", "--from", "dandi", GOING, ok=False)
    assert "it is not there (HTTP 404)" in said


@pytest.mark.usefixtures("hasty")
def test_an_archive_that_is_down_lets_nothing_be_dropped(scene: Scene, clone: Clone) -> None:
    clone.annex("get", SMALL)
    for faults in (scene.archive.s3_faults, scene.archive.api_faults):
        faults.add(Reset(), times=None)
    assert "unsafe" in clone.annex("drop", SMALL, ok=False)
    assert clone.has(SMALL)


@pytest.fixture
def embargoed(scene: Scene) -> Iterator[None]:
    scene.archive.embargo(scene.identifier)
    yield
    scene.archive.unembargo(scene.identifier)


@pytest.mark.usefixtures("embargoed")
def test_what_became_embargoed_needs_a_token(scene: Scene, clone: Clone) -> None:
    """The clone knows the address in the bucket, which is closed, and the one at the API."""
    clone.git("config", "remote.dandi.annex-dandi-api", scene.archive.api_url)
    clone.git("config", "remote.dandi.annex-dandi-instance", "demo-dandi")
    without = clone.annex("get", "--from", "dandi", BIG, ok=False)
    assert "set DEMO_DANDI_API_KEY to a token" in without
    others = clone.annex("get", "--from", "dandi", BIG, ok=False, DEMO_DANDI_API_KEY=scene.archive.other_token)
    assert "the token's owner may not see this" in others
    said = clone.annex("get", "--from", "dandi", BIG, DEMO_DANDI_API_KEY=scene.archive.token)
    assert (clone.path / BIG).read_bytes() == CONTENT
    clone.annex("drop", BIG, DEMO_DANDI_API_KEY=scene.archive.token)
    left = b"".join(path.read_bytes() for path in clone.path.rglob("*") if path.is_file() and not path.is_symlink())
    for secret in (scene.archive.token, scene.archive.other_token, "X-Amz"):
        assert secret not in without + others + said
        assert secret.encode() not in left


def test_where_it_is_not_installed_git_annex_says_so_and_asks_the_web(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("git-annex", "git"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    assert shutil.which(PROGRAM) is None
    said = clone.annex("get", SMALL)
    assert "Cannot run git-annex-remote-dandi -- It is not installed in PATH" in said
    assert "(from web...)" in said
    assert (clone.path / SMALL).read_bytes() == b"few bytes"


@pytest.fixture
def own(tmp_path: Path, scene: Scene) -> Clone:
    """A repository of one's own, with the remote as one of its own."""
    own = Clone(tmp_path / "own")
    run("git", "init", "-q", own.path)
    own.annex("init", "-q")
    own.annex("initremote", "dandi", "type=external", "externaltype=dandi", "encryption=none")
    own.git("config", "remote.dandi.annex-dandi-api", scene.archive.api_url)
    return own


def test_files_are_added_by_their_name_in_the_archive(own: Clone, scene: Scene) -> None:
    version = scene.archive.publish(scene.identifier)
    own.annex("addurl", "--file", "big.nwb", f"dandi:{scene.identifier}/{version}/{BIG}")
    assert (own.path / "big.nwb").read_bytes() == CONTENT
    own.annex("addurl", "--fast", f"dandi:{scene.identifier}/{version}/{SMALL}")
    assert not own.has("small.nwb")
    own.annex("drop", "big.nwb")
    own.annex("get", ".")
    assert (own.path / "small.nwb").read_bytes() == b"few bytes"
    assert (own.path / "big.nwb").read_bytes() == CONTENT
    assert own.annex("fsck", "--from", "dandi").count("ok\n") >= 2
    assert "Neurosift: https://neurosift.app/nwb" in own.annex("whereis", "big.nwb")
    assert "the archive has no such file" in own.annex("addurl", f"dandi:{scene.identifier}/draft/nothing", ok=False)
