"""`git-annex-remote-dandi`: gets a key's bytes from the archive, by the addresses that the clone has of it.

    git annex initremote --sameas=web dandi type=external externaltype=dandi encryption=none

It only reads. What it says of a key's presence is what the archive said; where that is not known, it is an error. What
the bytes are git-annex checks against the key.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from annexremote import Master, ProtocolError, RemoteError, SpecialRemote

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
        parsed = _parsed(key)
        found = self._addresses(key)
        named = [] if found else self._named(key)
        size = parsed.size if parsed else named[0].size if named else None
        found = found or [address for one in named for address in one.addresses]
        if not found:
            raise NotFound(f"no address of {key} at an archive is known here", hint="git annex whereis tells what is")
        if parsed is None or parsed.backend in _WITHOUT_HASH:
            # Nobody would notice if what another download began were of other bytes.
            Path(local_file).unlink(missing_ok=True)
        with self._explained(found):
            size = self._size(found, key) if size is None else size
            # What comes in one piece is there at once; of thousands of small files, telling so would cost too much.
            told = self.annex.progress if size > FIRST_PIECE else _nobody
            self._archives.content.fetch(found, Path(local_file), size, told=told)

    @answered()
    def checkpresent(self, key: str) -> bool:
        """False only if the archive said so of every address that is known."""
        found = self._addresses(key)
        if not found:
            return self._is_named_file_there(key)
        parsed = _parsed(key)
        doubts: list[ArchiveError] = []
        for address in found:
            try:
                with self._explained([address]):
                    seen = self._archives.content.look(address)
                    if seen is not None and _may_be(seen, parsed):
                        return True
            except ArchiveError as error:
                doubts.append(error)
        if doubts:
            raise doubts[0]
        return False

    def whereis(self, key: str) -> str | None:
        """Where to look at it: the page of its asset, and Neurosift for NWB. The archive itself is hardly asked."""
        # The protocol has no answer for trouble here.
        with contextlib.suppress(MirrorError, OSError):
            if found := self._addresses(key):
                return self._pages.of_key(key, found)
            named = next(filter(None, map(named_file, self.annex.geturls(key, "dandi:"))), None)
            return self._pages.of_name(named, self._archives.default, self._glance) if named else None
        return None

    def claimurl(self, url: str) -> bool:
        return named_file(url) is not None

    @answered()
    def checkurl(self, url: str) -> list[dict[str, str | int]]:
        found = self._find(url)
        named = named_file(url)
        assert named is not None
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

    def _addresses(self, key: str) -> list[Address]:
        """Those of servers, which most keys have."""
        return addresses(self.annex.geturls(key, "http"))

    def _named(self, key: str) -> list[FoundFile]:
        """What `dandi:` URLs of a key name."""
        return [self._find(url) for url in self.annex.geturls(key, "dandi:")]

    def _find(self, url: str) -> FoundFile:
        named = named_file(url)
        if named is None:
            raise NotFound(f"not a dandi: URL of a file: {url}", hint="like dandi:000003/0.230629.1955/sub-1/a.nwb")
        api_url = self._archives.default
        try:
            return find(self._archives.client(api_url), named)
        except NotAllowed as error:
            raise self._archives.explained(error, api_url) from None

    def _is_named_file_there(self, key: str) -> bool:
        parsed, urls = _parsed(key), self.annex.geturls(key, "dandi:")
        if not urls:
            raise NotFound(f"no address of {key} at an archive is known here", hint="git annex whereis tells what is")
        for url in urls:
            with contextlib.suppress(NotFound):
                found = self._find(url)
                if parsed is None or (found.size == parsed.size and _digest_may_be(found.sha256, parsed)):
                    return True
        return False

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
    """Whether what stands at an address may be the content of a key. Of plain objects the ETag is their MD5."""
    if key is None:
        return True
    is_other = key.backend in ("MD5", "MD5E") and seen.etag and "-" not in seen.etag and seen.etag != key.digest
    return seen.size == key.size and not is_other


def _digest_may_be(sha256: str | None, key: ParsedKey) -> bool:
    return sha256 is None or key.backend not in ("SHA256", "SHA256E") or sha256 == key.digest


def main() -> None:
    """Talk to git-annex until it closes the pipe."""
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
