"""Archives to test against."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import requests

from mirror.demo import DemoArchive

START = datetime(2026, 11, 20, 15, 34, 17, tzinfo=UTC)


@pytest.fixture
def archive() -> Iterator[DemoArchive]:
    """An empty archive whose clock stands still."""
    with DemoArchive(start=START, seed=1) as archive:
        yield archive


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session
