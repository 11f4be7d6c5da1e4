"""What happens in the archive from one round to the next, by chance but the same for the same seed."""

from __future__ import annotations

import random

from mirror.demo import DemoProcess

_AT_FIRST = 3
_AT_WORK = 4
"""Changes happen to so many of the newest Dandisets, so that these come to have a history."""


class Contributors:
    """Those who fill the archive. They remember what they put there."""

    def __init__(self, archive: DemoProcess, chance: random.Random) -> None:
        self._archive = archive
        self._chance = chance
        self._paths: dict[str, list[str]] = {}
        self._zarrs: dict[str, dict[str, list[str]]] = {}
        """the files of each Dandiset's Zarrs, by path"""
        self._impossible: set[str] = set()
        self._late: set[tuple[str, str]] = set()
        """Zarrs that the archive has not taken in again yet: Dandiset and path"""
        self._settled = True
        self._count = 0

    def work(self, *, settled: bool) -> list[str]:
        """Change some Dandisets and tell which. `settled`: leave no Zarr that is late."""
        self._archive.call("advance_clock", seconds=self._chance.randint(60, 90_000))
        self._settled = settled
        changed = sorted({*self._relent(), *self._take_in()})
        if not self._paths:
            changed += [self._create() for _ in range(_AT_FIRST)]
        elif self._chance.random() < 0.12:
            changed.append(self._create())
        candidates = [identifier for identifier in list(self._paths)[-_AT_WORK:] if identifier not in changed]
        for identifier in self._chance.sample(candidates, min(len(candidates), self._chance.randint(1, 2))):
            for _ in range(self._chance.randint(1, 3)):
                self._edit(identifier)
            if not self._zarrs[identifier] and self._chance.random() < 0.4:
                self._archive.call("publish", identifier=identifier)
            changed.append(identifier)
        return changed

    def _create(self) -> str:
        identifier: str = self._archive.call("create_dandiset", name=f"Dandiset {len(self._paths)}")
        self._paths[identifier] = []
        self._zarrs[identifier] = {}
        for _ in range(self._chance.randint(0, 6)):
            self._add(identifier)
        if self._chance.random() < 0.3:
            # No tree can hold both: its first sync fails, and takes back the repository it had begun.
            for path in ("both", "both/ways.nwb"):
                self._archive.call("add_asset", identifier=identifier, path=path, content=b"")
            self._impossible.add(identifier)
        return identifier

    def _relent(self) -> list[str]:
        """Make what was impossible possible."""
        relented, self._impossible = sorted(self._impossible), set()
        for identifier in relented:
            self._archive.call("remove_asset", identifier=identifier, path="both/ways.nwb")
        return relented

    def _take_in(self) -> list[str]:
        """What was late is no more."""
        late, self._late = sorted(self._late), set()
        for identifier, path in late:
            self._archive.call("ingest_zarr", identifier=identifier, path=path)
        return [identifier for identifier, _ in late]

    def _edit(self, identifier: str) -> None:
        paths, zarrs = self._paths[identifier], self._zarrs[identifier]
        if zarrs and self._chance.random() < 0.5:
            self._change_zarr(identifier, self._chance.choice(sorted(zarrs)))
            return
        what = self._chance.choice(("add", "replace", "describe", "rename", "remove")) if paths else "add"
        if what == "add":
            self._add(identifier)
            return
        path = self._chance.choice(paths)
        if what == "replace":
            self._archive.call("replace_asset", identifier=identifier, path=path, content=self._content())
        elif what == "describe":
            metadata = {"keywords": [f"word {self._next()}"]}
            self._archive.call("replace_asset", identifier=identifier, path=path, metadata=metadata)
        else:
            paths.remove(path)
            if what == "remove":
                self._archive.call("remove_asset", identifier=identifier, path=path)
            else:
                paths.append(self._path())
                self._archive.call("rename_asset", identifier=identifier, path=path, new_path=paths[-1])

    def _add(self, identifier: str) -> None:
        if self._chance.random() < 0.2:
            self._add_zarr(identifier)
            return
        path = self._path()
        self._paths[identifier].append(path)
        self._archive.call("add_asset", identifier=identifier, path=path, content=self._content())

    def _add_zarr(self, identifier: str) -> None:
        path = f"sub-{self._chance.randint(1, 5)}/image-{self._next()}.ome.zarr"
        files = {name: self._content() for name in (".zgroup", "0/.zarray", "0/0/0", "0/0/1", "0/1/0")}
        files["0/1/1"] = files["0/1/0"]
        self._zarrs[identifier][path] = sorted(files)
        # Only a new one is late: when one that is there is being changed, no time moves, and who looks sees it first.
        late = not self._settled and self._chance.random() < 0.2
        if late:
            self._late.add((identifier, path))
        self._archive.call("add_zarr", identifier=identifier, path=path, files=files, ingested=not late)

    def _change_zarr(self, identifier: str, path: str) -> None:
        """Write some files, delete one; or take it out."""
        zarrs = self._zarrs[identifier]
        if self._chance.random() < 0.1:
            del zarrs[path]
            self._late.discard((identifier, path))
            self._archive.call("remove_asset", identifier=identifier, path=path)
            return
        put = {f"0/{self._chance.randint(0, 3)}/{self._chance.randint(0, 3)}": self._content() for _ in range(2)}
        gone = [self._chance.choice(zarrs[path])] if self._chance.random() < 0.5 else []
        zarrs[path] = sorted({*zarrs[path], *put} - {*gone})
        put = {name: content for name, content in put.items() if name not in gone}
        self._late.discard((identifier, path))
        self._archive.call("change_zarr", identifier=identifier, path=path, put=put, remove=gone)

    def _path(self) -> str:
        ending = self._chance.choice(("nwb", "nwb", "tsv", "md"))
        return f"sub-{self._chance.randint(1, 5)}/file-{self._next()}.{ending}"

    def _content(self) -> bytes:
        return f"content {self._next()}\n".encode() * self._chance.randint(1, 20)

    def _next(self) -> int:
        self._count += 1
        return self._count
