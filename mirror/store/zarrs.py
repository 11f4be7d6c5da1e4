"""What is kept of each Zarr besides its repository: its manifest.

::

    STORE/state/zarrs/2c5/7d0e2-…/
        manifest-COMMIT.gz     the files of the state that this commit of `draft` is of
        commits.json           every commit so far; only where there is no repository
        undo-6.gz              what leads back from the 7th state to the 6th; likewise
        lock

Of a Zarr that has a repository all of this can be lost: its next change is then written as a whole. Of one without, it
is what is mirrored.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import msgspec
from isal import isal_zlib

from mirror.dataset.zarr.manifest import HeldFolder, Origin, read_manifest
from mirror.errors import ManifestDamaged
from mirror.git.files import make_folders, sync_folder
from mirror.store.files import FILE_MODE, remove_temporaries, write_file

_GZIP = 31
_LEVEL = 2
"""isal's: 1,000,000 files take 0.9 s, and 2 bytes a file less than at level 1"""
_CHUNK = 1 << 20
_NEW = "new"

_commits = msgspec.json.Decoder(tuple[str, ...])


class TextWriter:
    """A manifest, or what leads back to one, in the making. Leaving the block without `keep` leaves nothing behind."""

    def __init__(self, folder: Path, name: str) -> None:
        self._temporary = folder / f".{_NEW}.{name}.{os.getpid()}"
        self._file = self._temporary.open("wb")
        self._deflate = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP)
        self._pieces: list[bytes] = []
        self._waiting = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._temporary.unlink(missing_ok=True)
        self._file.close()  # which, on a full disk, fails once more

    def write(self, piece: bytes) -> None:
        if len(piece) > _CHUNK:
            self._flush()
            with memoryview(piece) as view:
                for start in range(0, len(piece), _CHUNK):
                    self._file.write(self._deflate.compress(view[start : start + _CHUNK]))
            return
        self._pieces.append(piece)
        self._waiting += len(piece)
        if self._waiting > _CHUNK:
            self._flush()

    def _flush(self) -> None:
        self._file.write(self._deflate.compress(b"".join(self._pieces)))
        self._pieces, self._waiting = [], 0

    def keep(self, path: Path) -> None:
        """Put it there, durably."""
        self.finish()
        self._temporary.replace(path)
        sync_folder(path.parent)

    def finish(self) -> Path:
        """Write it to its end; where it can be read until it is kept, or the block is left."""
        if not self._file.closed:
            self._flush()
            self._file.write(self._deflate.flush())
            os.fchmod(self._file.fileno(), FILE_MODE)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        return self._temporary


def read_text(path: Path) -> Iterator[bytes]:
    """The text of a manifest, or of what leads back to an earlier one, piece by piece."""
    inflate = isal_zlib.decompressobj(_GZIP)
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK // 4):
                yield inflate.decompress(chunk)
        if not inflate.eof:
            raise ManifestDamaged(f"{path} is cut short")
    except (OSError, isal_zlib.error) as error:  # type: ignore[misc]  # its stub takes the class for an instance
        raise ManifestDamaged(f"{path} cannot be read: {error}") from None


class ZarrFolder:
    """The folder of one Zarr below `state/zarrs`. States of a Zarr go by their commit of `draft`, in hex."""

    def __init__(self, root: Path, zarr_id: str) -> None:
        self.path = root / zarr_id[:3] / zarr_id[3:]
        self.zarr_id = zarr_id

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep everybody else from this Zarr: two Dandisets may have it, and be worked on at once."""
        make_folders(self.path)
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._remove_temporaries()
            yield
        finally:
            os.close(descriptor)

    def prune(self) -> int:
        """Delete what a dead process left half-written; how many files. Whoever lives has the lock, and what is its
        own stays."""
        if not any(name.startswith(".") for name in os.listdir(self.path)):  # noqa: PTH208 - of 30,000 at a time
            return 0
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return self._remove_temporaries()
        except BlockingIOError:
            return 0
        finally:
            os.close(descriptor)

    def _remove_temporaries(self) -> int:
        return sum(remove_temporaries(self.path, name) for name in (_NEW, "commits.json"))

    def writer(self, name: str) -> TextWriter:
        return TextWriter(self.path, name)

    def manifest_path(self, commit: str) -> Path:
        return self.path / f"manifest-{commit}.gz"

    def undo_path(self, number: int) -> Path:
        """What leads back to this state from the one after it."""
        return self.path / f"undo-{number}.gz"

    def origin(self, commit: str) -> Origin | None:
        """What the manifest of a state was made with; None where there is none that can be read."""
        path = self.manifest_path(commit)
        if not path.is_file():
            return None
        try:
            return Origin.parse(next(read_text(path), b"").partition(b"\n")[0])
        except ManifestDamaged:
            return None

    def manifest(self, commit: str) -> Iterator[HeldFolder]:
        return read_manifest(read_text(self.manifest_path(commit)))

    def undo(self, number: int) -> bytes:
        return b"".join(read_text(self.undo_path(number)))

    def commits(self) -> tuple[str, ...]:
        """Every snapshot and draft of a Zarr without a repository, as git has them, oldest first."""
        path = self.path / "commits.json"
        try:
            return _commits.decode(path.read_bytes())
        except FileNotFoundError:
            return ()
        except msgspec.DecodeError as error:
            raise ManifestDamaged(
                f"{path} cannot be read: {error}",
                hint=f"restore it from a backup, or delete {self.path}: the next `sync --full` lists the Zarr again",
            ) from None

    def save_commits(self, commits: Sequence[str]) -> None:
        write_file(self.path / "commits.json", msgspec.json.format(msgspec.json.encode(commits), indent=1) + b"\n")

    def forget_commits(self) -> None:
        """There is a repository now, which has them."""
        for path in (self.path / "commits.json", *self.path.glob("undo-*.gz")):
            path.unlink(missing_ok=True)

    def forget_manifests(self, *, but: str | None) -> None:
        """Delete the manifests of all other states."""
        for path in self.path.glob("manifest-*.gz"):
            if but is None or path != self.manifest_path(but):
                path.unlink(missing_ok=True)
