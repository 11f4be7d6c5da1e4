"""The settings: one model. Where their values are read from is `mirror.config_layers`.

Frozen, complete, and consistent in itself: a `Settings` that exists is valid.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

from mirror.archive.instances import KNOWN_INSTANCES, instance_at


@dataclass(frozen=True)
class Expects:
    """Says, in an error message, what a setting should have been."""

    text: str


def _http_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:  # a bad port raises, too
        raise ValueError("it starts with http:// or https:// and names a host")
    if parts.query or parts.fragment:
        raise ValueError("it ends before any `?` or `#`")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a user name or password has no place in it")
    return url.rstrip("/")


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


def _url_of_instance(name: str) -> str:
    known = KNOWN_INSTANCES.get(name.lower())
    if known is None:
        raise ValueError(
            f"no archive is known as {name!r}, the nearest is `{nearest(name, KNOWN_INSTANCES)}`; "
            "any other needs archive.api_url as well"
        )
    return known.api_url


def _name_of_url(url: str) -> str:
    known = instance_at(url)
    return known.name if known else "custom"


def nearest(word: str, known: Iterable[str]) -> str:
    """The one of `known` that looks most like `word`, either as a whole or by the part after its last dot."""

    def likeness(candidate: str) -> float:
        whole = SequenceMatcher(None, word, candidate).ratio()
        last = SequenceMatcher(None, word.rpartition(".")[2], candidate.rpartition(".")[2]).ratio()
        return max(whole, last - 0.01)  # among equals, the one in the same group

    return max(known, key=likeness)


HttpUrl = Annotated[str, AfterValidator(_http_url)]
# A token's variable is named after the instance: what no shell can set would be of no use.
InstanceName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]*$"), AfterValidator(str.lower)]
RegularExpression = Annotated[str, AfterValidator(_regular_expression)]
DandisetId = Annotated[str, Field(pattern=r"^[0-9]{6}$")]

_BOOL = (Field(strict=True), Expects("true or false"))
_SIZE = (Field(strict=True, ge=0), Expects("a whole number, 0 or more"))
_IDS = "a list of Dandiset identifiers of six digits, such as [000027, 000108]"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Archive(_Section):
    """Which archive is mirrored and how it is reached."""

    instance: Annotated[
        InstanceName,
        Expects("a name of letters, digits and `-`"),
        Field(description="`dandi`, `dandi-sandbox`, `ember-dandi`, `linc`, or any name together with `api_url`"),
    ] = "dandi"
    api_url: Annotated[
        HttpUrl,
        Expects("an http(s) URL"),
        Field(description="where its REST API is; known for the instances above"),
    ] = "https://api.dandiarchive.org/api"
    s3_endpoint: Annotated[
        HttpUrl | None,
        Expects("an http(s) URL, or null"),
        Field(description="where to reach the bucket's S3 API if not at AWS (path style)"),
    ] = None
    s3_version_ids: Annotated[bool, *_BOOL, Field(description="record each blob's S3 version in its URL")] = True
    settle_seconds: Annotated[
        int, *_SIZE, Field(description="how long a published version must have stood still before it is taken")
    ] = 120

    @model_validator(mode="before")
    @classmethod
    def _complete_address(cls, given: Any) -> Any:
        """An instance that is known brings its URL; a URL without a name is looked up, or called `custom`."""
        if not isinstance(given, Mapping):
            return given
        instance, api_url = given.get("instance"), given.get("api_url")
        if isinstance(instance, str) and api_url is None:
            return {**given, "api_url": _url_of_instance(instance)}
        if isinstance(api_url, str) and instance is None:
            return {**given, "instance": _name_of_url(api_url)}
        return given


class Select(_Section):
    """What of the archive is mirrored."""

    dandisets: Annotated[
        Literal["all"] | tuple[DandisetId, ...],
        Expects(f"`all` or {_IDS}"),
        Field(description="`all`, or a list of identifiers"),
    ] = "all"
    exclude: Annotated[tuple[DandisetId, ...], Expects(_IDS), Field(description="identifiers to leave out")] = ()
    assets: Annotated[
        RegularExpression | None,
        Expects("a regular expression, or null"),
        Field(description="only assets in whose path this regular expression is found; null: every asset"),
    ] = None


class TextInGit(_Section):
    """Which text files are stored in git itself, readable and diffable without a download."""

    max_bytes: Annotated[int, *_SIZE, Field(description="text assets up to this size; 0: none")] = 1048576


class Zarr(_Section):
    """How Zarrs are mirrored."""

    hold: Annotated[
        Literal["repository", "manifest", "none"],
        Expects("`repository`, `manifest` or `none`"),
        Field(
            description="`repository`: each is a dataset; `manifest`: a list of its files, from which"
            " `dandi-mirror materialize` writes the dataset; `none`: Zarrs are left out"
        ),
    ] = "repository"
    repository_max_entries: Annotated[
        int | None,
        Field(strict=True, ge=0),
        Expects("a whole number, 0 or more, or null"),
        Field(description="of Zarrs with more files than this, only the manifest; null: however many they have"),
    ] = None


class Settings(_Section):
    """Everything that can be set."""

    archive: Archive = Archive()
    store: Annotated[
        Path,
        AfterValidator(_absolute),
        Expects("a folder"),
        Field(description="where the mirror is; a relative path starts at the current folder, `~` is your home"),
    ] = Path("dandi-mirror")
    select: Select = Select()
    text_in_git: TextInGit = TextInGit()
    zarr: Zarr = Zarr()
    annex_metadata: Annotated[
        bool, *_BOOL, Field(description="species, subject, session and the like as git-annex metadata")
    ] = True
    jobs: Annotated[
        int,
        Field(strict=True, ge=1),
        Expects("a whole number, 1 or more"),
        Field(description="how many Dandisets are worked on at a time"),
    ] = 2

    def flat(self) -> dict[str, object]:
        """Every setting by its dotted name."""
        return {key: _at(self, key) for key in SETTINGS}


def _at(model: BaseModel, key: str) -> object:
    value: object = model
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _settings_of(model: type[BaseModel], prefix: str = "") -> dict[str, FieldInfo]:
    found: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= _settings_of(field.annotation, f"{prefix}{name}.")
        else:
            found[prefix + name] = field
    return found


SETTINGS: Mapping[str, FieldInfo] = _settings_of(Settings)
"""Every setting by its dotted name, with its default and description."""

GROUPS = frozenset(key.split(".")[0] for key in SETTINGS if "." in key)
"""The first half of those names that have two."""
