"""Two mirrors are compared by their hashes, over a path or over plain HTTP."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.errors import UsageError
from mirror.proving.comparing import compare_mirrors
from mirror.proving.histories import Compared
from mirror.proving.others import FolderMirror, other_mirror
from mirror.publish.publishing import Publisher
from mirror.store.store import Store
from mirror.sync.dandiset import layout_of
from mirror.sync.engine import sync
from tests.proving.conftest import Git, Mirrored, copied, ripples

Serve = Callable[[Path], str]
Compare = Callable[[], dict[str, Compared]]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve a folder by a web server that knows nothing of git; its address."""
    servers: list[ThreadingHTTPServer] = []

    def run(folder: Path) -> str:
        handler = functools.partial(_Quiet, directory=str(folder))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield run
    for server in servers:
        server.shutdown()
        server.server_close()


def mirror(settings: Settings, *named: str) -> Store:
    with Publisher(settings, layout_of(settings)) as publisher:
        sync(settings, named, follower=publisher)
    return Store.open(settings.store)


def mirror_twice(settings: Settings) -> None:
    """Once where the settings say, and once beside it."""
    for store in (settings.store, settings.store.with_name("other")):
        mirror(settings.model_copy(update={"store": store}))


@pytest.fixture
def other_settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"store": tmp_path / "other"})


@pytest.fixture
def ours(dandiset: str, settings: Settings, mirrored: Mirrored) -> Store:
    assert dandiset
    return copied(mirrored(ripples, mirror_twice), settings)


@pytest.fixture
def theirs(dandiset: str, other_settings: Settings, mirrored: Mirrored) -> Store:
    """Not a copy of ours: a mirror of its own."""
    assert dandiset
    return copied(mirrored(ripples, mirror_twice).with_name("other"), other_settings)


@pytest.fixture(params=["a path", "http"])
def compare(request: pytest.FixtureRequest, ours: Store, theirs: Store, serve: Serve, tmp_path: Path) -> Compare:
    """What comes of comparing our mirror with the other one, over a path and over HTTP."""

    def run() -> dict[str, Compared]:
        where = str(theirs.root) if request.param == "a path" else serve(theirs.public)
        found = compare_mirrors(FolderMirror(ours.root), other_mirror(where), scratch=tmp_path)
        return {one.name: one for one in found}

    return run


def test_two_mirrors_of_one_archive_are_equal(compare: Compare, dandiset: str) -> None:
    found = compare()

    assert {dandiset: "equal", "dandisets": "equal"} == {name: one.verdict for name, one in found.items()}


def test_one_that_missed_a_version_is_behind(
    compare: Compare, dandiset: str, archive: DemoArchive, other_settings: Settings
) -> None:
    archive.clock.advance(120)
    version = archive.publish(dandiset)
    mirror(other_settings)

    one = compare()[dandiset]

    assert (one.verdict, one.releases, one.version) == ("behind", "behind", version)


def test_one_that_has_more_is_ahead(compare: Compare, dandiset: str, archive: DemoArchive, settings: Settings) -> None:
    archive.clock.advance(120)
    archive.publish(dandiset)
    mirror(settings)

    assert compare()[dandiset].verdict == "ahead"


def test_a_draft_that_one_saw_earlier_is_behind(
    compare: Compare, dandiset: str, archive: DemoArchive, other_settings: Settings
) -> None:
    archive.clock.advance(120)
    archive.add_asset(dandiset, "sub-4/sub-4_ecephys.nwb", b"spikes of four")
    mirror(other_settings)

    one = compare()[dandiset]

    assert (one.verdict, one.releases, one.draft) == ("behind", "equal", "behind")


def test_drafts_that_came_to_the_same_by_another_way_are_equal(
    compare: Compare, dandiset: str, archive: DemoArchive, settings: Settings, other_settings: Settings
) -> None:
    archive.clock.advance(120)
    archive.add_asset(dandiset, "sub-4/sub-4_ecephys.nwb", b"spikes of four")
    mirror(settings)
    archive.clock.advance(120)
    archive.add_asset(dandiset, "sub-5/sub-5_ecephys.nwb", b"spikes of five")
    mirror(settings)
    mirror(other_settings)

    one = compare()[dandiset]

    assert one.verdict == "equal"
    assert "another history" in one.message


def test_a_version_with_another_tree_is_different_from_there_on(
    compare: Compare, dandiset: str, theirs: Store, git: Git
) -> None:
    repository = theirs.repository(dandiset).path
    (version,) = (name for name in git(repository, "tag").splitlines() if "/" not in name)
    blob = git(repository, "hash-object", "-w", "--stdin", stdin=b"Ripples of one mouse\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_INDEX_FILE", str(repository / "an-index"))
        git(repository, "read-tree", version)
        git(repository, "update-index", "--index-info", stdin=f"100644 {blob}\tREADME.md\n".encode())
        tree = git(repository, "write-tree")
    commit = git(repository, "commit-tree", tree, "-m", git(repository, "log", "-1", "--format=%B", version))
    git(repository, "tag", "-f", version, commit)
    git(repository, "update-ref", "refs/heads/releases", commit)
    git(repository, "update-server-info")

    one = compare()[dandiset]

    assert (one.verdict, one.releases, one.version, one.paths) == ("different", "different", version, ("README.md",))


def test_of_another_layout_it_is_said_that_hashes_cannot_agree(
    dandiset: str, ours: Store, other_settings: Settings, serve: Serve
) -> None:
    text = other_settings.text_in_git.model_copy(update={"max_bytes": 10})
    theirs = mirror(other_settings.model_copy(update={"text_in_git": text}))

    found = {one.name: one for one in compare_mirrors(FolderMirror(ours.root), other_mirror(serve(theirs.public)))}

    assert found[dandiset].verdict == "different"
    assert "layouts differ" in found[dandiset].message
    assert (found[dandiset].here_layout, found[dandiset].there_layout) == ("2", "2 text_in_git.max_bytes=10")


def test_what_only_one_has_is_told_of(
    compare: Compare, archive: DemoArchive, settings: Settings, other_settings: Settings
) -> None:
    first, second = archive.create_dandiset("Theirs"), archive.create_dandiset("Ours")
    mirror(other_settings, first)
    mirror(settings, second)

    found = compare()

    assert (found[first].verdict, found[second].verdict) == ("missing here", "missing there")
    assert found["dandisets"].verdict in ("equal", "behind", "ahead")


def test_git_annex_branches_may_differ(compare: Compare, dandiset: str, theirs: Store, git: Git) -> None:
    repository = theirs.repository(dandiset).path
    tree = git(repository, "rev-parse", "git-annex^{tree}")
    git(repository, "update-ref", "refs/heads/git-annex", git(repository, "commit-tree", tree, "-m", "of their own"))
    git(repository, "update-server-info")

    one = compare()[dandiset]

    assert (one.verdict, one.annex_differs) == ("equal", True)


def test_zarrs_are_compared_too(
    with_zarr: str, archive: DemoArchive, settings: Settings, other_settings: Settings, zarr_path: str
) -> None:
    ours = mirror(settings, with_zarr)
    archive.clock.advance(60)
    archive.change_zarr(with_zarr, zarr_path, {"0/2": b"new"})
    theirs = mirror(other_settings, with_zarr)

    found = {one.name: one for one in compare_mirrors(FolderMirror(ours.root), FolderMirror(theirs.root))}

    (zarr_id,) = ours.zarrs()
    assert found[zarr_id].verdict == "behind"


def test_what_does_not_answer_is_not_known(ours: Store, dandiset: str, serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "empty" / "alias" / dandiset / "info").mkdir(parents=True)
    (tmp_path / "empty" / "alias" / dandiset / "info" / "refs").write_text("<html>not here</html>")
    (tmp_path / "empty" / "changes.jsonl").touch()

    found = {one.name: one for one in compare_mirrors(FolderMirror(ours.root), other_mirror(serve(tmp_path / "empty")))}

    assert found[dandiset].verdict == "unknown"
    assert found["dandisets"].verdict == "missing there"


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no store"):
        other_mirror(str(tmp_path))


def test_an_address_at_which_there_is_no_mirror_is_refused(theirs: Store, serve: Serve) -> None:
    """As the store's own is, where that of its `public` was meant: nothing would contradict, whatever is there."""
    with pytest.raises(UsageError, match="serves no mirror"):
        other_mirror(serve(theirs.root))


def test_a_mirror_without_a_feed_is_one(theirs: Store, serve: Serve) -> None:
    theirs.changes.unlink()
    assert other_mirror(serve(theirs.public)).names() == set()


def test_neither_side_shows_what_is_under_embargo(ours: Store) -> None:
    (ours.private / "alias").mkdir(parents=True)
    (ours.private / "alias" / "000999").symlink_to("../abc/def")

    assert "000999" not in FolderMirror(ours.root).names()


def test_one_that_cannot_be_read_keeps_no_other_from_being_compared(
    ours: Store, theirs: Store, dandiset: str, git: Git
) -> None:
    repository = theirs.repository(dandiset).path
    nonsense = git(repository, "hash-object", "-w", "--literally", "-t", "commit", "--stdin", stdin=b"nonsense")
    (repository / "refs" / "heads" / "draft").write_text(f"{nonsense}\n")

    found = {one.name: one for one in compare_mirrors(FolderMirror(ours.root), FolderMirror(theirs.root))}

    assert found[dandiset].verdict == "unknown"
    assert found["dandisets"].verdict == "equal"
