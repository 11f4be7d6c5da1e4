"""One repository's turn at one host. Every step that worked is marked before the next one begins.

What was pushed under embargo tells of what was deleted then, and force does not help: a host keeps what it was given.
So when the embargo ends such a repository stays private until somebody has deleted it there; then it is made anew.
"""

from __future__ import annotations

from msgspec.structs import replace

from mirror.config import Host
from mirror.errors import HostError
from mirror.publish.hosts.failures import HostUnavailable, RepositoryMissing
from mirror.publish.hosts.marks import Mark, Marks
from mirror.publish.hosts.outcome import HostOutcome
from mirror.publish.hosts.patience import Waiting
from mirror.publish.hosts.standing import Gap, gap, settings_digest
from mirror.publish.hosts.target import Target, Wanted
from mirror.publish.publication import Publication


class Turn:
    """What is done for `publication`, told to `outcome` as it happens."""

    def __init__(
        self,
        host: Host,
        target: Target,
        waiting: Waiting,
        marks: Marks,
        publication: Publication,
        refs: str,
        outcome: HostOutcome,
    ) -> None:
        self._host = host
        self._target = target
        self._waiting = waiting
        self._marks = marks
        self._publication = publication
        self._refs = refs
        self._outcome = outcome

    @property
    def _mark(self) -> Mark:
        return self._marks[self._publication.name]

    def _gap(self) -> Gap:
        return gap(self._host, self._publication, self._refs, self._mark)

    def _note(self, **changes: object) -> None:
        self._marks.note(replace(self._mark, **changes))

    def bring(self, *, held_back: bool = False) -> None:
        """Bring the host up to date, step by step; `HostError` where a step fails. `held_back`: all but the push."""
        missing = self._gap()
        if held_back and missing.refs:
            if self._mark.is_there and missing.settings:
                self._prepare()
            return
        # Before something embargoed is pushed it is looked whether the repository there is private still.
        if missing.settings or (missing.refs and self._publication.private):
            self._prepare()
        if missing.refs:
            self._push()
        # What a repository lacked may be more by now: it was perhaps made anew.
        if self._gap().default_branch:
            self._target.set_default_branch(self._wanted())
            self._note(default_branch=self._publication.default_branch)
        if self._gap().releases:
            self._release()
        self._note(failure=None)

    def look_again(self) -> None:
        """Whether what is private there, and not by us, has been opened meanwhile."""
        self._prepare()
        self._note(failure=None)

    def hide(self) -> None:
        """Make private what is embargoed again."""
        try:
            self._target.hide(self._wanted())
        except RepositoryMissing:
            self._marks.note(Mark(name=self._publication.name))
            return
        # What the host was told is no longer so: it is told again when the embargo ends.
        self._marks.note(replace(self._mark, private=True, hidden_by_us=True, settings="", failure=None))
        self._outcome.hidden.append(self._publication.name)

    @property
    def _is_of_embargo(self) -> bool:
        """Whether what is there is not for everybody, while what is to be there is."""
        return self._mark.closed and not self._publication.private

    def _prepare(self) -> bool:
        before = self._mark
        try:
            prepared = self._target.prepare(self._wanted(), self._about_to_hide)
        except HostError as error:
            if not self._is_of_embargo or isinstance(error, HostUnavailable):
                raise
            raise HostError(
                f"{self._publication.name} holds what it was under embargo, and stays as it is there ({error.message})",
                hint="delete it there, and the next run makes it anew for everybody",
            ) from error
        if self._is_of_embargo:
            self._note(closed=False, refs="", releases=(), released="", default_branch="")
        self._note(
            settings=settings_digest(self._host, self._publication),
            private=prepared.private,
            hidden_by_us=self._mark.hidden_by_us and prepared.private,
        )
        name = self._publication.name
        if prepared.created:
            self._outcome.created.append(name)
        elif before.private and not prepared.private:
            self._outcome.opened.append(name)
        elif before.is_there and prepared.private and not before.private:
            self._outcome.hidden.append(name)
        return prepared.created

    def _about_to_hide(self) -> None:
        self._note(hidden_by_us=True)

    def _push(self) -> None:
        attempt = 0
        while True:
            if self._publication.private and not self._mark.closed:
                # A push that is broken off may have told the host everything.
                self._note(closed=True)
            try:
                self._target.push(self._wanted())
                break
            except RepositoryMissing:
                if self._publication.name not in self._outcome.created:
                    # It was there, we thought, and somebody has taken it away. All that we knew of it is void.
                    self._marks.note(_forgotten(self._mark))
                    if self._prepare():
                        continue
                    raise
                # A large host may need a moment until all of it knows of a new repository.
                attempt += 1
                if not self._waiting.again(attempt):
                    raise
        self._note(refs=self._refs, pushed=self._waiting.now().isoformat(timespec="seconds"))
        self._outcome.pushed.append(self._publication.name)

    def _release(self) -> None:
        for release in self._publication.releases():
            if release.tag not in self._mark.releases:
                self._target.release(self._publication.name, release)
                self._note(releases=(*self._mark.releases, release.tag))
                self._outcome.releases += 1
        self._note(released=self._refs)

    def _wanted(self) -> Wanted:
        publication = self._publication
        return Wanted(
            name=publication.name,
            dataset_id=publication.dataset_id,
            repository=publication.repository,
            description=publication.description,
            homepage=publication.homepage,
            default_branch=publication.default_branch,
            private=publication.private,
            # One that is of the embargo is looked at as if it were a stranger's, before anything of it is shown.
            is_known=self._mark.is_there and not self._is_of_embargo,
            may_open=self._mark.hidden_by_us,
        )


def _forgotten(mark: Mark) -> Mark:
    """What is still true when the repository has gone from the host."""
    return Mark(name=mark.name, hidden_by_us=mark.hidden_by_us, failure=mark.failure)
