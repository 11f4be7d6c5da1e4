"""`/dandisets/`: filters, orders and pages."""

from __future__ import annotations

from collections.abc import Callable

from mirror.demo import records
from mirror.demo.model import Dandiset, User
from mirror.demo.paging import boolean, page_of
from mirror.demo.problems import Problem
from mirror.demo.publishing import Publishing

_EMBARGO_NEEDS_TOKEN = "Authentication credentials must be provided when attempting to access embargoed dandisets"
_ORDERS: dict[str, Callable[[Dandiset], str | int]] = {
    "id": lambda dandiset: dandiset.identifier,
    "name": lambda dandiset: str(dandiset.draft.stored.get("name", "")),
    "modified": lambda dandiset: dandiset.draft.modified,
    "size": lambda dandiset: dandiset.draft.size,
    "created": lambda dandiset: dandiset.created,
}


def dandisets_page(archive: Publishing, user: User | None, parameters: dict[str, str], address: str) -> bytes:
    drafts, empty = boolean(parameters, "draft", True), boolean(parameters, "empty", True)
    embargoed = boolean(parameters, "embargoed", False)
    if embargoed and user is None:
        raise Problem(401, _EMBARGO_NEEDS_TOKEN)
    mine = parameters.get("user") == "me"
    words = parameters.get("search", "").lower().split()

    def shown(dandiset: Dandiset) -> bool:
        owned = user is not None and user.username in dandiset.owners
        return (
            (dandiset.is_open or (embargoed and owned))
            and (owned or not mine)
            and (drafts or bool(dandiset.published))
            and (empty or bool(dandiset.draft.assets))
            and all(word in _searched(dandiset) for word in words)
        )

    dandisets = [dandiset for dandiset in archive.dandisets.values() if shown(dandiset)]
    ordering = parameters.get("ordering", "id")
    # An order the archive does not know is ignored, as is a parameter.
    if key := _ORDERS.get(ordering.removeprefix("-")):
        dandisets.sort(key=key, reverse=ordering.startswith("-"))
    return page_of(dandisets, records.dandiset_summary_json, parameters, address)


def _searched(dandiset: Dandiset) -> str:
    stored = dandiset.draft.stored
    return f"{dandiset.identifier} {stored.get('name', '')} {stored.get('description', '')}".lower()
