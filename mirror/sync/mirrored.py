"""What a Dandiset's repository holds at present: the other half of what a plan is made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from mirror.dataset.assets import Held, held_from_line
from mirror.dataset.commits import trailers
from mirror.dataset.layout import Layout, without_skips
from mirror.git.objects import TAG, Commit, Oid, Tag
from mirror.git.reader import Objects
from mirror.store.index import Index
from mirror.store.version_keys import versions_in
from mirror.sync.trees import held_assets

DRAFT = "refs/heads/draft"
RELEASES = "refs/heads/releases"
ANNEX = "refs/heads/git-annex"
TAGS = "refs/tags/"


def index_key(oid: Oid, layout: Layout) -> str:
    """What the index keeps a draft's assets under: read in another layout, the same tree gives others."""
    return f"{oid.hex()} {layout.trailer}"


@dataclass(frozen=True)
class Tip:
    """A commit of `draft` or `releases`, and the assets of its tree as far as they help to tell what changed."""

    oid: Oid
    commit: Commit
    load: Callable[[], Mapping[str, Held]]

    @cached_property
    def assets(self) -> Mapping[str, Held]:
        """Read when first asked for: a whole tree of records, unless the index has them."""
        return self.load()

    @property
    def tree(self) -> Oid:
        return self.commit.tree

    @property
    def layout(self) -> str:
        """The layout it was written in, as its trailer says."""
        return without_skips(trailers(self.commit.message).get("Layout", ""))


class Mirrored:
    """A repository's present state, read when asked for."""

    def __init__(
        self, refs: Mapping[str, Oid], objects: Objects, index: Index, identifier: str, layout: Layout
    ) -> None:
        self.refs = refs
        self._objects = objects
        self._index = index
        self._identifier = identifier
        self._layout = layout

    @property
    def versions(self) -> set[str]:
        """The published versions that have their tag."""
        return set(versions_in(self.refs))

    @cached_property
    def draft(self) -> Tip | None:
        oid = self.refs.get(DRAFT)
        if oid is None:
            return None
        return Tip(oid, self._objects.commit(oid), lambda: self._draft_assets(oid))

    @cached_property
    def releases(self) -> Tip | None:
        oid = self.refs.get(RELEASES)
        return self._tip(oid) if oid is not None else None

    @cached_property
    def annex(self) -> Oid | None:
        """The tree of the git-annex branch."""
        oid = self.refs.get(ANNEX)
        return self._objects.commit(oid).tree if oid is not None else None

    def release(self, version: str) -> Tip:
        """A published version, by its tag."""
        kind, body = self._objects.read(self.refs[TAGS + version])
        oid = Tag.decode(body).target if kind == TAG else self.refs[TAGS + version]
        return self._tip(oid)

    def _tip(self, oid: Oid) -> Tip:
        commit = self._objects.commit(oid)
        return Tip(oid, commit, lambda: self._assets_in(commit.tree))

    def _draft_assets(self, oid: Oid) -> Mapping[str, Held]:
        indexed = self._index.draft(self._identifier, index_key(oid, self._layout))
        return indexed if indexed is not None else self._assets_in(self._objects.commit(oid).tree)

    def _assets_in(self, tree: Oid) -> Mapping[str, Held]:
        return held_assets(self._objects, tree, lambda line: held_from_line(line, self._layout))
