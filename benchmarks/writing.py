"""The process that is measured: a Dandiset's answers in, its repository out, without HTTP.

`python -m benchmarks.writing LOAD FOLDER [later]` prints what reading and writing took, as JSON. `later`: a further
sync of the same repository, in which ten assets of the draft have changed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from benchmarks.load import LATER, VERSIONS, FileClient, text_of
from mirror.annex.remotes import dandiapi_remote
from mirror.dataset.assets import AssetEntry
from mirror.dataset.identity import api_remote_uuid, dandiset_dataset_id
from mirror.dataset.layout import Layout
from mirror.git.repository import Repository
from mirror.store.index import Index
from mirror.sync.history import Subject
from mirror.sync.mirrored import Mirrored, index_key
from mirror.sync.observe import NOTHING, Base, Earlier, Observer
from mirror.sync.spool import Spool
from mirror.sync.writing import DandisetWriter

T = TypeVar("T")
IDENTIFIER = "000001"
INSTANCE = "https://dandiarchive.org"
REPOSITORY = "repository"


class MemoryContents:
    """Texts made up on the spot, version ids derived from the address."""

    def texts(self, entries: Iterable[AssetEntry], add: Callable[[bytes], T]) -> dict[str, T]:
        found = {}
        for entry in entries:
            number = int(entry.path.rpartition("run-")[2][:6])
            found[entry.path] = add(text_of(number, 1 if number % 100 == 50 else 0))
        return found

    def recorded_urls(self, entries: Iterable[AssetEntry]) -> dict[str, str]:
        return {url: f"{url}?versionId={url[-32:]}" for entry in entries if (url := entry.s3_url)}


class Clock:
    """Seconds and CPU seconds of the parts of a run."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.parts[f"{name}_wall"] = time.perf_counter() - wall
        self.parts[f"{name}_cpu"] = time.process_time() - cpu


def main(load: Path, folder: Path, *, later: bool) -> dict[str, float]:
    clock = Clock()
    layout = Layout()
    client = FileClient(load, LATER if later else "draft")
    repository = Repository.create(folder / REPOSITORY, head="draft")
    with (
        Index(folder / "index.sqlite") as index,
        Spool(folder) as spool,
        repository.lock(),
        repository.writer() as writer,
        repository.objects(writer) as objects,
    ):
        observer = Observer(client, IDENTIFIER, layout, spool.keep)  # type: ignore[arg-type]
        mirrored = Mirrored(repository.refs(), objects, index, IDENTIFIER, layout)
        with clock.part("read"):
            releases = []
            if not later:
                releases.append(observer.observe(VERSIONS[0], NOTHING, release=True))
                releases.append(observer.observe(VERSIONS[1], Earlier(releases[0].assets, Base.RELEASE), release=True))
            if releases:
                earlier = Earlier(releases[-1].assets, Base.RELEASE)
            else:
                earlier = Earlier(mirrored.draft.assets, Base.DRAFT) if mirrored.draft else NOTHING
            draft = observer.observe("draft", earlier, release=False)
        clock.parts["requests_cpu"] = client.seconds
        subject = Subject(IDENTIFIER, dandiset_dataset_id(INSTANCE, IDENTIFIER), INSTANCE, layout)
        remote = dandiapi_remote(api_remote_uuid(INSTANCE), "api.dandiarchive.org")
        with clock.part("write"):
            written = DandisetWriter(
                subject, mirrored, objects, writer, MemoryContents(), spool.read, remote=remote, annex_metadata=True
            ).write(releases, draft, {})
            repository.publish(writer, written.updates)
        with clock.part("index"):
            before = mirrored.draft
            known = (index_key(before.oid, layout), before.assets) if before is not None else None
            index.remember_draft(IDENTIFIER, index_key(written.draft.oid, layout), draft.assets, known)
    return clock.parts


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), later="later" in sys.argv[3:])))
