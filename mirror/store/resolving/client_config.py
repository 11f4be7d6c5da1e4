"""The configuration of git and DataLad with which the archive's own names lead to a mirror.

DataLad turns what it is asked to clone into an address by regular expressions (`datalad.clone.url-substitute.LABEL`),
so versions can be named, too; git knows beginnings of addresses only (`url.BASE.insteadOf`).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from mirror.store.resolving.addresses import Addresses

_VERSION = r"[0-9A-Za-z][0-9A-Za-z_.-]*"


@dataclass(frozen=True)
class Archive:
    """The archive whose names are meant."""

    instance: str
    """`DANDI`"""
    url: str
    doi_heads: Collection[str]
    """what its DOIs begin with: `10.48324/dandi.`"""


@dataclass(frozen=True)
class Example:
    """A version to show the commands with."""

    identifier: str
    version: str
    doi: str | None


def client_config(archive: Archive, addresses: Addresses, example: Example) -> str:
    """A file to be included in somebody's git configuration."""
    label = re.sub("[^a-z0-9]+", "-", archive.instance.lower())
    names = _names(archive)
    base = _git_base(addresses)
    # Neither of these two may stand in the second half of a rule.
    shown = Addresses(addresses.base.replace("\\", "%5C").replace(",", "%2C"))
    lines = [
        *_heading(archive, addresses, example, label),
        '[datalad "clone.url-substitute"]',
        "\t# DataLad: identifier, web page or DOI of a Dandiset -> its draft in the mirror",
        f"\tmirrored-{label} = {_quoted(_rule(rf'{names}([0-9]{{6}})/?$', shown.dataset(_GROUP_1)))}",
        "\t# DataLad: the same with a version -> that version",
        f"\tmirrored-{label}-version = "
        + _quoted(_rule(rf"{names}([0-9]{{6}})[/@]({_VERSION})/?$", shown.dataset(_GROUP_1, _GROUP_2))),
        f"[url {_quoted(base)}]",
        "\t# git, and DataLad after it: any name in the mirror, of a Dandiset, a superdataset, a Zarr",
        f"\tinsteadOf = {_quoted(_dandi_address(archive, ''))}",
        "\t# git, and DataLad after it: the web page of a Dandiset",
        f"\tinsteadOf = {_quoted(f'{archive.url}/dandiset/')}",
        f"\t# for `git clone` only: DataLad would take {archive.instance}: for an ssh host, in such a clone, too",
        f"\tinsteadOf = {_quoted(f'{archive.instance}:')}",
        f"# The end of what leads from {archive.instance} to the mirror.",
    ]
    return "\n".join(lines) + "\n"


def example_commands(archive: Archive, example: Example) -> list[str]:
    """What can be said once the configuration is there."""
    identifier, version = example.identifier, example.version
    named = f"{archive.instance}:{identifier}"
    commands = [
        f"datalad clone {named}",
        f"datalad clone {named}/{version} {identifier}-{version}",
        f"datalad clone {archive.url}/dandiset/{identifier}",
        f"datalad clone {archive.url}/dandiset/{identifier}/{version} {identifier}-{version}",
        f"git clone {_dandi_address(archive, identifier)}",
        f"git clone --branch {version} {_dandi_address(archive, identifier)} {identifier}-{version}",
    ]
    if example.doi:
        by_doi = [
            f"datalad clone doi:{example.doi} {identifier}-{version}",
            f"datalad clone https://doi.org/{example.doi} {identifier}-{version}",
        ]
        commands[4:4] = by_doi
    return commands


def _dandi_address(archive: Archive, name: str) -> str:
    """As the `dandi` client has it."""
    return f"dandi://{archive.instance.lower()}/{name}"


def _heading(archive: Archive, addresses: Addresses, example: Example, label: str) -> list[str]:
    file = f"~/.gitconfig-{label}"
    return [
        f"# Names of {archive.instance} ({archive.url}) lead to its mirror at",
        f"# {addresses.base}",
        "#",
        *(f"#     {command}" for command in example_commands(archive, example)),
        "#",
        f"# To use it, keep this as {file} and say once:",
        f"#     git config --global --add include.path '{file}'",
        "# To undo that, delete the file and say:",
        f"#     git config --global --unset-all include.path gitconfig-{label}$",
        "# (Or append it all to ~/.gitconfig, and delete it there, from the first of these lines to the last.)",
    ]


def _names(archive: Archive) -> str:
    """What stands before an identifier, as a regular expression."""
    instance = _escaped(archive.instance)
    site = urlsplit(archive.url)
    page = _escaped(f"{site.netloc}{site.path.rstrip('/')}")
    heads = "|".join(sorted(_escaped(head) for head in archive.doi_heads))
    forms = [
        rf"(?:https?://(?:www\.)?identifiers\.org/(?:dandi/)?)?{instance}:",
        rf"dandi://{instance}/",
        rf"https?://{page}/(?:#/)?dandiset/",
        *([rf"(?:doi:|https?://(?:dx\.)?doi\.org/)(?:{heads})"] if heads else []),
    ]
    return f"^(?i:{'|'.join(forms)})"


def _escaped(text: str) -> str:
    return re.escape(text).replace(r"\-", "-")  # which is special between brackets only


_GROUP_1, _GROUP_2 = "\\1", "\\2"


def _rule(pattern: str, address: str) -> str:
    """As DataLad takes it: both parts behind a character that is in neither."""
    pattern = pattern.replace(",", r"\x2c")
    return f",{pattern},{address}"


def _git_base(addresses: Addresses) -> str:
    """What git puts in place of a name's beginning. A path stays one, for git-annex to know that it is near."""
    base = addresses.base
    if base.startswith("file:///"):
        base = unquote(base.removeprefix("file://"))
    return f"{base}/alias/"


def _quoted(text: str) -> str:
    """A value, or the second part of a section's name, as git's configuration has it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
