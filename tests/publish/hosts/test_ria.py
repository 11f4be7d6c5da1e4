"""Another RIA store: a copy that is cloned like the first."""

from __future__ import annotations

import functools
import os
import subprocess
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mirror.config import Host
from mirror.publish.hosts import Patience


@pytest.fixture
def store(tmp_path):
    return tmp_path / "copy"


@pytest.fixture
def host(store):
    return Host(name="copy", kind="ria", url=str(store))


def repository(store, source):
    dataset_id = source.publication.dataset_id
    return store / dataset_id[:3] / dataset_id[3:]


@pytest.fixture
def static_url(store):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(store)))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_it_is_laid_out_as_datalad_wants_it(family, host, store, git, refs_of):
    outcome = family.push(host)

    assert outcome.ok, outcome
    assert (store / "ria-layout-version").read_text() == "1\n"
    assert (store / "error_logs").is_dir()
    for name, source in family.sources.items():
        folder = repository(store, source)
        assert (store / "alias" / name).readlink().as_posix() == f"../{folder.relative_to(store)}"
        assert (folder / "ria-layout-version").read_text() == "2\n"
        assert (folder / "HEAD").read_text() == "ref: refs/heads/draft\n"
        assert refs_of(folder) == refs_of(source.path)
        assert folder.stat().st_mode & 0o777 == 0o755
        git(folder, "fsck", "--strict")


def test_datalad_clones_from_it(world, host, store, tmp_path, git, refs_of):
    source = world.add("000027")
    source.publish("0.1")
    world.push(host)
    before = refs_of(source.path)
    done = subprocess.run(
        ["datalad", "clone", f"ria+file://{store}#~000027@0.1", str(tmp_path / "clone")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert git(tmp_path / "clone/.git", "rev-parse", "HEAD") == before["refs/tags/doi/10.48324/dandi.000027/0.1"]
    assert refs_of(repository(store, source)) == before


def test_git_annex_in_a_clone_writes_nothing_into_it(world, host, store, tmp_path, refs_of):
    source = world.add("000027")
    world.push(host)
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(store / "alias/000027"), str(clone)], check=True)
    subprocess.run(["git", "annex", "init", "-q"], cwd=clone, check=True, capture_output=True)
    subprocess.run(["git", "annex", "info", "--fast", "origin"], cwd=clone, check=True, capture_output=True)

    assert refs_of(repository(store, source)) == refs_of(source.path)
    source.commit("git-annex")
    assert world.push(host).ok


def test_a_static_server_shows_each_push_at_once(world, host, static_url, tmp_path, git, refs_of):
    source = world.add("000027")
    world.push(host)
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", f"{static_url}/alias/000027", str(clone)], check=True)
    source.publish("0.1")
    world.push(host)
    git(clone / ".git", "fetch", "-q", "--tags")

    assert refs_of(clone / ".git")["refs/remotes/origin/draft"] == refs_of(source.path)["refs/heads/draft"]
    assert refs_of(clone / ".git")["refs/tags/0.1"] == refs_of(source.path)["refs/tags/0.1"]


def test_killed_before_the_static_files_were_written_the_next_run_writes_them(world, host, store):
    source = world.add("000027")
    world.push(host)
    folder = repository(store, source)
    source.commit()
    subprocess.run(["git", f"--git-dir={source.path}", "push", "-q", str(folder), "draft"], check=True)
    stale = (folder / "info/refs").read_text()
    world.push(host)

    assert (folder / "info/refs").read_text() != stale


def test_an_embargoed_dandiset_is_closed_to_others_until_the_embargo_ends(world, store):
    host = Host(name="copy", kind="ria", url=str(store), private=True)
    source = world.add("000027")
    source.change(private=True)
    world.push(host)
    assert repository(store, source).stat().st_mode & 0o777 == 0o700

    source.change(private=False)
    assert world.push(host).opened == ["000027"]
    assert repository(store, source).stat().st_mode & 0o777 == 0o755


def test_embargoed_again_is_closed(world, host, store):
    source = world.add("000027")
    world.push(host)
    source.change(private=True)

    assert world.push(host).hidden == ["000027"]
    assert repository(store, source).stat().st_mode & 0o777 == 0o700
    assert world.behind(host) == {}


def test_a_disk_that_is_not_mounted_is_not_filled_anew(family, host, store, tmp_path):
    family.push(host)
    store.rename(tmp_path / "unmounted")
    family.sources["000027"].commit()
    outcome = family.push(host)

    assert "the store is no longer at" in outcome.stopped
    assert not store.exists()

    (tmp_path / "unmounted").rename(store)
    assert family.push(host).pushed == ["000027"]


def test_a_folder_that_is_not_there_stops_the_host(world, tmp_path):
    world.add("000027")
    outcome = world.push(Host(name="copy", kind="ria", url=str(tmp_path / "no/such/place")))

    assert "there is no folder for" in outcome.stopped


def test_a_store_of_another_layout_is_left_alone(world, host, store):
    world.add("000027")
    store.mkdir()
    (store / "ria-layout-version").write_text("7\n")

    assert "another layout" in world.push(host).stopped


def test_half_a_repository_left_by_a_kill_is_completed(world, host, store):
    source = world.add("000027")
    half = repository(store, source)
    half.mkdir(parents=True)
    (store / "ria-layout-version").write_text("1\n")
    (store / "alias").mkdir()
    (half / "HEAD").write_text("ref: refs/heads/main\n")

    assert world.push(host).ok
    assert (half / "HEAD").read_text() == "ref: refs/heads/draft\n"


@pytest.mark.parametrize("lock", ["refs/heads/draft.lock", "HEAD.lock"])
def test_a_lock_file_of_a_killed_git_is_removed(world, host, store, refs_of, lock):
    source = world.add("000027")
    world.push(host)
    left = repository(store, source) / lock
    left_behind(left, hours=1)
    source.change(default_branch="git-annex")
    source.commit()

    assert world.push(host).ok
    assert not left.exists()
    assert refs_of(repository(store, source)) == refs_of(source.path)


def test_half_a_repository_with_a_lock_file_is_completed(world, host, store):
    source = world.add("000027")
    world.push(host)
    (repository(store, source) / "ria-layout-version").unlink()
    (world.marks / "copy.jsonl").unlink()
    left_behind(repository(store, source) / "config.lock", hours=1)

    assert world.push(host).ok


def test_a_lock_file_of_a_moment_ago_is_left_to_its_git(world, host, store):
    source = world.add("000027")
    world.push(host)
    lock = repository(store, source) / "refs/heads/draft.lock"
    left_behind(lock, hours=0)
    source.commit()
    outcome = world.push(host)

    assert f"a lock file is in the way: {lock}" in outcome.failures["000027"]
    assert lock.exists()

    left_behind(lock, hours=1 / 30)
    assert not world.push(host).ok
    assert world.push(host, patience=Patience(lock_minutes=1)).ok


def left_behind(lock, hours):
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    moment = time.time() - 3600 * hours
    os.utime(lock, (moment, moment))


def test_a_repository_of_somebody_else_is_left_as_it_is(world, host, store, git, refs_of):
    source, other = world.add("000027"), world.add("000108")
    world.push(host)
    folder = repository(store, source)
    git(folder, "fetch", "-q", str(other.path), "+refs/heads/draft:refs/heads/draft")
    git(folder, "symbolic-ref", "HEAD", "refs/heads/git-annex")
    (world.marks / "copy.jsonl").unlink()
    before = refs_of(folder)
    outcome = world.push(host)

    assert "another repository stands at" in outcome.failures["000027"]
    assert (outcome.pushed, refs_of(folder)) == (["000108"], before)
    assert (folder / "HEAD").read_text() == "ref: refs/heads/git-annex\n"
