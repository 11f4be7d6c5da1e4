"""What is remembered of each Dandiset from one sync to the next, besides its repository.

One small JSON file each, replaced whole. Losing one costs a second look at that Dandiset, never data.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from mirror.errors import StoreError
from mirror.store.files import write_file


class Failure(msgspec.Struct, frozen=True):
    """Why a Dandiset could not be synced, since when, and how often it was tried."""

    kind: str
    message: str
    since: str
    last: str
    count: int = 1


class Drift(msgspec.Struct, frozen=True):
    """A published version of which the archive now says something else than its tag holds."""

    version: str
    field: str
    mirrored: str
    archive: str
    disorder: bool = False
    """the version itself is right; it came to light too late for its place in the chain"""

    def __str__(self) -> str:
        return f"{self.version}: {self.field} is {self.mirrored} here, {self.archive} in the archive"


class Holding(msgspec.Struct, frozen=True):
    """What a repository holds, so that listing the store need not open every repository."""

    draft: str
    """the commit of `draft` this was true of"""
    releases: tuple[str, ...]
    modified: str
    assets: int
    bytes: int


class DandisetState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The marks of one Dandiset."""

    identifier: str
    layout: str | None = None
    """the layout that the draft was written in"""
    draft_modified: str | None = None
    """the draft's `modified` when it was last looked at"""
    versions: dict[str, str] = {}
    """the `modified` of each published version when it was last looked at"""
    synced: str | None = None
    """when it was last looked at without failing"""
    checked: str | None = None
    """when it was last re-read in full"""
    seen: str = ""
    """what the archive listed of it when it was last looked at, in short: should that change, it does not rest"""
    open_since: str | None = None
    """since when something is left open, and nothing else of it changed"""
    holding: Holding | None = None
    pending: int = 0
    """assets the archive has not hashed yet, or not taken in"""
    zarrs: int = 0
    """Zarr assets"""
    zarrs_failed: dict[str, str] = {}
    """paths of Zarrs that could not be brought up to date, with the reason"""
    zarrs_unfinished: tuple[str, ...] = ()
    """paths of Zarrs that the archive was taking in when they were looked at"""
    waiting: dict[str, str] = {}
    """published versions not taken yet, with the reason"""
    awaited: dict[str, str] = {}
    """published versions that are missing here, with the time at which the archive made each"""
    warnings: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()
    """what could not be had, of assets that were written all the same; asked for again by a full sync"""
    drift: tuple[Drift, ...] = ()
    leaving: dict[str, str] = {}
    """S3 addresses that no version names any more, with their key: withdrawn once they are really gone"""
    vanished: str | None = None
    """when it was first missing from the archive"""
    embargoed: str | None = None
    """since when it is on the store's closed side: it was first seen under embargo then"""
    zarrs_closed: tuple[str, ...] = ()
    """ids of Zarrs that could not be opened with it, and still are on the closed side"""
    returned: bool = False
    """it is public again, with all that was published of it before it came under embargo"""
    failure: Failure | None = None


def read_state(path: Path, identifier: str) -> DandisetState:
    """The marks of a Dandiset; none when there is no file, or one that cannot be read: then it is looked at again."""
    try:
        state = msgspec.json.decode(path.read_bytes(), type=DandisetState)
    except (FileNotFoundError, ValueError):
        return DandisetState(identifier=identifier)
    return state if state.identifier == identifier else DandisetState(identifier=identifier)


def write_state(path: Path, state: DandisetState) -> None:
    write_file(path, msgspec.json.format(msgspec.json.encode(state), indent=1) + b"\n")


class StoreFacts(msgspec.Struct, frozen=True):
    """What a store is: its id, and the archive it mirrors."""

    id: str
    instance: str
    instance_url: str


def read_facts(path: Path) -> StoreFacts:
    try:
        return msgspec.json.decode(path.read_bytes(), type=StoreFacts)
    except msgspec.DecodeError as error:
        raise StoreError(f"{path} cannot be read: {error}", hint="restore it from a backup") from None


def write_facts(path: Path, facts: StoreFacts) -> None:
    write_file(path, msgspec.json.format(msgspec.json.encode(facts), indent=1) + b"\n")
