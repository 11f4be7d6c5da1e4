"""Where a key is to be looked at: the page of its asset at the archive, and Neurosift for NWB.

What the clone holds is asked, not the archive. Which paths have a key, the tree of HEAD says, read once and in whole:
of each entry the tree has the hash of the link, and the link to a key can be made up, and its hash with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha1, sha256
from pathlib import Path
from urllib.parse import quote, urlencode

from mirror.annex.hashdirs import link_target
from mirror.annex_remotes.lines import one_line
from mirror.annex_remotes.named_files import NamedFile
from mirror.archive.addresses import Address, AssetAddress
from mirror.archive.instances import instance_at
from mirror.errors import GitError
from mirror.git.process import run_git

NEUROSIFT = "https://neurosift.app/nwb"
_DEEPEST = 24
"""folders that a path is below; the archive's paths have at most 512 characters, and hardly ever ten folders"""
_IDENTIFIER = re.compile(r'^  "identifier": "(\d{6,})"', re.MULTILINE)
_VERSION = re.compile(r'^  "version": "([\w.]+)"', re.MULTILINE)
_REPOSITORY = re.compile(r"^repository: *'?(https?://[^\s']+)", re.MULTILINE)
_SITES = {
    "dandi": "https://dandiarchive.org",
    "dandi-sandbox": "https://sandbox.dandiarchive.org",
    "ember-dandi": "https://dandi.emberarchive.org",
    "linc": "https://lincbrain.org",
}


@dataclass(frozen=True)
class Dandiset:
    """What the clone is a version of."""

    identifier: str
    version: str

    def page(self, site: str, path: str) -> str:
        """The page of a file, or of the folder it is in; `dandi download` takes it, too."""
        return f"{site}/dandiset/{self.identifier}/{self.version}/files?{_query(location=path)}"


@dataclass
class Pages:
    """The pages of keys, as HEAD of a clone has them."""

    git_dir: Path

    def of_key(self, key: str, found: Iterable[Address]) -> str | None:
        """What there is to be looked at, in one line; None where the clone tells of nothing."""
        asset = next((one for one in found if isinstance(one, AssetAddress)), None)
        # Only of a Dandiset: the tree of a Zarr may have a million files, and none of them a page.
        path = self.path_of(key) if self.dandiset else None
        parts: list[str] = []
        site = self._site(asset.api_url if asset else None)
        if self.dandiset and path is not None and site:
            parts.append(self.dandiset.page(site, path))
        elif asset:
            parts.append(f"{asset.api_url}/assets/{asset.asset_id}/")
        if asset and (path or key).lower().endswith(".nwb"):
            parts.append(_neurosift(asset, self.dandiset))
        return one_line(" ".join(parts)) or None

    def of_name(
        self, named: NamedFile, api_url: str, asset_of: Callable[[NamedFile], AssetAddress | None]
    ) -> str | None:
        """The same of a file by its name. `asset_of` finds the asset, which only Neurosift needs."""
        dandiset = Dandiset(named.dandiset, named.version)
        site = self._site(api_url)
        parts = [dandiset.page(site, named.path)] if site else []
        if named.path.lower().endswith(".nwb") and (asset := asset_of(named)) is not None:
            parts.append(_neurosift(asset, dandiset))
        return one_line(" ".join(parts)) or None

    def path_of(self, key: str) -> str | None:
        """The first path of a key; None where HEAD has none."""
        return next((self._paths[one] for one in self._links(key) if one in self._paths), None)

    @cached_property
    def dandiset(self) -> Dandiset | None:
        record = self._blob("HEAD", ".dandi/version.json")
        identifier, version = _IDENTIFIER.search(record), _VERSION.search(record)
        return Dandiset(identifier[1], version[1]) if identifier and version else None

    def _site(self, api_url: str | None) -> str | None:
        """The archive's site: of a known archive by its API, of another as it says itself."""
        known = instance_at(api_url) if api_url else None
        if known and known.name in _SITES:
            return _SITES[known.name]
        return self._own_site

    @cached_property
    def _own_site(self) -> str | None:
        """The one that is named in the metadata of drafts."""
        said = (_REPOSITORY.search(self._blob(revision, "dandiset.yaml")) for revision in ("HEAD", "origin/draft"))
        return next((found[1].rstrip("/") for found in said if found), None)

    def _blob(self, revision: str, path: str) -> str:
        try:
            return run_git(self.git_dir, "cat-file", "blob", f"{revision}:{path}").decode(errors="replace")
        except GitError:
            return ""

    @cached_property
    def _paths(self) -> dict[bytes, str]:
        """The first path of each blob."""
        try:
            listing = run_git(self.git_dir, "ls-tree", "-r", "-z", "HEAD")
        except GitError:
            return {}
        found: dict[bytes, str] = {}
        for entry in listing.split(b"\0"):
            head, _, path = entry.partition(b"\t")
            if head:
                found.setdefault(head.rpartition(b" ")[2], path.decode(errors="surrogateescape"))
        return found

    def _links(self, key: str) -> Iterator[bytes]:
        """The hashes of whatever points to a key: of links at each depth, and of the file that stands for it where
        files are unlocked."""
        long = len(next(iter(self._paths), b"")) == sha256().digest_size * 2
        digest = sha256 if long else sha1
        targets = [link_target(b"x/" * depth + b"x", key) for depth in range(_DEEPEST)]
        for content in [*targets, f"/annex/objects/{key}\n".encode()]:
            yield digest(b"blob %d\0%b" % (len(content), content)).hexdigest().encode()


def _neurosift(asset: AssetAddress, dandiset: Dandiset | None) -> str:
    about = {"url": f"{asset.api_url}/assets/{asset.asset_id}/download/"}
    if dandiset:
        about |= {"dandisetId": dandiset.identifier, "dandisetVersion": dandiset.version}
    return f"(Neurosift: {NEUROSIFT}?{_query(**about)})"


def _query(**parts: str) -> str:
    return urlencode(parts, quote_via=quote, safe="/:", errors="surrogateescape")
