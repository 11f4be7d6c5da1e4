"""Reading settings out of YAML, keeping the line of each, so that a complaint can say where to look.

Knows YAML, not what the settings mean: `mirror.config` does.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import yaml


class _PlainLoader(yaml.SafeLoader):
    """Reads unquoted words as YAML 1.2 does.

    YAML 1.1, which PyYAML follows, takes `000027` for the octal number 23, `no` for false and `12:30` for 750.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own way


_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789")
)
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?$"), list("-+0123456789")
)


@dataclass(frozen=True)
class Entry:
    """One setting as written."""

    key: str
    """dotted: `archive.instance`"""
    value: object
    line: int


@dataclass(frozen=True)
class Problem:
    message: str
    line: int


@dataclass
class Contents:
    """What a file says, and what is wrong with how it says it."""

    entries: list[Entry] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read(text: str, groups: Collection[str]) -> Contents:
    """The settings in `text`. What stands under a key of `groups` is read as settings, anything else as a value."""
    contents = Contents()
    loader: _PlainLoader | None = None
    try:
        loader = _PlainLoader(text)
        root = loader.get_single_node()
        if root is None or _is_null(root):
            return contents
        if not isinstance(root, yaml.MappingNode):
            contents.problems.append(Problem("expected settings, one `name: value` a line", _line(root)))
            return contents
        _read_mapping(loader, root, groups, contents)
    except yaml.YAMLError as exc:
        contents.problems.append(_yaml_problem(exc))
    finally:
        if loader is not None:
            loader.dispose()
    return contents


def read_value(text: str) -> object:
    """One value, as it would be written after the colon. ValueError says what is wrong with it."""
    try:
        return yaml.load(text, _PlainLoader)
    except yaml.YAMLError as exc:
        raise ValueError(_yaml_problem(exc).message) from exc


def _read_mapping(loader: _PlainLoader, root: yaml.MappingNode, groups: Collection[str], contents: Contents) -> None:
    first_seen: dict[str, int] = {}
    for key, node, line in _pairs(root, "", groups, contents):
        if key in first_seen:
            contents.problems.append(Problem(f"{key}: written twice, first in line {first_seen[key]}", line))
            continue
        first_seen[key] = line
        if key not in groups:
            contents.entries.append(Entry(key, loader.construct_document(node), line))
        elif not isinstance(node, yaml.MappingNode) and not _is_null(node):
            contents.problems.append(Problem(f"{key}: a group of settings: write them below it, indented", line))


def _pairs(
    mapping: yaml.MappingNode, prefix: str, groups: Collection[str], contents: Contents
) -> Iterator[tuple[str, yaml.Node, int]]:
    for key_node, node in mapping.value:
        if not isinstance(key_node, yaml.ScalarNode):
            contents.problems.append(Problem("expected the name of a setting", _line(key_node)))
            continue
        key = prefix + key_node.value
        yield key, node, _line(key_node)
        if key in groups and isinstance(node, yaml.MappingNode):
            yield from _pairs(node, f"{key}.", groups, contents)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _yaml_problem(exc: yaml.YAMLError) -> Problem:
    if isinstance(exc, yaml.MarkedYAMLError):
        mark = exc.problem_mark or exc.context_mark
        said = " ".join(part for part in (exc.context, exc.problem) if part)
        return Problem(f"not YAML: {said}", mark.line + 1 if mark else 1)
    return Problem(f"not YAML: {' '.join(str(exc).split())}", 1)
