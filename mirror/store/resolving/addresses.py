"""Under which addresses the datasets of a store are found, and the commands that clone them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote


@dataclass(frozen=True)
class Addresses:
    """The addresses below one place where the store's folder `public` can be read."""

    base: str
    """`https://mirror.example.org/dandi`, `file:///data/dandi/public`; without trailing slash"""

    @classmethod
    def of(cls, public: Path, url: str | None) -> Self:
        """Below `url`, if the folder is published; otherwise it is the folder itself."""
        return cls(url.rstrip("/") if url else f"file://{quote(str(public.absolute()))}")

    def dataset(self, name: str, version: str | None = None) -> str:
        """What `datalad clone` takes for a dataset: a Dandiset, a Zarr, a superdataset."""
        return f"ria+{self.base}#~{name}" + (f"@{version}" if version else "")

    def clone(self, name: str, version: str | None = None) -> str:
        """The command that clones it into a folder of its name."""
        return f"datalad clone {shlex.quote(self.dataset(name, version))}"


def typed(command: str) -> str:
    """A command of these, to be seen and typed: what does not print is an escape in `$'…'`, as bash and zsh read it."""
    return command if command.isprintable() else " ".join(map(_typed_word, shlex.split(command)))


def _typed_word(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    return f"$'{''.join(map(_typed_character, word))}'"


def _typed_character(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    return character if character.isprintable() else "".join([f"\\x{byte:02x}" for byte in character.encode()])


def checkout_command(name: str, commit: str) -> str:
    """Said after `clone`: to a commit that has no name."""
    return f"git -C {shlex.quote(name)} checkout {commit}"


def get_command(name: str, path: str, *, only_its_names: bool = False) -> str:
    """Said after `clone`: the content of what is at a path in it. `only_its_names`: a dataset, without its content."""
    where = f"./{path}" if path.startswith("-") else path
    return f"datalad -C {shlex.quote(name)} get {'-n ' if only_its_names else ''}{shlex.quote(where)}"
