"""What `status` learns of a daemon."""

from __future__ import annotations

from datetime import UTC, datetime

from mirror.config import Settings
from mirror.daemon.activity_listener import ActivityNotes
from mirror.daemon.listening import Listener
from mirror.daemon.rounds import Job
from mirror.demo import DemoArchive
from mirror.store.activity import Activity, ActivityFile, Standing, read_activity
from mirror.sync.turn import Outcome

DUE = datetime(2026, 11, 21, 15, 34, 17, tzinfo=UTC)


class Looking(ActivityNotes):
    """Looks, as `status` would, after each Dandiset."""

    seen: list[Activity]

    def done(self, outcome: Outcome) -> None:
        super().done(outcome)
        found = read_activity(self._state)
        assert found is not None
        self.seen.append(found)


def test_a_round_is_seen_and_then_the_time_of_the_next(archive: DemoArchive, settings: Settings) -> None:
    for _ in range(3):
        archive.add_asset(archive.create_dandiset(), "a.nwb", b"content")
    notes = Looking(settings.store, "dandi-mirror run", lambda: {"poll": DUE})
    notes.seen = []
    notes.tick()  # there is no store yet, and none is made
    assert not settings.store.exists()
    Job(settings, notes).poll()
    assert (notes.seen[0].command, notes.seen[0].job, notes.seen[0].standing.total) == ("dandi-mirror run", "poll", 3)
    found = read_activity(settings.store / "state")
    assert found is not None
    assert (found.job, found.standing, found.next_jobs) == (None, Standing(), {"poll": DUE.isoformat()})
    notes.close()
    assert read_activity(settings.store / "state") is None


def test_a_job_that_is_put_off_is_not_told_as_being_done(settings: Settings) -> None:
    Job(settings, Listener()).poll()
    notes = ActivityNotes(settings.store, "dandi-mirror run")
    other = ActivityFile(settings.store / "state", "dandi-mirror sync")
    notes.job_began("poll", settings)
    notes.job_put_off("poll", "the store is in use")
    notes.tick()
    found = read_activity(settings.store / "state")
    assert found is not None
    assert found.job is None
    other.remove()


def test_maintenance_is_told_too(archive: DemoArchive, settings: Settings) -> None:
    archive.add_asset(archive.create_dandiset(), "a.nwb", b"content")
    job = Job(settings, Listener())
    job.poll()
    told = []

    class Watching(ActivityNotes):
        def maintaining(self, how_far: str) -> None:
            super().maintaining(how_far)
            told.append(how_far)

    notes = Watching(settings.store, "dandi-mirror run")
    notes.job_began("maintain", settings)
    assert notes.under_way.standing().doing == "maintaining the store"
    Job(settings, notes).maintain()
    assert told
