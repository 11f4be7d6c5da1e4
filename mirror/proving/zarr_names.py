"""Names of a Zarr: whether its repository, or its manifest, holds together and adds up to its checksum."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import quote

from mirror.annex.hashdirs import link_target
from mirror.annex.keys import parse_key
from mirror.dataset.names import asset_path
from mirror.dataset.zarr.checksum import Checksum, checksum_of
from mirror.dataset.zarr.folders import Row, order_of, true_order
from mirror.dataset.zarr.manifest import HeldFolder
from mirror.errors import ManifestDamaged
from mirror.git.objects import MODE_LINK, MODE_TREE, Commit, Entry, Oid
from mirror.git.reader import Objects
from mirror.proving.branch import tree_of
from mirror.proving.findings import Stop, Stopped, Teller
from mirror.proving.names import check_address, check_logs, check_repository
from mirror.proving.records import ANNEX, DRAFT, TAGS, Need, Needs
from mirror.proving.zarr_states import OWN
from mirror.store.store import Store
from mirror.sync.zarr.held import HeldZarr, checksum_in, held_zarr

_ROWS_AT_ONCE = 1000


def prove_zarr_names(store: Store, zarr_id: str, teller: Teller, *, stop: Stop) -> None:
    """Everything that can be told of a Zarr without the archive."""
    try:
        held = held_zarr(store, store.zarr(zarr_id))
        if held is None:
            teller.find("zarr", zarr_id, "nothing is held of it")
        elif held.form == "manifest":
            _check_manifest(store, held, teller, stop)
        else:
            _check_repository(store, held, teller, stop)
    except ManifestDamaged as error:
        teller.find("zarr", zarr_id, error.message)


def _check_repository(store: Store, held: HeldZarr, teller: Teller, stop: Stop) -> None:
    repository = store.dataset(held.zarr_id)
    scratch = store.side(private=teller.result.private).temporary
    check_repository(repository, teller, stop, scratch)
    check_address(store, held.zarr_id, repository.path, teller)
    refs = repository.peeled_refs()
    with repository.objects() as objects, Needs(scratch) as needs:
        states = {DRAFT: objects.commit(refs[DRAFT])} if DRAFT in refs else {}
        states |= {ref: objects.commit(oid) for ref, oid in refs.items() if ref.startswith(TAGS)}
        known: set[Oid] = set()
        for ref, commit in states.items():
            if commit.tree not in known:
                known.add(commit.tree)
                _check_state(objects, ref, commit, needs, teller, stop)
        check_logs(objects, tree_of(objects, refs, ANNEX), needs, teller, stop)


def _check_state(objects: Objects, ref: str, commit: Commit, needs: Needs, teller: Teller, stop: Stop) -> None:
    """One state: its files, as its tree has them, add up to the checksum that its commit names."""
    said = checksum_in(commit)
    if ref.startswith(TAGS) and ref != f"{TAGS}{said}":
        teller.find("history", ref, f"is at the state {said}")
    name = ref.rpartition("/")[2]
    tree = _Tree(objects, name, needs, teller, stop)
    found = tree.checksum(b"", commit.tree)
    teller.result.checked += found.files
    if found != said:
        teller.find("zarr", ref, f"its files add up to {found}, its commit says {said}", version=name)


class _Tree:
    """Reads a state's tree. Its contents go to `needs`."""

    def __init__(self, objects: Objects, name: str, needs: Needs, teller: Teller, stop: Stop) -> None:
        self._objects = objects
        self._name = name
        self._needs = needs
        self._teller = teller
        self._stop = stop

    def checksum(self, path: bytes, tree: Oid) -> Checksum:
        """What the files of a folder (with a slash at its end, but for the Zarr itself) and all below add up to."""
        if self._stop():
            raise Stopped
        entries = self._objects.tree(tree)
        folders: list[tuple[bytes, Checksum]] = []
        # A loop: a comprehension would take a second frame for each of the up to 500 folders within each other.
        for name, entry in entries.items():
            if entry.mode == MODE_TREE and (path or name not in OWN):
                folders.append((_quoted(name), self.checksum(path + name + b"/", entry.oid)))
        self._teller.watcher.how_far(f"{self._name}: {path.decode(errors='backslashreplace')}")
        links = [(name, entry) for name, entry in entries.items() if entry.mode == MODE_LINK]
        folders.sort(key=lambda folder: true_order(folder[0]))
        # Of names that are escaped, the order is another than that of the tree.
        if any(b"%" in name for name, _ in links):
            links.sort(key=lambda link: true_order(_quoted(link[0])))
        return checksum_of(self._rows(path, links), folders)

    def _rows(self, path: bytes, links: list[tuple[bytes, Entry]]) -> Iterator[Row]:
        bodies = self._objects.read_many(entry.oid for _, entry in links)
        needs: list[Need] = []
        for (name, _), (_, _, target) in zip(links, bodies, strict=True):
            key = target.rpartition(b"/")[2].decode(errors="replace")
            shown = (path + name).decode(errors="backslashreplace")
            try:
                parsed = parse_key(key)
                wrong = target != link_target(path + name, key)
            except ValueError:
                self._teller.find("tree", shown, f"its link leads to {key!r}, which is no key", version=self._name)
                continue
            if wrong:
                self._teller.find("tree", shown, "its link does not lead to where its key is", version=self._name)
            needs.append(Need(key, parsed.size, shown, self._name))
            if len(needs) >= _ROWS_AT_ONCE:
                self._needs.add(needs)
                needs = []
            yield [_quoted(name), parsed.digest.encode(), b"%d" % parsed.size, b"", b""]
        self._needs.add(needs)


def _quoted(name: bytes) -> bytes:
    """A name of the tree as manifests have it."""
    return quote(asset_path(name), safe="").encode()


def _check_manifest(store: Store, held: HeldZarr, teller: Teller, stop: Stop) -> None:
    folder = store.zarr(held.zarr_id)
    for text in held.commits:
        Commit.decode(text.encode())
    found = checksum_of_folders(folder.manifest(held.oid.hex()), stop)
    teller.result.checked += found.files
    if found != held.checksum:
        teller.find("zarr", "manifest", f"its files add up to {found}, its commit says {held.checksum}")


def checksum_of_folders(folders: Iterable[HeldFolder], stop: Stop) -> Checksum:
    """What the folders of a manifest add up to, each of which comes after those in it."""
    open_folders: list[tuple[bytes, Checksum]] = []  # complete ones, of which the folder they are in is still to come
    checksum = checksum_of((), [])
    order = b""
    for held in folders:
        if stop():
            raise Stopped
        path = held.folder.path
        if order and order_of(path) <= order:
            raise ManifestDamaged("the folders of a manifest are not in their order")
        order = order_of(path)
        prefix = path + b"/" if path else b""
        inner: list[tuple[bytes, Checksum]] = []
        while open_folders and open_folders[-1][0].startswith(prefix):
            below, known = open_folders.pop()
            inner.append((below.removeprefix(prefix), known))
        inner.sort(key=lambda one: true_order(one[0]))
        checksum = checksum_of(held.folder.rows(), inner)
        if str(checksum).encode() != held.checksum:
            shown = path.decode() or "its top"
            raise ManifestDamaged(f"the manifest's folder {shown} adds up to {checksum}, not {held.checksum.decode()}")
        open_folders.append((path, checksum))
    return checksum
