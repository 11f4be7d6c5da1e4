"""Cloning while the mirror is being written: over plain HTTP, from a server that knows nothing of git."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from crashtest.looking import Refs, clone, refs, served
from mirror.git.repository import Repository

SYNCS = 20

# Changes, syncs, and tells the refs after each; every few syncs so many packs come up that they are made one.
WRITER = """
import json, sys
from pathlib import Path
from mirror.config import Settings
from mirror.demo import DemoProcess
from mirror.store.store import Store
from mirror.sync.engine import sync

store, syncs, packs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
with DemoProcess("empty") as archive:
    where = {"instance": "demo-dandi", "api_url": archive.api_url, "s3_endpoint": archive.s3_endpoint}
    settings = Settings(archive={**where, "settle_seconds": 0}, store=store, jobs=1)
    archive.call("create_dandiset", name="Busy")
    for number in range(syncs):
        archive.call("add_asset", identifier="000001", path=f"{number % 7}/{number}.nwb", content=b"%d" % number)
        archive.call("add_asset", identifier="000001", path=f"{number}.md", content=b"%d" % number)
        if number % 4 == 0:
            archive.call("publish", identifier="000001")
        sync(settings).check()
        repository = Store.open(store).repository("000001")
        print(json.dumps({name: oid.hex() for name, oid in repository.refs().items()}), flush=True)
        for filler in range(packs):
            with repository.writer() as writer:
                writer.add_blob(b"%d-%d" % (number, filler))
                repository.publish(writer, {})
"""


def test_every_clone_succeeds_and_is_one_state_of_the_archive(tmp_path: Path) -> None:
    store = tmp_path / "store"
    command = [sys.executable, "-c", WRITER, str(store), str(SYNCS), "8"]
    clones: list[Refs] = []
    with subprocess.Popen(command, stdout=(tmp_path / "states").open("wb")) as writer:
        try:
            while not (repository := store / "public" / "alias" / "000001").exists():
                assert writer.poll() is None
            with served(store / "public") as address:
                while writer.poll() is None:
                    clones.append(clone(f"{address}/alias/000001", tmp_path / "clone"))
                clones.append(clone(f"{address}/alias/000001", tmp_path / "clone"))
        finally:
            writer.kill()
    assert writer.returncode == 0
    states = [json.loads(line) for line in (tmp_path / "states").read_text().splitlines()]
    assert len(states) == SYNCS
    assert [found for found in clones if found not in states] == []
    assert clones[-1] == states[-1] == refs(repository)
    seen = [states.index(found) for found in clones]
    assert seen == sorted(seen)
    assert len(set(seen)) > 5, "too few clones to have come in the way of a change"
    packs = len(list(repository.glob("objects/pack/*.pack")))
    assert packs - len(Repository(repository).packs()) > 20, "no repack came in the way of a clone"
