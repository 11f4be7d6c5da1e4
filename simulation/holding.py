"""What a repository holds of each version, as git alone reads it. Nothing of ours takes part in that."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from crashtest.looking import Loss, git
from mirror.git.process import environment

Content = tuple[str, str, int]
"""of an asset: its id, its content (a sha256, or `zarr:` and the id of a Zarr), its size"""
Tree = Mapping[str, tuple[str, str]]
"""by path, the mode and the object"""

_OURS = re.compile(r"(\.dandi|\.datalad)/|\.gitattributes$|\.gitmodules$|dandiset\.yaml$")
_RECORDS = re.compile(r"\.dandi/assets/(.*/)?assets[^/]*\.jsonl$")
_KEY = re.compile(r"SHA256E-s(\d+)--([0-9a-f]{64})(\.[^/]*)?$")
_LINK, _GITLINK = "120000", "160000"


def tree(repository: Path, ref: str) -> Tree:
    """All files below a ref."""
    listed = git(f"--git-dir={repository}", "ls-tree", "-r", "-z", "--full-tree", ref)
    found = {}
    for line in listed.split("\0")[:-1]:
        about, _, path = line.partition("\t")
        mode, _, oid = about.split(" ")
        found[path] = (mode, oid)
    return found


def contents(repository: Path, trees: Iterable[Tree]) -> list[dict[str, Content]]:
    """The assets of each of these trees of one repository, by their path."""
    trees = list(trees)
    wanted = dict.fromkeys(oid for one in trees for mode, oid in one.values() if mode != _GITLINK)
    blobs = dict(_blobs(repository, wanted))
    return [_assets(repository, one, blobs) for one in trees]


def _assets(repository: Path, files: Tree, blobs: Mapping[str, bytes]) -> dict[str, Content]:
    records = _records(blobs[oid] for path, (_, oid) in files.items() if _RECORDS.match(path))
    found = {}
    for path, (mode, oid) in files.items():
        if _OURS.match(path):
            continue
        if path not in records:
            raise Loss(f"{repository}: {path} has no record")
        asset_id, zarr_id, said = records.pop(path)
        if mode == _GITLINK:
            found[path] = (asset_id, f"zarr:{zarr_id}", said)
        else:
            content, size = _content(path, blobs[oid], is_link=mode == _LINK)
            found[path] = (asset_id, content, size)
    if records:
        raise Loss(f"{repository}: there are records, but no files, of {', '.join(sorted(records)[:5])}")
    return found


def _records(files: Iterable[bytes]) -> dict[str, tuple[str, str, int]]:
    """The id of each asset, of its Zarr if it is one, and its size, by its path."""
    lines = [json.loads(line) for file in files for line in file.splitlines()]
    return {one["path"]: (one["asset_id"], one.get("zarr") or "", one["size"]) for one in lines}


def _content(path: str, blob: bytes, *, is_link: bool) -> tuple[str, int]:
    if not is_link:
        return hashlib.sha256(blob).hexdigest(), len(blob)
    key = _KEY.search(blob.decode())
    if key is None:
        raise Loss(f"{path} is a link to {blob!r}, which is no key")
    return key[2], int(key[1])


def _blobs(repository: Path, oids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    command = ["git", f"--git-dir={repository}", "cat-file", "--batch", "--buffer"]
    asked = "".join(f"{oid}\n" for oid in oids).encode()
    done = subprocess.run(command, input=asked, capture_output=True, env=environment(), check=False)
    if done.returncode:
        raise Loss(f"{repository}: git cat-file ended with {done.returncode}: {done.stderr.decode(errors='replace')}")
    answer, at = done.stdout, 0
    while at < len(answer):
        end = answer.index(b"\n", at)
        oid, *about = answer[at:end].decode().split(" ")
        if about[0] != "blob":
            raise Loss(f"{repository}: {oid} is {' '.join(about)}")
        at = end + 1 + int(about[1])
        yield oid, answer[end + 1 : at]
        at += 1
