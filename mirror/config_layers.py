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
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from platformdirs import user_config_path
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from mirror import config_file
from mirror.archive.instances import token_variable
from mirror.config import GROUPS, SETTINGS, Expects, Settings, nearest
from mirror.errors import ConfigError

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


_Layer = dict[str, tuple[object, Origin]]

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
            layer[entry.key] = (entry.value, Origin("file", f"{path}:{entry.line}"))
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
            layer[key] = (_value_in_variable(SETTINGS[key], text), Origin("environment", name))
        except ValueError as exc:
            problems.append(f"environment: {name}: {exc}")
    return layer


def _value_in_variable(field: FieldInfo, text: str) -> object:
    """Text as it stands for what is text (a regular expression is full of YAML's brackets), YAML for the rest."""
    kinds = _kinds(field.annotation)
    if kinds <= {str, Path, NoneType}:
        return None if NoneType in kinds and text == "null" else text
    return config_file.read_value(text)


def _kinds(annotation: object) -> set[object]:
    """The plain types that an annotation allows."""
    if get_origin(annotation) in (Union, UnionType):
        return {kind for choice in get_args(annotation) for kind in _kinds(choice)}
    return _kinds(get_args(annotation)[0]) if get_origin(annotation) is Annotated else {annotation}


def _option_layer(options: Mapping[str, object]) -> _Layer:
    layer: _Layer = {key: (value, Origin("option", OPTIONS[key])) for key, value in options.items()}
    instance, origin = layer.get("archive.instance", (None, None))
    if isinstance(instance, str) and origin and "://" in instance:
        # `-i` takes a URL as well: then that is what was given, and the name follows from it.
        del layer["archive.instance"]
        layer["archive.api_url"] = (instance, origin)
    return layer


def _lay_over(lower: _Layer, upper: _Layer) -> _Layer:
    another = any(key in upper and upper[key][0] != lower.get(key, (None,))[0] for key in _ADDRESS[:2])
    kept = {key: value for key, value in lower.items() if key not in _ADDRESS} if another else lower
    return kept | upper


def _origin(key: str, given: _Layer) -> Origin:
    if key in given:
        return given[key][1]
    follows = {"archive.instance": "archive.api_url", "archive.api_url": "archive.instance"}.get(key)
    return Origin("derived", follows) if follows in given and follows else Origin("default")


# --- what is wrong with them -------------------------------------------------------------------------------------


def _unknown(name: str, known: str) -> str:
    if _SECRET.search(name):
        return (
            f"{name}: a secret has no place in the settings; "
            "a token is read from the environment variable DANDI_API_KEY (other instances: {INSTANCE}_API_KEY)"
        )
    return f"{name}: no such setting; {known}"


def _validated(given: _Layer, problems: list[str]) -> Settings | None:
    nested: dict[str, Any] = {}
    for key, (value, _) in given.items():
        group, _, name = key.rpartition(".")
        (nested.setdefault(group, {}) if group else nested)[name] = value
    try:
        return Settings.model_validate(nested)
    except ValidationError as exc:
        deepest: dict[str, Any] = {}
        for error in exc.errors():  # of a choice of types, each is reported; the deepest knows most
            key = _key_of(error["loc"])
            if key not in deepest or len(error["loc"]) > len(deepest[key]["loc"]):
                deepest[key] = error
        problems += [_wrong(key, error, given) for key, error in deepest.items()]
        return None


def _key_of(loc: tuple[int | str, ...]) -> str:
    key = next((key for n in (2, 1) if (key := ".".join(map(str, loc[:n]))) in SETTINGS), None)
    # What concerns the archive as a whole is about its name: the URL is complete in itself.
    return key or "archive.instance"


def _wrong(key: str, error: Any, given: _Layer) -> str:
    cause = error.get("ctx", {}).get("error")
    if error["loc"] == ("archive",):
        return f"{_origin(key, given)}: {key}: {cause}"
    expected = next(note.text for note in SETTINGS[key].metadata if isinstance(note, Expects))
    because = f": {cause}" if cause else ""
    return f"{_origin(key, given)}: {key}: expected {expected}, not {_shown(error['input'])}{because}"


def _shown(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    text = re.sub(r"//[^/]*@", "//…@", text)  # a URL may hold a password
    return text if len(text) <= 60 else f"{text[:57]}…"
