"""What a host is still to be told of a repository: what it holds next to what we marked. Pure, but for reading refs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from mirror.config import Host
from mirror.git.repository import Repository
from mirror.publish.hosts.marks import Mark
from mirror.publish.publication import Publication, Rank

WITH_API = frozenset({"github", "forgejo", "gitea", "gitlab"})


def refs_digest(publication: Publication) -> str:
    """One value for all branches and tags of a repository; empty when it has none."""
    refs = Repository(publication.repository).refs()
    lines = [
        f"{name} {oid.hex()}\n" for name, oid in sorted(refs.items()) if name.startswith(("refs/heads/", "refs/tags/"))
    ]
    return _digest(lines) if lines else ""


def settings_digest(host: Host, publication: Publication) -> str:
    """One value for what the host is told of a repository besides its refs."""
    told = [host.kind, str(publication.private)]
    if host.kind in WITH_API:
        told += [publication.description, publication.homepage]
    if host.kind == "ria":
        told.append(publication.default_branch)
    return _digest(f"{part}\0" for part in told)


def _digest(parts: Iterable[str]) -> str:
    return sha256("".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def place(host: Host) -> str:
    """Where a host is: what was marked of another place does not hold here."""
    return " ".join((host.kind, host.url or "", host.owner or "", host.push_url or "")).rstrip()


def considered(host: Host, publications: Iterable[Publication]) -> list[Publication]:
    """What this host is to have, each after what it points into."""
    chosen = (item for item in publications if host.zarrs or item.rank is not Rank.ZARR)
    return sorted(chosen, key=lambda item: (item.rank, item.name))


def is_left_out(host: Host, publication: Publication) -> bool:
    """Whether it is embargoed, and the host takes no such thing."""
    return publication.private and not host.private


def must_be_hidden(host: Host, publication: Publication, mark: Mark) -> bool:
    """Whether it is embargoed again, after everybody could see it on this host."""
    return is_left_out(host, publication) and is_exposed(publication, mark)


def is_exposed(publication: Publication, mark: Mark) -> bool:
    """Whether everybody can see there what is embargoed: nothing that is to wait."""
    return publication.private and mark.is_there and not mark.private


def is_shut_by_others(publication: Publication, mark: Mark) -> bool:
    """Whether it is private there and should not be, and not by our doing, as far as we know: so it stays."""
    return mark.private and not publication.private and not mark.hidden_by_us


@dataclass(frozen=True)
class Gap:
    """What is missing on the host."""

    settings: bool
    refs: bool
    default_branch: bool
    releases: bool

    def __bool__(self) -> bool:
        return self.settings or self.refs or self.default_branch or self.releases


def gap(host: Host, publication: Publication, refs: str, mark: Mark) -> Gap:
    """`refs`: the digest of what the repository now holds."""
    has_api = host.kind in WITH_API
    return Gap(
        settings=mark.settings != settings_digest(host, publication),
        refs=mark.refs != refs,
        default_branch=has_api and mark.default_branch != publication.default_branch,
        releases=has_api and host.releases and mark.released != refs,
    )
