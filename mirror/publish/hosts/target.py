"""What a kind of host must be able to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mirror.publish.publication import Release


@dataclass(frozen=True)
class Wanted:
    """A repository, as the host is to have it."""

    name: str
    dataset_id: str
    repository: Path
    description: str
    homepage: str
    default_branch: str
    private: bool
    is_known: bool
    """whether we left something there before, by our marks; if not, what stands there may be somebody else's"""
    may_open: bool
    """if it is private there and should not be: whether that is our doing, and so ours to change"""


@dataclass(frozen=True)
class Prepared:
    """A repository, as it now is on the host."""

    created: bool
    private: bool


class Target(Protocol):
    """A host. Every method may raise `HostError`, and `HostUnavailable` where that is true of the whole host."""

    def prepare(self, wanted: Wanted, about_to_hide: Callable[[], None]) -> Prepared:
        """See to it that the repository is there, described, and seen by those who may.

        One that we do not know is ours to take only if there is nothing in it but what is ours; otherwise this raises
        before anything is changed. Never leaves one public that is to be private: then it raises.

        `about_to_hide` is called before something is made private, so that it is known to be our doing whatever
        happens next.
        """

    def push(self, wanted: Wanted) -> None:
        """Bring all branches and tags there, all or none. `RepositoryMissing` when there is no such repository."""

    def set_default_branch(self, wanted: Wanted) -> None:
        """For a repository that has this branch, on a host with an API."""

    def release(self, name: str, release: Release) -> None:
        """Make a release of a tag that is there, on a host with an API; one that exists stays as it is."""

    def hide(self, wanted: Wanted) -> None:
        """Make private what is public there. `RepositoryMissing` when it is gone; that will do as well."""
