"""Which of the URLs recorded of a key can be asked, and what they lead to."""

from __future__ import annotations

import pytest

from mirror.archive.addresses import AssetAddress, ObjectAddress, ZarrFileAddress, address, addresses
from mirror.dataset.zarr.files import Addresses

API = "https://api.dandiarchive.org/api"
ASSET = "9fc4d41e-898a-471a-afb4-3d06055cabb9"
OBJECT = "https://dandiarchive.s3.amazonaws.com/blobs/15f/a73/15fa7308?versionId=one"


def test_an_object_an_asset_and_a_file_of_a_zarr_are_told_apart() -> None:
    assert address(OBJECT) == ObjectAddress(OBJECT)
    assert address(f"{API}/assets/{ASSET}/download/") == AssetAddress(API, ASSET)
    assert address(f"{API}/zarr/{ASSET}/files/?prefix=0/0.0&download=true") == ZarrFileAddress(API, ASSET, "0/0.0")


def test_those_of_buckets_come_first() -> None:
    found = addresses([f"{API}/zarr/{ASSET}/files/?prefix=a&download=true", f"{API}/assets/{ASSET}/download/", OBJECT])
    assert found == [ObjectAddress(OBJECT), AssetAddress(API, ASSET), ZarrFileAddress(API, ASSET, "a")]


@pytest.mark.parametrize("path", [b"0/.zarray", b"a%20b/%C3%A9", b"a+b", b"a%26b%3Dc", b"x%23y%3Fz"])
def test_what_is_recorded_of_a_file_of_a_zarr_leads_back_to_it(path: bytes) -> None:
    from urllib.parse import unquote

    recorded = Addresses(bucket="https://b.s3.amazonaws.com/zarr/z/", api=API, zarr_id=ASSET)
    at_api, in_bucket = recorded.of(path, b"one")
    assert address(at_api.decode()) == ZarrFileAddress(API, ASSET, unquote(path.decode()))
    assert address(in_bucket.decode()) == ObjectAddress(in_bucket.decode())


@pytest.mark.parametrize(
    "url",
    [
        "dandi:000003/draft/a.nwb",
        "ftp://example.org/a",
        "file:///etc/passwd",
        "https://user:secret@example.org/a",
        "https://example.org",
        "https:///a",
        "https://exa mple.org/a",
        "https://example.org:0/a",
        "https://[::1/a",
        "https://example.org/a\nb",
        f"{API}/zarr/{ASSET}/files/?prefix=&download=true",
        f"{API}/zarr/{ASSET}/files/?prefix=a",
        f"https://example.org:99999/api/assets/{ASSET}/download/",
        f"https://[::1/api/assets/{ASSET}/download/",
        f"https://[::1/zarr/{ASSET}/files/?prefix=a&download=true",
        "",
    ],
)
def test_what_cannot_be_asked_is_left_out(url: str) -> None:
    assert addresses([url]) == []


def test_the_api_of_an_asset_may_lie_at_any_path_of_its_host() -> None:
    assert address(f"http://127.0.0.1:80/x/api/assets/{ASSET}/download/") == AssetAddress(
        "http://127.0.0.1:80/x/api", ASSET
    )
    # Another host before an @ would be asked, not the one that is shown.
    assert address(f"https://a@b.org/api/assets/{ASSET}/download/") is None
