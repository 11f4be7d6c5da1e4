"""The process that is measured: a Dandiset's answers in, its repository out, without HTTP.

`python -m benchmarks.writing LOAD REPOSITORY`
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from benchmarks.load import VERSIONS, FileClient, text_of
from mirror.annex.remotes import dandiapi_remote
from mirror.dataset.assets import AssetEntry
from mirror.dataset.identity import api_remote_uuid, dandiset_dataset_id
from mirror.dataset.layout import Layout
from mirror.git.repository import Repository
from mirror.store.index import Index
from mirror.sync.history import Subject
from mirror.sync.mirrored import Mirrored
from mirror.sync.observe import Observer
from mirror.sync.spool import Spool
from mirror.sync.writing import DandisetWriter

T = TypeVar("T")
IDENTIFIER = "000001"
INSTANCE = "https://dandiarchive.org"


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


def main(load: Path, target: Path, index_file: Path) -> None:
    layout = Layout()
    repository = Repository.create(target, head="draft")
    client = FileClient(load)
    with (
        Index(index_file) as index,
        Spool(index_file.parent) as spool,
        repository.lock(),
        repository.writer() as writer,
        repository.objects(writer) as objects,
    ):
        observer = Observer(client, IDENTIFIER, layout, spool.keep)  # type: ignore[arg-type]
        mirrored = Mirrored(repository.refs(), objects, index, IDENTIFIER, layout)
        first = observer.observe(VERSIONS[0], {}, release=True)
        second = observer.observe(VERSIONS[1], first.assets, release=True)
        draft = observer.observe("draft", second.assets, release=False)
        subject = Subject(IDENTIFIER, dandiset_dataset_id(INSTANCE, IDENTIFIER), INSTANCE, layout)
        remote = dandiapi_remote(api_remote_uuid(INSTANCE), "api.dandiarchive.org")
        written = DandisetWriter(
            subject, mirrored, objects, writer, MemoryContents(), spool.read, remote=remote, annex_metadata=True
        ).write([first, second], draft, {})
        repository.publish(writer, written.updates)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
