"""Another mirror to compare with: a folder here, or what a web server hands out. Only what is public is looked at."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

import msgspec

from mirror import __version__
from mirror.archive.http import Http, Reply, checked_url
from mirror.dataset.identity import ALL_DANDISETS
from mirror.errors import BadAnswer, GitError, MirrorError, NotFound, Unreachable, UsageError
from mirror.git.bare import create_bare
from mirror.git.objects import Oid
from mirror.git.process import run_git
from mirror.git.reader import ObjectReader, Objects
from mirror.git.refs import parse_oid
from mirror.git.repository import Repository

DANDISET = re.compile(r"\d{6,}").fullmatch
ZARR = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch

_WANTED = (
    "+refs/heads/draft:refs/there/draft",
    "+refs/heads/releases:refs/there/releases",
    "+refs/tags/*:refs/there/*",
)
_FEED_TIMEOUT = 60.0


class Mirror(Protocol):
    """A mirror, by what it makes public."""

    where: str

    def names(self) -> set[str]:
        """Dandisets, Zarrs and superdatasets, as far as it tells which it has."""
        ...

    def refs(self, name: str) -> Mapping[str, Oid] | None:
        """The refs of one of them, peeled; None: it has none of this name."""
        ...

    def lend(self, name: str, to: Path) -> None:
        """Have a bare repository see the objects of one of them."""
        ...


class FolderMirror:
    """A mirror in a folder: a store, or the public part of one."""

    def __init__(self, folder: Path) -> None:
        self.public = folder / "public" if (folder / "public" / "alias").is_dir() else folder
        self.where = str(self.public)
        if not (self.public / "alias").is_dir():
            raise UsageError(f"{folder} is no store, nor the public part of one", hint="it has no folder `alias`")

    def names(self) -> set[str]:
        return {entry.name for entry in (self.public / "alias").iterdir() if not entry.name.startswith(".")}

    def refs(self, name: str) -> Mapping[str, Oid] | None:
        folder = self._folder(name)
        return Repository(folder).peeled_refs() if (folder / "HEAD").is_file() else None

    def lend(self, name: str, to: Path) -> None:
        with (to / "objects" / "info" / "alternates").open("a", encoding="utf-8") as file:
            file.write(f"{self._folder(name).resolve() / 'objects'}\n")

    def _folder(self, name: str) -> Path:
        return self.public / "alias" / name


class ServedMirror:
    """A mirror behind a web server, by its refs. Objects are fetched only where these do not tell."""

    def __init__(self, url: str) -> None:
        self.where = checked_url(url)
        self._http = Http(tries=4)

    def close(self) -> None:
        self._http.close()

    def check(self) -> None:
        """Whether there is a mirror at all: of another address, everything would be said to be missing there."""
        with suppress(NotFound):
            next(self._feed(), None)
            return
        if self.refs(ALL_DANDISETS) is None:
            raise UsageError(
                f"{self.where} serves no mirror: there is no changes.jsonl",
                hint="give the address of the other's folder `public`, such as https://mirror.example.org/dandi",
            )

    def names(self) -> set[str]:
        """The Dandisets that its change feed names. What else it has, it does not list."""
        found: set[str] = set()
        decode = msgspec.json.Decoder(_Named).decode
        with suppress(NotFound):
            for line in self._feed():
                with suppress(msgspec.MsgspecError):  # a line that is still being written
                    found.add(decode(line).dandiset)
        return {name for name in found if DANDISET(name)}

    def _feed(self) -> Iterator[bytes]:
        url = f"{self.where}/changes.jsonl"
        request = Request(url, headers={"User-Agent": f"dandi-mirror/{__version__}"})
        try:
            with closing(urlopen(request, timeout=_FEED_TIMEOUT)) as answer:
                yield from answer
        except HTTPError as error:
            raise (NotFound if error.code in (404, 410) else BadAnswer)(f"{url}: HTTP {error.code}") from None
        except (URLError, OSError) as error:
            raise Unreachable(f"{url}: {getattr(error, 'reason', error)}") from None

    def refs(self, name: str) -> Mapping[str, Oid] | None:
        def read(reply: Reply) -> dict[str, Oid] | None:
            if reply.status in (404, 410):
                return None
            if reply.status != 200:
                raise BadAnswer(f"{url}: HTTP {reply.status}")
            return parse_info_refs(reply.body, url)

        url = f"{self._address(name)}/info/refs"
        return self._http.send("GET", url, read, kind="s3", subject=f"{name} of {self.where}")

    def lend(self, name: str, to: Path) -> None:
        for wanted in _WANTED:
            try:
                run_git(to, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", self._address(name), wanted)
            except GitError as error:
                if "couldn't find remote ref" not in error.stderr:
                    raise

    def _address(self, name: str) -> str:
        return f"{self.where}/alias/{quote(name, safe='')}"


class _Named(msgspec.Struct):
    dandiset: str


def parse_info_refs(body: bytes, where: str) -> dict[str, Oid]:
    """The refs in `info/refs`, peeled."""
    found: dict[str, Oid] = {}
    try:
        for line in body.decode("utf-8", "surrogateescape").splitlines():
            oid, name = line.split("\t", 1)
            found[name.removesuffix("^{}")] = parse_oid(oid)  # what a tag is of comes after the tag
    except ValueError:
        raise BadAnswer(f"{where}: that is no list of refs") from None
    return found


def other_mirror(where: str) -> FolderMirror | ServedMirror:
    """The mirror at a path or an address."""
    if not where.startswith(("http://", "https://")):
        return FolderMirror(Path(where))
    served = ServedMirror(where)
    served.check()
    return served


@contextmanager
def objects_of_both(name: str, mirrors: tuple[Mirror, Mirror], scratch: Path | None) -> Iterator[Objects]:
    """The objects that two mirrors have of one dataset, read as if they were of one repository."""
    folder = Path(tempfile.mkdtemp(prefix="compare-", dir=scratch))
    try:
        create_bare(folder / "both", head="draft", config={})
        for mirror in mirrors:
            mirror.lend(name, folder / "both")
        with closing(Objects(ObjectReader(folder / "both"))) as objects:
            yield objects
    except OSError as error:
        raise MirrorError(f"{name}: {error.strerror}: {error.filename}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
