"""The peer: git-annex's own batch commands, `fromkey` and `registerurl`, fed the same keys and addresses."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from benchmarks.load import asset, path_of
from mirror.annex.keys import sha256e_key


def seconds_per_asset(folder: Path, count: int) -> float:
    """What one asset takes it, over `count` of them."""
    folder.mkdir()
    environment = {**os.environ, "HOME": str(folder.parent)}
    for who in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{who}_NAME": "Bench", f"GIT_{who}_EMAIL": "bench@example.org"}

    def run(*command: str, given: str = "") -> None:
        subprocess.run(
            command, cwd=folder, env=environment, input=given.encode(), check=True, stdout=subprocess.DEVNULL
        )

    run("git", "init", "-q")
    run("git", "annex", "init", "-q", "bench")
    keys, urls = [], []
    for number in range(count):
        record = asset(number, 0, published=True)
        metadata = record["metadata"]
        assert isinstance(metadata, dict)
        size = record["size"]
        assert isinstance(size, int)
        key = sha256e_key(path_of(number), size, metadata["digest"]["dandi:sha2-256"])
        keys.append(f"{key} {path_of(number)}\n")
        urls += [f"{key} {url}\n" for url in metadata["contentUrl"]]
    started = time.perf_counter()
    run("git", "annex", "fromkey", "--force", "--batch", given="".join(keys))
    run("git", "annex", "registerurl", "--batch", given="".join(urls))
    run("git", "annex", "merge")
    return (time.perf_counter() - started) / count
