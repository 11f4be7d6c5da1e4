from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.demo import DemoArchive

sys.path.insert(0, str(Path(__file__).parent))  # for `daemons`


@pytest.fixture
def archive() -> Iterator[DemoArchive]:
    with DemoArchive() as archive:
        yield archive
