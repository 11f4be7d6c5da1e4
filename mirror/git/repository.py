"""A bare repository: its refs, its packs, and changing both so that a crash leaves the old state or the new."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from mirror.errors import Locked, StoreError
from mirror.git import packs, ref_files
from mirror.git.bare import create_bare
from mirror.git.objects import TAG, Oid, Tag
from mirror.git.pack import PackWriter
from mirror.git.reader import ObjectReader, Objects
from mirror.git.refs import Ref, check_name, render_info_packs, render_info_refs
from mirror.git.repair import GRACE_SECONDS, clear_away, leftovers

KEEP_SECONDS = 86_400.0
"""How long a replaced pack stays for clients in the middle of a clone."""

PACK_LIMIT = 20
"""More packs than this are made one."""

LOOSE_LIMIT = 2_000
"""More loose objects than this are packed."""

# Readable by the owner only: whoever can open it could hold it.
_LOCK_MODE = 0o600


class Repository:
    """A bare repository at a path. Changes are made under `lock`, which each changing method takes itself too."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._thread_lock = threading.RLock()
        self._depth = 0

    @classmethod
    def create(cls, path: Path, *, head: str, config: Mapping[str, str] | None = None) -> Self:
        """A new bare repository that refuses pushes; one that exists is left as it is."""
        create_bare(path.absolute(), head=head, config=config or {})
        return cls(path)

    def refs(self) -> dict[str, Oid]:
        """All refs, by full name."""
        refs = dict(ref_files.read_loose(self.path))
        # Read in this order, so that a ref packed in between is then found packed.
        packed = {name: ref.oid for name, ref in ref_files.read_packed(self.path).refs.items()}
        return packed | refs

    def peeled_refs(self) -> dict[str, Oid]:
        """All refs, an annotated tag as what it is a tag of."""
        return {name: ref.peeled or ref.oid for name, ref in self._read_refs().items()}

    def _read_refs(self) -> dict[str, Ref]:
        with self.objects() as objects:
            return ref_files.read_refs(self.path, lambda oid: _peel(objects, oid))

    def writer(self, *, deflate_small: bool = False) -> PackWriter:
        """A new pack in this repository; hand it to `publish`. `deflate_small`: take longer, for less disk."""
        return PackWriter(packs.pack_folder(self.path), deflate_small=deflate_small)

    def objects(self, writer: PackWriter | None = None) -> Objects:
        """The objects of the repository and, before them, those of an unfinished pack. To be closed."""
        return Objects(ObjectReader(self.path), writer)

    @contextmanager
    def lock(self, *, wait: bool = True) -> Iterator[None]:
        """Keep every other process out that locks this repository, until the block ends or this process dies.

        The thread that holds it may take it again. `Locked` when it is held and `wait` is false.
        """
        if not self._thread_lock.acquire(blocking=wait):
            raise Locked(f"another thread is working on {self.path}")
        try:
            descriptor = None if self._depth else self._flock(wait)
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if descriptor is not None:
                    os.close(descriptor)
        finally:
            self._thread_lock.release()

    def _flock(self, wait: bool) -> int:
        descriptor = os.open(self.path / "mirror.lock", os.O_RDWR | os.O_CREAT, _LOCK_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            os.close(descriptor)
            raise Locked(f"another process is working on {self.path}") from error
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def publish(
        self,
        writer: PackWriter | None,
        updates: Mapping[str, Oid | None],
        *,
        expected: Mapping[str, Oid | None] | None = None,
    ) -> None:
        """Make the pack part of the repository and move all these refs at once; None deletes a ref.

        With `expected`, nothing moves and `RefMoved` is raised unless these refs stand where the caller last saw
        them (None: not there): give it the tips built upon. `MissingObject` when a ref would point nowhere.
        """
        with self.lock(), self.objects(writer) as objects:
            for name in updates:
                check_name(name)
            moves = {name: None if oid is None else _peel(objects, oid) for name, oid in updates.items()}
            ref_files.fold(self.path)
            ref_files.check_expected(self.refs(), expected or {})
            with self._pack_of(writer):
                refs = ref_files.move(self.path, moves, expected or {}, lambda oid: _peel(objects, oid))
            ref_files.write_info_refs(self.path, refs)

    @contextmanager
    def _pack_of(self, writer: PackWriter | None) -> Iterator[None]:
        """The pack is there in this block, and stays: unless the block fails and no ref has moved.

        Whoever fails for lack of room needs that of the pack, too; and a pack that nothing refers to stays for ever.
        """
        refs, known = self.refs(), packs.all_packs(self.path)
        name = writer.finish() if writer is not None else None
        try:
            # Clients of a plain HTTP server learn of the objects before the refs that need them.
            if name is not None:
                packs.announce(self.path)
            yield
        except BaseException:
            with suppress(OSError, StoreError):
                if name is not None and name not in known and self.refs() == refs:
                    packs.withdraw(self.path, name)
            raise

    def repair(self, *, grace: float = GRACE_SECONDS) -> list[str]:
        """Clear away what a dead process left, at the start of a sync. Returns what was done, for the log.

        `grace`: how long a lock file or half a pack that just appeared may be the doing of a live git.
        """
        with self.lock():
            done = [f"{name}: deleted, left by a dead process" for name in clear_away(self.path, grace)]
            if packs.announce(self.path):
                done.append("objects/info/packs: brought up to date")
            if ref_files.write_info_refs(self.path, self._read_refs()):
                done.append("info/refs: brought up to date")
            return done

    def looks_unfinished(self) -> bool:
        """Whether `repair` has something to do. Waits for nothing, not even the lock, so it may be asked of all.

        What is announced is compared rather than dated: clocks are set back, and copies of a store have new times.
        """
        try:
            return any(True for _ in leftovers(self.path)) or not self._is_announced()
        except (StoreError, OSError):
            return True  # repairing tells what is wrong

    def _is_announced(self) -> bool:
        announced = (self.path / "objects/info/packs").read_bytes(), (self.path / "info/refs").read_bytes()
        # The objects are opened only for a ref whose file does not tell what it is: one that git-annex left loose.
        refs = ref_files.read_refs(self.path, self._peel_one)
        return announced == (render_info_packs(self.packs()), render_info_refs(refs))

    def _peel_one(self, oid: Oid) -> Ref:
        with self.objects() as objects:
            return _peel(objects, oid)

    def packs(self) -> list[str]:
        """The names of the packs, without those a repack has replaced."""
        return packs.current_packs(self.path)

    def repack(
        self,
        now: float,
        keep_seconds: float = KEEP_SECONDS,
        *,
        pack_limit: int = PACK_LIMIT,
        loose_limit: int = LOOSE_LIMIT,
        about_to_write: Callable[[int], None] | None = None,
    ) -> bool:
        """Delete packs replaced more than `keep_seconds` ago; make one pack of all if there are too many.

        `now`: seconds since the epoch. `about_to_write` is told how many bytes the new pack may have, and may raise.
        Returns whether a new pack was made.
        """
        with self.lock():
            packs.drop_replaced(self.path, now, keep_seconds)
            if not self._has_too_many(pack_limit, loose_limit):
                return False
            if about_to_write is not None:
                about_to_write(packs.size_of_all(self.path))
            return packs.replace_all(self.path, now)

    def wants_repack(self, now: float, keep_seconds: float = KEEP_SECONDS) -> bool:
        """Whether `repack` has something to do. Waits for nothing, so it may be asked of all."""
        return packs.has_overdue(self.path, now, keep_seconds) or self._has_too_many(PACK_LIMIT, LOOSE_LIMIT)

    def _has_too_many(self, pack_limit: int, loose_limit: int) -> bool:
        return len(self.packs()) > pack_limit or packs.count_loose(self.path) > loose_limit


def _peel(objects: Objects, oid: Oid) -> Ref:
    """A ref at this object, which must exist."""
    kind, body = objects.read(oid)
    if kind != TAG:
        return Ref(oid)
    target = oid
    for _ in range(100):
        target = Tag.decode(body).target
        kind, body = objects.read(target)
        if kind != TAG:
            return Ref(oid, target)
    raise StoreError(f"tag {oid.hex()} is a tag of a tag of a tag, without end")
