"""What a host is to have: repositories, and what is worth saying of them there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class Rank(IntEnum):
    """In this order repositories are pushed: each after those that it points at."""

    ZARR = 0
    DANDISET = 1
    SUPERDATASET = 2


@dataclass(frozen=True)
class Release:
    """A published version, as hosts show it."""

    tag: str
    """the tag that it is about, without `refs/tags/`"""
    title: str
    notes: str
    """Markdown: how to cite it, its DOI, its release notes"""
    created: str | None = None
    """when it was published, for hosts that can be told"""


@dataclass(frozen=True)
class Publication:
    """One repository of the store."""

    name: str
    """`000027`, a Zarr's id, `dandisets`: what it is called on the host, too"""
    rank: Rank
    dataset_id: str
    repository: Path
    description: str
    homepage: str
    private: bool
    """whether nobody but the host's owner may see it yet"""
    needs: frozenset[str]
    """the names of the repositories that this one points into"""
    releases: Callable[[], tuple[Release, ...]] = tuple
    default_branch: str = "draft"
