"""The S3 server, through boto3: by itself, and against the same calls to moto's server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
import requests
from botocore import UNSIGNED
from botocore.client import Config
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from mirror.demo import DemoArchive

ODD_KEYS = ["a b+c", "a&b<c>\"'", "dir/é/日本", "dir/x", "dir/y/w", "dir/y/z", "tab\tkey", "%41", "~.-_"]
BUCKET = "demo-archive"


def client(endpoint: str, *, signed: bool = False) -> Any:
    """moto lets nobody read unsigned."""
    config = Config(
        signature_version=None if signed else UNSIGNED,
        s3={"addressing_style": "path"},
        retries={"total_max_attempts": 1},
    )
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        config=config,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


@pytest.fixture
def s3(archive: DemoArchive) -> Any:
    return client(archive.s3_endpoint)


@pytest.fixture(scope="module")
def moto_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def moto(moto_endpoint: str) -> Any:
    requests.post(f"{moto_endpoint}/moto-api/reset")
    other = client(moto_endpoint, signed=True)
    other.create_bucket(Bucket=BUCKET)
    other.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    return other


def fill(s3: Any) -> None:
    """Each folder keeps an object: moto shows a folder of deleted ones, which S3 does not."""
    for key in ODD_KEYS:
        s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    s3.put_object(Bucket=BUCKET, Key="dir/x", Body=b"second")
    s3.delete_object(Bucket=BUCKET, Key="dir/y/z")


def paged(call: Callable[..., Any], follow: dict[str, str], **parameters: Any) -> list[Any]:
    """All pages; `follow` says which field of an answer is which parameter of the next call."""
    pages = [call(Bucket=BUCKET, **parameters)]
    while pages[-1]["IsTruncated"]:
        after = {parameter: pages[-1][field] for field, parameter in follow.items() if field in pages[-1]}
        pages.append(call(Bucket=BUCKET, **{**parameters, **after}))
    return pages


def objects(s3: Any, **parameters: Any) -> list[Any]:
    pages = paged(s3.list_objects_v2, {"NextContinuationToken": "ContinuationToken"}, **parameters)
    return [
        sorted((one["Key"], one["Size"], one["ETag"]) for page in pages for one in page.get("Contents", [])),
        sorted(one["Prefix"] for page in pages for one in page.get("CommonPrefixes", [])),
        sum(page["KeyCount"] for page in pages),
    ]


def versions(s3: Any, **parameters: Any) -> list[Any]:
    follow = {"NextKeyMarker": "KeyMarker", "NextVersionIdMarker": "VersionIdMarker"}
    pages = paged(s3.list_object_versions, follow, **parameters)
    return [
        [(one["Key"], one["Size"], one["IsLatest"], one["ETag"]) for page in pages for one in page.get("Versions", [])],
        [(one["Key"], one["IsLatest"]) for page in pages for one in page.get("DeleteMarkers", [])],
        sorted(one["Prefix"] for page in pages for one in page.get("CommonPrefixes", [])),
    ]


LISTINGS: list[dict[str, Any]] = [
    {},
    {"Prefix": "dir/"},
    {"Delimiter": "/"},
    {"Prefix": "dir/", "Delimiter": "/"},
    {"Prefix": "nothing"},
    {"Prefix": "a b+"},
]


@pytest.mark.parametrize("parameters", LISTINGS, ids=str)
def test_objects_are_listed_as_by_moto(s3: Any, moto: Any, parameters: dict[str, Any]) -> None:
    fill(s3)
    fill(moto)
    expected = objects(moto, **parameters)
    assert objects(s3, **parameters) == expected
    assert objects(s3, **parameters, MaxKeys=2) == expected
    assert objects(s3, **parameters, StartAfter="b") == objects(moto, **parameters, StartAfter="b")


@pytest.mark.parametrize("parameters", LISTINGS, ids=str)
def test_versions_are_listed_as_by_moto(s3: Any, moto: Any, parameters: dict[str, Any]) -> None:
    fill(s3)
    fill(moto)
    listed = versions(s3, **parameters)
    assert sorted(listed[0]) == sorted(versions(moto, **parameters)[0])
    assert listed[1:] == versions(moto, **parameters)[1:]
    assert versions(s3, **parameters, MaxKeys=1) == listed


ZARR_KEYS = [
    ".zgroup",
    "0/.zarray",
    "0/0/0",
    "0/0/1",
    "0/0.5",
    "0/1/0",
    "0/10/0",
    "00",
    "1/.zarray",
    "1/0/0",
    "1/a b/+",
    "2",
]


def fill_with_zarr(s3: Any) -> None:
    for key in ZARR_KEYS:
        s3.put_object(Bucket=BUCKET, Key=f"zarr/x/{key}", Body=key.encode())
    for key in ("0/.zarray", "0/0/1", "2"):
        s3.put_object(Bucket=BUCKET, Key=f"zarr/x/{key}", Body=b"again")
    for key in ("0/0/0", "00", "2"):
        s3.delete_object(Bucket=BUCKET, Key=f"zarr/x/{key}")


@pytest.mark.parametrize("prefix", ["zarr/x/", "zarr/x/0/", "zarr/x/0", "zarr/x/0/0/", "zarr/x/1/", "zarr/"])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_the_folders_of_a_zarr_are_listed_page_by_page(s3: Any, moto: Any, prefix: str, size: int) -> None:
    fill_with_zarr(s3)
    fill_with_zarr(moto)
    whole = versions(s3, Prefix=prefix, Delimiter="/")
    expected = versions(moto, Prefix=prefix, Delimiter="/")
    assert [sorted(part) for part in whole] == [sorted(part) for part in expected]
    assert versions(s3, Prefix=prefix, Delimiter="/", MaxKeys=size) == whole


def test_a_page_that_ends_with_a_folder_goes_on_after_it(s3: Any) -> None:
    fill_with_zarr(s3)
    request = {"Bucket": BUCKET, "Prefix": "zarr/x/", "Delimiter": "/"}
    first = s3.list_object_versions(**request, MaxKeys=2)
    assert [one["Key"] for one in first["Versions"]] == ["zarr/x/.zgroup"]
    assert [one["Prefix"] for one in first["CommonPrefixes"]] == ["zarr/x/0/"]
    assert first["NextKeyMarker"] == "zarr/x/0/"
    assert "NextVersionIdMarker" not in first
    rest = s3.list_object_versions(**request, KeyMarker=first["NextKeyMarker"])
    assert [one["Prefix"] for one in rest["CommonPrefixes"]] == ["zarr/x/1/"]
    assert [one["Key"] for one in rest["Versions"]] == ["zarr/x/00", "zarr/x/2", "zarr/x/2"]
    assert [one["Key"] for one in rest["DeleteMarkers"]] == ["zarr/x/00", "zarr/x/2"]
    past_all = s3.list_object_versions(**request, KeyMarker="zarr/x/3")
    assert "Versions" not in past_all
    assert not past_all["IsTruncated"]


def test_listings_of_keys_as_they_are(archive: DemoArchive, s3: Any) -> None:
    """Without the URL encoding that boto3 asks for, keys are plain XML text."""
    s3.put_object(Bucket=BUCKET, Key="a&b <c>", Body=b"")
    text = requests.get(f"{archive.s3_endpoint}/{BUCKET}?list-type=2&prefix=a%26b").text
    assert "<Key>a&amp;b &lt;c&gt;</Key>" in text
    assert "<Prefix>a&amp;b</Prefix>" in text


def test_the_first_listing_is_served_too(s3: Any) -> None:
    fill(s3)
    pages = paged(s3.list_objects, {"NextMarker": "Marker"}, Delimiter="/", MaxKeys=3)
    assert sum(len(page.get("Contents", [])) for page in pages) == len(ODD_KEYS) - 4
    assert [one["Prefix"] for page in pages for one in page.get("CommonPrefixes", [])] == ["dir/"]


@pytest.mark.parametrize("key", [*ODD_KEYS, "new\nline"])  # which moto does not take
def test_objects_come_back(s3: Any, key: str) -> None:
    written = s3.put_object(Bucket=BUCKET, Key=key, Body=b"0123456789")
    read = s3.get_object(Bucket=BUCKET, Key=key)
    assert read["Body"].read() == b"0123456789"
    assert read["VersionId"] == written["VersionId"]
    assert read["ETag"] == written["ETag"] == '"781e5e245d69b566979b86e28d23f2c7"'
    head = s3.head_object(Bucket=BUCKET, Key=key)
    assert (head["ContentLength"], head["VersionId"]) == (10, written["VersionId"])


@pytest.mark.parametrize("span", ["bytes=2-4", "bytes=7-", "bytes=-3", "bytes=0-0", "bytes=5-99", "bytes=-99"])
def test_ranges_are_as_by_moto(s3: Any, moto: Any, span: str) -> None:
    answers = []
    for one in (s3, moto):
        one.put_object(Bucket=BUCKET, Key="k", Body=b"0123456789")
        answer = one.get_object(Bucket=BUCKET, Key="k", Range=span)
        answers.append((answer["Body"].read(), answer["ContentRange"], answer["ContentLength"]))
    assert answers[0] == answers[1]


def code(call: Callable[..., Any], **parameters: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as refused:
        call(**{"Bucket": BUCKET, "Key": "k", **parameters})
    response = refused.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_what_is_missing_is_named(s3: Any) -> None:
    version = s3.put_object(Bucket=BUCKET, Key="k", Body=b"0123")["VersionId"]
    assert code(s3.get_object, Key="other") == ("NoSuchKey", 404)
    assert code(s3.get_object, Bucket="other") == ("NoSuchBucket", 404)
    assert code(s3.get_object, VersionId="0" * 32) == ("NoSuchVersion", 404)
    assert code(s3.get_object, Range="bytes=4-") == ("InvalidRange", 416)
    assert code(s3.head_object, Key="other") == ("404", 404)
    marker = s3.delete_object(Bucket=BUCKET, Key="k")["VersionId"]
    assert code(s3.get_object) == ("NoSuchKey", 404)
    assert code(s3.get_object, VersionId=marker) == ("MethodNotAllowed", 405)
    assert s3.get_object(Bucket=BUCKET, Key="k", VersionId=version)["Body"].read() == b"0123"


def test_old_versions_stay_until_they_are_deleted(s3: Any) -> None:
    first = s3.put_object(Bucket=BUCKET, Key="k", Body=b"1")["VersionId"]
    second = s3.put_object(Bucket=BUCKET, Key="k", Body=b"2")["VersionId"]
    assert s3.get_object(Bucket=BUCKET, Key="k", VersionId=first)["Body"].read() == b"1"
    s3.delete_object(Bucket=BUCKET, Key="k", VersionId=second)
    assert s3.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"1"
    s3.delete_object(Bucket=BUCKET, Key="k", VersionId=first)
    assert code(s3.get_object) == ("NoSuchKey", 404)
    assert versions(s3) == [[], [], []]


def test_blobs_are_where_assets_say(archive: DemoArchive, s3: Any) -> None:
    identifier = archive.create_dandiset()
    archive.add_asset(identifier, "a", b"content")
    blob = archive.asset(identifier, "a").blob
    assert blob is not None
    head = s3.head_object(Bucket=archive.bucket, Key=blob.key)
    assert head["ETag"] == f'"{blob.etag}"'
    assert blob.etag.endswith("-1")
    assert blob.key == f"blobs/{blob.blob_id[:3]}/{blob.blob_id[3:6]}/{blob.blob_id}"


def test_conditional_reads(archive: DemoArchive, s3: Any) -> None:
    etag = s3.put_object(Bucket=BUCKET, Key="k", Body=b"1")["ETag"]
    answer = requests.get(f"{archive.s3_endpoint}/{BUCKET}/k", headers={"If-None-Match": etag})
    assert (answer.status_code, answer.content) == (304, b"")


def test_pages_of_a_large_bucket_are_quick(archive: DemoArchive) -> None:
    for number in range(100_000):
        archive.objects.put(f"blobs/{number % 997:03d}/{number:06d}", b"")
    address = f"{archive.s3_endpoint}/{BUCKET}"
    requests.get(f"{address}?list-type=2&max-keys=1")
    for query in ("versions&prefix=blobs/&key-marker=blobs/500/", "list-type=2&prefix=blobs/5", "versions&delimiter=/"):
        before = time.perf_counter()
        answer = requests.get(f"{address}?{query}")
        assert answer.status_code == 200
        assert time.perf_counter() - before < 0.5
