"""Killed in the middle of opening or withdrawing a Dandiset: the next poll finishes it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from mirror.demo import DemoArchive
from mirror.store import contents
from mirror.store.store import Store
from tests.sync.embargo.conftest import SECRETS, Mirror, found_in_public, live_under_embargo, populate

pytestmark = pytest.mark.usefixtures("token", "closed")

_STEPS = {"os.rename", "os.remove", "os.symlink", "os.mkdir", "shutil.rmtree"}
"""Of what is done to files, that which shows."""


class _Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


class _Killer:
    """Kills before the n-th step that this process takes within a folder."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.left = 0
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[object, ...]) -> None:
        if self.folder is None or event not in _STEPS:
            return
        paths = [os.fspath(one) for one in args if isinstance(one, str | os.PathLike)]
        if any(path.startswith(self.folder) and "/objects/pack/" not in path for path in paths):
            self.left -= 1
            if self.left == 0:
                self.folder = None
                raise _Killed

    @contextmanager
    def before(self, number: int, folder: Path) -> Iterator[None]:
        self.folder, self.left = str(folder), number
        try:
            yield
        finally:
            self.folder = None


@pytest.fixture(scope="session")
def killer() -> _Killer:
    """One for all, as nobody can be told to hear no more."""
    return _Killer()


def _shape(store: Store) -> tuple[object, ...]:
    """Where everything is, and at which commits."""
    links = {
        f"{side.data.name}/{name}": {
            ref: oid.hex() for ref, oid in store.dataset(folder.parent.name + folder.name).refs().items()
        }
        for side in store.sides()
        for name, folder in side.addresses()
    }
    marks = [sorted(side.marked()) for side in store.sides()]
    datasets = [sorted(side.repositories()) for side in store.sides()]
    zarrs = [sorted(side.zarr_folders()) for side in store.sides()]
    held = {str(one.path.relative_to(store.root)): sorted(contents.held(one.path)) for one in store.repositories()}
    return links, marks, datasets, zarrs, held


def _every(default: int) -> int:
    """Of the steps of something, one in so many is tried: all of them, `KILL_EVERY=1`, take minutes."""
    return int(os.environ.get("KILL_EVERY", default))


def _try_each_step(
    prepared: Mirror,
    another: Callable[[str], Mirror],
    killer: _Killer,
    *,
    closes: bool,
    closed: str,
    secrets: Sequence[str] = (),
    stride: int,
) -> int:
    """Kill before each step in turn; how many there are."""
    whole = another("whole")
    shutil.copytree(prepared.root, whole.root, symlinks=True)
    whole.run().check()
    expected = _shape(whole.store)
    number = 1 - stride
    while True:
        number += stride
        victim = another(f"victim-{number}")
        shutil.copytree(prepared.root, victim.root, symlinks=True)
        try:
            with killer.before(number, victim.root):
                victim.run().check()
        except _Killed:
            pass
        else:
            shutil.rmtree(victim.root)
            return number - stride
        store = victim.store
        dataset_id = store.dataset_id(closed)
        places = [side.folder(dataset_id).is_dir() for side in (store.open_side, store.closed_side, store.opening_side)]
        assert places[0] + places[1] == 1 or places == [False, False, True]
        assert found_in_public(store, *secrets) == []
        if closes and store.closed_side.folder(dataset_id).is_dir():
            assert not store.open_side.alias(closed).is_symlink()
        victim.run().check()
        assert _shape(victim.store) == expected, number
        assert victim.run().outcomes == []
        names = victim.git("dandisets", "ls-tree", "--name-only", "draft").split()
        assert (closed in names) is not closes
        shutil.rmtree(victim.root)


def test_killed_while_it_is_opened(
    archive: DemoArchive, mirror: Mirror, another: Callable[[str], Mirror], killer: _Killer, closed: str, zarr_id: str
) -> None:
    secrets = _prepare_opening(archive, mirror, closed, zarr_id)
    archive.unembargo(closed)
    assert _try_each_step(mirror, another, killer, closes=False, closed=closed, secrets=secrets, stride=_every(20)) > 20


def test_killed_while_one_that_was_public_before_is_opened(
    archive: DemoArchive, mirror: Mirror, another: Callable[[str], Mirror], killer: _Killer, closed: str, zarr_id: str
) -> None:
    archive.unembargo(closed)
    mirror.run().check()
    before = [(name, mirror.git(name, "rev-parse", "git-annex", "draft").split()) for name in (closed, zarr_id)]
    archive.clock.advance(60)
    archive.embargo(closed)
    secrets = _prepare_opening(archive, mirror, closed, zarr_id)
    archive.unembargo(closed)
    assert _try_each_step(mirror, another, killer, closes=False, closed=closed, secrets=secrets, stride=_every(23)) > 20
    mirror.run().check()
    for name, tips in before:
        assert set(tips) <= set(mirror.git(name, "rev-list", "git-annex", "draft").split())


def _prepare_opening(archive: DemoArchive, mirror: Mirror, closed: str, zarr_id: str) -> list[str]:
    """Have it live under embargo, with content; what nobody is to know of."""
    mirror.run().check()
    digests = live_under_embargo(archive, mirror, closed, "sub-G1/sub-G1_SPIM.ome.zarr")
    for name in (closed, zarr_id):
        populate(mirror.store, name, most=4)
    return [*SECRETS, *digests]


def test_killed_while_it_is_opened_and_closed_again(
    archive: DemoArchive, mirror: Mirror, another: Callable[[str], Mirror], killer: _Killer, closed: str, zarr_id: str
) -> None:
    secrets = _prepare_opening(archive, mirror, closed, zarr_id)
    held = {name: {key for key, _ in contents.held(mirror.store.alias(name))} for name in (closed, zarr_id)}
    number = 0
    while True:
        number += _every(21)
        archive.unembargo(closed)
        victim = another(f"victim-{number}")
        shutil.copytree(mirror.root, victim.root, symlinks=True)
        try:
            with killer.before(number, victim.root):
                victim.run().check()
        except _Killed:
            pass
        else:
            assert number > 20
            return
        archive.embargo(closed)
        victim.run().check()
        store = victim.store
        assert (store.embargoed(), closed in store.dandisets()) == ([closed], False), number
        for name in (closed, zarr_id):
            assert store.alias(name).parent == store.private / "alias", number
            there = {key for key, _ in contents.held(store.alias(name))}
            # Where it had been made anew so far that nothing else was left, one is gone: nobody has it any more.
            assert len(held[name]) - len(there) in (0, 1)
        assert found_in_public(store, *secrets) == []
        assert victim.run().outcomes == []
        assert not store.opening_side.data.exists()
        shutil.rmtree(victim.root)


def test_killed_while_it_is_withdrawn(
    archive: DemoArchive, mirror: Mirror, another: Callable[[str], Mirror], killer: _Killer, closed: str
) -> None:
    archive.unembargo(closed)
    mirror.run().check()
    archive.clock.advance(60)
    archive.embargo(closed)
    assert _try_each_step(mirror, another, killer, closes=True, closed=closed, stride=_every(6)) > 20


def test_killed_while_it_is_mirrored_for_the_first_time(
    mirror: Mirror, another: Callable[[str], Mirror], killer: _Killer, closed: str
) -> None:
    mirror.run(embargoed=False).check()
    assert _try_each_first_step(mirror, another, killer, closed) > 20


def _try_each_first_step(prepared: Mirror, another: Callable[[str], Mirror], killer: _Killer, closed: str) -> int:
    number = 1 - _every(10)
    while True:
        number += _every(10)
        victim = another(f"victim-{number}")
        shutil.copytree(prepared.root, victim.root, symlinks=True)
        try:
            with killer.before(number, victim.root):
                victim.run().check()
        except _Killed:
            pass
        else:
            return number - _every(10)
        assert not victim.store.open_side.folder(victim.store.dataset_id(closed)).exists()
        victim.run().check()
        assert victim.store.embargoed() == [closed]
        assert victim.store.private.stat().st_mode & 0o777 == 0o700
        shutil.rmtree(victim.root)
