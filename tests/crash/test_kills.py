"""A killed sync leaves the old state or the new one: the crash test in its short form."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crashtest.killing import run_sync
from crashtest.looking import Loss, check_same_store, clone, git
from crashtest.pair import SUPERDATASETS, Pair, host_of
from crashtest.published import check_catalogue, check_feed, check_host, check_links, check_same_feed
from crashtest.steps import CHANGE
from crashtest.victim import Aim
from mirror.demo import DemoProcess
from mirror.store.store import Store

ROOT = Path(__file__).parents[2]
ROUNDS = os.environ.get("CRASH_ROUNDS", "5")
"""In the fifth the catalogue is compared with one made from nothing, in the tenth the store is new."""


def test_nothing_is_lost_in_a_few_rounds(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "crashtest", ROUNDS, "--seed", "11", "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"^{ROUNDS} rounds, [1-9]\d* with a repack due", done.stdout, re.MULTILINE)
    assert "0 losses" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def a_round(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store and its twin, in each of which two Dandisets are mirrored, one of them with a version."""
    folder = tmp_path_factory.mktemp("round")
    with DemoProcess("empty", start="2026-01-01T00:00:00+00:00") as archive:
        one, other = (archive.call("create_dandiset", name=name) for name in ("One", "Other"))
        archive.call("add_asset", identifier=one, path="a.nwb", content=b"one")
        archive.call("publish", identifier=one)
        archive.call("add_asset", identifier=other, path="b.nwb", content=b"other")
        settings = {"instance": "demo-dandi", "api_url": archive.api_url, "s3_endpoint": archive.s3_endpoint}
        pair = Pair(folder / "store", folder / "twin", {**settings, "settle_seconds": 0})
        assert pair.sync_twin(at_end=lambda: None)[0] == 0
        arguments = ["sync", "-J", "1", "-c", str(pair.write_settings(pair.store))]
        ending = run_sync(arguments, {"PATH": os.environ["PATH"], "HOME": str(folder)}, folder / "log")
        assert ending.code == 0, ending.said
    return folder


@pytest.fixture
def after_a_round(a_round: Path, tmp_path: Path) -> Pair:
    """These, for one test alone. The archive is gone."""
    folder = tmp_path / "round"
    shutil.copytree(a_round, folder, symlinks=True)
    return Pair(folder / "store", folder / "twin", {"instance": "demo-dandi", "api_url": "http://127.0.0.1:9/api"})


def test_what_is_left_over_or_cannot_be_read_is_a_loss(after_a_round: Pair, tmp_path: Path) -> None:
    """The crash test itself: what it is to find, it finds."""
    store, twin = after_a_round.store, after_a_round.twin
    check_same_store(store, twin)
    left = store / "state" / "tmp" / "left"
    left.touch()
    with pytest.raises(Loss, match="left over: state/tmp/left"):
        check_same_store(store, twin)
    left.unlink()
    repository = Store.open(store).alias("000001").resolve()
    pack = next(repository.glob("objects/pack/*.pack"))
    pack.chmod(0o644)
    with pytest.raises(Loss, match="644"):
        check_same_store(store, twin)
    pack.unlink()
    with pytest.raises(Loss, match="half a pack"):
        check_same_store(store, twin)
    with pytest.raises(Loss, match="ended with"):
        clone(repository, tmp_path / "a-clone")


def test_a_superdataset_that_points_at_what_is_not_there_is_a_loss(after_a_round: Pair) -> None:
    public, host = after_a_round.store / "public", host_of(after_a_round.store)
    for folder in (public, host):
        check_links(folder, SUPERDATASETS, ["000001", "000002"])
        git(f"--git-dir={folder / 'alias' / '000001'}", "update-ref", "-d", "refs/heads/releases")
        with pytest.raises(Loss, match="dandisets, branch releases, has 000001 at"):
            check_links(folder, SUPERDATASETS, ["000001"])
        check_links(folder, SUPERDATASETS, ["000002"])


def test_a_host_that_lacks_something_is_a_loss(after_a_round: Pair) -> None:
    store, host = Store.open(after_a_round.store), host_of(after_a_round.store)
    folders = list(after_a_round.expected(["000001", "000002"]))
    check_host(store, host, folders)
    git(f"--git-dir={host / 'alias' / '000001'}", "update-ref", "-d", "refs/heads/releases")
    with pytest.raises(Loss, match="on the host, the refs of"):
        check_host(store, host, folders)


def _without_the_last(lines: list[str]) -> list[str]:
    return lines[:-1]


def _with_one_twice(lines: list[str]) -> list[str]:
    return [*lines, lines[-1].replace(f'"serial":{len(lines)}', f'"serial":{len(lines) + 1}')]


def _with_a_gap(lines: list[str]) -> list[str]:
    return [lines[0], *lines[2:]]


def _with_half_a_line(lines: list[str]) -> list[str]:
    return [*lines[:-1], lines[-1][:-20]]


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [
        (_without_the_last, "the feed tells of 000002, draft: "),
        (_with_one_twice, "the feed tells twice of"),
        (_with_a_gap, r"the serials of the feed are \[1, 3"),
        (_with_half_a_line, "no whole line"),
    ],
)
def test_a_feed_that_is_not_whole_is_a_loss(after_a_round: Pair, spoilt: Callable[..., list[str]], why: str) -> None:
    store = Store.open(after_a_round.store)
    check_feed(store, ["000001", "000002"], ended=True)
    check_same_feed(store, Store.open(after_a_round.twin))
    lines = store.changes.read_text().splitlines(keepends=True)
    store.changes.write_text("".join(spoilt(lines)))
    with pytest.raises(Loss, match=why):
        check_feed(store, ["000001", "000002"], ended=True)


def test_after_a_kill_the_feed_may_lack_what_came_last_but_nothing_else(after_a_round: Pair) -> None:
    store = Store.open(after_a_round.store)
    lines = store.changes.read_text().splitlines(keepends=True)
    for left in (_without_the_last, _with_half_a_line):
        store.changes.write_text("".join(left(lines)))
        check_feed(store, ["000001", "000002"], ended=False)
    store.changes.write_text("".join(_with_a_gap(lines)))
    with pytest.raises(Loss, match="serials"):
        check_feed(store, ["000001"], ended=False)


def test_a_catalogue_that_is_not_as_one_made_from_nothing_is_a_loss(after_a_round: Pair, tmp_path: Path) -> None:
    store = Store.open(after_a_round.store)
    check_catalogue(store, tmp_path / "rebuilt")
    with store.catalogue() as catalogue:
        catalogue.db.execute("UPDATE asset SET draft_from = NULL WHERE path = 'b.nwb'")
    with pytest.raises(Loss, match="not as one made from nothing"):
        check_catalogue(store, tmp_path / "rebuilt")
    assert not (tmp_path / "rebuilt").exists()


def test_a_victim_dies_at_the_step_it_is_told(tmp_path: Path) -> None:
    """With what it had started; and a step later, one change more has happened."""
    made = []
    with DemoProcess("empty") as archive:
        config = tmp_path / "mirror.yaml"
        config.write_text(f"archive: {{instance: demo-dandi, api_url: {archive.api_url}}}\n")
        for number in range(1, 4):
            store = tmp_path / f"store-{number}"
            arguments = ["sync", "-c", str(config), "--store", str(store)]
            ending = run_sync(arguments, {"HOME": str(tmp_path)}, tmp_path / "log", Aim(str(store), CHANGE, number))
            assert ending.killed, ending.said
            made.append(len(list(store.rglob("*"))))
    assert made == sorted(made)
    assert made[0] < made[-1]
