"""What is written while it is proved is nothing to find."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.proving.verify import Prover
from mirror.store.maintenance import maintain
from mirror.store.store import Store
from mirror.sync.engine import sync
from tests.proving.conftest import Told

ROUNDS = 3


def mirror_and_tidy_up(settings: Settings, *, tidy_up: bool) -> str:
    """What a daemon does; what went wrong with it."""
    failed = [outcome.message for outcome in sync(settings).outcomes if outcome.result == "failed"]
    if tidy_up:
        store = Store.open(settings.store)
        with store.lock("maintain"):
            failed += maintain(store, stop=lambda: False, tell=lambda _: None).problems
    return "; ".join(failed)


class Changing:
    """Changes a Dandiset and a Zarr in the archive, and has another process mirror that, again and again."""

    def __init__(self, archive: DemoArchive, settings: Settings, dandiset: str, with_zarr: tuple[str, str]) -> None:
        self._archive = archive
        self._settings = settings
        self._dandiset = dandiset
        self._with_zarr = with_zarr
        self._thread = threading.Thread(target=self._work)
        self.failed: list[str] = []
        self.rounds = 0

    def __enter__(self) -> Changing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    @property
    def goes_on(self) -> bool:
        return self._thread.is_alive()

    def _work(self) -> None:
        # A process of its own, as the daemon's is: locks of threads would tell another story.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            for number in range(1, ROUNDS + 1):
                self._change(number)
                mirrored = process.submit(mirror_and_tidy_up, self._settings, tidy_up=number % 2 == 0)
                self.failed.append(mirrored.result())
                self.rounds = number

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


def prove(settings: Settings) -> tuple[Told, Counter[str]]:
    told, store = Told(), Store.open(settings.store)
    with Prover(settings, store, ("names", "bytes"), watcher=told, against_archive=False) as prover:
        return told, prover.run(store.dandisets()).checked


def test_nothing_is_found_of_what_a_sync_writes_meanwhile(
    archive: DemoArchive, settings: Settings, dandiset: str, with_zarr: str, zarr_path: str
) -> None:
    sync(settings)
    proved = [prove(settings)]

    with Changing(archive, settings, dandiset, (with_zarr, zarr_path)) as changing:
        while changing.goes_on:
            proved.append(prove(settings))
    proved.append(prove(settings))

    assert changing.failed == [""] * ROUNDS
    assert len(proved) >= ROUNDS
    for told, _ in proved:
        assert told.findings == []
        assert [one for one in told.subjects if one.trouble or one.unfinished] == []
    checked = [sum(count.values()) for _, count in proved]
    assert 0 < checked[0] < checked[-1]
