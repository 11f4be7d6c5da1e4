"""Where a repository keeps its refs, read and moved without a git process, by git's own locking rules.

Readers may look at any time. Whoever moves refs holds git's lock files: `packed-refs.lock`, and for each branch
its own, so that a git-annex at work in the repository cannot move the same branch unseen.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from mirror.errors import Locked, StoreError
from mirror.git.files import PUBLIC_FILE, make_folders, sync_folder, write_if_changed
from mirror.git.objects import Oid
from mirror.git.process import run_git
from mirror.git.refs import (
    PackedRefs,
    Ref,
    RefMoved,
    check_together,
    parse_oid,
    parse_packed_refs,
    render_info_refs,
    render_packed_refs,
)

Peel = Callable[[Oid], Ref]
"""Tells what a ref at this object is: whether an annotated tag, and of what."""

LOCK_SECONDS = 5.0
"""How long to wait for a lock file of git. Git holds one for milliseconds."""

_FOLD_ATTEMPTS = 10


class LockFile:
    """One of git's lock files: `NAME.lock`, whose content may become `NAME`."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self.path = target.with_name(target.name + ".lock")

    def __enter__(self) -> Self:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PUBLIC_FILE)
            except FileNotFoundError:
                # `git pack-refs` removes empty folders of refs.
                make_folders(self.path.parent)
            except FileExistsError as error:
                if time.monotonic() > deadline:
                    raise Locked(f"{self.path} has been there for {LOCK_SECONDS:g} seconds") from error
                time.sleep(0.02)
            else:
                break
        self._held = True
        try:
            os.fchmod(self._descriptor, PUBLIC_FILE)
        except BaseException:
            self._release()
            raise
        return self

    def replace(self, data: bytes) -> None:
        """Make `data` the content of the target, durably; the lock is then released."""
        with open(self._descriptor, "wb", closefd=False) as file:
            file.write(data)
            file.flush()
            os.fsync(self._descriptor)
        self.path.replace(self._target)
        self._held = False
        sync_folder(self._target.parent)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._release()

    def _release(self) -> None:
        try:
            os.close(self._descriptor)
        finally:
            if self._held:
                self.path.unlink(missing_ok=True)


def read_loose(repository: Path) -> dict[str, Oid]:
    """The refs that are files of their own. Symbolic ones, which only a user can have made, are passed over."""
    found = {}
    for path in _loose_files(repository):
        try:
            text = path.read_text(encoding="utf-8", errors="surrogateescape").strip()
        except FileNotFoundError:
            continue  # folded into packed-refs meanwhile
        if text.startswith("ref:"):
            continue
        name = path.relative_to(repository).as_posix()
        try:
            found[name] = parse_oid(text)
        except ValueError as error:
            raise StoreError(f"{path} holds no object's name: {text!r}", hint="delete or mend that file") from error
    return found


def _loose_files(repository: Path) -> Iterator[Path]:
    for folder, _, files in os.walk(repository / "refs"):
        for name in files:
            if not name.endswith(".lock"):
                yield Path(folder, name)


def read_packed(repository: Path) -> PackedRefs:
    try:
        return parse_packed_refs((repository / "packed-refs").read_bytes())
    except FileNotFoundError:
        return PackedRefs({}, fully_peeled=True)


def read_refs(repository: Path, peel: Peel) -> dict[str, Ref]:
    """All refs, loose ones before packed ones, as git sees them. `peel` is asked only where the files do not tell."""
    # In this order: a ref packed in between is then found packed.
    loose = read_loose(repository)
    packed = read_packed(repository)
    refs = {
        name: ref if packed.fully_peeled or ref.peeled is not None else peel(ref.oid)
        for name, ref in packed.refs.items()
    }
    for name, oid in loose.items():
        if name not in refs or refs[name].oid != oid:
            refs[name] = peel(oid)
    return refs


def fold(repository: Path) -> None:
    """Put the loose refs into `packed-refs`. Git does it: it knows how to lock each while taking it away."""
    if read_loose(repository):
        run_git(repository, "pack-refs", "--all", "--prune")


def move(
    repository: Path, moves: Mapping[str, Ref | None], expected: Mapping[str, Oid | None], peel: Peel
) -> dict[str, Ref]:
    """Move all these refs by one rename, if those of `expected` are where they are expected. Returns all refs."""
    for _ in range(_FOLD_ATTEMPTS):
        fold(repository)
        with ExitStack() as locks:
            packed_refs = locks.enter_context(LockFile(repository / "packed-refs"))
            for name in sorted(moves):
                if name.startswith("refs/heads/"):
                    locks.enter_context(LockFile(repository / name))
            # A loose ref would hide the packed one. Behind the locks no more can come up.
            if read_loose(repository).keys() & moves.keys():
                continue
            refs = read_refs(repository, peel)
            check_expected({name: ref.oid for name, ref in refs.items()}, expected)
            moved = {name: ref for name, ref in {**refs, **moves}.items() if ref is not None}
            check_together(moved)
            if moved != refs:
                packed_refs.replace(render_packed_refs(moved))
            return moved
    raise Locked(f"somebody else keeps moving the branches of {repository}")


def check_expected(refs: Mapping[str, Oid], expected: Mapping[str, Oid | None]) -> None:
    """Raise `RefMoved` if one of these refs is not where it is expected."""
    for name, oid in expected.items():
        if refs.get(name) != oid:
            raise RefMoved(name, oid, refs.get(name))


def write_info_refs(repository: Path, refs: Mapping[str, Ref]) -> bool:
    """Bring `info/refs` up to date; whether it was not."""
    return write_if_changed(repository / "info" / "refs", render_info_refs(refs))
