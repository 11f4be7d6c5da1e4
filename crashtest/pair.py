"""A store that is killed, and its twin that is not; each with a host of its own that everything is pushed to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from crashtest.looking import Loss, Refs, refs
from mirror.config import Settings
from mirror.dataset.identity import ALL_DANDISETS
from mirror.errors import SomeFailed
from mirror.git.repository import Repository
from mirror.publish.publishing import Publisher
from mirror.publish.superdatasets import subjects_of
from mirror.store.state import DandisetState
from mirror.store.store import Store
from mirror.sync.dandiset import layout_of
from mirror.sync.engine import sync
from mirror.sync.zarr.materialize import zarrs_of

_SOME = {"name": "some", "where": "assets >= 4"}
"""A second superdataset: which Dandisets are in it changes from round to round."""
SUPERDATASETS = (ALL_DANDISETS, _SOME["name"])


@dataclass(frozen=True)
class Pair:
    """`archive`: the settings by which both reach it."""

    store: Path
    twin: Path
    archive: Mapping[str, object]

    def settings(self, root: Path) -> dict[str, object]:
        """The settings of one of them, as a file has them."""
        host = {"name": "other", "kind": "ria", "url": str(host_of(root))}
        return {
            "archive": self.archive,
            "store": str(root),
            "superdatasets": [_SOME],
            "publish": {"hosts": [host]},
        }

    def write_settings(self, root: Path) -> Path:
        file = root.with_name(f"{root.name}.yaml")
        file.write_text(json.dumps(self.settings(root)))
        return file

    def expected(self, identifiers: Iterable[str]) -> dict[str, Refs]:
        """The refs of the twin's repositories, of those of their Zarrs, and of the superdatasets, by their folder from
        the store on."""
        if not (self.twin / "state" / "store.json").exists():
            return {}
        twin = Store.open(self.twin)
        repositories = [twin.repository(identifier) for identifier in identifiers]
        zarrs = [zarrs_of(twin, one) for one in identifiers if refs(twin.repository(one).path)]
        repositories += [twin.dataset(zarr_id) for zarr_id in dict.fromkeys(chain.from_iterable(zarrs))]
        repositories += self._superdatasets(twin)
        return {one.path.relative_to(self.twin).as_posix(): refs(one.path) for one in repositories}

    def _superdatasets(self, twin: Store) -> list[Repository]:
        settings = Settings.model_validate(self.settings(self.twin))
        return [twin.dataset(subject.dataset_id) for subject in subjects_of(settings, twin)]

    def sync_twin(self, *, at_end: Callable[[], None]) -> tuple[int, float]:
        """Bring the twin up to date, here; the exit code of that, and how long it took. `at_end`: is told when all
        Dandisets had their turn, and publishing begins."""
        settings = Settings.model_validate({**self.settings(self.twin), "jobs": 1})
        with _Publisher(settings, at_end) as publisher:
            report = sync(settings, follower=publisher)
        try:
            publisher.published.check()
        except SomeFailed as error:
            raise Loss(f"publishing failed although nobody was killed: {error}") from None
        return (SomeFailed.exit_code if report.count("failed") else 0), report.seconds

    def replace_by_twin(self, lost: Path) -> None:
        """Go on with a copy of the twin; what was lost is put aside. The host is then another to the copy."""
        for root, aside in ((self.store, lost), (host_of(self.store), host_of(lost))):
            if root.exists():
                root.rename(aside)
        shutil.copytree(self.twin, self.store, symlinks=True)

    def remove(self) -> None:
        for root in (self.store, self.twin):
            shutil.rmtree(root)
            shutil.rmtree(host_of(root), ignore_errors=True)


class _Publisher(Publisher):
    """Tells when publishing begins."""

    def __init__(self, settings: Settings, at_end: Callable[[], None]) -> None:
        super().__init__(settings, layout_of(settings))
        self._at_end = at_end

    def end(self, states: Mapping[str, DandisetState]) -> None:
        self._at_end()
        super().end(states)


def host_of(root: Path) -> Path:
    """Where what is in this store is pushed to."""
    return root.with_name(f"{root.name}-host")
