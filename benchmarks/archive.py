"""The load: an archive of many Dandisets, made up in memory, that answers as the archive's client does.

All of it follows from numbers, so that each run has the very same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.load import PAGE, asset, slim_asset
from benchmarks.metadata import document
from mirror.archive.client import Answer, Page
from mirror.archive.records import Asset, Instance, SlimAsset, VersionInfo, VersionSummary
from mirror.config import Settings
from mirror.store.frontier import Frontier
from mirror.store.store import Store
from mirror.sync.connection import Connection
from mirror.sync.turn import sync_one

INSTANCE = Instance("DANDI", "https://dandiarchive.org", "10.48324", "https://api.dandiarchive.org/api")

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_START = datetime(2020, 1, 1, tzinfo=UTC)
_FIRST_MINUTES, _MINUTES_BETWEEN = 1_000_003, 200_003
"""How long after the start a Dandiset's first state may come, and how long after each the next one does."""
_VERSIONS = (0, 1, 0, 3)
"""How often Dandisets were published, in turn: in the archive, too, many never were."""
_REPLACED = 100
"""From one state to the next, one asset in so many is replaced; of fewer assets, one."""


def identifiers(count: int) -> list[str]:
    return [f"{number:06}" for number in range(1, count + 1)]


def settings_of(root: Path, **more: object) -> Settings:
    """Nothing is to be asked of the bucket: neither texts nor the ids of versions."""
    given = {"archive": {"settle_seconds": 0, "s3_version_ids": False}, "text_in_git": {"max_bytes": 0}}
    return Settings.model_validate({**given, "store": root, "jobs": 1, **more})


@dataclass
class MadeUpArchive:
    """A Dandiset's states are its published versions, one after the other, and its draft."""

    assets: int
    """in each Dandiset"""
    releases: int | None = None
    """how often each was published; None: some more often than others"""
    released: frozenset[str] = frozenset()
    """those that were published once more since"""
    edited: frozenset[str] = frozenset()
    """those whose draft moved on since"""
    api_url: str = INSTANCE.api_url or ""
    _shown: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """what stands on the page that was asked for last"""

    def mirror(self, root: Path, names: Iterable[str]) -> None:
        """Bring these Dandisets of a store up to date, as a sync does that was told that they moved."""
        settings = settings_of(root)
        connection = Connection(self, None, frozenset({"dandiarchive.s3.amazonaws.com"}))  # type: ignore[arg-type]
        store = Store.open_or_create(root, INSTANCE)
        with store.lock("scripts/bench"):
            for name in names:
                outcome = sync_one(settings, store, connection, name, everything=False)
                assert outcome.result == "changed", outcome.message
            store.save_frontier(Frontier(_NOW.isoformat(), settings.select.which))

    def published(self, identifier: str) -> int:
        """How many versions it has."""
        usual = _VERSIONS[int(identifier) % len(_VERSIONS)] if self.releases is None else self.releases
        return usual + (identifier in self.released)

    def asset_in(self, identifier: str, number: int, state: int) -> Asset:
        """One of its assets, as it is in one of its states."""
        edition, since = self._edition(identifier, number, state)
        published = since < self.published(identifier)
        record: dict[str, Any] = asset(number, edition, published=published, dandiset=identifier)
        return Asset(**{**record, "metadata": msgspec.Raw(msgspec.json.encode(record["metadata"]))})

    # What the client answers:

    def instance(self) -> Answer[Instance]:
        return Answer(INSTANCE, _NOW)

    def versions(self, identifier: str) -> list[VersionSummary]:
        draft = self.published(identifier)
        infos = [self._info(identifier, state) for state in range(draft)]
        return [*infos, self._info(identifier, self._state(identifier, "draft"))]

    def version_info(self, identifier: str, version: str) -> Answer[VersionInfo]:
        return Answer(self._info(identifier, self._state(identifier, version)), _NOW)

    def slim_assets(self, identifier: str, version: str) -> Iterator[Page[SlimAsset]]:
        state = self._state(identifier, version)
        for number, numbers in self._pages():
            slim = [slim_asset(one, self._edition(identifier, one, state)[0], identifier) for one in numbers]
            self._shown = {str(one["asset_id"]): (identifier, at, state) for one, at in zip(slim, numbers, strict=True)}
            yield Page(number, self.assets, msgspec.convert(slim, list[SlimAsset]), is_last=False)

    def full_assets(self, identifier: str, version: str) -> Iterator[Page[Asset]]:
        for number, _ in self._pages():
            yield self.full_page(identifier, version, number)

    def full_page(self, identifier: str, version: str, number: int) -> Page[Asset]:
        state, numbers = self._state(identifier, version), range(self.assets)[(number - 1) * PAGE : number * PAGE]
        return Page(number, self.assets, [self.asset_in(identifier, one, state) for one in numbers], is_last=False)

    def asset(self, asset_id: str) -> Asset:
        return self.asset_in(*self._shown[asset_id])

    # Of which:

    def _pages(self) -> Iterator[tuple[int, range]]:
        starts = range(0, self.assets, PAGE)
        return ((number, range(start, min(start + PAGE, self.assets))) for number, start in enumerate(starts, 1))

    def _state(self, identifier: str, version: str) -> int:
        published = self.published(identifier)
        if version == "draft":
            return published + (identifier in self.edited)
        return next(state for state in range(published) if self._name(identifier, state) == version)

    def _edition(self, identifier: str, number: int, state: int) -> tuple[int, int]:
        """How often an asset was replaced by then, and in which state it was for the last time."""
        every = min(self.assets, _REPLACED)
        # A draft that moves on replaces what was new in it: then no version has that, and no draft any more.
        last = self.published(identifier)
        replaced = [later for later in range(1, state + 1) if (min(later, last) - number) % every == 0]
        return len(replaced), replaced[-1] if replaced else 0

    def _info(self, identifier: str, state: int) -> VersionInfo:
        is_draft = state >= self.published(identifier)
        version = "draft" if is_draft else self._name(identifier, state)
        metadata = document(identifier, version, self._moment(identifier, state).isoformat(), self.assets)
        created = _time(self._moment(identifier, 0 if is_draft else state))
        return VersionInfo(
            version=version,
            name=str(metadata["name"]),
            asset_count=self.assets,
            size=self.assets * 1_000_000,
            status="Valid",
            created=created,
            modified=_time(self._moment(identifier, state) + timedelta(minutes=10)),
            metadata=msgspec.Raw(msgspec.json.encode(metadata)),
        )

    def _name(self, identifier: str, state: int) -> str:
        return f"0.{self._moment(identifier, state):%y%m%d.%H%M}"

    def _moment(self, identifier: str, state: int) -> datetime:
        """When a state came to be. What is published once more is so after all else, one after the other."""
        number = int(identifier)
        minutes = number * 7919 % _FIRST_MINUTES + state * _MINUTES_BETWEEN
        again = state - self.published(identifier) + 1
        if identifier in self.released and again >= 0:
            minutes = 2 * _FIRST_MINUTES + again * _MINUTES_BETWEEN + number
        return _START + timedelta(minutes=minutes, microseconds=number)


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
