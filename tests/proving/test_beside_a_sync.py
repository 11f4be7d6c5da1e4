"""What is written while it is proved is nothing to find."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.store.maintenance import maintain
from mirror.store.store import Store

ROUNDS = 8
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path, settings: Settings) -> Run:
    """Runs `python -m mirror COMMAND ARGS` with the settings of the test."""
    archive = settings.archive
    (tmp_path / "mirror.yaml").write_text(
        f"archive:\n  instance: {archive.instance}\n  api_url: {archive.api_url}\n"
        f"  s3_endpoint: {archive.s3_endpoint}\n  settle_seconds: 0\nstore: {settings.store}\n"
    )

    def run(command: str, *args: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "mirror", command, "-c", "mirror.yaml", *args]
        return subprocess.run(words, cwd=tmp_path, env={**os.environ}, capture_output=True, text=True, timeout=120)

    return run


class Changing:
    """Changes a Dandiset and a Zarr in the archive, mirrors that and tidies up, again and again."""

    def __init__(self, archive: DemoArchive, run: Run, store: Store, dandiset: str, with_zarr: tuple[str, str]) -> None:
        self._archive = archive
        self._run = run
        self._store = store
        self._dandiset = dandiset
        self._with_zarr = with_zarr
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.ended: list[subprocess.CompletedProcess[str]] = []
        self.maintained = 0

    def __enter__(self) -> Changing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            self._change(number)
            self.ended.append(self._run("sync"))
            if number % 3 == 0:
                with self._store.lock("maintain"):
                    maintain(self._store, stop=lambda: False, tell=lambda _: None)
                self.maintained += 1

    def _change(self, number: int) -> None:
        self._archive.clock.advance(60)
        for place in range(20):
            content = b"spikes %d of %d" % (place, number)
            self._archive.add_asset(self._dandiset, f"sub-{number}/sub-{number}_{place}.nwb", content)
        self._archive.add_asset(self._dandiset, f"sub-{number}/notes.txt", b"notes of %d" % number)
        identifier, path = self._with_zarr
        self._archive.change_zarr(identifier, path, {f"{number}/{place}": b"%d" % place for place in range(20)})
        if number % 2:
            self._archive.publish(self._dandiset)


def test_nothing_is_found_of_what_a_sync_writes_meanwhile(
    archive: DemoArchive, run: Run, settings: Settings, dandiset: str, with_zarr: str, zarr_path: str
) -> None:
    assert run("sync").returncode == 0
    store = Store.open(settings.store)
    proved: list[subprocess.CompletedProcess[str]] = []

    with Changing(archive, run, store, dandiset, (with_zarr, zarr_path)) as changing:
        for _ in range(ROUNDS):
            proved.append(run("verify", "--offline", "--level", "bytes", "--json"))

    assert len(changing.ended) >= 3
    assert changing.maintained == len(changing.ended) // 3
    assert [done.stderr for done in changing.ended if done.returncode] == []
    for done in proved:
        records = [json.loads(line) for line in done.stdout.splitlines()]
        assert [one for one in records if one["status"] != "ok"] == []
        assert done.returncode == 0, done.stderr
    checked = [sum(json.loads(line)["checked"] for line in done.stdout.splitlines()) for done in proved]
    assert 0 < checked[0] < checked[-1]  # how far a sync is when each is begun, nobody can say
    assert checked[0] < checked[-1]
