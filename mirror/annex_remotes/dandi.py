"""`git-annex-remote-dandi`: gets a key's bytes from the archive, by the addresses that the clone has of it.

    git annex initremote --sameas=web dandi type=external externaltype=dandi encryption=none

It only reads. What it says of a key's presence is what the archive said; where that is not known, it is an error. What
the bytes are git-annex checks against the key.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from annexremote import Master, ProtocolError, RemoteError, SpecialRemote

from mirror import __version__
from mirror.annex.keys import ParsedKey, parse_key
from mirror.annex_remotes.archives import Archives
from mirror.annex_remotes.lines import Debug, one_line, opened
from mirror.annex_remotes.named_files import FoundFile, NamedFile, find, named_file
from mirror.annex_remotes.pages import Pages
from mirror.archive.addresses import Address, AssetAddress, ObjectAddress, addresses
from mirror.archive.content import Seen
from mirror.archive.download import FIRST_PIECE
from mirror.errors import ArchiveError, MirrorError, NotAllowed, NotFound, Unreachable

COST = 150
"""Before git-annex's own web remote, at 200."""
READ_ONLY = "the archive is only read from here"
_WITHOUT_HASH = ("URL", "VURL", "WORM")
"""backends of keys that git-annex has nothing to check their content against"""
_MD5 = re.compile("[0-9a-f]{32}").fullmatch


@dataclass(frozen=True)
class Known:
    """What the clone knows of a key."""

    key: str
    parsed: ParsedKey | None
    """None of a key that does not even tell its size"""
    found: list[Address]
    names: list[NamedFile]
    others: int
    """how many of its addresses are not asked from here"""


@contextlib.contextmanager
def answered() -> Iterator[None]:
    """Whatever goes wrong becomes an answer of the protocol: in words of ours, which hold no signed address."""
    try:
        yield
    except MirrorError as error:
        raise RemoteError(one_line(str(error))) from None
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        what = error.strerror or type(error).__name__
        raise RemoteError(one_line(f"{what}: {error.filename}" if error.filename else what)) from None


class DandiRemote(SpecialRemote):  # type: ignore[misc]
    """Answers git-annex's requests."""

    annex: Any
    _archives_do_not_answer = False

    @property
    def info(self) -> dict[str, str]:
        """What `git annex info` shows besides."""
        try:
            return self._archives.described()
        except MirrorError as error:
            return {"trouble": one_line(str(error))}

    @info.setter
    def info(self, _: dict[str, str]) -> None:
        """`annexremote` begins with none."""

    def initremote(self) -> None:
        """Nothing is to be set up: the addresses are in the clone."""

    def prepare(self) -> None:
        """Nothing is opened before it is asked for."""

    def getcost(self) -> int:
        return COST

    def getavailability(self) -> str:
        return "global"

    def exportsupported(self) -> bool:
        return False

    def transfer_store(self, key: str, local_file: str) -> None:  # noqa: ARG002
        raise RemoteError(f"{READ_ONLY}; `dandi upload` is for putting files there")

    def remove(self, key: str) -> None:  # noqa: ARG002
        raise RemoteError(READ_ONLY)

    @answered()
    def transfer_retrieve(self, key: str, local_file: str) -> None:
        known = self._known(key)
        try:
            self._retrieve(known, known.found or self._found_by_name(known), Path(local_file))
        except ArchiveError:
            if not (known.found and known.names):
                raise
            self._retrieve(known, self._found_by_name(known), Path(local_file))

    @answered()
    def checkpresent(self, key: str) -> bool:
        """False only if the archive said so of every address that is known."""
        known = self._known(key)
        asking = [partial(self._is_at, address, known) for address in known.found]
        asking += [partial(self._is_named, name, known) for name in known.names]
        doubts: list[ArchiveError] = []
        for is_there in asking:
            try:
                if is_there():
                    return True
            except ArchiveError as error:
                doubts.append(error)
        if doubts:
            raise doubts[0]
        if known.others:
            raise NotFound(f"{key} is gone from the archive; but an address is known that is not asked from here")
        return False

    def whereis(self, key: str) -> str | None:
        """Where to look at it: the page of its asset, and Neurosift for NWB. The archive itself is hardly asked."""
        # The protocol has no answer for trouble here.
        with contextlib.suppress(MirrorError, OSError):
            known = self._known(key)
            if known.found:
                return self._pages.of_key(key, known.found)
            return self._pages.of_name(known.names[0], self._archives.default, self._glance)
        return None

    def claimurl(self, url: str) -> bool:
        return named_file(url) is not None

    @answered()
    def checkurl(self, url: str) -> list[dict[str, str | int]]:
        named = named_file(url)
        if named is None:
            raise NotFound(f"not a dandi: URL of a file: {url}", hint="like dandi:000003/0.230629.1955/sub-1/a.nwb")
        found = self._find(named)
        return [{"size": found.size, "filename": one_line(named.path.rpartition("/")[2])}]

    @cached_property
    def _archives(self) -> Archives:
        name = ""
        with contextlib.suppress(ProtocolError):
            name = self.annex.getgitremotename()
        return Archives(str(self._git_dir), name or "dandi")

    @cached_property
    def _pages(self) -> Pages:
        return Pages(self._git_dir)

    @cached_property
    def _git_dir(self) -> Path:
        return Path(self.annex.getgitdir()).absolute()

    def _known(self, key: str) -> Known:
        """What the clone knows of a key. `NotFound` where that leads to nothing that can be asked."""
        urls = set(self.annex.geturls(key, ""))
        names = [name for name in map(named_file, sorted(urls)) if name]
        found = addresses(urls)
        if not found and not names:
            raise NotFound(f"no address of {key} at an archive is known here", hint="git annex whereis tells what is")
        return Known(key, _parsed(key), found, names, others=len(urls) - len(found) - len(names))

    def _retrieve(self, known: Known, found: list[Address], file: Path) -> None:
        with self._explained(found):
            size = known.parsed.size if known.parsed else self._size(found, known.key)
            # What comes in one piece is there at once; of thousands of small files, telling so would cost too much.
            told = self.annex.progress if size > FIRST_PIECE else _nobody
            # Without a hash nobody would notice if what another download began were of other bytes.
            anew = known.parsed is None or known.parsed.backend in _WITHOUT_HASH
            self._archives.content.fetch(found, file, size, told=told, anew=anew)

    def _is_at(self, address: Address, known: Known) -> bool:
        with self._explained([address]):
            seen = self._archives.content.look(address)
        return seen is not None and _may_be(seen, known.parsed)

    def _find(self, named: NamedFile) -> FoundFile:
        api_url = self._archives.default
        try:
            return find(self._archives.client(api_url), named)
        except NotAllowed as error:
            raise self._archives.explained(error, api_url) from None

    def _is_named(self, name: NamedFile, known: Known) -> bool:
        """Whether the archive has this content under that name."""
        try:
            return _may_be_of(self._find(name), known.parsed)
        except NotFound:
            return False

    def _found_by_name(self, known: Known) -> list[Address]:
        """Where the archive has this content, by the names that it has there."""
        found: list[Address] = []
        doubts: list[ArchiveError] = []
        for name in known.names:
            try:
                file = self._find(name)
                found += file.addresses if _may_be_of(file, known.parsed) else []
            except ArchiveError as error:
                doubts.append(error)
        if not found:
            raise doubts[0] if doubts else NotFound(f"{known.names[0]}: the archive has another content there by now")
        return found

    def _glance(self, named: NamedFile) -> AssetAddress | None:
        """The asset that has a name now, if the archive tells at once."""
        if self._archives_do_not_answer:
            return None
        try:
            found = find(self._archives.client(self._archives.default, tries=1), named)
        except Unreachable:
            self._archives_do_not_answer = True
            return None
        except ArchiveError:
            return None
        return next((one for one in found.addresses if isinstance(one, AssetAddress)), None)

    def _size(self, found: list[Address], key: str) -> int:
        """Of a key that does not tell it."""
        doubts: list[ArchiveError] = []
        for address in found:
            try:
                seen = self._archives.content.look(address)
            except ArchiveError as error:
                doubts.append(error)
                continue
            if seen is not None:
                return seen.size
        raise doubts[0] if doubts else NotFound(f"{key} is not there any more")

    @contextlib.contextmanager
    def _explained(self, found: Sequence[Address]) -> Iterator[None]:
        """A refusal says what to do here, in a clone."""
        try:
            yield
        except NotAllowed as error:
            apis = [one.api_url for one in found if not isinstance(one, ObjectAddress)]
            raise self._archives.explained(error, apis[0]) if apis else error from None


def _nobody(_there: int) -> None:
    """Is told nothing."""


def _parsed(key: str) -> ParsedKey | None:
    """What a key tells; None of one that does not even tell its size."""
    try:
        return parse_key(key)
    except ValueError:
        return None


def _may_be(seen: Seen, key: ParsedKey | None) -> bool:
    """Whether what stands at an address may be the content of a key. In a bucket the ETag of what was not uploaded in
    parts is its MD5; elsewhere it may be anything."""
    if key is None:
        return True
    is_other = key.backend in ("MD5", "MD5E") and _MD5(seen.etag or "") and seen.etag != key.digest
    return seen.size == key.size and not is_other


def _may_be_of(file: FoundFile, key: ParsedKey | None) -> bool:
    """The same of a file, by what the archive's record of it says."""
    if key is None:
        return True
    is_other = key.backend in ("SHA256", "SHA256E") and file.sha256 and file.sha256 != key.digest
    return file.size == key.size and not is_other


_ABOUT = f"""\
git-annex-remote-dandi {__version__}: gets files of the DANDI archive. git-annex starts it; in a clone, once:

    git annex initremote --sameas=web dandi type=external externaltype=dandi encryption=none
"""


def main() -> None:
    """Talk to git-annex until it closes the pipe; tell people, who type this, what it is."""
    if sys.argv[1:] or sys.stdin.isatty():
        print(_ABOUT, end="")
        sys.exit(0 if sys.argv[1:] in (["--help"], ["-h"], ["--version"]) else 2)
    requests, output = opened()
    output.when_unheard(lambda: os._exit(1))
    logger = logging.getLogger("mirror")
    logger.addHandler(Debug(output))
    logger.setLevel(logging.INFO)
    logger.propagate = False
    master = Master(output=output)
    master.LinkRemote(DandiRemote(master))
    status = 0
    try:
        master.Listen(requests)
    except SystemExit:
        status = 1
    except (KeyboardInterrupt, BrokenPipeError):
        status = 130
    # At once: pieces that are still on their way nobody waits for.
    os._exit(status)


if __name__ == "__main__":
    main()
