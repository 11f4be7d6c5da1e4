"""A share of all is proved each time, so that everything is in time."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Collection, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.errors import NoStore, StoreError
from mirror.proving.rolling import Candidate, due, prove_share
from mirror.store.ledger import LEVELS, Found, KeyRow, Ledger, ledger_path
from mirror.store.proofs import proofs_of
from mirror.store.store import Store
from tests.proving.conftest import Mirrored, copied

DAY = 86_400.0
NEVER = float("inf")


def names(chosen: list[Candidate]) -> list[str]:
    return [one.identifier for one in chosen]


def test_within_the_time_that_it_has_everything_has_its_turn() -> None:
    proved = dict.fromkeys((f"{number:06}" for number in range(100)), -NEVER)
    longest = 0.0
    for night in range(200):
        now = night * DAY
        chosen = due(
            (Candidate(name, now - at, 20 + int(name) * 3, begun=False) for name, at in proved.items()), 30 * DAY, DAY
        )
        assert len(chosen) < 30
        for one in chosen:
            if night > 40:
                longest = max(longest, one.age)
            proved[one.identifier] = now
        if night > 40:
            longest = max(longest, *(now - at for at in proved.values()))
    assert longest <= 30 * DAY


class Nights:
    """Proves night by night. Those that fail never come to their end."""

    def __init__(self, work: Sequence[int], days: int, failing: Collection[int] = ()) -> None:
        self.period = days * DAY
        self.work = {f"{number:06}": 20 + assets for number, assets in enumerate(work)}
        self.failing = {f"{number:06}" for number in failing}
        self.proved: dict[str, float] = dict.fromkeys(self.work, -NEVER)
        self.failed: dict[str, float] = dict.fromkeys(self.work, -NEVER)
        self.tried = dict.fromkeys(self.work, 0)
        self.now = 1e9

    def night(self, *, missed: bool = False) -> None:
        for one in [] if missed else due(self._candidates(), self.period, DAY):
            self.tried[one.identifier] += 1
            (self.failed if one.identifier in self.failing else self.proved)[one.identifier] = self.now
        self.now += DAY

    def _candidates(self) -> Iterator[Candidate]:
        for name, work in self.work.items():
            at, failed = self.proved[name], self.failed[name]
            yield Candidate(name, self.now - at, work, begun=False, failed=self.now - failed)

    @property
    def oldest(self) -> float:
        """How long ago that was proved of those that can be that was not for the longest time."""
        return max((self.now - at for name, at in self.proved.items() if name not in self.failing), default=0.0)


@given(
    st.lists(st.integers(0, 100_000), min_size=1, max_size=80),
    st.integers(3, 120),
    st.sets(st.integers(0, 79), max_size=5),
    st.sets(st.integers(0, 400)),
)
@example_settings(max_examples=40, deadline=None)
def test_in_a_year_nothing_is_proved_later_than_it_should_be(
    work: list[int], days: int, failing: set[int], new: set[int]
) -> None:
    mirror = Nights(work, days, failing & set(range(len(work))))
    for night in range(400):
        if night in new and night > 2 * days:
            mirror.work[(name := f"9{night:05}")] = 20
            mirror.proved[name], mirror.failed[name], mirror.tried[name] = mirror.now, -NEVER, 0
        mirror.night()
        if night >= days:
            assert mirror.oldest <= days * DAY


def test_nights_that_were_missed_are_made_up_for() -> None:
    draw = random.Random(4)
    mirror = Nights([draw.choice([5, 50, 500, 50_000]) for _ in range(300)], 90)
    for night in range(720):
        mirror.night(missed=night % 10 == 3)
        if night >= 90:
            assert mirror.oldest <= 91 * DAY


def test_one_that_fails_again_and_again_keeps_no_other_from_its_turn() -> None:
    mirror = Nights([100_000] + [10] * 50, 90, failing=[0])
    for _ in range(90):
        mirror.night()

    assert mirror.oldest <= 90 * DAY
    assert 5 <= mirror.tried["000000"] <= 15


def test_what_was_proved_longest_ago_comes_first() -> None:
    chosen = due(
        [
            Candidate("000001", 5 * DAY, 10, begun=False),
            Candidate("000002", NEVER, 10, begun=False),
            Candidate("000003", 50 * DAY, 10, begun=False),
        ],
        90 * DAY,
        DAY,
    )
    assert names(chosen) == ["000002"]


def test_what_would_be_too_late_the_next_time_is_proved_now() -> None:
    chosen = due([Candidate(f"{number}", 89.5 * DAY, 10, begun=False) for number in range(9)], 90 * DAY, DAY)
    assert len(chosen) == 9


def test_of_what_was_begun_and_what_was_not_the_first_goes_on() -> None:
    chosen = due([Candidate("a", NEVER, 10, begun=False), Candidate("b", NEVER, 10, begun=True)], 90 * DAY, DAY)
    assert names(chosen) == ["b"]


def five(archive: DemoArchive) -> str:
    """Five small Dandisets."""
    for number in range(5):
        identifier = archive.create_dandiset(f"Number {number}")
        archive.add_asset(identifier, "one.nwb", b"spikes %d" % number)
    return identifier


@pytest.fixture
def many(archive: DemoArchive, settings: Settings, mirrored: Mirrored) -> Store:
    """A mirror of five small Dandisets."""
    five(archive)
    return copied(mirrored(five), settings)


def share(settings: Settings, at: float, seconds: float = DAY, stop: bool = False) -> int:
    return prove_share(settings, seconds=seconds, stop=lambda: stop, now=lambda: at).dandisets


def test_each_time_a_share_of_all_is_proved(many: Store, settings: Settings) -> None:
    schedule = settings.schedule.model_copy(update={"verify_days": 5})
    weekly = settings.model_copy(update={"schedule": schedule})
    proved = [share(weekly, 1e9 + night * DAY) for night in range(5)]

    assert sum(proved) >= 5
    assert max(proved) < 5
    found = proofs_of(many)
    assert found is not None
    assert found.figures.archive.files == 5
    assert found.oldest.keys() == {"names", "urls", "bytes"}
    assert min(found.oldest.values()) >= 1e9


def test_over_months_every_dandiset_is_proved_in_time(many: Store, settings: Settings) -> None:
    broken = many.repository("000002").path
    for pack in broken.glob("objects/pack/*.pack"):
        pack.unlink()
    schedule = settings.schedule.model_copy(update={"verify_days": 4})
    months = settings.model_copy(update={"schedule": schedule})
    whole = {one for one in many.dandisets() if one != "000002"}

    for night in range(0, 14, 2):
        now = 1e9 + night * DAY
        share(months, now, seconds=2 * DAY)
        if night < 4:
            continue
        with Ledger(ledger_path(many.open_side)) as ledger:
            rounds = [ledger.round(one, level) for one in sorted(whole) for level in LEVELS]
        assert all(one is not None and now - (one.last_whole or 0) <= 4 * DAY for one in rounds)
    found = proofs_of(many)
    assert found is not None
    assert found.oldest["urls"] == 0  # of the one that is broken


def test_with_all_the_time_there_is_everything_is_proved_at_once(many: Store, settings: Settings) -> None:
    told: list[str] = []

    proved = prove_share(settings, seconds=90 * DAY, stop=lambda: False, tell=told.append)

    assert (proved.dandisets, proved.severe) == (5, 0)
    assert proved.checked["names"] == proved.checked["urls"] == 5
    assert any("proving urls of" in line for line in told)
    assert many


def test_it_mirrors_nothing_anew(many: Store, settings: Settings, archive: DemoArchive) -> None:
    before = archive.count(server="api", path="/assets/")

    prove_share(settings, seconds=90 * DAY, stop=lambda: False)

    assert archive.count(server="api", path="/assets/") == before
    assert many


def test_it_waits_for_nobody_who_works_in_the_store(many: Store, settings: Settings) -> None:
    with many.lock("dandi-mirror sync"):
        assert prove_share(settings, seconds=90 * DAY, stop=lambda: False).dandisets == 5


def test_told_to_stop_it_stops_and_goes_on_the_next_time(many: Store, settings: Settings) -> None:
    assert many
    stopped = prove_share(settings, seconds=90 * DAY, stop=lambda: True, now=lambda: 1e9)
    assert (stopped.stopped, stopped.dandisets) == (True, 0)

    assert share(settings, 1e9 + 60, seconds=90 * DAY) == 5


def test_without_a_store_there_is_nothing_to_prove(settings: Settings) -> None:
    with pytest.raises(NoStore):
        prove_share(settings, seconds=DAY, stop=lambda: False)


def test_the_ledger_is_the_side_s_own(many: Store, settings: Settings) -> None:
    prove_share(settings, seconds=90 * DAY, stop=lambda: False)

    with Ledger(ledger_path(many.open_side)) as ledger:
        assert {one.subject for one in ledger.rounds()} == set(many.dandisets())


def test_a_ledger_that_turns_out_to_be_damaged_is_set_aside_and_begun_anew(many: Store, settings: Settings) -> None:
    prove_share(settings, seconds=90 * DAY, stop=lambda: False)
    path = ledger_path(many.open_side)
    with Ledger(path) as ledger:
        ledger.note(KeyRow(f"SHA256E-s3--{number:064x}", 3, Found.OK, 100) for number in range(5000))
    body = bytearray(path.read_bytes())
    for page in range(4096, len(body), 4096):
        body[page : page + 4096] = b"\xff" * (len(body[page : page + 4096]))
    path.write_bytes(body)

    with pytest.raises((StoreError, sqlite3.DatabaseError)):
        prove_share(settings, seconds=90 * DAY, stop=lambda: False)

    assert path.with_name("ledger.sqlite.damaged").exists()
    assert prove_share(settings, seconds=90 * DAY, stop=lambda: False).dandisets == 5
