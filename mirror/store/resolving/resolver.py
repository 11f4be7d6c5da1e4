"""Where a thing is: the Dandisets, versions, paths and commits that have it, and how to get it from there."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import chain
from urllib.parse import urlsplit

from mirror.archive.instances import KNOWN_INSTANCES
from mirror.dataset.commits import trailers
from mirror.dataset.facts import Facts
from mirror.dataset.identity import superdataset_id
from mirror.dataset.names import tree_path
from mirror.dataset.references import (
    DRAFT,
    AssetRef,
    BlobRef,
    CommitRef,
    DandisetRef,
    DoiParts,
    DoiRef,
    KeyRef,
    PathRef,
    Reference,
    Sha256Ref,
    UuidRef,
    ZarrRef,
)
from mirror.dataset.submodules import submodule_path
from mirror.dataset.times import moment
from mirror.git.objects import MODE_TREE, Commit, Oid
from mirror.store.catalogue import Catalogue, Occurrence, Standing
from mirror.store.resolving.addresses import Addresses, checkout_command, get_command
from mirror.store.resolving.answers import Answer, Kind, Missing, Spot
from mirror.store.resolving.commit_search import find_commit
from mirror.store.store import Store
from mirror.store.version_keys import versions_in


class Resolver:
    """Answers from a store's catalogue, and from its repositories only what that does not have.

    `superdatasets` are those of the settings, where there are some: of others it is said that they are kept no more.
    """

    def __init__(
        self, store: Store, catalogue: Catalogue, addresses: Addresses, superdatasets: Collection[str] | None = None
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._addresses = addresses
        self._kept = superdatasets
        self._facts = cache(self._read_facts)

    def resolve(self, reference: Reference) -> tuple[Answer, ...] | Missing:
        """Every place of what is referred to; there is at least one, or it is missing."""
        match reference:
            case DandisetRef() | PathRef():
                return self._foreign(reference) or self._within(reference)
            case DoiRef():
                return self._doi(reference)
            case CommitRef():
                return self._found(self._commit(bytes.fromhex(reference.commit)), "no dataset here has the commit")
            case KeyRef():
                return self._key(reference)
            case Sha256Ref():
                found = self._assets(self._catalogue.assets(sha256=reference.sha256))
                return self._found(found, "no file here has, or had, the content")
            case AssetRef():
                found = self._assets(self._catalogue.assets(asset_id=reference.asset_id))
                return self._found(found, "no Dandiset here has, or had, the asset")
            case BlobRef():
                return self._found(self._content(reference.blob_id), "no Dandiset here has, or had, the blob")
            case ZarrRef():
                return self._found(
                    self._content(reference.zarr_id, reference.inner), "no Dandiset here has, or had, the Zarr"
                )
            case UuidRef():
                return self._found(self._uuid(reference.uuid), "no asset, blob, Zarr or dataset here has the id")

    def _found(self, answers: Iterable[Answer], otherwise: str) -> tuple[Answer, ...] | Missing:
        return tuple(answers) or Missing(otherwise)

    # --- Dandisets and their versions ---

    def _foreign(self, reference: DandisetRef | PathRef) -> Missing | None:
        """Why it cannot be in this store, if it says that it is of another archive."""
        facts, archive = self._store.facts, reference.archive
        if archive is None:
            return None
        if archive.isupper():
            is_own = archive == facts.instance.upper()
        else:
            own, other = _site(urlsplit(facts.instance_url).netloc), _site(archive)
            is_own = other == own or other not in _KNOWN_SITES  # which may be a mirror of anything
        return None if is_own else Missing(f"this is a mirror of {facts.instance} ({facts.instance_url})")

    def _within(self, reference: DandisetRef | PathRef) -> tuple[Answer, ...] | Missing:
        if isinstance(reference, PathRef):
            return self._path(reference)
        return self._dandiset(reference.identifier, reference.version)

    def _dandiset(self, identifier: str, version: str | None) -> tuple[Answer, ...] | Missing:
        standing = self._catalogue.standing(identifier, version or DRAFT)
        if standing is None:
            return self._no_version(identifier, version)
        return (self._version(standing) if standing.facts.version != DRAFT else self._draft(standing),)

    def _draft(self, standing: Standing) -> Answer:
        facts = standing.facts
        return Answer(
            Kind.DANDISET,
            facts.identifier,
            facts.name,
            versions=tuple(_spot(one) for one in self._published(facts.identifier)),
            draft=_spot(standing),
            clone=self._addresses.clone(facts.identifier),
        )

    def _version(self, standing: Standing) -> Answer:
        facts = standing.facts
        return Answer(
            Kind.VERSION,
            facts.identifier,
            facts.name,
            versions=(_spot(standing),),
            doi=facts.doi,
            clone=self._addresses.clone(facts.identifier, facts.version),
        )

    def _published(self, identifier: str) -> list[Standing]:
        """The published versions of a Dandiset, oldest first."""
        repository = self._store.repository(identifier)
        refs = repository.refs() if repository.path.is_dir() else {}
        found = (self._catalogue.standing(identifier, version) for version in versions_in(refs))
        standings = [one for one in found if one is not None]
        return sorted(standings, key=lambda one: (moment(one.facts.created), one.facts.version))

    def _no_version(self, identifier: str, version: str | None) -> Missing:
        if self._store.is_embargoed(identifier):
            return Missing(
                f"Dandiset {identifier} is under embargo",
                f"the store's owner finds it at {self._store.closed_side.alias(identifier)}",
            )
        if identifier not in self._store.dandisets():
            return Missing(
                f"Dandiset {identifier} is not mirrored here",
                f"`dandi-mirror sync {identifier}` mirrors what the archive has",
            )
        if version is None or version == DRAFT:
            return Missing(f"the catalogue does not have Dandiset {identifier}", _BEHIND)
        if why := self._store.state(identifier).waiting.get(version):
            return Missing(f"version {version} of Dandiset {identifier} is not taken yet: {why}")
        return Missing(
            f"version {version} of Dandiset {identifier} is not mirrored here",
            _listing("mirrored are", [one.facts.version for one in self._published(identifier)]),
        )

    def _doi(self, reference: DoiRef) -> tuple[Answer, ...] | Missing:
        standing = self._catalogue.by_doi(reference.doi)
        if standing is not None:
            return self._dandiset(standing.facts.identifier, standing.facts.version)
        parts = reference.parts
        if parts is None or not self._is_own(parts):
            return Missing("no version here has the DOI")
        return self._dandiset(parts.identifier, parts.version)

    def _is_own(self, parts: DoiParts) -> bool:
        """Whether a DOI that no version has begins as this archive's do: then it may be that of a Dandiset."""
        dois = [(one.facts.doi or "").lower() for one in self._published(parts.identifier)]
        if any(dois):
            return any(doi.startswith(f"{parts.head}{parts.identifier}") for doi in dois)
        return parts.head.endswith(f"/{self._store.facts.instance.lower()}.")

    # --- assets ---

    def _path(self, reference: PathRef) -> tuple[Answer, ...] | Missing:
        path, identifier, version = reference.path, reference.identifier, reference.version
        if identifier is None:
            found = tuple(self._at(path, None)) or tuple(self._superdataset_called(path))
            return found or Missing("no Dandiset here has, or had, an asset at the path", _FOLDERS)
        answers = tuple(self._at(path, identifier))
        chosen = tuple(self._in_version(answer, version) for answer in answers if _is_in(answer, version))
        if not chosen:
            chosen = tuple(self._folder(path, identifier, version))
        if not chosen and version is None and reference.archive is None:
            chosen = tuple(self._at(f"{identifier}/{path}", None))  # there may be folders with such names
        return chosen or self._no_path(reference, answers)

    def _at(self, path: str, identifier: str | None) -> Iterator[Answer]:
        """What is at a path: an asset, or something in a Zarr."""
        where, inner = path, ""
        while where:
            found = self._catalogue.assets(path=where, identifier=identifier)
            answers = list(self._assets((one for one in found if one.is_zarr or not inner), inner))
            if answers:
                yield from answers
                return
            where, _, name = where.rpartition("/")
            inner = f"{name}/{inner}" if inner else name

    def _in_version(self, answer: Answer, version: str | None) -> Answer:
        """The same, got from that version."""
        if version is None or version == DRAFT:
            return answer
        clone = self._addresses.clone(answer.dataset, version)
        return replace(answer, clone=clone, checkout=None)

    def _no_path(self, reference: PathRef, elsewhere: tuple[Answer, ...]) -> Missing:
        identifier, version = reference.identifier or "", reference.version or DRAFT
        if self._catalogue.standing(identifier, version) is None:
            return self._no_version(identifier, reference.version)
        place = f"version {version}" if version != DRAFT else "the draft"
        reason = f"nothing is at {reference.path!r} in Dandiset {identifier}"
        if not elsewhere:
            return Missing(reason if reference.version is None else f"{reason}, {place}")
        spots = [spot for one in elsewhere for spot in (*one.versions, *([one.draft] if one.draft else []))]
        names = list(dict.fromkeys(spot.version for spot in spots))
        return Missing(f"{reason}, {place}", _listing("it is in", names) or "it was in an earlier draft")

    def _folder(self, path: str, identifier: str, version: str | None) -> Iterator[Answer]:
        """A folder of a version. The catalogue knows none; the tree does."""
        standing = self._catalogue.standing(identifier, version or DRAFT)
        if standing is None:
            return
        with self._store.repository(identifier).objects() as objects:
            entry = objects.lookup(objects.commit(bytes.fromhex(standing.commit)).tree, tree_path(path))
        if entry is None or entry.mode != MODE_TREE:
            return
        spot = _spot(standing)
        is_draft = standing.facts.version == DRAFT
        yield Answer(
            Kind.FOLDER,
            identifier,
            standing.facts.name,
            path,
            versions=() if is_draft else (spot,),
            draft=spot if is_draft else None,
            clone=self._addresses.clone(identifier, None if is_draft else version),
            get=get_command(identifier, tree_path(path).decode()),
        )

    def _assets(self, occurrences: Iterable[Occurrence], inner: str = "") -> Iterator[Answer]:
        for one in occurrences:
            answer = Answer(
                Kind.ZARR if one.is_zarr else Kind.ASSET,
                one.identifier,
                self._title(one.identifier),
                one.path,
                one,
                versions=tuple(Spot(*held, self._when(one.identifier, held[0])) for held in one.versions),
                draft=Spot(DRAFT, one.draft, self._when(one.identifier, DRAFT)) if one.draft else None,
                past=Spot(DRAFT, *one.last_draft) if one.last_draft else None,
            )
            yield self._with_commands(answer, one, inner)

    def _with_commands(self, answer: Answer, asset: Occurrence, inner: str) -> Answer:
        """Got from the draft if that has it, else from the latest version, else from the last draft that had it."""
        version = None if answer.draft or not answer.versions else answer.versions[-1].version
        answer = replace(answer, clone=self._addresses.clone(asset.identifier, version))
        if not answer.draft and not answer.versions and answer.past:
            checkout = checkout_command(asset.identifier, answer.past.commit)
            answer = replace(answer, checkout=checkout, note=_GONE)
        if asset.is_zarr:
            return self._with_zarr_commands(answer, asset, inner)
        return replace(answer, get=get_command(asset.identifier, tree_path(asset.path).decode()))

    def _with_zarr_commands(self, answer: Answer, asset: Occurrence, inner: str) -> Answer:
        zarr_id = asset.content or ""
        if not self._store.open_side.alias(zarr_id).exists():
            return _noting(answer, f"held as a manifest: `dandi-mirror materialize {zarr_id}` writes its dataset")
        if inner and not self._zarr_has(zarr_id, inner):
            answer = _noting(answer, f"the Zarr has nothing at {inner!r} now")
        path = submodule_path(asset.path).decode()
        within = f"{path}/{tree_path(inner).decode()}" if inner else path
        return replace(
            answer,
            get=get_command(asset.identifier, within, only_its_names=not inner),
            zarr_clone=self._addresses.clone(zarr_id),
        )

    def _zarr_has(self, zarr_id: str, inner: str) -> bool:
        repository = self._store.dataset(zarr_id)
        with repository.objects() as objects:
            return objects.lookup(objects.commit(repository.refs()[_DRAFT_REF]).tree, tree_path(inner)) is not None

    def _content(self, content: str, inner: str = "") -> Iterator[Answer]:
        """The assets of a blob or a Zarr; a Zarr that is in no Dandiset any more, by itself."""
        found = tuple(self._assets(self._catalogue.assets(content=content), inner))
        if not found and self._store.open_side.alias(content).exists():
            clone = self._addresses.clone(content)
            found = (Answer(Kind.ZARR, content, clone=clone, zarr_clone=clone),)
        yield from found

    def _key(self, reference: KeyRef) -> tuple[Answer, ...] | Missing:
        parts = reference.parts
        if parts.backend in ("SHA256", "SHA256E"):
            found = self._assets(self._catalogue.assets(sha256=parts.digest.lower()))
            answers = (one for one in found if one.asset is not None and one.asset.size == parts.size)
            return self._found(answers, "no file here has, or had, the content")
        if parts.backend == "MD5E":
            return Missing(
                "files in Zarrs have such keys, and no index of these is kept",
                f"in a clone of the Zarr, `git annex whereused --key={reference.key}` finds it",
            )
        return Missing(f"no dataset of a mirror has keys of {parts.backend}")

    # --- ids and commits of datasets ---

    def _uuid(self, uuid: str) -> Iterator[Answer]:
        asset = tuple(self._assets(self._catalogue.assets(asset_id=uuid)))
        yield from asset or tuple(self._content(uuid)) or tuple(self._dataset(uuid))

    def _dataset(self, dataset_id: str) -> Iterator[Answer]:
        """A Dandiset or a superdataset by the id of its dataset."""
        if not self._store.dataset(dataset_id).path.is_dir():
            return
        for identifier in self._store.dandisets():
            if self._store.dataset_id(identifier) == dataset_id:
                found = self._dandiset(identifier, None)
                yield from found if isinstance(found, tuple) else ()
        for name in self._superdatasets():
            if self._superdataset_id(name) == dataset_id:
                yield self._superdataset(name)

    def _superdatasets(self) -> list[str]:
        """The names of all superdatasets here: of what has an address and is neither a Dandiset nor a Zarr."""
        names = sorted(entry.name for entry in (self._store.public / "alias").iterdir())
        return [one for one in names if self._is_superdataset(one)]

    def _is_superdataset(self, name: str) -> bool:
        return self._store.dataset(self._superdataset_id(name)).path.is_dir()

    def _superdataset_id(self, name: str) -> str:
        return superdataset_id(self._store.facts.instance_url, name)

    def _superdataset_called(self, name: str) -> Iterator[Answer]:
        if self._is_superdataset(name) and self._store.open_side.alias(name).exists():
            yield self._superdataset(name)

    def _superdataset(self, name: str) -> Answer:
        draft = self._store.dataset(self._superdataset_id(name)).refs().get(_DRAFT_REF)
        spot = Spot(DRAFT, draft.hex()) if draft else None
        note = "" if self._kept is None or name in self._kept else _DROPPED
        return Answer(Kind.SUPERDATASET, name, draft=spot, clone=self._addresses.clone(name), note=note)

    def _commit(self, oid: Oid) -> Iterator[Answer]:
        for identifier in self._store.dandisets():
            if found := find_commit(self._store.repository(identifier), oid):
                yield self._of_dandiset(identifier, *found)
                return  # two Dandisets have no commit in common
        others = chain(
            ((Kind.SUPERDATASET, name, self._superdataset_id(name)) for name in self._superdatasets()),
            ((Kind.ZARR, zarr_id, zarr_id) for zarr_id in self._store.zarrs()),
        )
        for kind, name, dataset_id in others:
            if found := find_commit(self._store.dataset(dataset_id), oid):
                answer = self._superdataset(name) if kind == Kind.SUPERDATASET else Answer(kind, name)
                yield self._at_commit(replace(answer, draft=None), found[0])

    def _of_dandiset(self, identifier: str, oid: Oid, commit: Commit) -> Answer:
        said = trailers(commit.message)
        version = said.get("Version", "")
        standing = self._catalogue.standing(identifier, version) if version else None
        if standing is not None and standing.commit == oid.hex():
            return self._draft(standing) if version == DRAFT else self._version(standing)
        answer = Answer(Kind.COMMIT, identifier, self._title(identifier))
        return self._at_commit(answer, oid, version, said.get("Archive-Modified"))

    def _at_commit(self, answer: Answer, oid: Oid, version: str = "", when: str | None = None) -> Answer:
        commit = oid.hex()
        return replace(
            answer,
            past=Spot(version, commit, when),
            clone=self._addresses.clone(answer.dataset),
            checkout=checkout_command(answer.dataset, commit),
        )

    def _read_facts(self, identifier: str, version: str) -> Facts | None:
        standing = self._catalogue.standing(identifier, version)
        return standing.facts if standing else None

    def _title(self, identifier: str) -> str:
        facts = self._facts(identifier, DRAFT)
        return facts.name if facts else ""

    def _when(self, identifier: str, version: str) -> str | None:
        facts = self._facts(identifier, version)
        return _time_of(facts) if facts else None


_DRAFT_REF = "refs/heads/draft"
_DROPPED = "the settings do not have this superdataset any more, so it stays as it is"
_FOLDERS = "a folder is found only with its Dandiset before it, as in 000003/sub-1"
_BEHIND = "`dandi-mirror sync` brings it up to date"
_GONE = "no version has it any more, so its bytes may be gone from the archive"


def _spot(standing: Standing) -> Spot:
    return Spot(standing.facts.version, standing.commit, _time_of(standing.facts))


def _time_of(facts: Facts) -> str | None:
    return facts.modified if facts.version == DRAFT else facts.created


def _is_in(answer: Answer, version: str | None) -> bool:
    if version is None:
        return True
    return answer.draft is not None if version == DRAFT else any(one.version == version for one in answer.versions)


def _noting(answer: Answer, note: str) -> Answer:
    return replace(answer, note=f"{answer.note}; {note}" if answer.note else note)


def _listing(what: str, names: list[str]) -> str | None:
    return f"{what} {', '.join(names)}" if names else None


def _site(host: str) -> str:
    """The host of an archive, by whatever of its web addresses."""
    return re.sub(r"^(?:api|gui|www)[.-]", "", host.lower())


_KNOWN_SITES = frozenset(_site(urlsplit(known.api_url).netloc) for known in KNOWN_INSTANCES.values())
