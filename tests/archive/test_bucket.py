"""The bucket: versions, listings and contents, against moto's S3 server and a server that misbehaves."""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from mirror.archive import bucket as bucket_module
from mirror.archive.bucket import UNREACHABLE_LIMIT, Bucket, cheaper_to_list, estimated_objects
from mirror.archive.http import Http
from mirror.archive.s3 import S3Location, parse_location
from mirror.demo import DemoArchive
from mirror.demo.faults import html_page
from mirror.errors import BadAnswer, ContentRefused, NotAllowed, NotFound, Unreachable

ODD_KEYS = ["odd/a b", "odd/a+b", "odd/a%20b", "odd/a&b=c", "odd/é日本", "odd/x//y", "odd/q?#", "odd/<>\"'", "odd/z~"]


class Moto:
    """A versioned public bucket `dandi-test` on moto's server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.s3 = boto3.client(
            "s3", endpoint_url=url, aws_access_key_id="k", aws_secret_access_key="s", region_name="us-east-1"
        )
        self.s3.create_bucket(Bucket="dandi-test", ACL="public-read")
        self.s3.put_bucket_versioning(Bucket="dandi-test", VersioningConfiguration={"Status": "Enabled"})

    def put(self, key: str, body: bytes = b"x", bucket: str = "dandi-test", **more: Any) -> str | None:
        answer = self.s3.put_object(Bucket=bucket, Key=key, Body=body, ACL="public-read", **more)
        version_id: str | None = answer.get("VersionId")
        return version_id

    def put_many(self, keys: list[str]) -> None:
        """Straight into moto's memory: a thousand uploads would take seconds."""
        from moto.s3.models import get_canned_acl, s3_backends

        backend = s3_backends["123456789012"]["aws"]
        for key in keys:
            backend.put_object("dandi-test", key, b"x").set_acl(get_canned_acl("public-read"))

    def at(self, key: str, bucket: str = "dandi-test") -> S3Location:
        """The object as the archive would name it: at Amazon, not at this server."""
        return parse_location(f"https://{bucket}.s3.amazonaws.com/x").sibling(key)


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    from moto.server import ThreadedMotoServer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("werkzeug.serving.WSGIRequestHandler.log_request", lambda *_: None)
        patch.setattr("werkzeug.serving.WSGIRequestHandler.disable_nagle_algorithm", True)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        yield Moto(f"http://{host}:{port}")
        server.stop()


@pytest.fixture
def bucket(moto: Moto, pauses: list[float]) -> Iterator[Bucket]:
    http = Http(sleep=pauses.append)
    yield Bucket(http, moto.url, jobs=2)
    http.close()


@pytest.mark.parametrize("key", ODD_KEYS)
def test_odd_keys_are_reached(moto: Moto, bucket: Bucket, key: str) -> None:
    version_id = moto.put(key, key.encode())
    location = moto.at(key)
    assert bucket.version_id(location) == version_id
    assert bucket.fetch(location, max_bytes=100) == key.encode()
    assert bucket.exists(f"{location.url}?versionId={version_id}")
    assert [(v.key, v.version_id) for v in bucket.list_versions(location) if v.is_latest] == [(key, version_id)]


def test_a_newer_version_is_the_current_one_and_the_older_still_there(moto: Moto, bucket: Bucket) -> None:
    old, new = moto.put("twice/k", b"old"), moto.put("twice/k", b"new!")
    location = moto.at("twice/k")
    assert bucket.version_id(location) == new
    assert bucket.fetch(f"{location.url}?versionId={old}", max_bytes=9) == b"old"
    listed = {version.version_id: version for version in bucket.list_versions(moto.at("twice/"))}
    assert set(listed) == {old, new}
    assert [v.version_id for v in listed.values() if v.is_latest] == [new]
    assert listed[new].size == 4
    assert listed[new].etag == hashlib.md5(b"new!").hexdigest()


def test_a_deleted_object_is_not_there(moto: Moto, bucket: Bucket) -> None:
    old = moto.put("gone/k")
    moto.put("gone/l")
    marker = moto.s3.delete_object(Bucket="dandi-test", Key="gone/k")["VersionId"]
    location = moto.at("gone/k")
    with pytest.raises(NotFound, match="s3://dandi-test/gone/k: the bucket has no such thing"):
        bucket.version_id(location)
    assert not bucket.exists(location.url)
    assert bucket.exists(f"{location.url}?versionId={old}")
    assert not bucket.exists(f"{location.url}?versionId={marker}")
    assert [version.key for version in bucket.list_versions(moto.at("gone/"))] == ["gone/l"]


def test_a_bucket_without_versions_has_no_version_ids(moto: Moto, bucket: Bucket) -> None:
    moto.s3.create_bucket(Bucket="plain-test", ACL="public-read")
    moto.put("k", bucket="plain-test")
    assert bucket.version_id(moto.at("k", "plain-test")) is None
    assert [v.version_id for v in bucket.list_versions(moto.at("", "plain-test"))] == [None]


def test_what_is_not_public_is_not_allowed(moto: Moto, bucket: Bucket) -> None:
    moto.s3.put_object(Bucket="dandi-test", Key="private", Body=b"x", ACL="private")
    with pytest.raises(NotAllowed, match="s3://dandi-test/private"):
        bucket.version_id(moto.at("private"))


def test_contents_are_bounded(moto: Moto, bucket: Bucket) -> None:
    moto.put("five", b"12345")
    assert bucket.fetch(moto.at("five"), max_bytes=5) == b"12345"
    with pytest.raises(ContentRefused, match="5 bytes, more than the 4 allowed"):
        bucket.fetch(moto.at("five"), max_bytes=4)


def test_a_signed_url_is_used_as_it_is(moto: Moto, bucket: Bucket) -> None:
    moto.s3.put_object(Bucket="dandi-test", Key="embargoed", Body=b"secret", ACL="private")
    url = moto.s3.generate_presigned_url("get_object", Params={"Bucket": "dandi-test", "Key": "embargoed"})
    assert bucket.fetch(url, max_bytes=100) == b"secret"


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of 100: moto takes its time for a thousand."""
    monkeypatch.setattr(bucket_module, "KEYS_PER_PAGE", 100)


@pytest.fixture(scope="module")
def blobs(moto: Moto) -> dict[str, str]:
    """230 blobs, and a Zarr entry beside them; key → version id as moto has it."""
    chance = random.Random(7)
    names = [str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(230)]
    moto.put_many([f"blobs/{name[:3]}/{name[3:6]}/{name}" for name in names])
    moto.put("girder-assetstore/0a/b/k")
    pages = moto.s3.get_paginator("list_object_versions").paginate(Bucket="dandi-test")
    return {entry["Key"]: entry["VersionId"] for page in pages for entry in page["Versions"] if entry["IsLatest"]}


@pytest.mark.usefixtures("small_pages")
def test_listings_go_on_over_all_pages(moto: Moto, bucket: Bucket, blobs: dict[str, str]) -> None:
    listed = {version.key: version.version_id for version in bucket.list_versions(moto.at("blobs/"))}
    assert listed == {key: version for key, version in blobs.items() if key.startswith("blobs/")}
    assert bucket._http.counts()["s3"].requests == 3


def test_current_objects_are_listed_in_order_whatever_their_keys(moto: Moto, bucket: Bucket) -> None:
    keys = [key.replace("odd/", f"current/{folder}/") for key in ODD_KEYS for folder in ("a", "a.b", "é")]
    moto.put_many(keys)
    moto.put_many([f"current/5/{number}" for number in range(60)])
    newer = moto.put("current/5/7", b"newer")
    moto.s3.delete_object(Bucket="dandi-test", Key="current/5/8")
    # One job: moto loses the entry after a key marker that names no key, as no real server does.
    batches = list(bucket.current_objects(moto.at("current/"), jobs=1))
    listed = {version.key: version.version_id for batch in batches for version in batch}
    assert list(listed) == sorted({*keys, *(f"current/5/{number}" for number in range(60))} - {"current/5/8"})
    assert listed["current/5/7"] == newer


@pytest.mark.usefixtures("small_pages")
def test_many_unknown_versions_are_listed(moto: Moto, bucket: Bucket, blobs: dict[str, str]) -> None:
    wanted = [moto.at(key) for key in blobs if key.startswith(("blobs/", "girder"))]
    gone = moto.at(f"blobs/000/000/00000000-0000-4000-8000-{0:012}")
    seen: dict[str, str | None] = {}
    found = bucket.version_ids([*wanted, gone], seen=seen.__setitem__)
    assert isinstance(found[gone], NotFound)
    assert {location.key: found[location] for location in wanted} == {w.key: blobs[w.key] for w in wanted}
    assert seen == {f"dandi-test/{key}": version for key, version in blobs.items() if key.startswith("blobs/")}
    # One probing page, three pages of listing, one HEAD for the girder key and one for what is gone.
    assert bucket._http.counts()["s3"].requests <= 6


def test_few_unknown_versions_are_asked_for_one_by_one(moto: Moto, bucket: Bucket, blobs: dict[str, str]) -> None:
    wanted = [moto.at(key) for key in list(blobs)[:5]]
    assert bucket.version_ids(wanted) == {location: blobs[location.key] for location in wanted}
    assert bucket._http.counts()["s3"].requests == 5


@pytest.mark.usefixtures("small_pages")
def test_some_dozens_among_many_pages_of_them_cost_one_probe(moto: Moto, bucket: Bucket, blobs: dict[str, str]) -> None:
    wanted = [moto.at(key) for key in sorted(blobs) if key.startswith("blobs/")][-25:]
    assert bucket.version_ids(wanted) == {location: blobs[location.key] for location in wanted}
    assert bucket._http.counts()["s3"].requests == 1 + len(wanted)


def test_nothing_wanted_costs_nothing(bucket: Bucket) -> None:
    assert bucket.version_ids([]) == {}
    assert bucket._http.counts()["s3"].requests == 0


def test_listing_pays_when_it_takes_fewer_than_a_tenth_of_the_requests() -> None:
    assert not cheaper_to_list(6_000, 627_559)
    assert cheaper_to_list(6_300, 627_559)
    assert cheaper_to_list(11, 1_000)
    assert not cheaper_to_list(10, 1_000)
    assert not cheaper_to_list(10**9, float("inf"))


def test_the_number_of_objects_is_estimated_from_the_first_thousand() -> None:
    chance = random.Random(3)
    keys = sorted(f"{chance.getrandbits(128):032x}" for _ in range(100_000))
    last = f"blobs/{keys[999][:3]}/{keys[999][3:6]}/{keys[999]}"
    assert 80_000 < estimated_objects(1000, last, "blobs/") < 125_000
    assert estimated_objects(1000, "blobs/000/000/000", "blobs/") == float("inf")
    assert estimated_objects(1000, "blobs/xyz", "blobs/") == float("inf")


# What follows goes wrong on purpose.


@pytest.fixture
def faulty(server: Any, pauses: list[float]) -> Iterator[Bucket]:
    http = Http(tries=2, sleep=pauses.append)
    yield Bucket(http, server.url, jobs=2)
    http.close()


def blob(number: int) -> S3Location:
    name = f"{number:08x}-0000-4000-8000-000000000000"
    return parse_location(f"https://b.s3.amazonaws.com/blobs/{name[:3]}/{name[3:6]}/{name}")


def test_one_failing_blob_does_not_break_the_others(server: Any, faulty: Bucket) -> None:
    for number, status in enumerate([200, 403, 404, 500, 400, 200]):
        path = f"/b/{blob(number).key}"
        server.then(status=status, headers={"x-amz-version-id": f"v{number}", "ETag": "e"}, at=path)
    found = faulty.version_ids([blob(number) for number in range(6)])
    assert (found[blob(0)], found[blob(5)]) == ("v0", "v5")
    kinds = [type(found[blob(number)]) for number in range(1, 5)]
    assert kinds == [NotAllowed, NotFound, Unreachable, BadAnswer]
    assert "HTTP 500" in str(found[blob(3)])


def test_a_bucket_that_may_not_be_listed_is_asked_one_by_one(server: Any, faulty: Bucket) -> None:
    def answer(seen: Any) -> Any:
        server.then(status=403 if seen.method == "GET" else 200, headers={"x-amz-version-id": "v", "ETag": "e"})
        return server.turns.pop()

    server.answer = answer
    wanted = [blob(number) for number in range(40)]
    assert faulty.version_ids(wanted) == dict.fromkeys(wanted, "v")


def test_a_server_that_is_down_is_not_asked_thousands_of_times(server: Any, faulty: Bucket) -> None:
    def answer(_: Any) -> Any:
        server.then(status=503)
        return server.turns.pop()

    server.answer = answer
    wanted = [blob(number) for number in range(500)]
    found = faulty.version_ids(wanted)
    assert all(isinstance(found[location], Unreachable) for location in wanted)
    assert "not asked for any more" in str(found[wanted[-1]])
    assert len(server.seen) < 4 * UNREACHABLE_LIMIT


def listing(entries: str, marker: tuple[str, str] | None = None) -> bytes:
    more = ""
    if marker:
        more = f"<IsTruncated>true</IsTruncated><NextKeyMarker>{marker[0]}</NextKeyMarker>"
        more += f"<NextVersionIdMarker>{marker[1]}</NextVersionIdMarker>"
    return f"<ListVersionsResult>{entries}{more}</ListVersionsResult>".encode()


def entry(key: str, version: str, *, latest: bool, deleted: bool = False) -> str:
    common = f"<Key>{key}</Key><VersionId>{version}</VersionId><IsLatest>{str(latest).lower()}</IsLatest>"
    common += "<LastModified>t</LastModified>"
    return (
        f"<DeleteMarker>{common}</DeleteMarker>"
        if deleted
        else (f"<Version>{common}<ETag>e</ETag><Size>1</Size></Version>")
    )


def test_a_deleted_object_is_left_out_over_the_end_of_a_page(server: Any, faulty: Bucket) -> None:
    server.then(listing(entry("a", "1", latest=True) + entry("b", "3", latest=True, deleted=True), ("b", "3")))
    server.then(listing(entry("b", "2", latest=False), ("b", "2")))
    server.then(listing(entry("b", "1", latest=False) + entry("c", "1", latest=True)))
    prefix = parse_location("https://b.s3.amazonaws.com/x").sibling("")
    assert [version.key for version in faulty.list_versions(prefix)] == ["a", "c"]
    assert "version-id-marker=2" in server.paths[2]


def test_a_listing_that_does_not_get_on_is_a_bad_answer(server: Any, faulty: Bucket) -> None:
    for _ in range(2):
        server.then(listing(entry("a", "1", latest=True), ("a", "1")))
    with pytest.raises(BadAnswer, match="does not get on"):
        list(faulty.list_versions(blob(0)))


def test_a_listing_that_is_none_is_a_bad_answer(server: Any, faulty: Bucket) -> None:
    for _ in range(2):
        server.then(b"<html>maintenance</html>")
    with pytest.raises(BadAnswer, match=r"the listing of s3://b/blobs.*<html> where <ListVersionsResult>"):
        list(faulty.list_versions(blob(0)))


def test_content_cut_short_is_fetched_again(server: Any, faulty: Bucket) -> None:
    server.then(b"hal", announce=6)
    server.then(b"halves", headers={"ETag": "e"})
    assert faulty.fetch(blob(0), max_bytes=10) == b"halves"


def test_a_region_elsewhere_is_named_not_followed(server: Any, faulty: Bucket) -> None:
    server.then(status=301, headers={"Location": "https://b.s3.eu-west-1.amazonaws.com/k?X-Amz-Signature=SECRET"})
    with pytest.raises(BadAnswer, match=r"redirects to https://b\.s3\.eu-west-1\.amazonaws\.com \(") as caught:
        faulty.version_id(blob(0))
    assert "SECRET" not in str(caught.value)


def test_a_proxy_s_page_with_status_200_is_not_taken_for_the_bucket_s_answer(pauses: list[float]) -> None:
    with DemoArchive() as archive:
        identifier = archive.create_dandiset("Ripples")
        archive.add_asset(identifier, "a.nwb", b"content")
        blob = archive.asset(identifier, "a.nwb").blob
        assert blob is not None
        http = Http(sleep=pauses.append)
        bucket = Bucket(http, archive.s3_endpoint)
        location = parse_location(f"{archive.s3_endpoint}/{archive.bucket}/{blob.key}")
        version_id = bucket.version_id(location)
        assert version_id is not None
        for ask, honest in (
            (lambda: bucket.version_id(location), version_id),
            (lambda: bucket.exists(location.url), True),
            (lambda: bucket.fetch(location, max_bytes=100), b"content"),
        ):
            archive.s3_faults.add(html_page())
            assert ask() == honest
            archive.s3_faults.add(html_page(), times=None)
            with pytest.raises(BadAnswer, match="not the bucket's"):
                ask()
            archive.s3_faults.clear()
        http.close()
