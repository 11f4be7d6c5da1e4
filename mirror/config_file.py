"""Reading settings out of YAML, keeping the line of each, so that a complaint can say where to look.

Knows YAML, not what the settings mean: `mirror.config` does.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
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


Place = tuple[int | str, ...]
"""Where something is within a value: `(1, "name")` is the name of the second in a list."""


@dataclass(frozen=True)
class Entry:
    """One setting as written."""

    key: str
    """dotted: `archive.instance`"""
    value: object
    line: int
    lines: Mapping[Place, int]
    """where its parts are written"""


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
    try:
        with _loader(text) as loader:
            root = loader.get_single_node()
            if isinstance(root, yaml.MappingNode):
                _read_mapping(loader, root, groups, contents)
            elif root is not None and not _is_null(root):
                contents.problems.append(Problem("expected settings, one `name: value` a line", _line(root)))
    except (yaml.YAMLError, RecursionError) as exc:
        contents.problems.append(_yaml_problem(exc))
    return contents


def read_value(text: str) -> object:
    """One value, as it would be written after the colon. ValueError says what is wrong with it."""
    try:
        with _loader(text) as loader:
            node = loader.get_single_node()
            if node is None:
                return None
            parts = _Parts("", node)
            if parts.problems:
                raise ValueError(parts.problems[0].message)
            return _value(loader, node)
    except (yaml.YAMLError, RecursionError) as exc:
        raise ValueError(_yaml_problem(exc).message) from exc


@contextmanager
def _loader(text: str) -> Iterator[_PlainLoader]:
    loader = _PlainLoader(text)
    try:
        yield loader
    finally:
        loader.dispose()


def _value(loader: _PlainLoader, node: yaml.Node) -> object:
    try:
        return loader.construct_document(node)
    except (ValueError, LookupError, AttributeError, TypeError) as exc:  # `!!int many`
        raise yaml.MarkedYAMLError(
            problem="found a value that its tag does not allow", problem_mark=node.start_mark
        ) from exc


def _read_mapping(loader: _PlainLoader, root: yaml.MappingNode, groups: Collection[str], contents: Contents) -> None:
    first_seen: dict[str, int] = {}
    for key, node, line in _pairs(root, "", groups, contents):
        if key in first_seen:
            contents.problems.append(Problem(f"{key}: written twice, first in line {first_seen[key]}", line))
            continue
        first_seen[key] = line
        if key not in groups:
            parts = _Parts(key, node)
            contents.problems += parts.problems
            if not parts.circular:
                contents.entries.append(Entry(key, _value(loader, node), line, parts.lines))
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


class _Parts:
    """The lines of what a value consists of, and what is wrong with how that is written."""

    def __init__(self, key: str, node: yaml.Node) -> None:
        self._key = key
        self._around: list[yaml.Node] = []
        self._known: set[yaml.Node] = set()
        self.lines: dict[Place, int] = {}
        self.problems: list[Problem] = []
        self.circular = False
        self._read(node, ())

    def _read(self, node: yaml.Node, place: Place) -> None:
        if node in self._around:
            self.circular = True
            self.problems.append(Problem(f"{written(self._key, place)}: holds itself", self.lines[place]))
        elif node not in self._known:  # what an alias repeats was read where it is written
            self._known.add(node)
            self._around.append(node)
            for part, line, child in self._children(node, place):
                self.lines[*place, part] = line
                self._read(child, (*place, part))
            self._around.pop()

    def _children(self, node: yaml.Node, place: Place) -> Iterator[tuple[int | str, int, yaml.Node]]:
        if isinstance(node, yaml.SequenceNode):
            yield from ((number, _line(child), child) for number, child in enumerate(node.value))
        elif isinstance(node, yaml.MappingNode):
            yield from self._members(node, place)

    def _members(self, node: yaml.MappingNode, place: Place) -> Iterator[tuple[str, int, yaml.Node]]:
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            inner = (*place, key.value)
            if inner in self.lines:
                message = f"{written(self._key, inner)}: written twice, first in line {self.lines[inner]}"
                self.problems.append(Problem(message, _line(key)))
            else:
                yield key.value, _line(key), child


def written(key: str, place: Place) -> str:
    """What a part of a setting is called: `publish.hosts[1].name`."""
    return key + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _yaml_problem(exc: yaml.YAMLError | RecursionError) -> Problem:
    if isinstance(exc, RecursionError):
        return Problem("nested too deeply", 1)
    if isinstance(exc, yaml.MarkedYAMLError):
        mark = exc.problem_mark or exc.context_mark
        said = " ".join(part for part in (exc.context, exc.problem) if part)
        return Problem(f"not YAML: {said}", mark.line + 1 if mark else 1)
    return Problem(f"not YAML: {' '.join(str(exc).split())}", 1)
