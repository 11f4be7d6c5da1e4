"""`remote.log`: the special remotes that a repository's clones are told of."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mirror.annex.logs import WEB_UUID

API_REMOTE = "dandiapi"
_FIRST_SAID = 1_577_836_800
"""2020-01-01: the line is the same in every mirror, and older than anything that a user of a clone changes in it."""

_HOST = re.compile(r"[A-Za-z0-9._-]+(?::[0-9]+)?|\[[0-9A-Fa-f:.]+\](?::[0-9]+)?").fullmatch


def dandiapi_remote(uuid: str, api_host: str) -> bytes:
    """The line of the second web remote, dearer than the first, for the URLs at the archive's API.

    git-annex tries the URLs of one remote in their byte order, so that the API's redirect would be hit before the
    bucket by every download. Both remotes share one UUID (`sameas`): what one has the other has, and a file has one
    copy, not two. It is not enabled by itself: a remote that is hinders `git push` from clones until it is verified.
    """
    if not _HOST(api_host):
        raise ValueError(f"not the name of a host, with or without a port: {api_host!r}")
    # The pattern is a glob, in which the brackets of an IPv6 address would be a set of characters.
    host = api_host.translate({ord("["): "?", ord("]"): "?"})
    fields = {
        "cost": "300",
        "sameas-name": API_REMOTE,
        "sameas-uuid": WEB_UUID,
        "type": "web",
        "urlinclude": f"*//{host}/*",
    }
    settings = " ".join(f"{name}={value}" for name, value in fields.items())
    return f"{uuid} {settings} timestamp={_FIRST_SAID}s\n".encode()


def remote_log(lines: Iterable[bytes]) -> bytes:
    """`remote.log` of these lines, in a fixed order, each once."""
    return b"".join(sorted({line.removesuffix(b"\n") + b"\n" for line in lines}))
