"""Backups: content that the store holds, copied to a special remote of git-annex, and recorded so that clones find it.

What the remote has is known by the location logs of the datasets, so only what is new is copied; what was copied before
a run was broken off is found there by asking. Nothing is ever deleted from a backup.

::

    STORE/state/backups/NAME.remote     the remote's line in `remote.log`, as git-annex made it
                        NAME.lock
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path

from mirror.annex.keys import parse_key
from mirror.config_keeping import BackupRemote
from mirror.errors import MirrorError, NoRoom, Stopped, UsageError
from mirror.git.files import make_folders
from mirror.keeping.backup.annex import RUNNING, Answer, CopyingAnnex
from mirror.keeping.backup.conversation import end_what_runs
from mirror.keeping.backup.datasets import Dataset, all_datasets, named_datasets, recorded
from mirror.keeping.backup.lists import Copy, CopyList, Tally
from mirror.keeping.backup.logs import backup_uuid
from mirror.keeping.backup.recording import record, recorded_logs
from mirror.keeping.telling import SILENT, Teller
from mirror.store.contents import found, held
from mirror.store.files import write_file
from mirror.store.locations import note_locations, present_in
from mirror.store.lock import exclusive
from mirror.store.owner import check_owner
from mirror.store.store import Store

_AT_ONCE = 10_000
"""keys that are copied before they are noted: what a kill leaves to be asked for again"""
_MOST_FAILED = 20
"""So many in a row, and it is the remote that is to blame: the rest is left alone."""
_SAMPLES = 3
_TYPE = re.compile(rb" type=(\S+)")
_NEEDS_LOGS = re.compile(rb" chunk=| type=external").search

_REFUSED = "it is under embargo, and this backup is not for such: `private: true` in the settings makes it so"


@dataclass(frozen=True)
class Backed:
    """How it went with one dataset."""

    dataset: Dataset
    tally: Tally
    gone: int = 0
    """that the remote was known to have, and has no more, nor has the store"""
    error: str | None = None
    """why it was not done at all, or not noted"""

    @property
    def failed(self) -> bool:
        return self.error is not None or bool(self.tally.failed or self.tally.left)


@dataclass
class BackedUp:
    """How it went with one remote."""

    remote: str
    datasets: list[Backed] = field(default_factory=list)
    """those with which anything was done, or failed"""
    copied: int = 0
    """contents; one that several datasets have is counted once"""
    bytes: int = 0
    there: int = 0
    """that were asked for, and were there"""
    failed_contents: int = 0
    """those too that were not tried"""
    untouched: int = 0
    """datasets all of whose content it has already"""
    error: str | None = None
    """why it was broken off"""

    @property
    def failed(self) -> bool:
        return self.error is not None or any(one.failed for one in self.datasets)


def back_up(
    store: Store,
    remote: BackupRemote,
    names: Sequence[str] = (),
    *,
    jobs: int = 1,
    verify: bool = False,
    stop: Callable[[], bool] = lambda: False,
    teller: Teller = SILENT,
    command: str = "dandi-mirror backup",
) -> BackedUp:
    """Copy what the remote does not have yet. `names`: Dandisets and Zarrs; none: everything that the store holds.

    `verify`: the remote is asked for everything that it is known to have; what it has lost is copied again. `Stopped`
    once `stop` says so, what was copied being noted.
    """
    check_owner(store.root)
    if remote.options.get("encryption") == "shared":
        raise UsageError(
            f"the backup {remote.name} would be encrypted with a key that stands in every clone",
            hint="give `encryption: hybrid` or `pubkey`, with a `keyid`; or none",
        )
    datasets = list(named_datasets(store, names) if names else all_datasets(store, private=remote.private))
    folder = store.open_side.state / "backups"
    make_folders(folder)
    with (
        exclusive(folder / f"{remote.name}.lock", command),
        _scratch(store, remote) as scratch,
        CopyList(scratch / "list.sqlite") as copies,
    ):
        work = _Backup(store, remote, folder / f"{remote.name}.remote", scratch, copies, jobs, stop, teller)
        return work.run(datasets, verify=verify)


@contextmanager
def _scratch(store: Store, remote: BackupRemote) -> Iterator[Path]:
    """A folder that nobody else can look into, on the store's disk: content is linked into it."""
    name = f"backup.{remote.name}"
    for side in store.sides():  # on either: a remote may have become one for what is under embargo
        _clear(side.temporary / name)
    parent = store.side(private=remote.private and store.closed_side.exists).temporary
    make_folders(parent)
    folder = parent / name
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _clear(folder: Path) -> None:
    """Clear away what a dead one left, and end its git-annex: the lock is ours."""
    end_what_runs(folder / RUNNING)
    if folder.exists():
        shutil.rmtree(folder)


@dataclass
class _Backup:
    store: Store
    remote: BackupRemote
    line_file: Path
    scratch: Path
    copies: CopyList
    jobs: int
    stop: Callable[[], bool]
    teller: Teller
    errors: dict[str, str] = field(default_factory=dict)
    """by the dataset's id"""
    gone: dict[str, int] = field(default_factory=dict)
    _samples: list[tuple[str, str]] = field(default_factory=list)
    """a few keys that the remote is known to have, each after the id of a dataset"""
    _in_a_row: int = 0
    _rounds: int = 0

    @property
    def uuid(self) -> str:
        return backup_uuid(self.store.facts.id, self.remote.name)

    def run(self, datasets: Sequence[Dataset], *, verify: bool) -> BackedUp:
        done = BackedUp(self.remote.name)
        for dataset in datasets:
            self._go_on()
            self.teller.doing(dataset.name)
            with self._minding(dataset.dataset_id):
                self._list(dataset, verify=verify)
        self.teller.total(*self.copies.amount())
        try:
            self._copy_all()
            if verify:
                self._ask_for_the_rest(datasets)
        except NoRoom:
            raise
        except MirrorError as error:
            if isinstance(error, Stopped):
                raise
            done.error = str(error)
        done.copied, done.bytes, done.there, done.failed_contents = self.copies.total()
        for dataset in datasets:
            backed = self._backed(dataset)
            if backed.failed or backed.gone or backed.tally.copied or backed.tally.there:
                done.datasets.append(backed)
            else:
                done.untouched += 1
        return done

    def _go_on(self) -> None:
        if self.stop():
            raise Stopped("stopped; what was copied is noted")

    @contextmanager
    def _minding(self, dataset_id: str) -> Iterator[None]:
        """The trouble of one dataset does not stop the others."""
        try:
            yield
        except (NoRoom, Stopped):
            raise
        except (MirrorError, OSError) as error:
            self.errors.setdefault(dataset_id, str(error))

    def _backed(self, dataset: Dataset) -> Backed:
        dataset_id = dataset.dataset_id
        tally = self.copies.tally(dataset_id)
        return Backed(dataset, tally, self.gone.get(dataset_id, 0), self.errors.get(dataset_id))

    # --- what is to be copied ---

    def _list(self, dataset: Dataset, *, verify: bool) -> None:
        if dataset.private and not self.remote.private:
            raise UsageError(_REFUSED)
        keys = (key for key, _ in held(dataset.repository.path))
        if verify:
            self.copies.add(dataset.dataset_id, ((key, _size(key)) for key in keys))
            with closing(recorded(dataset.repository, self.uuid)) as there:
                few = islice(there, _SAMPLES - len(self._samples))
                self._samples += ((dataset.dataset_id, key) for key in few)
            return
        known = 0

        def unknown() -> Iterator[tuple[str, int]]:
            nonlocal known
            for key, present in present_in(dataset.repository, self.uuid, keys):
                known += present
                if not present:
                    yield key, _size(key)
                elif len(self._samples) < _SAMPLES:
                    self._samples.append((dataset.dataset_id, key))

        self.copies.add(dataset.dataset_id, unknown())
        self.copies.add_known(dataset.dataset_id, known)

    # --- copying ---

    def _copy_all(self) -> None:
        number = 0
        while batch := self.copies.after(number, _AT_ONCE):
            number = batch[-1].number
            with self._annex((copy.dataset_id, copy.key) for copy in batch) as annex:
                try:
                    self._copy(annex, batch)
                finally:
                    self._note(annex, [copy.key for copy in batch])

    @contextmanager
    def _annex(self, keys: Iterable[tuple[str, str]]) -> Iterator[CopyingAnnex]:
        """A repository to copy from, for these keys of these datasets; a few thousand."""
        self._rounds += 1
        path = self.scratch / f"annex-{self._rounds}"
        annex = CopyingAnnex(path, self.remote, self.uuid)
        samples, self._samples = self._samples, []
        known = self._known_line()
        annex.begin(known, self._logs_of(chain(keys, samples), known) if known is not None else {})
        if annex.line != known:
            write_file(self.line_file, annex.line + b"\n")
        try:
            self._check_place(annex, [key for _, key in samples])
            yield annex
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def _check_place(self, annex: CopyingAnnex, samples: Sequence[str]) -> None:
        """A folder may be there, and the disk not mounted that it was to be on: that is not to be filled."""
        if samples and not any(there for _, there in annex.has(samples)):
            raise MirrorError(
                f"the backup {self.remote.name} has nothing of what was copied there: is it the right place?",
                hint="mount its disk; if all of it is lost, give the backup another name, and all is copied again",
            )

    def _known_line(self) -> bytes | None:
        line = self.line_file.read_bytes().rstrip(b"\n") if self.line_file.is_file() else None
        before = _TYPE.search(line) if line is not None else None
        if before is not None and before[1].decode() != self.remote.type:
            raise UsageError(
                f"the backup {self.remote.name} was of type {before[1].decode()}, not {self.remote.type}",
                hint="another place is to have another name",
            )
        return line

    def _logs_of(self, keys: Iterable[tuple[str, str]], line: bytes) -> dict[bytes, bytes]:
        """What the datasets know of the chunks that the remote has: without that it would not find them itself."""
        if not _NEEDS_LOGS(line):
            return {}
        by_dataset: dict[str, list[str]] = {}
        for dataset_id, key in keys:
            by_dataset.setdefault(dataset_id, []).append(key)
        return {
            name: body
            for dataset_id, ours in by_dataset.items()
            for name, body in recorded_logs(self.store.dataset(dataset_id), ours)
        }

    def _copy(self, annex: CopyingAnnex, batch: Sequence[Copy]) -> None:
        with closing(annex.copy(self._files(batch), self.jobs)) as answers:  # then it has ended, whatever happens
            for answer in answers:
                self.teller.done(answer.copy.size)
                self.copies.say([(answer.copy.number, answer.result, answer.error)])
                self._mind(answer)
                self._go_on()

    def _mind(self, answer: Answer) -> None:
        """Break off where one fails after the other."""
        self._in_a_row = self._in_a_row + 1 if answer.result == "failed" else 0
        if self._in_a_row >= _MOST_FAILED:
            raise MirrorError(
                f"{self._in_a_row} contents in a row could not be copied, the last one because: {answer.error}"
            )

    def _files(self, batch: Sequence[Copy]) -> Iterator[tuple[Copy, Path]]:
        for copy in batch:
            self.teller.doing(copy.key)
            holders = map(self._folder, self.copies.holders(copy.number))
            file = next((file for path in holders if (file := found(path, copy.key)) is not None), None)
            # Where it is gone meanwhile, the copying tells.
            yield copy, file if file is not None else self.scratch / "gone"

    def _folder(self, dataset_id: str) -> Path:
        """Where a dataset is that may be copied from; of one that has come under embargo meanwhile, where it was."""
        if self.remote.private:
            return self.store.dataset(dataset_id).path
        return self.store.open_side.folder(dataset_id)

    # --- recording ---

    def _note(self, annex: CopyingAnnex, keys: Sequence[str]) -> None:
        """Record in each dataset what the remote has of it by now."""
        learnt: dict[str, list[tuple[bytes, bytes]]] = {}
        for key, ending, body in annex.learnt(keys):
            learnt.setdefault(key, []).append((ending, body))
        for dataset_id in self.copies.to_note():
            with self._minding(dataset_id):
                repository, there = self.store.dataset(dataset_id), partial(self.copies.unnoted, dataset_id)
                record(repository, self.uuid, self.remote.name, annex.line, there, learnt)
                self.copies.noted(dataset_id)

    # --- what the remote should have, and the store has no more ---

    def _ask_for_the_rest(self, datasets: Sequence[Dataset]) -> None:
        """Ask for what was not copied now, nor found there; withdraw what is gone."""
        for dataset in datasets:
            if dataset.dataset_id in self.errors:
                continue
            self.teller.doing(dataset.name)
            with closing(recorded(dataset.repository, self.uuid)) as known, self._minding(dataset.dataset_id):
                keys = (key for key in known if not self.copies.is_there(key))
                while batch := list(islice(keys, _AT_ONCE)):
                    self._go_on()
                    self._ask_for(dataset, batch)

    def _ask_for(self, dataset: Dataset, keys: Sequence[str]) -> None:
        with self._annex((dataset.dataset_id, key) for key in keys) as annex:
            gone = [key for key, there in annex.has(keys) if not there]
        if gone:
            note_locations(dataset.repository, self.uuid, absent=gone)
            self.gone[dataset.dataset_id] = self.gone.get(dataset.dataset_id, 0) + len(gone)


def _size(key: str) -> int:
    """The size that a key states; 0 where it states none."""
    try:
        return parse_key(key).size
    except ValueError:
        return 0
