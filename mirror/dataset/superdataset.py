"""A superdataset: Dandisets as datasets below one, and the tables that say what they are. Pure.

On the branch `draft` each Dandiset stands at its draft; on `releases`, at its latest published version, and everything
there derives from published records alone. The tables have a line for each Dandiset and each version, so that little
changes when little changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha1

from mirror.dataset.facts import Facts
from mirror.dataset.layout import DATALAD_GITATTRIBUTES, datalad_config
from mirror.dataset.submodules import section
from mirror.dataset.times import moment

NUMBER = 1
"""The number of this format. Whoever changes a byte of what is written raises it."""

DANDISETS_FILE = b"dandisets.tsv"
RELEASES_FILE = b"releases.tsv"
README_FILE = b"README.md"
CITATION_FILE = b"CITATION.cff"

_GITATTRIBUTES = b"* annex.largefiles=nothing\n"

_DANDISET_COLUMNS = (
    *("identifier", "name", "latest_version", "doi", "assets", "bytes", "species", "license", "dataset_id", "commit"),
)
_RELEASE_COLUMNS = ("doi", "dandiset", "version", "created", "commit", "assets", "bytes", "citation")
RELEASES_HEAD = ("\t".join(_RELEASE_COLUMNS) + "\n").encode()

Key = tuple[datetime, str, str]


@dataclass(frozen=True)
class Subject:
    """Which superdataset it is."""

    name: str
    instance: str
    """`DANDI`"""
    instance_url: str
    dataset_id: str
    where: str | None = None
    """the query that its Dandisets match; None: all of them"""


@dataclass(frozen=True)
class Member:
    """A Dandiset in a superdataset, at one of its commits."""

    facts: Facts
    commit: str
    dataset_id: str
    latest: Facts | None
    """its latest published version"""

    @property
    def identifier(self) -> str:
        return self.facts.identifier

    @property
    def path(self) -> bytes:
        return self.identifier.encode()


@dataclass(frozen=True)
class Totals:
    """How much there is."""

    dandisets: int
    versions: int
    assets: int
    size: int


def place(facts: Facts) -> Key:
    """Where a published version stands among those of all Dandisets."""
    return moment(facts.created), facts.identifier, facts.version


def fixed_files(subject: Subject) -> dict[bytes, bytes]:
    """The files that are always the same."""
    return {
        b".datalad/.gitattributes": DATALAD_GITATTRIBUTES,
        b".datalad/config": datalad_config(subject.dataset_id),
        b".gitattributes": _GITATTRIBUTES,
    }


def submodule(member: Member) -> bytes:
    """What `.gitmodules` says of a Dandiset."""
    return section(member.path, member.identifier, member.dataset_id)


def dandisets_head(*, draft: bool) -> bytes:
    """The first line of `dandisets.tsv`."""
    return ("\t".join((*_DANDISET_COLUMNS, *(("modified",) if draft else ()))) + "\n").encode()


def dandisets_line(member: Member, *, draft: bool) -> bytes:
    """A Dandiset's line in `dandisets.tsv`."""
    facts, latest = member.facts, member.latest
    cells = [
        facts.identifier,
        facts.name,
        latest.version if latest else "",
        (latest.doi or "") if latest else "",
        str(facts.assets),
        str(facts.size),
        "; ".join(facts.species),
        "; ".join(facts.license),
        member.dataset_id,
        member.commit,
    ]
    return _row([*cells, facts.modified or ""] if draft else cells)


def releases_line(facts: Facts, commit: str) -> bytes:
    """A published version's line in `releases.tsv`."""
    size = (str(facts.assets), str(facts.size))
    return _row(
        [facts.doi or "", facts.identifier, facts.version, facts.created, commit, *size, facts.citation],
    )


def rows(table: bytes) -> list[dict[str, str]]:
    """The lines of one of these tables."""
    head, *lines = table.decode().splitlines()
    columns = head.split("\t")
    return [dict(zip(columns, line.split("\t"), strict=True)) for line in lines]


def _row(cells: Iterable[str]) -> bytes:
    # A cell has neither tabs nor line breaks, of which Unicode knows several.
    return ("\t".join(map(_clean, cells)) + "\n").encode()


# Of C0, C1 and the marks that turn the direction of a line: what a terminal takes for commands. By number, as what
# counts as printable differs between versions of Python.
_COMMANDS = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def _clean(text: str) -> str:
    """Text of the archive's on one line, with nothing in it that a terminal would obey."""
    return " ".join(_COMMANDS.sub("", text).split())


def readme(subject: Subject, totals: Totals, latest: Facts | None, example: str | None, *, draft: bool) -> bytes:
    """`README.md`: what it is, how to use it, how much there is."""
    return _README.format(
        title=title(subject),
        what=_what(subject),
        stand=_ON_DRAFT if draft else _ON_RELEASES,
        example=example or "000027",
        doi=(latest.doi if latest else None) or "10.48324/dandi.000027/0.230629.1955",
        dandisets=f"{totals.dandisets:,}",
        versions=f"{totals.versions:,}",
        assets=f"{totals.assets:,}",
        size=f"{totals.size:,}",
        latest=f"{latest.identifier} {latest.version}, {latest.created[:10]}" if latest else "none yet",
    ).encode()


_README = """\
# {title}

{what}
Each is a DataLad dataset of its own, below this one and named by its identifier; none of them is there until you ask
for it.

    datalad get -n {example}          # its files, as links without their bytes
    datalad get {example}/PATH        # the bytes of what you need of it
    datalad get -n -r .            # all of them
    datalad update -r --how ff-only --follow parentds      # what is new, here and in those that you have

{stand}
A published version's tag, here doi/{doi},
is the state of all that was published at the moment at which that version was. To have it, or the branch `releases`,
clone once more, with `@doi/…` or `@releases` behind the name of this dataset.

- `dandisets.tsv`: the Dandisets, one a line.
- `releases.tsv`: the published versions, one a line, with their DOI and how to cite them.
- `CITATION.cff`: how to cite all of it.

| | |
|---|---|
| Dandisets | {dandisets} |
| published versions | {versions} |
| assets | {assets} |
| bytes | {size} |
| latest version | {latest} |
"""
_ON_DRAFT = """\
This is the branch `draft`: each Dandiset as its authors work on it. The branch `releases` has one commit for each
published version of any Dandiset, in the order in which they were published."""
_ON_RELEASES = """\
This is the branch `releases`: one commit for each published version of any Dandiset, in the order in which they were
published. The branch `draft` has each Dandiset as its authors work on it."""


def title(subject: Subject) -> str:
    """What it is called."""
    if subject.where is None:
        return f"The Dandisets of {subject.instance}"
    return f"{subject.name}: Dandisets of {subject.instance}"


def _what(subject: Subject) -> str:
    if subject.where is None:
        return f"The Dandisets of <{subject.instance_url}> that are mirrored here."
    return f"The Dandisets of <{subject.instance_url}> that are mirrored here and match\n`{subject.where}`."


def citation_cff(subject: Subject, latest: Facts | None) -> bytes:
    """`CITATION.cff`: how to cite all of it; `latest` is the version that was published last."""
    lines = [
        "cff-version: 1.2.0",
        "type: dataset",
        f"title: {_quoted(title(subject))}",
        "message: >-",
        "  Cite each Dandiset that you use by its own DOI: releases.tsv has it, and the whole citation.",
        "  To cite all that was published, name the DOI of the latest version, too: it stands for the moment.",
        "authors:",
        f"  - name: {_quoted(f'{subject.instance} Archive')}",
        f"    website: {_quoted(subject.instance_url)}",
        f"url: {_quoted(subject.instance_url)}",
    ]
    if latest is not None:
        lines += [f"version: {_quoted(f'{latest.identifier}/{latest.version}')}"]
        lines += [f"date-released: {_quoted(latest.created[:10])}"]
    if latest is not None and latest.doi:
        # Not as a DOI: that would be taken for the DOI of the whole.
        lines += ["identifiers:", "  - type: other", f"    value: {_quoted(f'doi/{latest.doi}')}"]
        lines += ["    description: the tag of the version that was published last"]
    return ("\n".join(lines) + "\n").encode()


def _quoted(text: str) -> str:
    """A YAML string on one line, without what YAML cannot hold."""
    return "'" + " ".join(_NOT_IN_YAML.sub("", text).split()).replace("'", "''") + "'"


_NOT_IN_YAML = re.compile("[^\\s\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|\ufeff")


@dataclass(frozen=True)
class SelectionLayout:
    """What of the settings changes which versions stand in the chain, besides the layout of Dandisets themselves."""

    dandisets: str
    """the layout of a Dandiset"""
    only: tuple[str, ...] | None
    """the selected Dandisets; None: all"""
    exclude: tuple[str, ...]
    where: str | None

    def trailer(self, skipped: Iterable[str] = ()) -> str:
        """The value of the `Layout` trailer. `skipped`: `000005@0.230101.1200`, versions that were left out so far."""
        parts = [f"{NUMBER}/{self.dandisets}"]
        if self.only is not None:
            parts.append(f"select.dandisets={_list(self.only)}")
        if self.exclude:
            parts.append(f"select.exclude={_list(self.exclude)}")
        if names := sorted(skipped):
            parts.append(f"skip={','.join(names)}")
        if self.where is not None:
            parts.append(f"where={' '.join(self.where.split())}")
        return " ".join(parts)


_LISTED = 20


def _list(identifiers: Iterable[str]) -> str:
    """Identifiers, or of many their digest: each commit has the trailer."""
    names = sorted(set(identifiers))
    if len(names) <= _LISTED:
        return ",".join(names)
    return f"{len(names)}:{sha1(','.join(names).encode(), usedforsecurity=False).hexdigest()}"


def release_message(facts: Facts, totals: Totals, layout: str) -> str:
    """What the commit says that moves a Dandiset to a published version."""
    trailers = [("Dandiset", facts.identifier), ("Version", facts.version)]
    if facts.doi:
        trailers.append(("DOI", facts.doi))
    return _message(f"{facts.identifier} {facts.version}: {facts.name}", trailers, totals, layout)


def leaving_message(identifiers: Iterable[str], totals: Totals, layout: str) -> str:
    """What the commit says that takes out Dandisets whose latest version does not match any more."""
    return _message(f"no match any more: {_some(identifiers)}", [], totals, layout)


def draft_message(changes: Mapping[str, list[str]], name: str, totals: Totals, layout: str) -> str:
    """What a commit of `draft` says. `changes`: identifiers by what happened to them (`added`, `changed` …)."""
    parts = [f"{_some(identifiers)} {what}" for what, identifiers in changes.items() if identifiers]
    return _message(", ".join(parts) or "tables", [("Superdataset", name)], totals, layout)


_NAMED_IN_SUBJECT = 4


def _some(identifiers: Iterable[str]) -> str:
    names = sorted(identifiers)
    return " ".join(names) if len(names) <= _NAMED_IN_SUBJECT else f"{len(names)} Dandisets"


def _message(subject: str, trailers: list[tuple[str, str]], totals: Totals, layout: str) -> str:
    trailers = [
        *trailers,
        ("Dandisets", str(totals.dandisets)),
        ("Versions", str(totals.versions)),
        ("Assets", str(totals.assets)),
        ("Bytes", str(totals.size)),
        ("Layout", layout),
    ]
    lines = "".join(f"{key}: {_clean(value)}\n" for key, value in trailers)
    return f"{_clean(subject)}\n\n{lines}"
