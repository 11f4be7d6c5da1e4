"""What there is to say of a thing that was looked for: where it is, or that it is not here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mirror.store.catalogue import Occurrence


class Kind(StrEnum):
    """What it is that was found."""

    DANDISET = "dandiset"
    VERSION = "version"
    ASSET = "asset"
    FOLDER = "folder"
    ZARR = "zarr"
    SUPERDATASET = "superdataset"
    COMMIT = "commit"


@dataclass(frozen=True)
class Spot:
    """A version, or a state of a draft, that has it."""

    version: str
    commit: str
    when: str | None = None
    """when the archive made the version, or modified the draft"""


@dataclass(frozen=True)
class Answer:
    """One place where it is."""

    kind: Kind
    dataset: str
    """what its dataset is called in the store: a Dandiset's identifier, a Zarr's id, the name of a superdataset"""
    title: str = ""
    """the Dandiset's name"""
    path: str | None = None
    """in the Dandiset, as the archive has it"""
    asset: Occurrence | None = None
    versions: tuple[Spot, ...] = ()
    """the published versions that have it, oldest first"""
    draft: Spot | None = None
    """the present draft, if it has it"""
    past: Spot | None = None
    """a state of the draft that had it, when the present one does not"""
    doi: str | None = None
    clone: str | None = None
    """a command; those below are said after it, in the same folder"""
    checkout: str | None = None
    get: str | None = None
    zarr_clone: str | None = None
    """of a Zarr: the command that clones it alone"""
    note: str = ""


@dataclass(frozen=True)
class Missing:
    """That it is not here, and what is."""

    reason: str
    hint: str | None = None
