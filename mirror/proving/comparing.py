"""Two mirrors, hash by hash: what `dandi-mirror compare` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from mirror.archive.ahead import mapped
from mirror.dataset.commits import trailers
from mirror.errors import MirrorError
from mirror.git.objects import Commit, Oid
from mirror.git.reader import Objects
from mirror.proving.histories import (
    ANNEX,
    DRAFT,
    RELEASES,
    Compared,
    Verdict,
    first_difference,
    first_lacking,
    is_ancestor,
    released,
    standing,
    tree_differences,
)
from mirror.proving.others import DANDISET, ZARR, FolderMirror, Mirror, ServedMirror, objects_of_both

_JOBS = 8

Refs = Mapping[str, Oid]


@dataclass
class Comparison:
    """What came of it."""

    counts: dict[Verdict, int] = field(default_factory=dict)

    def take(self, one: Compared) -> None:
        self.counts[one.verdict] = self.counts.get(one.verdict, 0) + 1

    @property
    def contradictions(self) -> int:
        return self.counts.get("different", 0)

    @property
    def unknown(self) -> int:
        return self.counts.get("unknown", 0)


def compare_mirrors(
    here: FolderMirror,
    there: FolderMirror | ServedMirror,
    named: tuple[str, ...] = (),
    *,
    drafts: bool = True,
    scratch: Path | None = None,
    jobs: int = _JOBS,
    tell: Callable[[int, int], object] = lambda _done, _total: None,
) -> Iterator[Compared]:
    """How the datasets of two mirrors stand to each other, in the order of their names. Few at a time are in memory.

    `named`: these only. Without `drafts`, what is published decides alone. `scratch`: where objects are put that have
    to be fetched.
    """
    names = sorted(named or here.names() | there.names())
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="compare")
    try:

        def work(name: str) -> Compared:
            return compare_pair(name, here, there, drafts=drafts, scratch=scratch)

        for count, (_, one) in enumerate(mapped(pool, work, names, 2 * jobs), 1):
            tell(count, len(names))
            yield one
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def compare_pair(
    name: str, here: Mirror, there: Mirror, *, drafts: bool = True, scratch: Path | None = None
) -> Compared:
    """How what two mirrors have of one dataset stands to each other; `unknown` where it cannot be told, with why."""
    try:
        ours, theirs = here.refs(name), there.refs(name)
        if ours is None or theirs is None:
            if ours is None and theirs is None:
                return Compared(name, "unknown", message="neither has it")
            return Compared(name, "missing here" if ours is None else "missing there")
        return _Pair(name, ours, theirs, (here, there), scratch).compared(drafts=drafts)
    except (MirrorError, OSError, ValueError) as error:
        return Compared(name, "unknown", message=str(error))


@dataclass(frozen=True)
class _Pair:
    """One dataset in two mirrors."""

    name: str
    ours: Refs
    theirs: Refs
    mirrors: tuple[Mirror, Mirror]
    scratch: Path | None

    def compared(self, *, drafts: bool) -> Compared:
        here, there = released(self.ours), released(self.theirs)
        differing = first_difference(here, there)
        # A Zarr's snapshots are of the states that each mirror saw: neither has to have them all.
        by_versions = "equal" if ZARR(self.name) else standing(here, there)
        tips_agree = self.ours.get(RELEASES) == self.theirs.get(RELEASES)
        drafts_agree = not drafts or self.ours.get(DRAFT) == self.theirs.get(DRAFT)
        found = Compared(
            self.name,
            by_versions,
            releases=by_versions,
            version=None if by_versions == "equal" else first_lacking(here, there),
            annex_differs=self.ours.get(ANNEX) != self.theirs.get(ANNEX),
        )
        chain_told = tips_agree or by_versions in ("behind", "ahead")
        if differing is None and drafts_agree and chain_told:
            return found
        with objects_of_both(self.name, self.mirrors, self.scratch) as objects:
            closer = _Closer(self, objects)
            if differing is not None:
                return closer.of_versions(found, here, there)
            if not chain_told:
                found = closer.of_chain(found)
            return found if drafts_agree or found.verdict == "different" else closer.of_draft(found)


@dataclass(frozen=True)
class _Closer:
    """Looks at the objects, where the hashes of refs alone do not tell."""

    pair: _Pair
    objects: Objects

    def of_versions(self, found: Compared, here: Refs, there: Refs) -> Compared:
        """Both have a version, and not the same commit: is it the version, or one before?"""
        both = [name for name in here if name in there and here[name] != there[name]]
        for name in both:
            ours, theirs = self.objects.commit(here[name]), self.objects.commit(there[name])
            if ours.tree != theirs.tree:
                paths = tree_differences(self.objects, ours.tree, theirs.tree, of_draft=False)
                return self._different(found, name, paths, "its tree is another", ours, theirs)
        ours, theirs = self.objects.commit(here[both[0]]), self.objects.commit(there[both[0]])
        return self._different(found, both[0], (), "the trees agree, the chain of commits does not", ours, theirs)

    def of_chain(self, found: Compared) -> Compared:
        """The branch `releases` differs, and no version tells why: that of a superdataset, for one."""
        ours, theirs = self.pair.ours.get(RELEASES), self.pair.theirs.get(RELEASES)
        verdict = self._by_ancestry(ours, theirs)
        if verdict is not None:
            return replace(found, verdict=verdict, releases=verdict)
        one, other = (self.objects.commit(oid) for oid in (ours, theirs) if oid is not None)
        paths = tree_differences(self.objects, one.tree, other.tree, of_draft=False)
        return self._different(found, None, paths, "the branch `releases` is another", one, other)

    def of_draft(self, found: Compared) -> Compared:
        ours, theirs = self.pair.ours.get(DRAFT), self.pair.theirs.get(DRAFT)
        verdict = self._by_ancestry(ours, theirs)
        if verdict is None:
            assert ours is not None
            assert theirs is not None
            one, other = self.objects.commit(ours), self.objects.commit(theirs)
            paths = tree_differences(self.objects, one.tree, other.tree, of_draft=True)
            if not paths:
                told = "the drafts hold the same, by another history"
                return replace(found, message=_also(found.message, told))
            verdict = self._by_time(one, other)
            if self._is_superdataset:
                return self._of_superdataset(found, verdict, paths)
            if verdict == "different":
                return self._different(found, "draft", paths, "of the same time, and its tree is another", one, other)
            found = replace(found, paths=paths)
        if self._is_superdataset:
            return self._of_superdataset(found, verdict, found.paths)
        # What is behind in one thing and ahead in the other is neither.
        joint = verdict if found.verdict in ("equal", verdict) else "different"
        told = f"the draft is {verdict}, what is published is {found.verdict}" if joint == "different" else ""
        return replace(found, verdict=joint, draft=verdict, version=found.version or "draft", message=told)

    @property
    def _is_superdataset(self) -> bool:
        return not (DANDISET(self.pair.name) or ZARR(self.pair.name))

    @staticmethod
    def _of_superdataset(found: Compared, verdict: Verdict, paths: tuple[str, ...]) -> Compared:
        """Its draft names drafts, whose histories depend on when they were looked at: what is published decides."""
        decided = verdict if found.verdict == "equal" and verdict != "different" else found.verdict
        told = _also(found.message, "the drafts of it name other states of drafts")
        return replace(found, verdict=decided, draft=verdict, paths=paths, message=told)

    def _by_time(self, one: Commit, other: Commit) -> Verdict:
        """Which of two drafts is the earlier one, by the archive's own time of it."""
        ours, theirs = (trailers(commit.message).get("Archive-Modified", "") for commit in (one, other))
        if ours == theirs and DANDISET(self.pair.name):
            return "different"
        if ours == theirs:  # of Zarrs and superdatasets: by the times of their commits
            seconds = one.committer.seconds, other.committer.seconds
            return "different" if seconds[0] == seconds[1] else "behind" if seconds[0] < seconds[1] else "ahead"
        return "behind" if ours < theirs else "ahead"

    def _by_ancestry(self, ours: Oid | None, theirs: Oid | None) -> Verdict | None:
        if ours is None or theirs is None:
            return "behind" if ours is None else "ahead"
        if is_ancestor(self.objects, ours, theirs):
            return "behind"
        return "ahead" if is_ancestor(self.objects, theirs, ours) else None

    @staticmethod
    def _different(
        found: Compared, version: str | None, paths: tuple[str, ...], message: str, one: Commit, other: Commit
    ) -> Compared:
        here, there = (trailers(commit.message).get("Layout") for commit in (one, other))
        if here != there:
            message = f"{message}; their layouts differ (`{here}` here, `{there}` there), so their hashes cannot agree"
        of_draft = version == "draft"
        return replace(
            found,
            verdict="different",
            releases=found.releases if of_draft else "different",
            draft="different" if of_draft else found.draft,
            version=version,
            paths=paths,
            message=message,
            here_layout=here,
            there_layout=there,
        )


def _also(message: str, more: str) -> str:
    return f"{message}; {more}" if message else more
