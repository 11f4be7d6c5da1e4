"""A store, empty but for what a test puts there."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirror.archive.records import Instance
from mirror.store.store import Store


@pytest.fixture
def instance() -> Instance:
    return Instance("DANDI", "https://dandiarchive.org", "10.48324")


@pytest.fixture
def store(tmp_path: Path, instance: Instance) -> Store:
    return Store.open_or_create(tmp_path / "store", instance)
