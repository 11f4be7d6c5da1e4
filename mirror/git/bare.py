"""Making a new bare repository, by writing its few files."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mirror.git.files import PUBLIC_FILE, PUBLIC_FOLDER, make_folders, sync_folder
from mirror.git.refs import check_name, render_info_packs, render_packed_refs

# Hiding all refs from pushes refuses every push, over a path as over ssh; `http.receivepack` is for a smart HTTP
# server. Nobody but us packs, so git's own housekeeping must not.
BASE_CONFIG = {
    "core.repositoryformatversion": "0",
    "core.filemode": "true",
    "core.bare": "true",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "receive.hideRefs": "refs/",
    "receive.autogc": "false",
    "http.receivepack": "false",
}

_SITE = ".new-"
"""Stands in the name of a folder that is no repository yet, or no more."""

_FOLDERS = ("info", "objects/info", "objects/pack", "refs/heads", "refs/tags")
_KEY = re.compile(r"(?P<section>[A-Za-z0-9.-]+?)(?:\.(?P<subsection>.+))?\.(?P<key>[A-Za-z][A-Za-z0-9-]*)", re.DOTALL)


def create_bare(path: Path, *, head: str, config: Mapping[str, str]) -> bool:
    """Make an empty bare repository, whole or not at all. False when there is one already: it stays as it is.

    `head` is the branch, by its short or full name.
    """
    if _is_repository(path):
        return False
    make_folders(path.parent)
    with _building_site(path) as site:
        for name in _FOLDERS:
            make_folders(site / name)
        for name, data in _files(head, config).items():
            _write(site / name, data)
        for folder in (*_FOLDERS, "objects", "refs", "."):
            sync_folder(site / folder)
        try:
            site.rename(path)
        except OSError:
            if _is_repository(path):
                return False  # somebody else was quicker
            raise
    sync_folder(path.parent)
    return True


def remove_bare(path: Path) -> None:
    """Take a repository away, whole or not at all: what a kill leaves is cleared away when one is made here again."""
    gone = path.with_name(f"{_site_prefix(path)}gone")
    path.rename(gone)
    shutil.rmtree(gone)


def _is_repository(path: Path) -> bool:
    return (path / "HEAD").is_file()


def _files(head: str, config: Mapping[str, str]) -> dict[str, bytes]:
    branch = head if head.startswith("refs/") else f"refs/heads/{head}"
    check_name(branch)
    return {
        "HEAD": f"ref: {branch}\n".encode(),
        "config": render_config({**BASE_CONFIG, **config}),
        "packed-refs": render_packed_refs({}),
        "info/refs": b"",
        "objects/info/packs": render_info_packs(()),
    }


def render_config(settings: Mapping[str, str]) -> bytes:
    """Settings such as `annex.uuid` or `remote.origin.url`, in the form of git's config files."""
    lines = []
    section = ""
    for name, value in sorted(settings.items(), key=lambda item: item[0].rpartition(".")[0]):
        match = _KEY.fullmatch(name)
        if match is None or any(char in name + value for char in "\n\0"):
            raise ValueError(f"git cannot hold this setting: {name!r} = {value!r}")
        title = f"[{match['section']}]"
        if match["subsection"]:
            title = f'[{match["section"]} "{_escaped(match["subsection"])}"]'
        if title != section:
            lines.append(f"{title}\n")
            section = title
        lines.append(f'\t{match["key"]} = "{_escaped(value)}"\n')
    return "".join(lines).encode()


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


@contextmanager
def _building_site(path: Path) -> Iterator[Path]:
    """A folder beside `path`, locked while we live; those of the dead are cleared away."""
    prefix = _site_prefix(path)
    clear_sites(path.parent, prefix)
    site = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent))
    descriptor = os.open(site, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        site.chmod(PUBLIC_FOLDER)
        yield site
    finally:
        shutil.rmtree(site, ignore_errors=True)
        os.close(descriptor)


def clear_sites(folder: Path, prefix: str = ".") -> int:
    """Clear away what the dead were building in this folder, or had begun to take away; how many that were."""
    sites = [path for path in folder.iterdir() if path.name.startswith(prefix) and _SITE in path.name]
    return sum(map(_remove_if_dead, sites))


def _site_prefix(path: Path) -> str:
    return f".{path.name}{_SITE}"


def _remove_if_dead(folder: Path) -> bool:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        os.fchmod(file.fileno(), PUBLIC_FILE)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
