"""What the demo archive is filled with: three believable Dandisets, or many small files for benchmarks."""

from __future__ import annotations

import gc
import json
import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mirror.demo.nwb import MOUSE, RAT, Recording, Species, nwb_bytes
from mirror.demo.publishing import Publishing
from mirror.demo.zarr_files import ome_zarr_files, sample_image

SLICE = "sub-R12/sub-R12_SPIM.ome.zarr"
"""the Zarr of the second Dandiset: a picture of the rat's brain, in three resolutions"""

_UNEQUAL = 1.2
"""The exponent of a Pareto distribution; the nearer to 1, the more of all assets have the largest few Dandisets."""

_RIPPLES = (
    Recording("M541", "20240102", 1),
    Recording("M541", "20240103", 2, sex="M"),
    Recording("M677", "20240104", 3, sex="F", age="P112D"),
)
_RIPPLES_LATER = Recording("M677", "20240105", 4, sex="F", age="P113D")


def sample_dandisets(archive: Publishing) -> list[str]:
    """The archive of the first five minutes; the identifiers of its Dandisets.

    The first has NWB files and text in two published versions, the second is a draft only and has a Zarr, the third
    has one subject and one version.
    """
    return [_ripples(archive), _place_cells(archive), _pilot(archive)]


def _ripples(archive: Publishing) -> str:
    identifier = archive.create_dandiset(
        "Sharp-wave ripples in the hippocampus of sleeping mice",
        contributors=["Doe, Jane", "Roe, Richard"],
        description="Extracellular recordings from area CA1 during sleep.",
        metadata={"keywords": ["hippocampus", "ripples", "sleep"]},
    )
    description = {"Name": "Sharp-wave ripples", "BIDSVersion": "1.9.0", "Authors": ["Doe, Jane", "Roe, Richard"]}
    archive.add_asset(identifier, "README.md", b"# Sharp-wave ripples\n\nTwo mice, recorded while asleep.\n")
    archive.add_asset(identifier, "dataset_description.json", _json(description))
    archive.add_asset(identifier, "participants.tsv", _participants(*_RIPPLES))
    for recording in _RIPPLES:
        _add_recording(archive, identifier, recording)
    archive.publish(identifier, release_notes="First release")
    readme = b"# Sharp-wave ripples\n\nTwo mice, recorded while asleep. A fourth session was added.\n"
    archive.replace_asset(identifier, "README.md", content=readme)
    _add_recording(archive, identifier, _RIPPLES_LATER)
    archive.publish(identifier, release_notes="A fourth session")
    return identifier


def _place_cells(archive: Publishing) -> str:
    identifier = archive.create_dandiset(
        "Place cells of rats on a linear track",
        contributors=["Roe, Richard"],
        description="Work in progress: more sessions will follow.",
        license="spdx:CC0-1.0",
    )
    archive.add_asset(identifier, "README.md", b"# Place cells\n\nOne rat so far.\n")
    _add_recording(archive, identifier, _recording_of("R12", "20240210", 5, RAT))
    _add_recording(archive, identifier, _recording_of("R13", "20240211", 6, RAT))
    archive.add_zarr(identifier, SLICE, ome_zarr_files(sample_image(), chunks=(16, 16)))
    return identifier


def _pilot(archive: Publishing) -> str:
    identifier = archive.create_dandiset(
        "Pilot recording with a four-channel probe",
        contributors=["Doe, Jane"],
        description="One session of one animal, to try the probe.",
    )
    _add_recording(archive, identifier, _recording_of("P1", "pilot", 7, MOUSE))
    archive.publish(identifier)
    return identifier


def embargoed_dandiset(archive: Publishing) -> str:
    """A Dandiset that nobody but its owner may see: two texts, two recordings, a Zarr."""
    identifier = archive.create_dandiset(
        "Grid cells of mice, not published yet", contributors=["Doe, Jane"], embargoed=True
    )
    archive.add_asset(identifier, "README.md", b"# Grid cells\n\nUnder embargo until the paper is out.\n")
    archive.add_asset(identifier, "participants.tsv", _participants(_recording_of("G1", "20240301", 8, MOUSE)))
    for session, seed in (("20240301", 8), ("20240302", 9)):
        _add_recording(archive, identifier, _recording_of("G1", session, seed, MOUSE))
    archive.add_zarr(identifier, "sub-G1/sub-G1_SPIM.ome.zarr", ome_zarr_files(sample_image(48), chunks=(16, 16)))
    return identifier


def _with_embargoed(archive: Publishing) -> list[str]:
    return [*sample_dandisets(archive), embargoed_dandiset(archive)]


def _recording_of(subject: str, session: str, seed: int, species: Species) -> Recording:
    return Recording(subject, session, seed, species, sex="F", age="P180D")


def _add_recording(archive: Publishing, identifier: str, recording: Recording) -> None:
    archive.add_asset(identifier, recording.path, nwb_bytes(recording), recording.metadata())


def _participants(*recordings: Recording) -> bytes:
    rows = dict.fromkeys(f"{one.subject}\t{one.species.name}\t{one.sex}\t{one.age}" for one in recordings)
    return "\n".join(["participant_id\tspecies\tsex\tage", *rows, ""]).encode()


def _json(document: object) -> bytes:
    return json.dumps(document, indent=2).encode() + b"\n"


def small_files(count: int, *, folder_size: int = 40, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """So many small files of distinct content, as paths and bytes for `add_assets`: a README, tables, recordings."""
    yield "README.md", f"# {count} files, {seed}\n".encode()
    for number in range(1, count):
        subject = f"sub-{number // folder_size:04d}"
        stem = f"{subject}/ses-{number % 4:02d}/{subject}_ses-{number % 4:02d}_run-{number:06d}"
        if number % folder_size == 0:
            yield f"{stem}_events.tsv", f"onset\tduration\n{number}\t{seed}\n".encode()
        else:
            yield f"{stem}_ecephys.nwb", f"content of file {number} of archive {seed}".encode()


def one_large_dandiset(archive: Publishing, *, count: int = 2000) -> str:
    """A Dandiset of so many small files, one in twenty a text, published once."""
    identifier = archive.create_dandiset(f"A Dandiset of {count} small files")
    archive.add_assets(identifier, small_files(count, folder_size=20))
    archive.publish(identifier)
    return identifier


def many_dandisets(archive: Publishing, *, count: int = 1000, files: int = 3) -> list[str]:
    """So many small Dandisets, every other one published."""
    identifiers = []
    for number in range(count):
        identifier = archive.create_dandiset(f"Dandiset {number} of many")
        archive.add_assets(identifier, small_files(files, seed=number))
        if number % 2 == 0:
            archive.publish(identifier)
        identifiers.append(identifier)
    return identifiers


def sizes(dandisets: int, assets: int, *, seed: int = 0) -> list[int]:
    """How many assets each of so many Dandisets has, of so many in all: as in the archive, few have most of them."""
    chance = random.Random(seed)
    weights = [chance.paretovariate(_UNEQUAL) for _ in range(dandisets)]
    each = assets / sum(weights)
    found = [max(1, int(weight * each)) for weight in weights]
    largest = found.index(max(found))
    found[largest] = max(1, found[largest] + assets - sum(found))
    return found


def fill(archive: Publishing, *, dandisets: int, assets: int, versions: int, seed: int = 0) -> list[str]:
    """So many Dandisets with so many assets and published versions in all.

    Small ones are published more often than large ones, as in the archive; between two publications of one some of its
    files are replaced.
    """
    with _uncollected():
        return _filled(archive, dandisets, assets, versions, seed)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Nothing that is made meanwhile is garbage, and looking through millions of objects for it takes long."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _filled(archive: Publishing, dandisets: int, assets: int, versions: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    identifiers = []
    for number, size in enumerate(sizes(dandisets, assets, seed=seed)):
        identifier = archive.create_dandiset(f"Dandiset {number} of {dandisets}", contributors=["Doe, Jane"])
        archive.add_assets(identifier, small_files(size, seed=number))
        identifiers.append(identifier)
    small = sorted(identifiers, key=lambda one: len(archive.dandiset(one).draft.assets))
    for turn in range(versions):
        # The larger half of all Dandisets gets a third of the versions, one each.
        identifier = small[-1 - turn // 3 % dandisets] if turn % 3 == 0 else chance.choice(small[: dandisets // 2 + 1])
        if archive.dandiset(identifier).published:
            path = next(iter(archive.dandiset(identifier).draft.assets))
            archive.replace_asset(identifier, path, content=b"before version %d of %d\n" % (turn, seed))
        archive.publish(identifier)
    return identifiers


def chunks_of_a_zarr(count: int) -> Iterator[tuple[str, bytes]]:
    """The files of a Zarr of so many, tiny and all different: three of metadata, and chunks, at most 100 a folder."""
    yield ".zattrs", b"{}"
    yield ".zgroup", b'{"zarr_format": 2}'
    side = max(1, math.ceil((count - 3) / 10_000))
    yield "0/.zarray", _zarray(side)
    for number in range(count - 3):
        outer, rest = divmod(number, 10_000)
        yield f"0/0/{outer}/{rest // 100}/{rest % 100}", number.to_bytes(8, "little")


def _zarray(side: int) -> bytes:
    """Each chunk is one number; those that there are no files of are zero."""
    return _json(
        {
            "zarr_format": 2,
            "shape": [1, side, 100, 100],
            "chunks": [1, 1, 1, 1],
            "dtype": "<u8",
            "compressor": None,
            "fill_value": 0,
            "order": "C",
            "filters": None,
            "dimension_separator": "/",
        }
    )


def one_large_zarr(archive: Publishing, *, count: int = 100_000) -> str:
    """A Dandiset whose one asset is a Zarr of so many files."""
    identifier = archive.create_dandiset(f"A Zarr of {count} files")
    archive.add_zarr(identifier, "sub-1/micr/sub-1_sample-1_SPIM.ome.zarr", dict(chunks_of_a_zarr(count)))
    return identifier


PRESETS: dict[str, Callable[[Publishing], object]] = {
    "empty": lambda archive: None,  # noqa: ARG005
    "demo": sample_dandisets,
    "embargo": _with_embargoed,
    "bench-2000": one_large_dandiset,
    "bench-100000": lambda archive: one_large_dandiset(archive, count=100_000),
    "many-dandisets": many_dandisets,
    "zarr-100000": one_large_zarr,
    "whole": lambda archive: fill(archive, dandisets=2000, assets=600_000, versions=2000),
}
