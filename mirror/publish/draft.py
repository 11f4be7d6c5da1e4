"""The branch `draft` of a superdataset: each Dandiset at its draft; one commit for each run that changed any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mirror.dataset.facts import Facts
from mirror.dataset.submodules import GITMODULES
from mirror.dataset.superdataset import (
    CITATION_FILE,
    DANDISETS_FILE,
    README_FILE,
    RELEASES_FILE,
    RELEASES_HEAD,
    Member,
    Subject,
    Totals,
    citation_cff,
    dandisets_head,
    dandisets_line,
    draft_message,
    fixed_files,
    readme,
    releases_line,
    submodule,
)
from mirror.dataset.times import epoch
from mirror.git.objects import COMMIT, MODE_FILE, MODE_GITLINK, Commit, Entry, Oid
from mirror.git.pack import PackWriter
from mirror.git.reader import Objects
from mirror.git.trees import Change, edit_tree
from mirror.store.catalogue import Standing
from mirror.store.writer import writer_at


@dataclass(frozen=True)
class DraftWritten:
    """A new commit on the branch."""

    oid: Oid
    summary: str
    """what changed, in a few words"""


@dataclass(frozen=True)
class DraftState:
    """What the branch is to hold."""

    members: Sequence[Member]
    """in the order of their identifiers"""
    versions: Sequence[Standing]
    """the published versions of these, in their order"""

    @property
    def totals(self) -> Totals:
        facts = [member.facts for member in self.members]
        return Totals(len(facts), len(self.versions), sum(one.assets for one in facts), sum(one.size for one in facts))

    @property
    def latest(self) -> Facts | None:
        return self.versions[-1].facts if self.versions else None

    @property
    def seconds(self) -> int:
        """When the youngest of it was made, by the archive's clock."""
        times = [member.facts.modified or member.facts.created for member in self.members]
        times += [version.facts.created for version in self.versions[-1:]]
        return max(map(epoch, times), default=0)


def write_draft(
    subject: Subject,
    state: DraftState,
    layout: str,
    objects: Objects,
    writer: PackWriter,
    tip: Oid | None,
    releases: Oid | None,
) -> DraftWritten | None:
    """The branch's new commit; None when there is nothing new. `releases`: the tip of that branch, where it moved."""
    previous = objects.commit(tip) if tip is not None else None
    tree = _tree(subject, state, objects, writer, previous.tree if previous is not None else None)
    if previous is not None and tree == previous.tree and releases is None:
        return None
    message = draft_message(_changes(objects, previous, state), subject.name, state.totals, layout)
    seconds = max(state.seconds, previous.committer.seconds if previous is not None else 0)
    parents = tuple(oid for oid in (tip, releases) if oid is not None)
    who = writer_at(seconds)
    oid = writer.add(COMMIT, Commit(tree, parents, who, who, message).encode())
    return DraftWritten(oid, message.partition("\n")[0])


def _tree(subject: Subject, state: DraftState, objects: Objects, writer: PackWriter, base: Oid | None) -> Oid:
    example = state.members[0].identifier if state.members else None
    files = {
        **fixed_files(subject),
        CITATION_FILE: citation_cff(subject, state.latest),
        README_FILE: readme(subject, state.totals, state.latest, example, draft=True),
        GITMODULES: b"".join(map(submodule, state.members)),
        DANDISETS_FILE: b"".join(
            (dandisets_head(draft=True), *(dandisets_line(member, draft=True) for member in state.members))
        ),
        RELEASES_FILE: b"".join(
            (RELEASES_HEAD, *(releases_line(version.facts, version.commit) for version in state.versions))
        ),
    }
    changes: list[Change] = [(path, Entry(MODE_FILE, writer.add_blob(body))) for path, body in files.items()]
    links = {member.path: Entry(MODE_GITLINK, bytes.fromhex(member.commit)) for member in state.members}
    changes += links.items()
    if base is not None:
        gone = _links(objects, base).keys() - links.keys()
        changes += [(path, None) for path in gone]
    tree = edit_tree(objects, writer, base, sorted(changes, key=lambda change: change[0]))
    assert tree is not None, "a superdataset always has its tables"
    return tree


def _links(objects: Objects, tree: Oid) -> Mapping[bytes, Entry]:
    return {path: entry for path, entry in objects.tree(tree).items() if entry.mode == MODE_GITLINK}


def _changes(objects: Objects, previous: Commit | None, state: DraftState) -> dict[str, list[str]]:
    """What happened to which Dandisets."""
    before = _links(objects, previous.tree) if previous is not None else {}
    after = {member.path: member.commit for member in state.members}
    return {
        "added": [path.decode() for path in after if path not in before],
        "changed": [path.decode() for path, oid in after.items() if path in before and before[path].oid.hex() != oid],
        "removed": [path.decode() for path in before if path not in after],
    }
