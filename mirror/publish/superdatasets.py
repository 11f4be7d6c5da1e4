"""Writing superdatasets: each a repository of the store, whose two branches follow what the catalogue holds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from mirror.config import Settings
from mirror.dataset.facts import Facts, seen_with
from mirror.dataset.identity import ALL_DANDISETS, superdataset_id
from mirror.dataset.query import Query
from mirror.dataset.superdataset import RELEASES_FILE, Key, Member, SelectionLayout, Subject, place, rows
from mirror.dataset.times import epoch
from mirror.errors import StoreError
from mirror.git.objects import Oid
from mirror.git.pack import PackWriter
from mirror.git.reader import Objects
from mirror.git.refs import FreeNames
from mirror.git.repository import Repository
from mirror.publish.draft import DraftState, write_draft
from mirror.publish.horizon import Horizon
from mirror.publish.releases import Chain, Skipped
from mirror.publish.tables import Tables
from mirror.store.catalogue import Standing
from mirror.store.packing import join_packs
from mirror.store.room import check_room, telling_of_room
from mirror.store.store import Store

logger = logging.getLogger(__name__)

DRAFT = "refs/heads/draft"
RELEASES = "refs/heads/releases"

_BYTES_A_ROW = 4_000
"""What a superdataset made from nothing has of each Dandiset and each published version; measured: 3,600."""
_BYTES_A_ROW_AGAIN = 500
"""What is written of each when something moved: two tables of them all."""
_FILES = 32


@dataclass(frozen=True)
class Holdings:
    """Everything that is mirrored, as superdatasets show it."""

    members: Sequence[Member]
    """each Dandiset at its draft, in the order of their identifiers"""
    published: Sequence[Standing]
    """all published versions, in their order"""
    embargoed: Sequence[Member] = ()
    """Dandisets that are nobody else's business yet, as they say themselves: they stand in no superdataset"""
    withdrawn: Collection[str] = ()
    """the identifiers of those on the store's closed side: of what was published of them before, nothing is told"""
    returned: Collection[str] = ()
    """the identifiers of those that were there for a while: a chain has them as if that had never been"""


@dataclass(frozen=True)
class Written:
    """What came of one superdataset."""

    name: str
    path: str
    draft: str | None
    """the draft's new tip, None when it did not move"""
    summary: str = ""
    """what changed in it"""
    releases: tuple[str, ...] = ()
    """versions added to the chain"""
    late: tuple[str, ...] = ()
    """those of them that belong before one which was there already"""
    lacking: int = 0
    """published versions that belong into the chain, and are not in it yet"""

    @property
    def changed(self) -> bool:
        return self.draft is not None or bool(self.releases)


def holdings(
    store: Store, standings: Iterable[Standing], embargoed: Collection[str] = (), returned: Collection[str] = ()
) -> Holdings:
    """What the catalogue holds, in the shape that superdatasets need. `embargoed`: what came under embargo;
    `returned`: what did, and was opened again."""
    drafts: list[Standing] = []
    published: list[Standing] = []
    latest: dict[str, Facts] = {}
    for standing in standings:
        if standing.facts.version == "draft":
            drafts.append(standing)
        else:
            published.append(standing)
    published.sort(key=lambda standing: place(standing.facts))
    for standing in published:
        latest[standing.facts.identifier] = standing.facts
    members = [
        Member(one.facts, one.commit, store.dataset_id(one.facts.identifier), latest.get(one.facts.identifier))
        for one in sorted(drafts, key=lambda one: one.facts.identifier)
    ]
    return Holdings(
        [member for member in members if not _is_closed(member, embargoed)],
        [one for one in published if one.facts.identifier not in embargoed],
        [member for member in members if member.facts.embargoed and member.identifier not in embargoed],
        embargoed,
        returned,
    )


def _is_closed(member: Member, embargoed: Collection[str]) -> bool:
    return member.facts.embargoed or member.identifier in embargoed


def subjects_of(settings: Settings, store: Store) -> list[Subject]:
    """The superdatasets that there are to be: that of all Dandisets first."""
    queries = {ALL_DANDISETS: None} | {one.name: one.where for one in settings.superdatasets}
    facts = store.facts
    return [
        Subject(
            name,
            facts.instance,
            facts.instance_url,
            superdataset_id(facts.instance_url, name),
            str(Query.parse(where)) if where is not None else None,
        )
        for name, where in queries.items()
    ]


class SuperdatasetWriter:
    """Brings the superdatasets of a store up to date."""

    def __init__(
        self, settings: Settings, store: Store, dandiset_layout: str, horizon: Horizon, skipped: tuple[Skipped, ...]
    ) -> None:
        self._settings = settings
        self._store = store
        self._dandiset_layout = dandiset_layout
        self._horizon = horizon
        self._skipped = skipped

    def write(self, subject: Subject, holdings: Holdings, *, anew: bool = False) -> Written:
        """Bring one up to date, unless nothing was ever in it. `anew`: its chain of releases from nothing."""
        query = Query.parse(subject.where) if subject.where is not None else None
        matches = (lambda _: True) if query is None else query.matches
        members = [member for member in holdings.members if matches(seen_with(member.facts, member.latest))]
        repository = self._store.dataset(subject.dataset_id)
        if not repository.path.is_dir() and not members and not any(matches(one.facts) for one in holdings.published):
            return Written(subject.name, "", None)
        with telling_of_room():
            fresh = anew or not repository.path.is_dir()
            rows = len(members) + len(holdings.published)
            self._check_room(subject, rows * (_BYTES_A_ROW if fresh else _BYTES_A_ROW_AGAIN))
            repository = self._store.create_dataset(subject.dataset_id)
            repository.repair()
            written = self._write(subject, repository, members, holdings, matches, anew=anew)
            self._store.publish_as(subject.name, subject.dataset_id)
        join_packs(repository, f"superdataset {subject.name}")
        return written

    def _check_room(self, subject: Subject, need: int) -> None:
        check_room(self._store.public, need, f"superdataset {subject.name}", files=_FILES)

    def _write(
        self,
        subject: Subject,
        repository: Repository,
        members: Sequence[Member],
        holdings: Holdings,
        matches: Callable[[Facts], bool],
        *,
        anew: bool,
    ) -> Written:
        layout, published = self._layout(subject), holdings.published
        with repository.lock(), repository.writer() as writer, repository.objects(writer) as objects:
            refs = repository.refs()
            reached = self._outdated(holdings, subject, layout, refs, matches, objects, writer)
            anew = anew or reached is not None
            kept = {ref: oid for ref, oid in refs.items() if ref == DRAFT} if anew else refs
            chain = self._chain(subject, layout, kept, objects, writer)
            chain.extend(self._known(chain, published, matches, reached or chain.reached), matches)
            if anew:
                self._check_anew(subject, refs, chain, objects, holdings.withdrawn)
            mine = {member.identifier for member in members}
            state = DraftState(members, [one for one in published if one.facts.identifier in mine])
            updates: dict[str, Oid | None] = {**dict.fromkeys(refs.keys() - kept.keys()), **chain.updates}
            moved = chain.tip if chain.tip is not None and chain.tip != refs.get(RELEASES) else None
            if chain.tip is not None and (anew or moved is not None):
                updates[RELEASES] = chain.tip
            draft = write_draft(subject, state, layout.trailer(), objects, writer, refs.get(DRAFT), moved)
            if draft is not None:
                updates[DRAFT] = draft.oid
            if updates:
                repository.publish(writer, updates, expected={ref: refs.get(ref) for ref in updates})
        return Written(
            subject.name,
            str(self._store.alias(subject.name)),
            draft.oid.hex() if draft is not None else None,
            draft.summary if draft is not None else "",
            tuple(chain.added),
            tuple(chain.late),
            self._lacking(chain, published, matches),
        )

    def _outdated(
        self,
        holdings: Holdings,
        subject: Subject,
        layout: SelectionLayout,
        refs: dict[str, Oid],
        matches: Callable[[Facts], bool],
        objects: Objects,
        writer: PackWriter,
    ) -> Key | None:
        """How far a chain goes that is to be written anew: it names what came under embargo, or lacks what returned and
        belongs before its end. None where there is no such thing."""
        if not (holdings.withdrawn or holdings.returned) or RELEASES not in refs:
            return None
        before = self._chain(subject, layout, refs, objects, writer)
        reached, listed = before.reached, before.tables.listed
        named = {identifier for identifier, _ in listed}.intersection(holdings.withdrawn)
        lacking = {
            one.facts.identifier
            for one in holdings.published
            if one.facts.identifier in holdings.returned
            and (one.facts.identifier, one.facts.version) not in listed
            and reached is not None
            and place(one.facts) < reached
            and matches(one.facts)
        }
        if not named and not lacking:
            return None
        what = [f"without {', '.join(sorted(named))}"] if named else []
        what += [f"with {', '.join(sorted(lacking))}"] if lacking else []
        logger.warning("superdataset %s: its releases are written anew, %s", subject.name, " and ".join(what))
        return reached

    def _layout(self, subject: Subject) -> SelectionLayout:
        select = self._settings.select
        return SelectionLayout(
            dandisets=self._dandiset_layout,
            only=None if select.dandisets == "all" else select.dandisets,
            exclude=select.exclude,
            where=subject.where,
        )

    def _chain(
        self, subject: Subject, layout: SelectionLayout, refs: dict[str, Oid], objects: Objects, writer: PackWriter
    ) -> Chain:
        tip = refs.get(RELEASES)
        commit = objects.commit(tip) if tip is not None else None
        return Chain(
            tables=Tables(subject, writer, objects, commit.tree if commit is not None else None),
            writer=writer,
            layout=layout,
            skipped=self._skipped,
            is_free=FreeNames(refs).take,
            dataset_id=self._store.dataset_id,
            tip=tip,
            seconds=commit.committer.seconds if commit is not None else 0,
        )

    def _known(
        self, chain: Chain, published: Sequence[Standing], matches: Callable[[Facts], bool], reached: Key | None
    ) -> list[Standing]:
        """The published versions up to the horizon, and up to where the chain is, or was: it never goes back."""
        return [
            one
            for one in published
            if self._settings.select.includes(one.facts.identifier)
            and (
                self._horizon.includes(place(one.facts))
                or (reached is not None and place(one.facts) <= reached)
                # A version that took its Dandiset out stands in no table, only in the time of its commit.
                or (epoch(one.facts.created) <= chain.seconds and not matches(one.facts))
            )
        ]

    def _lacking(self, chain: Chain, published: Sequence[Standing], matches: Callable[[Facts], bool]) -> int:
        """How many published versions are not in the chain, and ought to be."""
        return sum(
            (one.facts.identifier, one.facts.version) not in chain.tables.listed
            for one in published
            if self._settings.select.includes(one.facts.identifier) and matches(one.facts)
        )

    def _check_anew(
        self, subject: Subject, refs: dict[str, Oid], chain: Chain, objects: Objects, withdrawn: Collection[str]
    ) -> None:
        """A chain that is written anew must not lose what the old one had, but for what was withdrawn."""
        if RELEASES not in refs:
            return
        before = rows(objects.blob(objects.tree(objects.commit(refs[RELEASES]).tree)[RELEASES_FILE].oid))
        kept = {(row["dandiset"], row["version"]) for row in before if row["dandiset"] not in withdrawn}
        lost = kept - chain.tables.listed.keys()
        if subject.where is None and lost:
            raise StoreError(
                f"written anew, the chain would lose {len(lost)} releases, as it waits for {self._horizon.waits_for}",
                hint="`dandi-mirror sync`, and then again",
            )
