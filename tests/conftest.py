"""A world of its own for every test: whose machine it is, and how that is set up, must not matter."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import settings as hypothesis

from mirror.config import Settings
from mirror.demo import DemoArchive

_TIMES = int(os.environ.get("EXAMPLES", "1"))
"""So many times as many examples of everything are tried."""
# Other work on the machine makes single examples slow; a deadline would only tell of that.
hypothesis.register_profile("suite", deadline=None, max_examples=100 * _TIMES)
hypothesis.load_profile("suite")


def examples(count: int) -> hypothesis:
    """So many examples, where each takes processes, or files on a disk."""
    return hypothesis(max_examples=count * _TIMES)


_FOREIGN_STARTS = ("DANDI_", "DATALAD_", "GIT_", "XDG_")
_FOREIGN_ENDS = ("_api_key", "_proxy")

_GITCONFIG = """\
[user]
    name = A Tester
    email = tester@example.org
[init]
    defaultBranch = main
[protocol "file"]
    allow = always
[annex "security"]
    allowed-ip-addresses = 127.0.0.1
[core]
    fsync = none
"""


@pytest.fixture(scope="session", autouse=True)
def isolated_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home folder with a git identity and nothing else; no settings, tokens or proxies from outside."""
    home = tmp_path_factory.mktemp("home")
    (home / ".gitconfig").write_text(_GITCONFIG)
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(_FOREIGN_STARTS) or name.lower().endswith(_FOREIGN_ENDS):
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        for kind in ("CONFIG", "CACHE", "DATA", "STATE"):
            patch.setenv(f"XDG_{kind}_HOME", str(home / kind.lower()))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        patch.setenv("GIT_TERMINAL_PROMPT", "0")
        patch.setenv("LC_ALL", "C.UTF-8")
        patch.setenv("NO_COLOR", "1")
        patch.setenv("DATALAD_LOG_LEVEL", "warning")
        patch.setenv("DATALAD_UI_PROGRESSBAR", "none")
        # git-annex and datalad of the environment the tests run in, whether or not that is activated
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        yield home


@pytest.fixture(scope="session", autouse=True)
def no_power_cut() -> Iterator[None]:
    """Nothing is waited for until it is on a disk, half of a sync's time: only a power cut shows that, and none comes.

    What is no descriptor is refused as ever; and whether and when it is called a test can see that puts its own here.
    """

    def not_waited_for(file: int | SupportsFileno) -> None:
        os.fstat(file if isinstance(file, int) else file.fileno())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", not_waited_for)
        yield


class SupportsFileno(Protocol):
    def fileno(self) -> int: ...


class SettingsWith(Protocol):
    def __call__(self, **more: Any) -> Settings: ...


@pytest.fixture
def settings_with(archive: DemoArchive, tmp_path: Path) -> SettingsWith:
    """Gives the settings for a mirror, in `store`, of the archive that the test has; `more` of them, if given."""

    def settings_with(**more: Any) -> Settings:
        where = {"instance": "demo-dandi", "api_url": archive.api_url, "s3_endpoint": archive.s3_endpoint}
        given = {"archive": {**where, "settle_seconds": 0}, "store": tmp_path / "store", "jobs": 1, **more}
        return Settings.model_validate(given)

    return settings_with


@pytest.fixture
def settings(settings_with: SettingsWith) -> Settings:
    """The same, with nothing else set."""
    return settings_with()
