"""The layout: its number, and every fixed thing that goes into a tree.

Mirrors with an equal `Layout` trailer write equal hashes. Whoever changes a byte of what is written raises `NUMBER`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

NUMBER = 2

TEXT_MAX_BYTES = 1_048_576
"""Texts up to this size are stored in git, unless a mirror is configured otherwise."""

RECORDS_PER_FILE = 1000
"""A folder with more assets than this has its records in 16 files, with more than 16 times as many in 256 …"""

LOG_TIMESTAMP = 1_577_836_800
"""The time of every first statement in the git-annex branch (2020-01-01): the same everywhere, and older than
anything a git-annex in a clone finds out for itself."""

TEXT_SUFFIXES = frozenset(
    (
        *(".json", ".tsv", ".csv", ".txt", ".md", ".rst", ".yaml", ".yml", ".toml", ".xml", ".html"),
        *(".m", ".py", ".r", ".sh", ".c", ".h", ".js"),
    )
)
TEXT_NAMES = frozenset(
    (
        *("readme", "changes", "changelog", "license", "licence", "copying", "authors", "citation", "citation.cff"),
        *("contributing", "notice", "makefile", "dockerfile", ".bidsignore", ".gitignore", ".gitkeep", ".dockerignore"),
        # Git reads it from the tree, and `git fsck` wants a text there.
        ".mailmap",
    )
)

GITATTRIBUTES = b"""\
* annex.backend=SHA256E
**/.git* annex.largefiles=nothing
dandiset.yaml annex.largefiles=nothing
.dandi/** annex.largefiles=nothing
"""
DATALAD_GITATTRIBUTES = b"""\
config annex.largefiles=nothing
metadata/aggregate* annex.largefiles=nothing
metadata/objects/** annex.largefiles=(anything)
"""


def datalad_config(dataset_id: str) -> bytes:
    """`.datalad/config`: what makes the repository a DataLad dataset."""
    return f'[datalad "dataset"]\n\tid = {dataset_id}\n'.encode()


EMBARGO_MARK = b'[dandi "dandiset"]\n\tembargo-status = EMBARGOED\n'
"""What the configuration of a dataset under embargo says besides; where others look for it, too."""


def fixed_files(dataset_id: str, *, embargoed: bool = False) -> dict[bytes, bytes]:
    """The files that every version of a Dandiset has, whatever is in it. `embargoed`: a draft under embargo."""
    return {
        b".datalad/.gitattributes": DATALAD_GITATTRIBUTES,
        b".datalad/config": datalad_config(dataset_id) + (EMBARGO_MARK if embargoed else b""),
        b".gitattributes": GITATTRIBUTES,
    }


@dataclass(frozen=True)
class Layout:
    """This format, with the settings that change what trees hold."""

    text_max_bytes: int = TEXT_MAX_BYTES
    assets: str | None = None
    """a regular expression; assets whose path it does not find are left out"""
    zarrs: bool = True
    """whether a Zarr stands in the tree, as a dataset of its own"""

    @cached_property
    def trailer(self) -> str:
        """The value of the `Layout` trailer: the number, then each setting that differs from its default."""
        parts = [str(NUMBER)]
        if self.assets is not None:
            # Trailers are one line each; a pattern may hold anything.
            parts.append(f"select.assets={self.assets.encode('unicode_escape').decode()}")
        if self.text_max_bytes != TEXT_MAX_BYTES:
            parts.append(f"text_in_git.max_bytes={self.text_max_bytes}")
        if not self.zarrs:
            parts.append("zarr.hold=none")
        return " ".join(parts)

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        return re.compile(self.assets) if self.assets is not None else None

    def wants(self, path: str) -> bool:
        """Whether an asset at this path belongs into the mirror."""
        return self._pattern is None or self._pattern.search(path) is not None

    def is_text(self, path: str, size: int) -> bool:
        """Whether an asset is stored in git rather than annexed. Its name and size decide, never its content."""
        return size <= self.text_max_bytes and named_like_text(path)


_SKIPS = re.compile(r"(?<=^\d) skip=\S+|(?<=^\d\d) skip=\S+")


def with_skips(trailer: str, versions: Iterable[str]) -> str:
    """A `Layout` trailer that names the published versions which were left out before this one."""
    names = ",".join(sorted(versions))
    # Right behind the number: what follows may hold any text.
    number, space, rest = trailer.partition(" ")
    return f"{number} skip={names}{space}{rest}" if names else trailer


def without_skips(trailer: str) -> str:
    """What a `Layout` trailer says of trees: versions that were left out change commits, not what a tree holds."""
    return _SKIPS.sub("", trailer)


def named_like_text(path: str) -> bool:
    """Whether an asset's name is that of a text, in any case."""
    name = path[path.rfind("/") + 1 :].lower()
    dot = name.rfind(".")
    return (dot > 0 and name[dot:] in TEXT_SUFFIXES) or name in TEXT_NAMES
