"""A Dandiset mirrored anew, into a scratch store, and held against the one that is here: hash by hash.

What a mirror made today from nothing but the archive holds of every published version is what ours has to hold.
"""

from __future__ import annotations

from pathlib import Path

from mirror import errors
from mirror.archive.records import Instance
from mirror.config import Settings
from mirror.errors import ArchiveDown, MirrorError, Unreachable
from mirror.proving.comparing import compare_pair
from mirror.proving.findings import Stop, Stopped, Teller
from mirror.proving.histories import released
from mirror.proving.others import FolderMirror, Mirror
from mirror.store.scratch import scratch_folder
from mirror.store.store import Store
from mirror.sync.engine import sync

_PREFIX = "anew-"


def prove_against_archive(settings: Settings, store: Store, identifier: str, teller: Teller, *, stop: Stop) -> None:
    """Hold a Dandiset against what a new mirror has of it."""
    if (vanished := store.state(identifier).vanished) is not None:
        teller.find("unknown", identifier, f"is not in the archive any more since {vanished}: nothing to compare with")
        return
    side = store.side(private=teller.result.private)
    teller.watcher.how_far("mirroring it anew, to compare")
    with scratch_folder(side.temporary, _PREFIX) as folder:
        anew = _mirrored(settings, store, identifier, folder, stop)
        if anew is None:
            raise Stopped
        _tell(identifier, FolderMirror(side.data), anew, teller, folder)


def _mirrored(settings: Settings, store: Store, identifier: str, folder: Path, stop: Stop) -> Store | None:
    """The scratch store, with what the archive gave; None when it was stopped."""
    # Version ids go into the git-annex branch, which is not compared; and the state of a Zarr is named by its manifest
    # as by its repository.
    hold = "none" if settings.zarr.hold == "none" else "manifest"
    changed = {
        "store": folder / "store",
        "archive": settings.archive.model_copy(update={"s3_version_ids": False}),
        "zarr": settings.zarr.model_copy(update={"hold": hold}),
        "jobs": 1,
        "executor": "local",
    }
    scratch = Store.open_or_create(folder / "store", _instance_of(store))
    scratch.save_skips(store.skips())
    try:
        report = sync(settings.model_copy(update=changed), [identifier], stop=stop, command="dandi-mirror verify")
    except Unreachable as error:
        raise ArchiveDown(error.message, hint="`--offline` proves what can be proved without it") from error
    if isinstance(report.cut_short, errors.Stopped):
        return None
    if report.cut_short is not None:
        raise report.cut_short
    for outcome in report.outcomes:
        if outcome.result == "failed":
            raise MirrorError(f"it could not be mirrored anew: {outcome.message}")
    return scratch


def _instance_of(store: Store) -> Instance:
    return Instance(store.facts.instance, store.facts.instance_url)


def _tell(identifier: str, ours: Mirror, anew: Store, teller: Teller, folder: Path) -> None:
    state = anew.state(identifier)
    theirs: Mirror = FolderMirror(anew.side(private=anew.is_embargoed(identifier)).data)
    refs, expected = ours.refs(identifier), theirs.refs(identifier)
    if refs is None or expected is None:
        gone = state.vanished is not None or expected is None
        what = "the archive does not have it, or does not give it" if gone else "it is not mirrored"
        teller.find("unknown", identifier, what)
        return
    for version, why in state.waiting.items():
        teller.find("unknown", version, f"cannot be made anew: {why}", version=version)
    found = compare_pair(identifier, ours, theirs, scratch=folder)
    ahead = sorted(released(refs).keys() - released(expected).keys() - state.waiting.keys())
    for version in ahead:
        teller.find("differs", version, "the archive does not have this version any more", version=version)
    if found.verdict == "different":
        paths = f": {', '.join(found.paths)}" if found.paths else ""
        where = found.version or "releases"
        teller.find("differs", where, f"{found.message}{paths}", version=found.version)
    elif found.verdict == "behind" or found.draft == "behind" or found.releases == "behind":
        teller.find("behind", found.version or identifier, "the archive has something newer; the next sync takes it")
    elif found.verdict == "unknown":
        teller.find("unknown", identifier, found.message)
