"""Pushing everything everywhere: one host after the other, on each first what others point into."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

from msgspec.structs import replace

from mirror.config import Host
from mirror.errors import MirrorError
from mirror.publish.hosts.complaints import fit_to_tell
from mirror.publish.hosts.failures import HostUnavailable
from mirror.publish.hosts.marks import HostMark, Marks, failed_again
from mirror.publish.hosts.outcome import HostOutcome, Watcher
from mirror.publish.hosts.patience import Patience, Waiting
from mirror.publish.hosts.standing import (
    considered,
    gap,
    is_exposed,
    is_left_out,
    is_shut_by_others,
    must_be_hidden,
    place,
    refs_digest,
)
from mirror.publish.hosts.target import Target
from mirror.publish.hosts.targets import target_of
from mirror.publish.hosts.turn import Turn
from mirror.publish.publication import Publication, Rank
from mirror.store.room import no_room_of
from mirror.store.state import Failure

logger = logging.getLogger(__name__)


def push_all(
    hosts: Sequence[Host],
    publications: Sequence[Publication],
    marks: Path,
    *,
    watcher: Watcher | None = None,
    patience: Patience | None = None,
) -> list[HostOutcome]:
    """Bring every host up to date, as far as it goes.

    `marks` is the folder where it is remembered what each host has. For one process at a time: whoever holds the
    store's lock. Where nothing moved, nothing is asked and no process is run.
    """
    digests: dict[str, str] = {}

    def digest(publication: Publication) -> str:
        if publication.name not in digests:
            digests[publication.name] = refs_digest(publication)
        return digests[publication.name]

    outcomes = []
    for host in hosts:
        outcome = HostOutcome(host.name)
        outcomes.append(outcome)
        try:
            with Marks(marks, host.name, place(host), private=host.private) as of_host:
                _Run(host, of_host, Waiting(patience or Patience()), digest, watcher, outcome).bring(publications)
        except Exception as error:  # one host that nobody foresaw does not stop the next, nor the sync
            _raise_for_room(error)
            logger.exception("%s", host.name)
            outcome.stopped = _words(error)
        if watcher is not None:
            watcher.done(outcome)
    return outcomes


def _raise_for_room(error: Exception) -> None:
    """Where our own disk is full, no mark can be kept of what is pushed: that is no trouble of a host."""
    if (full := no_room_of(error)) is not None:
        raise full from error


class _Run:
    """One host in one run."""

    def __init__(
        self,
        host: Host,
        marks: Marks,
        waiting: Waiting,
        digest: Callable[[Publication], str],
        watcher: Watcher | None,
        outcome: HostOutcome,
    ) -> None:
        self._host = host
        self._marks = marks
        self._waiting = waiting
        self._digest = digest
        self._watcher = watcher
        self._outcome = outcome
        # Made when there is something to do: a host of which nothing moved needs no token either.
        self._target: Callable[[], Target] = cache(lambda: target_of(host, waiting, known=marks.any_pushed()))

    def bring(self, publications: Sequence[Publication]) -> None:
        chosen = considered(self._host, publications)
        if (failure := self._resting_after(chosen)) is not None:
            self._outcome.stopped = failure.message
            return
        try:
            self._check_limit()
            self._bring_each(chosen)
        except HostUnavailable as error:
            self._outcome.stopped = _words(error)
            failure = failed_again(self._marks.host.failure, "unavailable", _words(error), self._now())
            until = error.until.isoformat() if error.until else None
            self._marks.note_host(replace(self._marks.host, until=until, failure=failure))
        else:
            self._marks.note_host(HostMark(place=self._marks.host.place))

    def _resting_after(self, chosen: Sequence[Publication]) -> Failure | None:
        """The failure after which the host rests. One that said until when has had its rest by then."""
        mark = self._marks.host
        if mark.until is not None or any(is_exposed(one, self._marks[one.name]) for one in chosen):
            return None
        return mark.failure if self._waiting.rests(mark.failure) else None

    def _check_limit(self) -> None:
        """Leave the host alone as long as it said."""
        until = self._marks.host.until
        moment = _moment(until) if until is not None else None
        if moment is not None and self._waiting.holds(moment):
            raise HostUnavailable(f"rate limited until {moment.isoformat(timespec='seconds')}: not asked", until=moment)

    def _bring_each(self, publications: Sequence[Publication]) -> None:
        names = {publication.name for publication in publications}
        there: set[str] = set()
        for publication in publications:
            lacking = sorted((publication.needs & names) - there)
            try:
                self._bring(publication, lacking)
            except HostUnavailable:
                raise
            except Exception as error:  # whatever a host may answer, the next repository's turn comes
                _raise_for_room(error)
                if not isinstance(error, MirrorError):
                    logger.exception("%s: %s", self._host.name, publication.name)
                self._fail(publication.name, error)
            if not is_left_out(self._host, publication) and self._is_there(publication):
                there.add(publication.name)

    def _is_there(self, publication: Publication) -> bool:
        mark = self._marks[publication.name]
        try:
            return bool(mark.refs) and mark.refs == self._digest(publication)
        except Exception:  # told already
            return False

    def _bring(self, publication: Publication, lacking: Sequence[str]) -> None:
        name, mark = publication.name, self._marks[publication.name]
        if is_left_out(self._host, publication):
            self._outcome.embargoed.append(name)
            if must_be_hidden(self._host, publication, mark):
                self._turn(publication, "").hide()
            return
        refs = self._digest(publication)
        missing = gap(self._host, publication, refs, mark)
        if not refs:
            return  # nothing in it yet
        if not missing and not is_shut_by_others(publication, mark):
            self._marks.note(replace(mark, failure=None))
            self._outcome.up_to_date += 1
            return
        if mark.failure is not None and self._waiting.rests(mark.failure) and not is_exposed(publication, mark):
            self._outcome.failures[name] = mark.failure.message
            return
        if not missing:
            self._turn(publication, refs).look_again()
            self._outcome.up_to_date += 1
            return
        held_back = bool(lacking) and missing.refs
        if held_back:
            self._outcome.held_back[name] = waits_for(lacking)
        self._turn(publication, refs).bring(held_back=held_back)
        if not held_back:
            self._waiting.brought()

    def _turn(self, publication: Publication, refs: str) -> Turn:
        if self._watcher is not None:
            is_secret = publication.private and publication.rank is Rank.ZARR
            self._watcher.working(self._host.name, "a Zarr" if is_secret else publication.name)
        return Turn(self._host, self._target(), self._waiting, self._marks, publication, refs, self._outcome)

    def _fail(self, name: str, error: Exception) -> None:
        self._outcome.failures[name] = _words(error)
        mark = self._marks[name]
        failure = failed_again(mark.failure, type(error).__name__, _words(error), self._now())
        self._marks.note(replace(mark, failure=failure))

    def _now(self) -> str:
        return self._waiting.now().isoformat(timespec="seconds")


def _moment(text: str) -> datetime | None:
    """None for what is none, or tells no time zone: the file may have been damaged, or edited."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _words(error: Exception) -> str:
    """What went wrong, as it can be told and remembered whatever the host said."""
    text = fit_to_tell(str(error))
    return text if isinstance(error, MirrorError | OSError) else f"{type(error).__name__}: {text}".removesuffix(": ")


def waits_for(names: Sequence[str]) -> str:
    """Why something is held back."""
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"waits for {shown}, which {'is' if len(names) == 1 else 'are'} not there yet"
