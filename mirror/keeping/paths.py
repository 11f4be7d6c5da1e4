"""Which paths of a version are meant. Pure.

A path means itself and, if it is a folder or a Zarr, all that is in it. `*` and `?` stand for anything within one
name, `**` for any number of names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

_WILD = re.compile(r"(\*\*/?|\*|\?)")
_MEANING = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Whether a path is one of those meant; every path is if nothing in particular is meant."""
    given = [pattern.strip("/") for pattern in patterns]
    if not given:
        return lambda _: True
    # A name may have an asterisk in it: what is written as the path is, is the path.
    found = re.compile("|".join(f"(?:{re.escape(one)}|{_expression(one)})(?:/.*)?" for one in given), re.DOTALL)
    return lambda path: found.fullmatch(path) is not None


def may_hold(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Whether below a folder there may be paths that are meant: those that cannot hold any need not be looked into."""
    given = [[_name(one) for one in pattern.strip("/").split("/")] for pattern in patterns]
    return lambda folder: not given or any(_leads_into(names, folder.split("/")) for names in given)


def _name(pattern: str) -> re.Pattern[str] | None:
    """One name of a pattern; None where it stands for any number of them."""
    return None if "**" in pattern else re.compile(_expression(pattern), re.DOTALL)


def _leads_into(names: Iterable[re.Pattern[str] | None], folder: Iterable[str]) -> bool:
    for name, found in zip(names, folder, strict=False):
        if name is None:
            return True
        if name.fullmatch(found) is None:
            return False
    return True


def _expression(pattern: str) -> str:
    return "".join([_MEANING.get(part) or re.escape(part) for part in _WILD.split(pattern)])
