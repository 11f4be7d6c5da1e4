"""The settings: one model. Where their values are read from is `mirror.config_layers`.

Frozen, complete, and consistent in itself: a `Settings` that exists is valid.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, Field, model_validator
from pydantic.fields import FieldInfo

from mirror.archive.instances import KNOWN_INSTANCES, instance_at
from mirror.config_keeping import BackupRemote, ContentRule, Verify
from mirror.config_publish import Host, Publish, Superdataset
from mirror.config_unattended import Executor, MetricsAddress, Schedule, ShellCommand, split_address
from mirror.config_values import (
    BOOL,
    IDENTIFIERS,
    SIZE,
    AbsolutePath,
    DandisetId,
    EmptyIsNone,
    Expects,
    HttpUrl,
    InstanceName,
    RegularExpression,
    Section,
    each_named_once,
)
from mirror.nearest import nearest

__all__ = [
    "GROUPS",
    "ITEMS",
    "SETTINGS",
    "Archive",
    "BackupRemote",
    "ContentRule",
    "Host",
    "Publish",
    "Schedule",
    "Select",
    "Settings",
    "Superdataset",
    "TextInGit",
    "Verify",
    "Zarr",
]


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


class Archive(Section):
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
    s3_version_ids: Annotated[bool, *BOOL, Field(description="record each blob's S3 version in its URL")] = True
    settle_seconds: Annotated[
        int, *SIZE, Field(description="how long a published version must have stood still before it is taken")
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


class Select(Section):
    """What of the archive is mirrored."""

    dandisets: Annotated[
        Literal["all"] | tuple[DandisetId, ...],
        Expects(f"`all` or {IDENTIFIERS}"),
        Field(description="`all`, or a list of identifiers"),
    ] = "all"
    exclude: Annotated[
        tuple[DandisetId, ...], EmptyIsNone, Expects(IDENTIFIERS), Field(description="identifiers to leave out")
    ] = ()
    assets: Annotated[
        RegularExpression | None,
        Expects("a regular expression, or null"),
        Field(description="only assets in whose path this regular expression is found; null: every asset"),
    ] = None
    embargoed: Annotated[
        bool,
        *BOOL,
        Field(description="also embargoed Dandisets that the token's owner may see, see [Embargo](#embargo)"),
    ] = False

    def includes(self, identifier: str) -> bool:
        """Whether a Dandiset is selected."""
        return (self.dandisets == "all" or identifier in self.dandisets) and identifier not in self.exclude

    @property
    def which(self) -> str:
        """Which Dandisets are selected, as a text that is the same for the same ones."""
        these = "all" if self.dandisets == "all" else " ".join(sorted(set(self.dandisets)))
        return f"{these} but {' '.join(sorted(set(self.exclude)))}" if self.exclude else these


class TextInGit(Section):
    """Which text files are stored in git itself, readable and diffable without a download."""

    max_bytes: Annotated[int, *SIZE, Field(description="text assets up to this size; 0: none")] = 1048576


class Zarr(Section):
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


class Settings(Section):
    """Everything that can be set."""

    archive: Archive = Archive()
    store: Annotated[
        AbsolutePath,
        Expects("a folder"),
        Field(description="where the mirror is; a relative path starts at the current folder, `~` is your home"),
    ] = Path("dandi-mirror")
    select: Select = Select()
    text_in_git: TextInGit = TextInGit()
    zarr: Zarr = Zarr()
    superdatasets: Annotated[
        tuple[Superdataset, ...],
        EmptyIsNone,
        AfterValidator(each_named_once),
        Expects("a list of superdatasets, each with a name and a query, such as {name: mice, where: species ~ mouse}"),
        Field(description="superdatasets besides `dandisets`, see [Superdatasets](#superdatasets)"),
    ] = ()
    publish: Publish = Publish()
    content: Annotated[
        tuple[ContentRule, ...],
        EmptyIsNone,
        Expects("a list of rules, such as {where: species ~ mouse, versions: latest, budget: 2TB}"),
        Field(description="what content the daemon keeps in the store, see [Keeping copies](#keeping-copies)"),
    ] = ()
    backup: Annotated[
        tuple[BackupRemote, ...],
        EmptyIsNone,
        AfterValidator(each_named_once),
        Expects("a list of special remotes, each with a name, a type and its options"),
        Field(description="special remotes that `dandi-mirror backup` copies content to, see [Backup](#backup)"),
    ] = ()
    verify: Verify = Verify()
    annex_metadata: Annotated[
        bool, *BOOL, Field(description="species, subject, session and the like as git-annex metadata")
    ] = True
    jobs: Annotated[
        int,
        Field(strict=True, ge=1),
        Expects("a whole number, 1 or more"),
        Field(description="how many Dandisets are worked on at a time"),
    ] = 2
    executor: Annotated[
        Executor,
        Expects("`local`, or the address of a scheduler, such as dask://scheduler:8786"),
        Field(description="`local`: this machine; `dask://host:port`: the workers of a Dask scheduler"),
    ] = "local"
    schedule: Schedule = Schedule()
    stop_seconds: Annotated[
        int, *SIZE, Field(description="how long `dandi-mirror run` may go on with a Dandiset when asked to stop")
    ] = 60
    alarm_after: Annotated[
        int,
        Field(strict=True, ge=1),
        Expects("a whole number, 1 or more"),
        Field(description="a Dandiset that failed so often in a row is listed first"),
    ] = 5
    metrics: Annotated[
        MetricsAddress | None,
        Expects("a port on this machine, such as 127.0.0.1:9464, or null"),
        Field(description="where `dandi-mirror run` answers `/metrics` and `/healthz`"),
    ] = None
    on_failure: Annotated[
        ShellCommand | None,
        Expects("a shell command, or null"),
        Field(description="a shell command that is given a report, as JSON, of what failed"),
    ] = None

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        return split_address(self.metrics) if self.metrics is not None else None

    def flat(self) -> dict[str, object]:
        """Every setting by its dotted name. What has settings of its own is a dictionary, without its defaults."""
        return {key: _plain(_at(self, key)) for key in SETTINGS}


def _at(model: BaseModel, key: str) -> object:
    value: object = model
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _plain(value: object) -> object:
    if not isinstance(value, tuple):
        return value
    return tuple(item.model_dump(exclude_defaults=True) if isinstance(item, Section) else item for item in value)


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


def _items_of(field: FieldInfo) -> type[Section] | None:
    item, *_ = (*get_args(field.annotation), None)
    return item if isinstance(item, type) and issubclass(item, Section) else None


ITEMS: Mapping[str, type[Section]] = {key: item for key, field in SETTINGS.items() if (item := _items_of(field))}
"""The settings that are lists of things with settings of their own: `publish.hosts` of `Host`."""
