"""An asset's record, judged: what it becomes in the tree, what is remembered of it, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.archive.records import Asset, SlimAsset
from mirror.dataset.assets import ANNEXED, PENDING, TEXT, ZARR, AssetEntry, Held, describe, held_from_line
from mirror.dataset.layout import Layout
from mirror.errors import RecordRefused

ASSET_ID = "d426ff9a-bab3-446d-8104-e373ae188bd3"
BLOB = "bb81f7b3-4cfa-40e7-aa89-95beb1954d8c"
SHA256 = "37445940b3c895ae65cf943d7352ef73db884093f9944b17ee72e912218cde06"
API_URL = f"https://api.example.org/api/assets/{ASSET_ID}/download/"
S3_URL = f"https://bucket.example.org/blobs/bb8/1f7/{BLOB}"
MODIFIED = "2026-11-20T15:34:17.000001Z"
LAYOUT = Layout()


def metadata_of(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "path": "sub-1/a.nwb",
        "contentSize": 9,
        "contentUrl": [API_URL, S3_URL],
        "access": [{"status": "dandi:OpenAccess"}],
        "digest": {"dandi:dandi-etag": "0-1", "dandi:sha2-256": SHA256},
        "approach": [{"name": "optical"}],
    }
    document |= changes
    return {key: value for key, value in document.items() if value is not ...}


def asset_of(metadata: object = None, **changes: Any) -> Asset:
    document = metadata_of() if metadata is None else metadata
    raw = document if isinstance(document, bytes) else json.dumps(document, ensure_ascii=False).encode()
    fields: dict[str, Any] = {
        "asset_id": ASSET_ID,
        "path": "sub-1/a.nwb",
        "size": 9,
        "created": "2026-11-20T15:34:17.000000Z",
        "modified": MODIFIED,
        "blob": BLOB,
    }
    return Asset(**(fields | changes), metadata=msgspec.Raw(raw))


def described(asset: Asset, *, release: bool = False, layout: Layout = LAYOUT) -> tuple[AssetEntry, bytes]:
    kept: list[bytes] = []

    def keep(line: bytes) -> int:
        kept.append(line)
        return 1234

    entry = describe(asset, layout, release=release, keep=keep)
    (line,) = kept
    assert entry.line == (1234, len(line))
    return entry, line


PUBLISHED = metadata_of(datePublished="2026-11-21T00:00:00+00:00")
ZARR_ASSET = {"zarr": BLOB, "blob": None}
ZARR_CHECKSUM = "481a2f77ab786a0f45aafd5db0971caa-1--9"
ZARR_URL = f"https://bucket.example.org/zarr/{BLOB}/"


def zarr_asset(**changes: Any) -> Asset:
    facts: dict[str, Any] = {
        "digest": {"dandi:dandi-zarr-checksum": ZARR_CHECKSUM},
        "contentUrl": [API_URL, ZARR_URL],
        **changes,
    }
    return asset_of(metadata_of(**facts), **ZARR_ASSET)


def test_a_binary_file_is_annexed() -> None:
    entry, _ = described(asset_of())
    assert entry.held == Held(ASSET_ID, MODIFIED, ANNEXED, BLOB)
    assert (entry.path, entry.size, entry.sha256) == ("sub-1/a.nwb", 9, SHA256)
    assert (entry.api_url, entry.s3_url) == (API_URL, S3_URL)
    assert entry.fields == (("approach", ("optical",)),)


def test_the_record_is_one_line_of_a_white_list_of_fields() -> None:
    _, line = described(asset_of())
    assert line == (
        b'{"asset_id":"%b","blob":"%b","created":"2026-11-20T15:34:17.000000Z","metadata":{"approach":'
        b'[{"name":"optical"}],"contentSize":9,"digest":{"dandi:dandi-etag":"0-1","dandi:sha2-256":"%b"},'
        b'"path":"sub-1/a.nwb"},"modified":"%b","path":"sub-1/a.nwb","size":9}\n'
        % (ASSET_ID.encode(), BLOB.encode(), SHA256.encode(), MODIFIED.encode())
    )


def test_numbers_and_letters_stay_as_the_archive_wrote_them() -> None:
    raw = json.dumps(metadata_of(), ensure_ascii=False)[:-1] + ', "x": [1.0, 1e5, -0, 1E400, "é😀\\u2028/\\n"]}'
    _, line = described(asset_of(raw.encode()))
    assert '"x":[1.0,1e5,-0,1E400,"é😀\u2028/\\n"]'.encode() in line
    assert line.count(b"\n") == 1


def test_an_unpublished_assets_record_tells_when_it_was_modified_in_drafts_only() -> None:
    assert b'"modified"' in described(asset_of())[1]
    assert b'"modified"' not in described(asset_of(), release=True)[1]


def test_a_published_assets_record_is_the_same_in_draft_and_release() -> None:
    draft, line = described(asset_of(PUBLISHED))
    release, line_in_release = described(asset_of(PUBLISHED), release=True)
    assert line == line_in_release
    assert b'"modified"' not in line
    assert draft.held == release.held == Held(ASSET_ID, MODIFIED, ANNEXED, BLOB, published=True)


def test_a_small_file_with_the_name_of_a_text_is_one() -> None:
    asset = asset_of(path="README.md")
    assert described(asset)[0].held.kind == TEXT
    assert described(asset, layout=Layout(text_max_bytes=8))[0].held.kind == ANNEXED


def test_an_asset_without_its_digest_is_pending() -> None:
    for digest in (..., None, {"dandi:dandi-etag": "0-1"}, {"dandi:sha2-256": None}):
        entry, _ = described(asset_of(metadata_of(digest=digest)))
        assert (entry.held.kind, entry.sha256) == (PENDING, None)


def test_nothing_pending_is_ever_published() -> None:
    with pytest.raises(RecordRefused, match=r"'sub-1/a\.nwb' is published without a digest of its content"):
        described(asset_of(metadata_of(digest=None)), release=True)


def test_a_zarr_asset_is_told_by_its_zarr_id() -> None:
    entry, line = described(zarr_asset())
    assert entry.held == Held(ASSET_ID, MODIFIED, ZARR, BLOB)
    assert (entry.is_zarr, entry.sha256, entry.zarr_checksum) == (True, None, ZARR_CHECKSUM)
    assert (entry.api_url, entry.s3_url) == (API_URL, ZARR_URL)
    assert entry.fields == ()
    assert line.endswith(b'"size":9,"zarr":"%b"}\n' % BLOB.encode())
    assert b'"blob"' not in line


def test_a_zarr_is_pending_until_the_archive_has_its_checksum() -> None:
    for digest in (..., None, {"dandi:dandi-zarr-checksum": None}):
        entry, line = described(zarr_asset(digest=digest, contentUrl=...))
        assert entry.held == Held(ASSET_ID, MODIFIED, PENDING, BLOB)
        assert (entry.is_zarr, entry.zarr_checksum) == (True, None)
        assert line.endswith(b'"zarr":"%b"}\n' % BLOB.encode())


def test_a_zarrs_asset_is_read_anew_where_a_release_is_concerned() -> None:
    """A release names the state that the Zarr was published in; the asset's times do not tell of it."""
    published = zarr_asset(datePublished="2026-11-21T00:00:00+00:00")
    draft, line = described(published)
    release, line_in_release = described(published, release=True)
    assert line == line_in_release
    assert draft.held.still_is(slim_zarr(), release=False)
    assert not draft.held.still_is(slim_zarr(), release=True)
    assert not release.held.still_is(slim_zarr(), release=False)


def test_a_published_zarr_has_a_checksum() -> None:
    with pytest.raises(RecordRefused, match=r"'sub-1/a\.nwb' is published without a digest of its content"):
        described(zarr_asset(digest=None), release=True)


def test_a_checksum_of_a_zarr_that_is_no_text_is_refused() -> None:
    with pytest.raises(RecordRefused, match="malformed Zarr checksum"):
        described(zarr_asset(digest={"dandi:dandi-zarr-checksum": 5}))


@pytest.mark.parametrize("checksum", [SHA256, f"{'0' * 32}-1", "nonsense"])
def test_a_checksum_of_a_zarr_in_another_form_is_left_to_be_judged_with_the_zarr(checksum: str) -> None:
    entry, _ = described(zarr_asset(digest={"dandi:dandi-zarr-checksum": checksum}))
    assert (entry.held.kind, entry.zarr_checksum) == (ZARR, checksum)


DATASET_OF_A_DANDISET = "f3af2357-15f9-5b4f-9d8b-3c6c5b0e6b5a"


@pytest.mark.parametrize("zarr_id", ["", "../../000001", BLOB.upper(), BLOB + "\n", DATASET_OF_A_DANDISET])
def test_a_zarr_id_that_is_no_uuid_of_version_4_is_refused(zarr_id: str) -> None:
    """It becomes the name of a folder, and of a dataset."""
    with pytest.raises(RecordRefused, match="malformed Zarr id"):
        described(msgspec.structs.replace(zarr_asset(), zarr=zarr_id))


REFUSED: dict[str, Asset] = {
    "neither a blob nor a Zarr": asset_of(blob=None),
    "a malformed id, 'D426'": asset_of(asset_id="D426"),
    "an impossible size, -1": asset_of(size=-1),
    "two sizes, 9 and 10": asset_of(metadata_of(contentSize=10)),
    "two sizes, 9 and '9'": asset_of(metadata_of(contentSize="9")),
    "its digest is not an object": asset_of(metadata_of(digest=[SHA256])),
    "a malformed SHA-256 digest, 'ABC'": asset_of(metadata_of(digest={"dandi:sha2-256": "ABC"})),
    "a malformed SHA-256 digest, 5": asset_of(metadata_of(digest={"dandi:sha2-256": 5})),
    "no contentUrl": asset_of(metadata_of(contentUrl=...)),
    "has 0 S3 addresses": asset_of(metadata_of(contentUrl=[API_URL])),
    "has 2 S3 addresses": asset_of(metadata_of(contentUrl=[API_URL, S3_URL, S3_URL + "x"])),
    "is not a JSON object": asset_of(b"[]"),
    "is not JSON": asset_of(b'{"a": NaN}'),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_record_that_cannot_be_is_refused_and_named(what: str) -> None:
    with pytest.raises(RecordRefused) as caught:
        described(REFUSED[what])
    assert what in str(caught.value)
    assert "sub-1/a.nwb" in str(caught.value)


@pytest.mark.parametrize("digest", [SHA256.upper(), SHA256 + "\n", SHA256[:-1], SHA256 + "0", ""])
def test_only_a_digest_in_its_one_form_is_taken(digest: str) -> None:
    with pytest.raises(RecordRefused, match="malformed SHA-256"):
        described(asset_of(metadata_of(digest={"dandi:sha2-256": digest})))


names = st.sampled_from(["a.nwb", "README.md", "x/y.json", "é 😀.tif", '"\\.txt'])


kinds = st.sampled_from(["hashed", "pending", "zarr", "pending zarr"])


@given(names, st.booleans(), st.booleans(), kinds, st.integers(0, 1 << 21))
def test_what_is_remembered_can_be_read_back_from_the_record(
    path: str, release: bool, published: bool, kind: str, size: int
) -> None:
    changes: dict[str, Any] = {"contentSize": size}
    if published:
        changes["datePublished"] = "2026-11-21T00:00:00+00:00"
    if kind.startswith("pending"):
        changes["digest"] = {"dandi:dandi-etag": "0-1"}
        release = False
    elif kind == "zarr":
        changes["digest"] = {"dandi:dandi-zarr-checksum": ZARR_CHECKSUM}
    asset = asset_of(metadata_of(**changes), path=path, size=size, **(ZARR_ASSET if kind.endswith("zarr") else {}))
    entry, line = described(asset, release=release)
    known = entry.held.modified if b'"modified":' in line else None
    assert held_from_line(line, LAYOUT) == (path, msgspec.structs.replace(entry.held, modified=known))


def slim(**changes: Any) -> SlimAsset:
    fields: dict[str, Any] = {"asset_id": ASSET_ID, "path": "a", "size": 9, "created": "", "modified": MODIFIED}
    return SlimAsset(**(fields | {"blob": BLOB} | changes))


def slim_zarr() -> SlimAsset:
    return slim(zarr=BLOB, blob=None)


def test_an_unpublished_asset_is_the_same_while_its_id_and_time_are() -> None:
    held = Held(ASSET_ID, MODIFIED, ANNEXED, BLOB)
    assert held.still_is(slim(), release=False)
    assert not held.still_is(slim(modified="2026-11-20T15:34:18Z"), release=False)
    assert not held.still_is(slim(asset_id=BLOB), release=False)


def test_a_release_takes_over_published_assets_only() -> None:
    assert not Held(ASSET_ID, MODIFIED, ANNEXED, BLOB).still_is(slim(), release=True)
    assert Held(ASSET_ID, MODIFIED, ANNEXED, BLOB, published=True).still_is(slim(), release=True)


def test_a_published_asset_that_was_edited_in_place_is_looked_at_again() -> None:
    held = Held(ASSET_ID, MODIFIED, ANNEXED, BLOB, published=True)
    assert not held.still_is(slim(modified="2031-01-01T00:00:00Z"), release=False)


def test_an_asset_whose_time_is_not_known_is_looked_at_again() -> None:
    assert not Held(ASSET_ID, None, ANNEXED, BLOB, published=True).still_is(slim(), release=False)


def test_a_pending_asset_is_always_looked_at_again() -> None:
    assert not Held(ASSET_ID, MODIFIED, PENDING, BLOB).still_is(slim(), release=False)
