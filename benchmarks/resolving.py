"""The processes that are measured: things looked up in a store's catalogue, by all the names that they have.

`python -m benchmarks.resolving look-up STORE ASSETS` prints what one look-up took by each kind of name, as JSON.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from benchmarks.archive import MadeUpArchive, identifiers
from mirror.archive.records import Asset
from mirror.dataset.references import parse
from mirror.store.resolving import Resolver
from mirror.store.resolving.addresses import Addresses
from mirror.store.resolving.answers import Answer, Missing
from mirror.store.store import Store

DANDISETS = 10
_RELEASES = 2
_LOOKED_UP = 300
"""so many by each kind of name"""


class _Metadata(msgspec.Struct):
    digest: dict[str, str]
    contentUrl: tuple[str, str]


def archive(assets: int, *, edited: bool = True) -> MadeUpArchive:
    """So many assets in a few large Dandisets. `edited`: their drafts have moved on once."""
    of_each = max(1, assets // DANDISETS // 100) * 100
    return MadeUpArchive(of_each, _RELEASES, edited=frozenset(identifiers(DANDISETS) if edited else ()))


def load(root: Path, assets: int) -> None:
    archive(assets, edited=False).mirror(root, identifiers(DANDISETS))


def edit(root: Path, assets: int) -> None:
    """Let the drafts move on: what was new in them is past then."""
    archive(assets).mirror(root, identifiers(DANDISETS))


def look_up(root: Path, assets: int) -> dict[str, float]:
    """Milliseconds that one look-up takes, by what it is about. Every answer is checked."""
    store = Store.open(root)
    found: dict[str, float] = {}
    with store.catalogue() as catalogue:
        resolver = Resolver(store, catalogue, Addresses.of(store.public, None))
        for what, names, is_right in _questions(archive(assets)):
            started = time.perf_counter()
            answers = [resolver.resolve(parse(name)) for name in names]
            found[what] = (time.perf_counter() - started) / len(names) * 1000
            for name, answer in zip(names, answers, strict=True):
                assert not isinstance(answer, Missing), f"{name}: {answer.reason}"
                assert any(map(is_right, answer)), name
    return found


Question = tuple[str, list[str], Callable[[Answer], bool]]


def _questions(made_up: MadeUpArchive) -> Iterator[Question]:
    """What is asked for, by which names, and what an answer has to say."""
    present = [_chosen(made_up, number, _RELEASES + 1) for number in range(_LOOKED_UP)]
    past = [_chosen(made_up, number, _RELEASES) for number in range(_LOOKED_UP)]
    for kind, name in NAMES.items():
        yield f"present asset by {kind}", [name(*one) for one in present], lambda answer: answer.draft is not None
    for kind, name in NAMES.items():
        yield f"past asset by {kind}", [name(*one) for one in past], lambda answer: answer.past is not None
    versions = [(name, made_up.versions(name)[0].version) for name in identifiers(DANDISETS)] * (
        _LOOKED_UP // DANDISETS
    )
    dois = [f"https://doi.org/10.48324/dandi.{name}/{version}" for name, version in versions]
    yield "version by DOI", dois, lambda answer: len(answer.versions) == 1
    yield (
        "Dandiset by its identifier",
        [f"DANDI:{name}" for name, _ in versions],
        lambda answer: answer.draft is not None,
    )


def _chosen(made_up: MadeUpArchive, number: int, state: int) -> tuple[str, Asset]:
    """An asset that was new in the draft and replaced in the draft after it, as it was in one of these two."""
    identifier = identifiers(DANDISETS)[number % DANDISETS]
    return identifier, made_up.asset_in(identifier, (_RELEASES + 100 * 7919 * number) % made_up.assets, state)


def _metadata(asset: Asset) -> _Metadata:
    return msgspec.json.decode(asset.metadata, type=_Metadata)


def _sha256(_: str, asset: Asset) -> str:
    return _metadata(asset).digest["dandi:sha2-256"]


NAMES: dict[str, Callable[[str, Asset], str]] = {
    "asset id": lambda _, asset: asset.asset_id,
    "blob id": lambda _, asset: asset.blob or "",
    "SHA-256": _sha256,
    "annex key": lambda _, asset: f"SHA256E-s{asset.size}--{_sha256(_, asset)}.nwb",
    "S3 address": lambda _, asset: _metadata(asset).contentUrl[1],
    "path in its Dandiset": lambda identifier, asset: f"{identifier}/{asset.path}",
    "path, in all ten Dandisets": lambda _, asset: asset.path,
}
"""What an asset of a Dandiset may be looked up by."""

DEEDS: dict[str, Callable[[Path, int], object]] = {"load": load, "edit": edit, "look-up": look_up}

if __name__ == "__main__":
    print(msgspec.json.encode(DEEDS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))).decode())
