"""Looking at what the archive has of a content, by the addresses that are recorded of it. Nothing is downloaded."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from mirror.annex.keys import parse_key
from mirror.archive.addresses import Address, ObjectAddress, addresses
from mirror.archive.content import Content, Seen
from mirror.archive.s3 import content_url_allowed
from mirror.errors import ArchiveError, NotAllowed, Unreachable
from mirror.proving.rate import Rate
from mirror.store.ledger import Found

_IN_PARTS = re.compile(r"[0-9a-f]{32}-([0-9]+)").fullmatch
_MD5 = re.compile(r"[0-9a-f]{32}").fullmatch
_WORST_LAST = (Found.OK, Found.NON_CURRENT, Found.CHANGED, Found.GONE)

SAID = {
    Found.OK: "",
    Found.NON_CURRENT: "the archive has it only as a version that is not today's; such versions are deleted after a"
    " time",
    Found.GONE: "the archive does not have it any more",
    Found.CHANGED: "the archive has something else there",
    Found.DAMAGED: "is damaged",
}
"""What is told of a content, where no more is known."""


class Looked(NamedTuple):
    """What the archive has of a content. `NEVER`: no answer was had."""

    found: Found
    message: str = ""
    unreachable: bool = False


@dataclass(frozen=True)
class Looker:
    """Looks at contents. May be shared among threads."""

    content: Content
    hosts: Collection[str]
    """those of the archive: what else is recorded is somebody's own affair, and not asked"""
    rate: Rate

    def look(self, key: str, urls: Iterable[str], etag: str = "") -> Looked:
        """The best that is found at the recorded addresses: objects of the bucket or, where none is open, the API.

        `etag`: what the archive's record says of the bytes.
        """
        found = [one for one in addresses(urls) if not isinstance(one, ObjectAddress) or self._is_ours(one)]
        objects = [one for one in found if isinstance(one, ObjectAddress)]
        answers: list[Looked] = []
        asks_api = not objects
        for address in found:  # the objects come first
            if not isinstance(address, ObjectAddress) and not asks_api:
                break
            try:
                answer = self._at(key, address, etag)
            except ArchiveError as error:
                # That of a Dandiset which came under embargo is open no more.
                asks_api = asks_api or isinstance(error, NotAllowed)
                answer = Looked(Found.NEVER, str(error), isinstance(error, Unreachable))
            if answer.found is Found.OK:
                return answer
            answers.append(answer)
        # A place that did not answer may be one that has it.
        silent = next((answer for answer in answers if answer.found is Found.NEVER), None)
        if silent is not None:
            return silent
        if not answers:
            # Nobody said that it is gone.
            return Looked(Found.NEVER, "no address of it in this archive is recorded")
        return min(answers, key=lambda answer: _WORST_LAST.index(answer.found))

    def version(self, key: str, url: str) -> Looked:
        """The same of one version of an object, of which it is known that it is not today's."""
        try:
            self.rate.wait()
            return _old(key, self.content.look(ObjectAddress(url)))
        except ArchiveError as error:
            return Looked(Found.NEVER, str(error), isinstance(error, Unreachable))

    def _is_ours(self, address: ObjectAddress) -> bool:
        return content_url_allowed(address.url, self.hosts)

    def _at(self, key: str, address: Address, etag: str) -> Looked:
        self.rate.wait()
        if not isinstance(address, ObjectAddress):
            return _judged(key, self.content.look(address), etag)
        version = version_in(address.url)
        seen = self.content.look(address, current=True)
        if version is None or (seen is not None and seen.version_id == version):
            return _judged(key, seen, etag)
        self.rate.wait()
        return _old(key, self.content.look(address), etag)


def version_in(url: str) -> str | None:
    """The version that an address names."""
    return parse_qs(urlsplit(url).query).get("versionId", [None])[-1]


def _old(key: str, seen: Seen | None, etag: str = "") -> Looked:
    judged = _judged(key, seen, etag)
    if judged.found is not Found.OK:
        return judged
    return Looked(Found.NON_CURRENT, SAID[Found.NON_CURRENT])


def _judged(key: str, seen: Seen | None, etag: str = "") -> Looked:
    """What is there, held against what its key and its record say of it."""
    if seen is None:
        return Looked(Found.GONE, SAID[Found.GONE])
    parsed = parse_key(key)
    if seen.size != parsed.size:
        return Looked(Found.CHANGED, f"has {seen.size} bytes there, not {parsed.size}")
    # Of what was uploaded in parts, the ETag is no MD5, and says so by a dash.
    if parsed.backend in ("MD5", "MD5E") and seen.etag and _MD5(seen.etag) and seen.etag != parsed.digest:
        return Looked(Found.CHANGED, f"has the MD5 {seen.etag} there, not {parsed.digest}")
    if seen.etag and seen.etag != etag and _parts(seen.etag) is not None and _parts(seen.etag) == _parts(etag):
        return Looked(Found.CHANGED, f"has the ETag {seen.etag} there, not {etag}")
    return Looked(Found.OK)


def _parts(etag: str) -> str | None:
    """In how many parts it was uploaded; those of the same bytes in other parts have another ETag."""
    found = _IN_PARTS(etag)
    return found[1] if found else None
