"""Addresses of objects and listings of versions, as formats."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mirror.archive.instances import KNOWN_INSTANCES, content_hosts
from mirror.archive.s3 import (
    ObjectVersion,
    S3Location,
    content_url_allowed,
    object_url,
    parse_listing,
    parse_location,
    read_any_listing,
    read_common_listing,
)
from mirror.errors import RecordRefused

BLOB = "blobs/d16/03f/d1603fe2-d844-465a-bc25-36746dcb213b"

keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda key: not key.startswith("/") and not {".", ".."} & set(key.split("/"))
)
buckets = st.from_regex(r"[a-z0-9][a-z0-9-]{1,20}[a-z0-9]", fullmatch=True).filter(lambda name: name != "s3")
locations = st.one_of(
    st.builds(
        S3Location,
        buckets,
        keys,
        st.sampled_from(["https://s3.amazonaws.com", "https://s3.us-east-2.amazonaws.com", "http://s3.amazonaws.com"]),
        st.just("virtual"),
    ),
    st.builds(
        S3Location,
        buckets,
        keys,
        st.sampled_from(["http://127.0.0.1:9000", "https://s3.eu-west-1.amazonaws.com", "http://[::1]:9000"]),
        st.just("path"),
    ),
)


@pytest.mark.parametrize(
    ("url", "location"),
    [
        (f"https://dandiarchive.s3.amazonaws.com/{BLOB}",
         S3Location("dandiarchive", BLOB, "https://s3.amazonaws.com", "virtual")),
        (f"https://dandiarchive.s3.us-east-2.amazonaws.com/{BLOB}?versionId=v",
         S3Location("dandiarchive", BLOB, "https://s3.us-east-2.amazonaws.com", "virtual")),
        (f"https://a.b.org.s3.amazonaws.com/{BLOB}",
         S3Location("a.b.org", BLOB, "https://s3.amazonaws.com", "virtual")),
        (f"https://s3.amazonaws.com/dandiarchive/{BLOB}",
         S3Location("dandiarchive", BLOB, "https://s3.amazonaws.com", "path")),
        (f"http://localhost:9000/dandi-dandisets/{BLOB}",
         S3Location("dandi-dandisets", BLOB, "http://localhost:9000", "path")),
        ("http://h:9000/b/zarr/x/0/.zarray", S3Location("b", "zarr/x/0/.zarray", "http://h:9000", "path")),
        ("http://h:9000/b/a+b%20c%2Bd%25", S3Location("b", "a+b c+d%", "http://h:9000", "path")),
    ],
)  # fmt: skip
def test_content_urls_name_bucket_and_key(url: str, location: S3Location) -> None:
    assert parse_location(url) == location


@pytest.mark.parametrize(
    "url",
    ["", "s3://bucket/key", "https://h/", "https://h/bucket", "https://h/bucket/", "https://u:p@h/b/k", "http://[/b/k",
     "https://b.s3.amazonaws.com/", "https://h/b/../k", "https://h/b/x/%2e%2E/k", "https://h/b/./k", "https://h/b//k",
     "https://h/b/%ff"],
)  # fmt: skip
def test_content_urls_that_name_no_object_are_refused(url: str) -> None:
    with pytest.raises(RecordRefused):
        parse_location(url)


@given(locations)
def test_addresses_survive_the_round_trip(location: S3Location) -> None:
    assert parse_location(location.url) == location
    assert location.url.isascii()
    assert not set(' "<>\\^`{|}') & set(location.url)


@given(locations, st.sampled_from(["http://127.0.0.1:9000", "https://s3.example/prefix/", "http://minio"]))
def test_an_endpoint_takes_the_place_of_the_server(location: S3Location, endpoint: str) -> None:
    assume(endpoint != "https://s3.example/prefix/")
    moved = parse_location(object_url(location, endpoint))
    assert (moved.bucket, moved.key, moved.server, moved.style) == (location.bucket, location.key, endpoint, "path")


def test_an_endpoint_may_have_a_path_and_a_version_is_quoted() -> None:
    location = parse_location("https://bucket.s3.amazonaws.com/a b")
    assert object_url(location, "https://s3.example/prefix/", version_id="x&y=") == (
        "https://s3.example/prefix/bucket/a%20b?versionId=x%26y%3D"
    )


@given(st.text())
def test_no_text_breaks_the_parsing_of_addresses(text: str) -> None:
    for url in (text, f"https://{text}", f"https://h/{text}"):
        content_url_allowed(url, {"*.s3.amazonaws.com"})
        with contextlib.suppress(RecordRefused):
            assert parse_location(url).key


@pytest.mark.parametrize("name", KNOWN_INSTANCES)
def test_a_known_instance_has_its_own_buckets_only(name: str) -> None:
    instance = KNOWN_INSTANCES[name]
    hosts = content_hosts(instance.api_url)
    for bucket in instance.buckets:
        assert content_url_allowed(f"https://{bucket}.s3.amazonaws.com/{BLOB}", hosts)
        assert content_url_allowed(f"https://{bucket}.s3.us-east-2.amazonaws.com/{BLOB}?versionId=x", hosts)
        assert not content_url_allowed(f"https://{bucket}.s3.amazonaws.com.evil.example/{BLOB}", hosts)
        assert not content_url_allowed(f"https://x{bucket}.s3.amazonaws.com/{BLOB}", hosts)
        assert not content_url_allowed(f"https://{bucket}.s3.amazonaws.com:8443/{BLOB}", hosts)
    assert not content_url_allowed(f"https://evil.s3.amazonaws.com/{BLOB}", hosts)


ALLOWED = ["http://localhost:9000/b/k", "https://b.s3.amazonaws.com/k", "https://a.b.s3.eu-west-1.amazonaws.com/k",
           "https://s3.amazonaws.com/b/k", "https://s3.us-east-2.amazonaws.com/b/k", "http://minio.lab:9001/b/k",
           "https://B.S3.AmazonAWS.com/k", "http://localhost/b/k"]  # fmt: skip
NOT_ALLOWED = ["ftp://localhost:9000/b/k", "file:///etc/passwd", "https://user@b.s3.amazonaws.com/k",
               "https://b.s3.amazonaws.com@evil.example/k", "https://evil.example/b.s3.amazonaws.com",
               "http://minio.lab:9002/b/k", "http://169.254.169.254/latest", "https://s3.amazonaws.com.evil.example/",
               "https://s3.a.b.amazonaws.com/k", "https://evil.example\\.s3.amazonaws.com/k", "//localhost/k", "",
               "https://b.s3.amazonaws.com/k\nhttp://x", "http://localhost:99999999/k", "https://amazonaws.com/k",
               ]  # fmt: skip


@pytest.mark.parametrize(("url", "expected"), [(u, True) for u in ALLOWED] + [(u, False) for u in NOT_ALLOWED])
def test_hosts_of_an_instance_that_nobody_knows(url: str, expected: bool) -> None:
    hosts = content_hosts("http://localhost:8000/api", "http://minio.lab:9001")
    assert content_url_allowed(url, hosts) is expected


entries = st.lists(
    st.tuples(keys, st.sampled_from(["null", "v.1_x"]), st.integers(0, 2**50), st.booleans()), max_size=8
)


@given(entries, st.booleans())
def test_listings_are_read_back(rows: list[tuple[str, str, int, bool]], pretty: bool) -> None:
    gap = "\n  " if pretty else ""
    body = "".join(
        f"<Version>{gap}<Key>{escape(quote_plus(key))}</Key><VersionId>{version}</VersionId><IsLatest>"
        f"{str(latest).lower()}</IsLatest>{gap}<LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;e-{size}&quot;</ETag><Size>{size}</Size><Owner><ID>o</ID></Owner>"
        f"<StorageClass>STANDARD</StorageClass></Version>{gap}"
        for key, version, size, latest in rows
    )
    page = parse_listing(
        f'<?xml version="1.0" encoding="UTF-8"?>\n<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>b</Name><Prefix></Prefix><EncodingType>url</EncodingType>{body}<IsTruncated>false</IsTruncated>"
        f"</ListVersionsResult>".encode()
    )
    assert [(v.key, v.version_id or "null", v.size, v.is_latest) for v in page.versions] == rows
    assert [v.etag for v in page.versions] == [f"e-{size}" for _, _, size, _ in rows]
    assert page.next_marker is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not XML"),
        (b"<ListVersionsResult>", "not XML"),
        (b"<Error><Code>SlowDown</Code></Error>", "<Error> where <ListVersionsResult> was expected"),
        (b"<ListVersionsResult><Version><Key>k</Key></Version></ListVersionsResult>", "an entry without VersionId"),
        (b"<ListVersionsResult><IsTruncated>true</IsTruncated></ListVersionsResult>", "not from where"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><ListVersionsResult>&a;</ListVersionsResult>', "document type declaration"),
    ],
)
def test_what_is_no_listing_is_said_so(body: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_listing(body)


# Both ways of reading a listing agree, whatever it is.

ORDERS = {
    "Amazon": ("Key", "VersionId", "IsLatest", "LastModified", "ETag", "ChecksumType", "Size", "Owner", "StorageClass"),
    "MinIO": ("Key", "LastModified", "ETag", "Size", "StorageClass", "Owner", "IsLatest", "VersionId"),
    "moto": ("ETag", "Size", "StorageClass", "Key", "VersionId", "IsLatest", "LastModified", "Owner"),
}
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12)
MARKUP = ["<!-- x -->", "<![CDATA[x]]>", "<!DOCTYPE x>", "<?x y?>", "&amp;", "&#65;", "&quot;", "<", ">", "]]>", "&",
          "\r\n", "\x00", "\ufffe", "é", " ", "\n", '"', "%", "+", "null", "true", "\ufeff", "<a/>", "<ID>x</ID>",
          "<Key>k</Key>", "<Key/>", "<Size>1</Size>", "</Version>", "<Version>", "<Version/>", "<DeleteMarker>",
          "</DeleteMarker>", "<Owner>", "</Owner>", "<CommonPrefixes>", "<EncodingType>url</EncodingType>",
          "<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>", "<IsTruncated>true</IsTruncated>",
          "<NextKeyMarker>m</NextKeyMarker>"]  # fmt: skip


@st.composite
def listings(draw: st.DrawFn) -> str:
    """The text of a listing as one of several servers writes it."""
    order = ORDERS[draw(st.sampled_from(sorted(ORDERS)))]
    gap = draw(st.sampled_from(["", "\n  "]))
    quote = draw(st.sampled_from(["&quot;", "&#34;", '"', ""]))
    url = draw(st.booleans())
    entries = []
    for key, size, deleted in draw(st.lists(st.tuples(keys, st.integers(0, 9**20), st.booleans()), max_size=4)):
        values = {
            "Key": escape(quote_plus(key, safe="/") if url else key),
            "VersionId": draw(st.sampled_from(["null", "v.1_x", ""])),
            "IsLatest": draw(st.sampled_from(["true", "false"])),
            "LastModified": "2026-01-01T00:00:00.000Z",
            "ETag": f"{quote}{size:x}-2{quote}",
            "Size": str(size),
            "ChecksumType": "FULL_OBJECT",
            "StorageClass": "STANDARD",
            "Owner": f"{gap}<ID>o</ID><DisplayName>{escape(draw(texts))}</DisplayName>",
        }
        names = [name for name in order if not deleted or name not in ("ETag", "Size", "StorageClass", "ChecksumType")]
        tag = "DeleteMarker" if deleted else "Version"
        entries.append(
            f"<{tag}>{gap}{gap.join(f'<{name}>{values[name]}</{name}>' for name in names)}{gap}</{tag}>{gap}"
        )
    prefixes = [f"<CommonPrefixes><Prefix>{escape(quote_plus(key))}</Prefix></CommonPrefixes>" for key in draw(
        st.lists(keys, max_size=2))]  # fmt: skip
    more = "<IsTruncated>true</IsTruncated><NextKeyMarker>a%20b</NextKeyMarker>" if draw(st.booleans()) else ""
    root = f"<Name>b</Name><Prefix/>{'<EncodingType>url</EncodingType>' if url else ''}"
    head = draw(st.sampled_from(['<?xml version="1.0" encoding="UTF-8"?>\n', ""]))
    parts = [root, more] if draw(st.booleans()) else [more, root]
    return (
        f'{head}<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{gap}{parts[0]}'
        f"{''.join(entries)}{''.join(prefixes)}{parts[1]}</ListVersionsResult>"
    )


def both_ways(body: bytes) -> tuple[object, object]:
    """What each way makes of a body: a page, or what is wrong with it."""

    def outcome(read: Callable[[bytes], object]) -> object:
        try:
            return read(body)
        except ValueError as error:
            return str(error)

    return outcome(read_common_listing), outcome(read_any_listing)


@given(listings())
def test_both_ways_of_reading_a_listing_agree(text: str) -> None:
    common, slow = both_ways(text.encode())
    assert common is None or common == slow


@settings(max_examples=400)
@given(listings(), st.lists(st.tuples(st.floats(0, 1), st.sampled_from(MARKUP), st.integers(0, 8)), max_size=3))
def test_both_ways_agree_on_listings_that_were_tampered_with(text: str, edits: list[tuple[float, str, int]]) -> None:
    for where, inserted, removed in edits:
        at = int(where * len(text))
        at = text.rfind(">", 0, at) + 1 if removed % 2 else at
        text = text[:at] + inserted + text[at + removed // 2 :]
    common, slow = both_ways(text.encode())
    assert common is None or common == slow


@given(listings(), st.floats(0, 1))
def test_a_listing_that_is_cut_short_is_none(text: str, share: float) -> None:
    body = text.encode()
    body = body[: int(len(body) * share)]
    assume(len(body) < len(text.encode()))
    assert read_common_listing(body) is None
    with pytest.raises(ValueError, match="not XML"):
        parse_listing(body)


@pytest.mark.parametrize("server", sorted(ORDERS))
def test_what_servers_send_is_read_the_fast_way(server: str) -> None:
    values = {"Key": "a+b%2B", "VersionId": "v", "IsLatest": "true", "LastModified": "t", "ETag": "&quot;e&quot;"}
    values |= {"Size": "7", "ChecksumType": "FULL_OBJECT", "StorageClass": "STANDARD", "Owner": "<ID>o</ID>"}
    fields = "".join(f"<{name}>{values[name]}</{name}>" for name in ORDERS[server])
    page = read_common_listing(
        f"<ListVersionsResult><EncodingType>url</EncodingType><Version>{fields}</Version><DeleteMarker><Key>c%0Ad</Key>"
        "<VersionId>w</VersionId><IsLatest>true</IsLatest><LastModified>t</LastModified></DeleteMarker>"
        "<CommonPrefixes><Prefix>e+f/</Prefix></CommonPrefixes></ListVersionsResult>".encode()
    )
    assert page is not None
    assert page.versions == [ObjectVersion("a b+", "v", "e", 7, "t", True)]
    assert (page.deleted, page.prefixes, page.last_key) == ({"c\nd"}, ["e f/"], "a b+")
