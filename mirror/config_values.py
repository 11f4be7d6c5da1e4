"""What the settings are made of: kinds of values, each with what is said of a wrong one."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from mirror.dataset.identity import ALL_DANDISETS
from mirror.dataset.query import Query
from mirror.errors import QueryError


class Section(BaseModel):
    """A group of settings, or one thing in a list of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


@dataclass(frozen=True)
class Expects:
    """Says, in an error message, what a setting should have been."""

    text: str


class WrongWithin(ValueError):
    """Something is wrong at a `place` within the value that is being looked at. The message is enough to see what."""

    def __init__(self, place: tuple[int | str, ...], message: str) -> None:
        super().__init__(message)
        self.place = place


def _http_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:  # a bad port raises, too
        raise ValueError("it starts with http:// or https:// and names a host")
    if parts.query or parts.fragment:
        raise ValueError("it ends before any `?` or `#`")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a user name or password has no place in it")
    return url.rstrip("/")


def _host_url(url: str) -> str:
    if url.startswith(("http://", "https://")):
        return _http_url(url)
    parts = urlsplit(url)
    if parts.port == 0:  # a bad port raises, too
        raise ValueError("no address has the port 0")
    if parts.password is not None:
        raise ValueError("a password or token has no place in it")
    if not url.isprintable() or url.startswith("-"):
        raise ValueError("no address has control characters, or begins with `-`")
    return url.rstrip("/") or "/"


_ELSEWHERE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|[^/]+:")


def is_a_path(url: str) -> bool:
    """Whether git takes it for a path, not for a URL or `host:path`."""
    return not _ELSEWHERE.match(url)


def absolute_path(text: str) -> str:
    """A path as seen from the current folder, `~` being home. Whatever runs later may run elsewhere."""
    return str(_absolute(Path(text)))


def is_a_store(url: str) -> bool:
    """Whether it is an address as DataLad has them for stores that one can write to: a path, file:// or ssh://."""
    if is_a_path(url):
        return True
    parts = urlsplit(url.removeprefix("ria+"))
    return bool(parts.path.strip("/")) and (
        (parts.scheme == "ssh" and bool(parts.hostname)) or (parts.scheme == "file" and not parts.netloc)
    )


def _regular_expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as exc:
        raise ValueError(str(exc)) from exc
    if not pattern.isprintable():
        raise ValueError("control characters and line breaks are written as escapes, such as \\n")
    return pattern


def _absolute(path: Path) -> Path:
    try:
        return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - resolve() would follow symlinks
    except RuntimeError as exc:  # ~nobody
        raise ValueError(str(exc)) from exc


def _query(text: str) -> str:
    try:
        Query.parse(text)
    except QueryError as exc:
        raise WrongWithin((), str(exc)) from exc  # which shows the query
    return text


_LIKE_A_ZARR = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _free_name(name: str) -> str:
    if name == ALL_DANDISETS:
        raise ValueError(f"`{ALL_DANDISETS}` is the superdataset of all Dandisets, which is always there")
    if name.replace("-", "").isdigit() or _LIKE_A_ZARR.fullmatch(name):
        raise ValueError("it would be taken for a Dandiset or a Zarr")
    return name


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_NamedT = TypeVar("_NamedT", bound=_Named)


def each_named_once(items: tuple[_NamedT, ...]) -> tuple[_NamedT, ...]:
    """Refuse a second item of the same name: which of them is meant could not be told."""
    names: set[str] = set()
    for number, item in enumerate(items):
        if item.name in names:
            raise WrongWithin((number, "name"), f"there are two of the name {item.name!r}")
        names.add(item.name)
    return items


HttpUrl = Annotated[str, AfterValidator(_http_url)]
HostUrl = Annotated[str, Field(min_length=1), AfterValidator(_host_url)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
RegularExpression = Annotated[str, AfterValidator(_regular_expression)]
DandisetId = Annotated[str, Field(pattern=r"^[0-9]{6}$")]
# A token's variable is named after the instance: what no shell can set would be of no use.
InstanceName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]*$"), AfterValidator(str.lower)]
DatasetName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$"), AfterValidator(_free_name)]
Where = Annotated[str, AfterValidator(_query)]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
Owner = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")]
# In capitals, as is the custom: a token that somebody puts here instead is none.
VariableName = Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")]

BOOL = (Field(strict=True), Expects("true or false"))
SIZE = (Field(strict=True, ge=0), Expects("a whole number, 0 or more"))
IDENTIFIERS = "a list of Dandiset identifiers of six digits, such as [000027, 000108]"

EmptyIsNone = BeforeValidator(lambda value: () if value is None else value)
"""A list whose last item somebody commented out is an empty one."""
