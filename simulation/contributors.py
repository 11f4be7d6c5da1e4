"""Those who edit and publish: whom they choose and what they do is drawn by chance, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from mirror.demo import DemoProcess

_BUSY_SHARE = 0.1
"""So many Dandisets get most of the changes, as in the archive."""
_OF_THE_BUSY = 0.7
_KNOWN_PATHS = 60
"""Of a large Dandiset only so many files are ever changed: contributors need not know the others."""
_UNHASHED = 0.1


@dataclass(frozen=True)
class Change:
    """What a contributor did: from now on the archive says this of the Dandiset."""

    identifier: str
    what: str
    modified: str
    """the draft's, after it"""
    version: str | None = None
    """the version that was published"""


class Contributors:
    """They remember what they put where."""

    def __init__(self, archive: DemoProcess, identifiers: list[str], seed: int) -> None:
        self._archive = archive
        self._chance = random.Random(f"{seed} contributors")
        self.identifiers = identifiers
        self._busy = self._chance.sample(identifiers, max(1, round(_BUSY_SHARE * len(identifiers))))
        self._paths: dict[str, list[str]] = {}
        self._with_zarrs: set[str] = set()
        self._closed: list[str] = []
        self._count = 0

    def change(self) -> Change:
        """One change of one Dandiset, or a new one."""
        ways = list(_WAYS)
        way = self._chance.choices(ways, [_WAYS[one][0] for one in ways])[0]
        return self._told(_WAYS[way][1](self, self._some()), way)

    def publish(self) -> Change:
        """One more version of one of those that the archive publishes."""
        identifier = self._some(but=self._with_zarrs)
        self._archive.call("hash_now")
        version = self._archive.call("publish", identifier=identifier)
        return self._told(identifier, "publish", version)

    def finish(self) -> list[Change]:
        """Leave nothing that the archive has yet to hash, and nothing closed."""
        self._archive.call("hash_now")
        return [self._told(self._open(), "open") for _ in range(len(self._closed))]

    def _some(self, but: set[str] | None = None) -> str:
        among = self._busy if self._chance.random() < _OF_THE_BUSY else self.identifiers
        candidates = [one for one in among if one not in but] if but else among
        return self._chance.choice(candidates or self.identifiers[:1])

    def _told(self, identifier: str, what: str, version: str | None = None) -> Change:
        modified = self._archive.call("standing", identifiers=[identifier])[identifier]["draft"]
        return Change(identifier, what, modified, version)

    def _create(self, _: str) -> str:
        identifier: str = self._archive.call("create_dandiset", name=f"Begun in the week, {self._next()}")
        self.identifiers.append(identifier)
        self._paths[identifier] = []
        return self._add_many(identifier)

    def _open_or_close(self, identifier: str) -> str:
        """A Dandiset that was begun under embargo is opened: nobody else knew of it. Or one more is begun."""
        if self._closed:
            return self._open()
        begun: str = self._archive.call("create_dandiset", name=f"Closed at first, {self._next()}", embargoed=True)
        self._paths[begun] = []
        self._closed.append(self._add_many(begun))
        return self._add(identifier)

    def _open(self) -> str:
        opened = self._closed.pop(0)
        self._archive.call("unembargo", identifier=opened)
        self.identifiers.append(opened)
        return opened

    def _add(self, identifier: str) -> str:
        path = self._new_path(identifier)
        hashed = self._chance.random() >= _UNHASHED
        self._archive.call("add_asset", identifier=identifier, path=path, content=self._content(), hashed=hashed)
        self._known(identifier).append(path)
        return identifier

    def _add_many(self, identifier: str) -> str:
        paths = [self._new_path(identifier) for _ in range(self._chance.randint(2, 40))]
        files = [(path, self._content()) for path in paths]
        self._archive.call("add_assets", identifier=identifier, files=files)
        self._known(identifier).extend(paths)
        return identifier

    def _replace(self, identifier: str) -> str:
        path = self._path_of(identifier)
        self._archive.call("replace_asset", identifier=identifier, path=path, content=self._content())
        return identifier

    def _describe(self, identifier: str) -> str:
        metadata = {"keywords": [f"word {self._next()}"]}
        self._archive.call("replace_asset", identifier=identifier, path=self._path_of(identifier), metadata=metadata)
        return identifier

    def _rename(self, identifier: str) -> str:
        path, new = self._path_of(identifier), self._new_path(identifier)
        self._archive.call("rename_asset", identifier=identifier, path=path, new_path=new)
        known = self._known(identifier)
        known[known.index(path)] = new
        return identifier

    def _remove(self, identifier: str) -> str:
        path = self._path_of(identifier)
        if len(self._known(identifier)) < 2:
            return self._add(identifier)
        self._archive.call("remove_asset", identifier=identifier, path=path)
        self._known(identifier).remove(path)
        return identifier

    def _edit(self, identifier: str) -> str:
        self._archive.call("edit_dandiset", identifier=identifier, name=f"Renamed in the week, {self._next()}")
        return identifier

    def _touch(self, identifier: str) -> str:
        self._archive.call("touch_draft", identifier=identifier)
        return identifier

    def _resave(self, identifier: str) -> str:
        """The archive saves the published versions of a Dandiset again, which is to change nothing in a mirror."""
        _, *versions = self._archive.call("standing", identifiers=[identifier])[identifier]
        for version in versions:
            self._archive.call("resave_version", identifier=identifier, version=version)
        return identifier

    def _add_zarr(self, identifier: str) -> str:
        """To one that has some already, most of the time: what has a Zarr is not published any more."""
        if identifier not in self._with_zarrs and self._chance.random() < 0.8:
            return self._add(identifier)
        files = {name: self._content() for name in (".zgroup", "0/.zarray", "0/0/0", "0/0/1", "0/1/0")}
        path = f"sub-z/image-{self._next()}.ome.zarr"
        self._archive.call("add_zarr", identifier=identifier, path=path, files=files)
        self._with_zarrs.add(identifier)
        return identifier

    def _known(self, identifier: str) -> list[str]:
        if identifier not in self._paths:
            self._paths[identifier] = self._archive.call("draft_paths", identifier=identifier, limit=_KNOWN_PATHS)
        return self._paths[identifier]

    def _path_of(self, identifier: str) -> str:
        if not self._known(identifier):
            self._add(identifier)
        return self._chance.choice(self._known(identifier))

    def _new_path(self, identifier: str) -> str:
        ending = self._chance.choice(("nwb", "nwb", "nwb", "tsv", "md"))
        return f"sub-w{self._chance.randint(1, 9)}/of-{identifier}-{self._next()}.{ending}"

    def _content(self) -> bytes:
        return f"content {self._next()} of the week\n".encode() * self._chance.randint(1, 9)

    def _next(self) -> int:
        self._count += 1
        return self._count


_WAYS: dict[str, tuple[int, Callable[[Contributors, str], str]]] = {
    "add": (25, Contributors._add),
    "add many": (8, Contributors._add_many),
    "replace": (20, Contributors._replace),
    "describe": (12, Contributors._describe),
    "rename": (9, Contributors._rename),
    "remove": (8, Contributors._remove),
    "edit": (5, Contributors._edit),
    "touch": (3, Contributors._touch),
    "resave": (2, Contributors._resave),
    "add a Zarr": (4, Contributors._add_zarr),
    "create": (2, Contributors._create),
    "open": (2, Contributors._open_or_close),
}
"""What they do, how often in a hundred; each tells of which Dandiset there is news."""
