"""Real Zarrs, written by the `zarr` package, as the files they consist of.

before = ome_zarr_files(image, chunks=(16, 16))
zarr_id = archive.add_zarr(identifier, "sub-1/micr/sub-1_SPIM.ome.zarr", before)
put, remove = changed_files(before, ome_zarr_files(corrected, chunks=(16, 16)))
archive.change_zarr(identifier, "sub-1/micr/sub-1_SPIM.ome.zarr", put, remove)

Chunks are not compressed: the same array is the same bytes on every machine, whatever libraries it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from mirror.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

Files = dict[str, bytes]
ZarrFormat = Literal[2, 3]
Separator = Literal["/", "."]

_AXES = "tczyx"
_SPACE = "zyx"


def zarr_files(
    array: Array, *, chunks: Sequence[int], zarr_format: ZarrFormat = 2, separator: Separator = "/"
) -> Files:
    """A Zarr that is one array. As Zarrs do, it leaves out the chunks that are all zero."""
    with TemporaryDirectory() as folder:
        _write_array(folder, None, array, chunks, zarr_format, separator)
        return _files_below(Path(folder))


def ome_zarr_files(
    array: Array, *, chunks: Sequence[int], levels: int = 3, zarr_format: ZarrFormat = 2, separator: Separator = "/"
) -> Files:
    """An image in so many resolutions, each half of the one before along the axes of space, as OME-Zarr has it."""
    zarr = _zarr()
    axes = _AXES[-array.ndim :]
    with TemporaryDirectory() as folder:
        attributes = _ome_attributes(axes, levels, zarr_format)
        zarr.create_group(folder, zarr_format=zarr_format, attributes=attributes)
        for level in range(levels):
            steps = tuple(slice(None, None, 2**level if axis in _SPACE else None) for axis in axes)
            _write_array(folder, str(level), array[steps], chunks, zarr_format, separator)
        return _files_below(Path(folder))


def changed_files(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> tuple[Files, list[str]]:
    """What to put and what to remove to make one Zarr the other."""
    put = {name: content for name, content in after.items() if before.get(name) != content}
    return put, sorted(before.keys() - after.keys())


def sample_image(size: int = 96) -> Array:
    """A small picture: a gradient on an even ground, so that some of its chunks are alike and most are not."""
    import numpy

    row, column = numpy.indices((size, size))
    image = ((row * column) % 251 + 1).astype("<u2")
    image[: size // 2, size // 2 :] = 7
    return image


def _zarr() -> Any:
    try:
        import zarr
    except ImportError as missing:
        raise UsageError(
            "the demo archive's Zarrs need the zarr package", hint="pip install 'dandi-mirror[demo]'"
        ) from missing
    return zarr


def _write_array(
    folder: str, name: str | None, array: Array, chunks: Sequence[int], zarr_format: ZarrFormat, separator: Separator
) -> None:
    _zarr().create_array(
        folder,
        name=name,
        data=array,
        chunks=tuple(min(pair) for pair in zip(chunks, array.shape, strict=True)),
        compressors=None,
        zarr_format=zarr_format,
        chunk_key_encoding={"name": "v2" if zarr_format == 2 else "default", "separator": separator},
    )


def _ome_attributes(axes: str, levels: int, zarr_format: ZarrFormat) -> dict[str, Any]:
    kinds = {"t": "time", "c": "channel"}
    multiscale = {
        "name": "sample",
        "axes": [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes],
        "datasets": [_dataset(axes, level) for level in range(levels)],
    }
    if zarr_format == 2:
        return {"multiscales": [{"version": "0.4", **multiscale}]}
    return {"ome": {"version": "0.5", "multiscales": [multiscale]}}


def _dataset(axes: str, level: int) -> dict[str, Any]:
    scale = [2.0**level if axis in _SPACE else 1.0 for axis in axes]
    return {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]}


def _files_below(folder: Path) -> Files:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
