"""Bytes that the archive has let go of: withdrawn from the git-annex branch once they are really gone.

What a draft loses stays in the bucket for some weeks; until then people can still get the earlier state they cloned.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from mirror.annex import logs
from mirror.annex.keys import sha256e_key
from mirror.archive.addresses import AssetAddress, address
from mirror.archive.bucket import content_url_allowed
from mirror.dataset.assets import ANNEXED
from mirror.errors import ArchiveError
from mirror.git.objects import Oid
from mirror.git.reader import Objects
from mirror.sync.branch import BranchWriter, KeyFacts
from mirror.sync.connection import Connection
from mirror.sync.keys import Facts, read_record, stored_lines
from mirror.sync.mirrored import Tip
from mirror.sync.observe import Observation

_DOWNLOAD = "/assets/"
"""is in the address of a download at the archive's API, and in none of the bucket's"""


def let_go(
    objects: Objects, branch: BranchWriter, previous: Tip | None, seen: Observation, *, embargoed: bool = False
) -> dict[str, str]:
    """S3 addresses that the previous draft used and that nothing names any more, each with its key; of one that is
    `embargoed` those of downloads, too, as most of its keys have no other.

    What was published stays with the archive for ever, so only unpublished assets are looked at.
    """
    if previous is None:
        return {}
    unpublished = [
        path
        for path, held in previous.assets.items()
        if held.kind == ANNEXED
        and not held.published
        and ((now := seen.assets.get(path)) is None or now.blob != held.blob)
    ]
    if not unpublished:
        return {}
    still = {held.blob for held in seen.assets.values()}
    lost = [path for path in unpublished if previous.assets[path].blob not in still]
    found: dict[str, str] = {}
    for line in stored_lines(objects, previous.tree, previous.assets, lost).values():
        record = read_record(line)
        key = sha256e_key(record.path, record.size, record.sha256)
        blob = record.blob
        found |= {
            url: key
            for url in branch.urls(key)
            if (blob is not None and blob in url) or (embargoed and _DOWNLOAD in url)
        }
    return found


def _is_gone(connection: Connection, url: str) -> bool:
    try:
        if isinstance(download := address(url), AssetAddress):
            return connection.content.look(download) is None
        return content_url_allowed(url, connection.hosts) and not connection.bucket.exists(url)
    except ArchiveError:
        # Not known is not gone: it is asked for again next time.
        return False


def forgotten(objects: Objects, branch: Oid, kept: Container[str | None], *, embargoed: bool = False) -> dict[str, str]:
    """S3 addresses on the git-annex branch whose blob is none of the `kept`, each with its key; of one that is
    `embargoed` those of downloads, too, whose asset is none of them.

    What `let_go` told once, found again when the marks were lost.
    """
    found: dict[str, str] = {}
    for path, entry in objects.list_tree(branch):
        if not path.endswith(b".log.web"):
            continue
        key = path.rpartition(b"/")[2].removesuffix(b".log.web").decode()
        for log in logs.present(objects.blob(entry.oid)):
            url = log.decode()
            if (embargoed or _DOWNLOAD not in url) and _id_in(url) not in kept:
                found[url] = key
    return found


def _id_in(url: str) -> str:
    """The id of the asset, or of the blob, that an address is of."""
    download = address(url)
    return download.asset_id if isinstance(download, AssetAddress) else url.partition("?")[0].rpartition("/")[2]


def withdraw(connection: Connection, leaving: Mapping[str, str], branch: BranchWriter, facts: Facts) -> dict[str, str]:
    """Ask for each address that is being let go of; withdraw those that are gone. What is left of `leaving`."""
    remaining = dict(leaving)
    for url, key in leaving.items():
        if not _is_gone(connection, url):
            continue
        del remaining[url]
        known = facts.setdefault(key, KeyFacts())
        known.gone = (*known.gone, url)
        others = branch.urls(key) - set(known.gone)
        # Without the bytes, the download address of the asset that had them leads nowhere, too.
        if not known.urls and all(_DOWNLOAD in other for other in others):
            known.gone = (*known.gone, *sorted(others))
    return remaining
