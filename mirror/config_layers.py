"""Where the settings come from: layers, laid one over the other, with the origin of every value kept.

1. the defaults of `mirror.config.Settings`;
2. one file: the one named with `-c`, else by the variable `DANDI_MIRROR_CONFIG`, else `./dandi-mirror.yaml`,
   else `dandi-mirror/config.yaml` in the user's configuration folder (`$XDG_CONFIG_HOME`, usually `~/.config`);
3. environment variables: `DANDI_MIRROR_STORE`, `DANDI_MIRROR_ARCHIVE__INSTANCE` (two underscores go one level down);
4. options of the command line.

`archive.instance`, `archive.api_url` and `archive.s3_endpoint` together name one archive. A layer that names another
archive than the layers before it starts afresh: nothing of theirs is mixed in, so no token goes to a host that it was
not meant for.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from platformdirs import user_config_path
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from mirror import config_file
from mirror.archive.instances import token_variable
from mirror.config import GROUPS, ITEMS, SETTINGS, Settings
from mirror.config_file import Place, written
from mirror.config_values import Expects, WrongWithin
from mirror.errors import ConfigError
from mirror.nearest import nearest

VARIABLE_PREFIX = "DANDI_MIRROR_"
CONFIG_VARIABLE = "DANDI_MIRROR_CONFIG"
LOCAL_FILE = "dandi-mirror.yaml"
OPTIONS: Mapping[str, str] = {"archive.instance": "-i", "store": "--store", "jobs": "-J"}
"""The settings that have an option of their own on the command line."""


def variable_of(key: str) -> str:
    """The environment variable for a setting."""
    return VARIABLE_PREFIX + key.replace(".", "__").upper()


@dataclass(frozen=True)
class Origin:
    """Where a value was set."""

    kind: Literal["default", "derived", "file", "environment", "option"]
    place: str = ""
    """`dandi.yaml:3`, a variable's name, an option; for a derived value, the setting it follows from"""

    def __str__(self) -> str:
        words = {"default": "default", "derived": "from", "file": "", "environment": "variable", "option": "option"}
        return f"{words[self.kind]} {self.place}".strip()


@dataclass(frozen=True)
class Loaded:
    """The settings in force, and where each came from."""

    settings: Settings
    origins: Mapping[str, Origin]
    file: Path | None
    """the configuration file that was read, if any"""

    @property
    def token_variable(self) -> str:
        """The environment variable that may hold a token for this archive."""
        return token_variable(self.settings.archive.instance)


@dataclass(frozen=True)
class _Given:
    """A value that a layer gives."""

    value: object
    origin: Origin
    parts: Mapping[Place, Origin] = field(default_factory=dict)
    """where what is in it was set, if that can be told"""

    def origin_of(self, place: Place) -> Origin:
        around = (place[:length] for length in range(len(place), 0, -1))
        return next((self.parts[outer] for outer in around if outer in self.parts), self.origin)


_Layer = dict[str, _Given]

_ADDRESS = ("archive.instance", "archive.api_url", "archive.s3_endpoint")
_SECRET = re.compile(r"token|passw|secret|credential|api_?key", re.IGNORECASE)


def load(file: Path | None = None, options: Mapping[str, object] | None = None) -> Loaded:
    """The settings in force, from `file` (or the usual places), the environment, and `options` by dotted name.

    Raises one ConfigError that tells everything that is wrong.
    """
    problems: list[str] = []
    found = _find_file(file)
    given: _Layer = {}
    for layer in (
        _file_layer(found, problems) if found else {},
        _environment_layer(problems),
        _option_layer(options or {}),
    ):
        given = _lay_over(given, layer)
    settings = _validated(given, problems)
    if settings is None or problems:
        raise ConfigError("\n".join(problems), hint="`dandi-mirror config show --help` tells where settings are read")
    return Loaded(settings, {key: _origin(key, given) for key in SETTINGS}, found)


def _find_file(named: Path | None) -> Path | None:
    if named is not None:
        return named
    if variable := os.environ.get(CONFIG_VARIABLE):
        return Path(variable).expanduser()
    usual = (Path(LOCAL_FILE), user_config_path("dandi-mirror") / "config.yaml")
    return next((path for path in usual if path.is_file()), None)


def _file_layer(path: Path, problems: list[str]) -> _Layer:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: not a text in UTF-8") from exc
    contents = config_file.read(text, GROUPS)
    complaints = [(problem.line, problem.message) for problem in contents.problems]
    layer: _Layer = {}
    for entry in contents.entries:
        if entry.key in SETTINGS:
            parts = {place: Origin("file", f"{path}:{line}") for place, line in entry.lines.items()}
            layer[entry.key] = _Given(entry.value, Origin("file", f"{path}:{entry.line}"), parts)
        else:
            known = f"the nearest known one is `{nearest(entry.key, {*SETTINGS, *GROUPS})}`"
            complaints.append((entry.line, _unknown(entry.key, known)))
    problems += [f"{path}:{line}: {message}" for line, message in sorted(complaints)]
    return layer


def _environment_layer(problems: list[str]) -> _Layer:
    by_variable = {variable_of(key): key for key in SETTINGS}
    layer: _Layer = {}
    for name, text in sorted(os.environ.items()):
        if not name.startswith(VARIABLE_PREFIX) or name == CONFIG_VARIABLE or not text:
            continue
        key = by_variable.get(name)
        if key is None:
            problems.append(f"environment: {_unknown(name, f'the nearest known one is {nearest(name, by_variable)}')}")
            continue
        try:
            layer[key] = _Given(_value_in_variable(SETTINGS[key], text), Origin("environment", name))
        except ValueError as exc:
            problems.append(f"environment: {name}: {exc}")
    return layer


def _value_in_variable(setting: FieldInfo, text: str) -> object:
    """Text as it stands for what is text (a regular expression is full of YAML's brackets), YAML for the rest."""
    kinds = _kinds(setting.annotation)
    if kinds <= {str, Path, NoneType}:
        return None if NoneType in kinds and text == "null" else text
    return config_file.read_value(text)


def _kinds(annotation: object) -> set[object]:
    """The plain types that an annotation allows."""
    if get_origin(annotation) in (Union, UnionType):
        return {kind for choice in get_args(annotation) for kind in _kinds(choice)}
    return _kinds(get_args(annotation)[0]) if get_origin(annotation) is Annotated else {annotation}


def _option_layer(options: Mapping[str, object]) -> _Layer:
    layer = {key: _Given(value, Origin("option", OPTIONS[key])) for key, value in options.items()}
    instance = layer.get("archive.instance")
    if instance and isinstance(instance.value, str) and "://" in instance.value:
        # `-i` takes a URL as well: then that is what was given, and the name follows from it.
        layer["archive.api_url"] = layer.pop("archive.instance")
    return layer


def _lay_over(lower: _Layer, upper: _Layer) -> _Layer:
    another = any(key in upper and (key not in lower or upper[key].value != lower[key].value) for key in _ADDRESS[:2])
    kept = {key: value for key, value in lower.items() if key not in _ADDRESS} if another else lower
    return kept | upper


def _origin(key: str, given: _Layer) -> Origin:
    if key in given:
        return given[key].origin
    follows = {"archive.instance": "archive.api_url", "archive.api_url": "archive.instance"}.get(key)
    return Origin("derived", follows) if follows in given and follows else Origin("default")


# --- what is wrong with them -------------------------------------------------------------------------------------


def _unknown(name: str, known: str) -> str:
    if not _SECRET.search(name):
        return f"{name}: no such setting; {known}"
    if "publish" in name.lower():
        return (
            f"{name}: a secret has no place in the settings; "
            "a host's token is read from the environment variable that its `token_variable` names"
        )
    return (
        f"{name}: a secret has no place in the settings; "
        "a token is read from the environment variable DANDI_API_KEY (other instances: {INSTANCE}_API_KEY)"
    )


def _validated(given: _Layer, problems: list[str]) -> Settings | None:
    nested: dict[str, Any] = {}
    for key, one in given.items():
        group, _, name = key.rpartition(".")
        (nested.setdefault(group, {}) if group else nested)[name] = one.value
    try:
        return Settings.model_validate(nested)
    except ValidationError as exc:
        deepest: dict[tuple[str, Place], Any] = {}
        for error in exc.errors():  # of a choice of types, each is reported; the deepest knows most
            where = _where(error["loc"])
            if where not in deepest or len(error["loc"]) > len(deepest[where]["loc"]):
                deepest[where] = error
        problems += [_wrong(*where, error, given) for where, error in deepest.items()]
        return None


def _where(loc: Place) -> tuple[str, Place]:
    """The setting, and where within it, if it is a list of things with settings of their own."""
    length = next((length for length in (2, 1) if ".".join(map(str, loc[:length])) in SETTINGS), 0)
    # What concerns the archive as a whole is about its name: the URL is complete in itself.
    key = ".".join(map(str, loc[:length])) or "archive.instance"
    return key, loc[length : length + 2] if key in ITEMS else ()


def _wrong(key: str, place: Place, error: Any, given: _Layer) -> str:
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, WrongWithin):
        place = (*place, *cause.place)
    origin = given[key].origin_of(place) if key in given else _origin(key, given)
    if len(place) > 1 and place[1] not in ITEMS[key].model_fields:
        near = nearest(str(place[1]), ITEMS[key].model_fields)
        return f"{origin}: {_unknown(written(key, place), f'the nearest known one is `{near}`')}"
    if isinstance(cause, WrongWithin) or error["loc"] == ("archive",):
        return f"{origin}: {written(key, place)}: {cause}"
    if error["type"] == "missing":
        return f"{origin}: {written(key, place)} is missing: expected {_expected(key, place)}"
    because = f": {cause}" if cause else ""
    return f"{origin}: {written(key, place)}: expected {_expected(key, place)}, {_not(place, error['input'])}{because}"


def _expected(key: str, place: Place) -> str:
    match place:
        case ():
            setting = SETTINGS[key]
        case (_,):
            needed = (f"`{name}`" for name, part in ITEMS[key].model_fields.items() if part.is_required())
            return f"settings of its own, at least {' and '.join(needed)}"
        case _:
            setting = ITEMS[key].model_fields[str(place[1])]
    return next(note.text for note in setting.metadata if isinstance(note, Expects))


def _not(place: Place, value: object) -> str:
    if place and _SECRET.search(str(place[-1])):
        return "not what is there (it may be a secret, so it is not shown)"
    return f"not {_shown(value)}"


def _shown(value: object) -> str:
    text = json.dumps(_without_secrets(value), default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _without_secrets(value: object) -> object:
    match value:
        case dict():
            return {str(key): "…" if _SECRET.search(str(key)) else _without_secrets(one) for key, one in value.items()}
        case list():
            return [_without_secrets(one) for one in value]
        case str():
            text = re.sub(r"//[^/]*@", "//…@", value)  # a URL may hold a password
            return re.sub(r"([?&#][^=&]*=)[^&]*", r"\1…", text)
        case _:
            return value
