"""The two sides of a store: what everybody may have, and what is under embargo.

Both are laid out alike, so that a dataset goes from one to the other by renaming its folder: as it is when it is
closed, as it was made anew when it is opened (`mirror.store.opening`). Files have the same modes on both: what keeps
the closed side closed is that its own folder lets nobody in.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mirror.git.bare import clear_sites
from mirror.git.files import make_folders, sync_folder
from mirror.store.files import folders_in, pairs_of_folders, remove_temporaries, write_file

_CLOSED_FOLDER = 0o700
_PREFIX = 3
"""So many letters of a dataset's id are the folder that its repository is in."""
_DANDISET = re.compile(r"\d{6,}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Side:
    """One of them."""

    data: Path
    """a RIA store to whoever may read it"""
    state: Path
    """what is remembered of the datasets in it"""
    is_private: bool = False

    @property
    def exists(self) -> bool:
        """Whether it is there, as far as this user may know."""
        return os.access(f"{self.data}/.", os.R_OK | os.X_OK)

    @property
    def temporary(self) -> Path:
        """A folder for files that nobody misses after a crash."""
        return self.state / "tmp"

    @property
    def index_path(self) -> Path:
        return self.state / "index.sqlite"

    @property
    def zarrs(self) -> Path:
        """What is kept of Zarrs besides their repositories."""
        return self.state / "zarrs"

    def folder(self, dataset_id: str) -> Path:
        """Where the repository of a dataset is, if it is on this side."""
        return self.data / dataset_id[:_PREFIX] / dataset_id[_PREFIX:]

    def zarr_folder(self, zarr_id: str) -> Path:
        """Where the manifest of a Zarr is, if it is on this side."""
        return self.zarrs / zarr_id[:_PREFIX] / zarr_id[_PREFIX:]

    def alias(self, name: str) -> Path:
        return self.data / "alias" / name

    def marks(self, identifier: str) -> Path:
        """The marks of a Dandiset."""
        return self.state / "dandisets" / f"{identifier}.json"

    def holds(self, dataset_id: str) -> bool:
        """Whether there is a repository of this dataset here, or a manifest of this Zarr."""
        return self.folder(dataset_id).is_dir() or self.zarr_folder(dataset_id).is_dir()

    def make(self) -> None:
        """Lay it out, where that was not done."""
        if self.is_private:
            _make_closed(self.data)
        # The state first: by it an unfinished store is known as one.
        for folder in (self.state / "dandisets", self.temporary, self.data / "alias", self.data / "error_logs"):
            make_folders(folder)

    def note_layout(self) -> None:
        """Note, where it is not, that this is a RIA store."""
        version = self.data / "ria-layout-version"
        if not version.exists():
            write_file(version, b"1\n")

    def dandisets(self) -> list[str]:
        """The identifiers of all Dandisets that have an address here, in order."""
        return sorted(name for name in self._aliases() if _DANDISET.fullmatch(name))

    def addresses(self) -> Iterator[tuple[str, Path]]:
        """The name of every address here, with the repository that it is of."""
        links = (link for link in self._links() if link.is_symlink())
        return ((link.name, self.data / str(link.readlink()).removeprefix("../")) for link in links)

    def marked(self) -> Iterator[str]:
        """The identifiers of all Dandisets of which there are marks here."""
        return (path.stem for path in self.state.glob("dandisets/*.json"))

    def mirrored_zarrs(self) -> set[str]:
        """The ids of all Zarrs of which something is held here."""
        manifests = {"".join(path.parts[-3:-1]) for path in self.state.glob("zarrs/*/*/commits.json")}
        return {name for name in self._aliases() if _UUID.fullmatch(name)} | manifests

    def repositories(self) -> Iterator[str]:
        """The ids of all datasets that have a repository here, whether or not it has an address."""
        return _datasets_below(self.data)

    def zarr_folders(self) -> Iterator[str]:
        """The ids of all Zarrs of which something is kept here besides their repositories."""
        return _datasets_below(self.zarrs)

    def clear_away(self) -> None:
        """Delete what a dead process left unfinished."""
        remove_temporaries(self.state / "dandisets", "*.json")
        remove_temporaries(self.data, "ria-layout-version")
        remove_temporaries(self.data / "alias", "*")

    def clear_sites(self) -> int:
        """Delete repositories that dead processes were making, or taking away; how many."""
        return sum(clear_sites(self.data / first) for first in folders_in(self.data) if len(first) == _PREFIX)

    def _aliases(self) -> Iterator[str]:
        return (entry.name for entry in self._links())

    def _links(self) -> Iterator[Path]:
        folder = self.data / "alias"
        # The closed side may have been begun, and not been laid out yet.
        return folder.iterdir() if not self.is_private or folder.is_dir() else iter(())


def _datasets_below(root: Path) -> Iterator[str]:
    return (first + rest for first, rest in pairs_of_folders(root) if _UUID.fullmatch(first + rest))


def _make_closed(folder: Path) -> None:
    """A folder that nobody but its owner may enter, from its first moment on."""
    make_folders(folder.parent)
    try:
        folder.mkdir(_CLOSED_FOLDER)
    except FileExistsError:
        if not folder.is_dir():
            raise
        if folder.stat().st_mode & 0o777 != _CLOSED_FOLDER:
            folder.chmod(_CLOSED_FOLDER)
    else:
        sync_folder(folder.parent)
