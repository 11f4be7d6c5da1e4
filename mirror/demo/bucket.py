"""A versioned bucket in memory: keys, their versions and delete markers, and pages of both in key order."""

from __future__ import annotations

import hashlib
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from mirror.demo.clock import Clock
from mirror.demo.ids import Ids


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One version of a key: a content, or (`content` None) a delete marker."""

    version_id: str
    modified: datetime
    content: bytes | None
    etag: str = ""
    content_type: str = "application/octet-stream"

    @property
    def is_delete_marker(self) -> bool:
        return self.content is None

    @property
    def size(self) -> int:
        return len(self.content or b"")


class Listed(NamedTuple):
    """One entry of a listing: a version of a key, or (`version` None) a common prefix."""

    key: str
    version: ObjectVersion | None
    is_latest: bool = True


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing. `truncated` says there is more after its last entry."""

    entries: list[Listed]
    truncated: bool


class Bucket:
    """Objects by key, every version kept. Thread-safe."""

    def __init__(self, name: str, clock: Clock, ids: Ids) -> None:
        self.name = name
        self._clock = clock
        self._ids = ids
        self._versions: dict[str, list[ObjectVersion]] = {}
        self._keys: list[str] = []
        self._unsorted = False
        self._private: set[str] = set()
        self._lock = threading.RLock()

    def put(
        self, key: str, content: bytes, *, etag: str | None = None, content_type: str = "application/octet-stream"
    ) -> ObjectVersion:
        """Write a new version of `key`."""
        etag = etag or hashlib.md5(content, usedforsecurity=False).hexdigest()
        return self._append(
            key, ObjectVersion(self._ids.s3_version(), self._clock.stamp(), content, etag, content_type)
        )

    def delete(self, key: str) -> ObjectVersion:
        """Put a delete marker on top of `key`'s versions."""
        return self._append(key, ObjectVersion(self._ids.s3_version(), self._clock.stamp(), None))

    def delete_version(self, key: str, version_id: str) -> ObjectVersion | None:
        """Take one version away for good; None when there was none."""
        with self._lock:
            versions = self._versions.get(key, [])
            found = self._find(versions, version_id)
            if found is not None:
                versions.remove(found)
            if found is not None and not versions:
                del self._versions[key]
                self._sort()
                del self._keys[bisect_left(self._keys, key)]
            return found

    def latest(self, key: str) -> ObjectVersion | None:
        with self._lock:
            versions = self._versions.get(key)
            return versions[-1] if versions else None

    def version(self, key: str, version_id: str) -> ObjectVersion | None:
        with self._lock:
            return self._find(self._versions.get(key, []), version_id)

    def set_private(self, key: str, private: bool) -> None:
        """Whether only signed requests may read `key`; listings show it all the same."""
        with self._lock:
            (self._private.add if private else self._private.discard)(key)

    def is_private(self, key: str) -> bool:
        return key in self._private

    def keys(self, prefix: str = "") -> list[str]:
        """Every key with `prefix`, also of deleted objects, in order."""
        with self._lock:
            self._sort()
            return [key for key, _ in self._grouped(prefix, "", bisect_left(self._keys, prefix), "")]

    def list_objects(self, *, prefix: str = "", delimiter: str = "", after: str = "", limit: int = 1000) -> Page:
        """Current objects with `prefix`, after the key or common prefix `after`."""
        with self._lock:
            return self._page(self._current(prefix, delimiter, after), limit)

    def list_versions(
        self,
        *,
        prefix: str = "",
        delimiter: str = "",
        key_marker: str = "",
        version_marker: str = "",
        limit: int = 1000,
    ) -> Page:
        """All versions with `prefix`, by key, newest first, after the given version of the given key."""
        with self._lock:
            return self._page(self._all(prefix, delimiter, key_marker, version_marker), limit)

    def __len__(self) -> int:
        return len(self._versions)

    def _append(self, key: str, version: ObjectVersion) -> ObjectVersion:
        with self._lock:
            versions = self._versions.get(key)
            if versions is None:
                self._versions[key] = [version]
                # Sorted when next listed: 100,000 insertions one by one into a sorted list would be quadratic.
                self._unsorted = self._unsorted or bool(self._keys and key < self._keys[-1])
                self._keys.append(key)
            else:
                versions.append(version)
        return version

    def _sort(self) -> None:
        if self._unsorted:
            self._keys.sort()
            self._unsorted = False

    def _grouped(self, prefix: str, delimiter: str, start: int, after: str) -> Iterator[tuple[str, bool]]:
        """Keys from position `start` on, those that share what follows `prefix` up to `delimiter` as one."""
        position = start
        while position < len(self._keys) and (key := self._keys[position]).startswith(prefix):
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            if end < 0:
                yield key, False
                position += 1
                continue
            group = key[: end + len(delimiter)]
            if group > after:
                yield group, True
            position = bisect_left(self._keys, _past(group), position)

    def _current(self, prefix: str, delimiter: str, after: str) -> Iterator[Listed]:
        self._sort()
        start = max(bisect_left(self._keys, prefix), bisect_right(self._keys, after))
        for key, is_group in self._grouped(prefix, delimiter, start, after):
            if is_group:
                if self._holds_objects(key):
                    yield Listed(key, None)
            elif not (latest := self._versions[key][-1]).is_delete_marker:
                yield Listed(key, latest)

    def _all(self, prefix: str, delimiter: str, key_marker: str, version_marker: str) -> Iterator[Listed]:
        self._sort()
        start = bisect_left(self._keys, prefix)
        if key_marker:
            within = bool(version_marker)
            start = max(start, (bisect_left if within else bisect_right)(self._keys, key_marker))
        for key, is_group in self._grouped(prefix, delimiter, start, key_marker):
            if is_group:
                yield Listed(key, None)
                continue
            versions = self._versions[key]
            older = len(versions)
            if key == key_marker and version_marker:
                older = next((at for at, version in enumerate(versions) if version.version_id == version_marker), 0)
            for version in reversed(versions[:older]):
                yield Listed(key, version, version is versions[-1])

    def _holds_objects(self, group: str) -> bool:
        for position in range(bisect_left(self._keys, group), len(self._keys)):
            key = self._keys[position]
            if not key.startswith(group):
                return False
            if not self._versions[key][-1].is_delete_marker:
                return True
        return False

    @staticmethod
    def _page(entries: Iterator[Listed], limit: int) -> Page:
        page: list[Listed] = []
        if limit <= 0:
            return Page(page, False)
        for entry in entries:
            if len(page) == limit:
                return Page(page, True)
            page.append(entry)
        return Page(page, False)

    @staticmethod
    def _find(versions: list[ObjectVersion], version_id: str) -> ObjectVersion | None:
        return next((version for version in versions if version.version_id == version_id), None)


def _past(group: str) -> str:
    """The least string greater than everything that starts with `group`."""
    return group[:-1] + chr(ord(group[-1]) + 1)
