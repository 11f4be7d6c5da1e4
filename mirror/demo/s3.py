"""The demo archive's S3: reads, writes and listings of one versioned bucket, addressed by path."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

from mirror.demo.bucket import Bucket, Listed, ObjectVersion
from mirror.demo.clock import Clock, http_date
from mirror.demo.signing import Signer
from mirror.demo.web import Headers, Request, Response

_NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_OWNER = "<Owner><ID>75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a</ID></Owner>"
_CARRIAGE_RETURN = {"\r": "&#13;"}
_PLAIN = re.compile(r"[A-Za-z0-9_.~/-]*")
"""what is the same in every encoding: nearly all keys, and thousands are listed"""
_MESSAGES = {
    "NoSuchBucket": (404, "The specified bucket does not exist"),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchVersion": (404, "The specified version does not exist."),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "AccessDenied": (403, "Access Denied"),
    "SignatureDoesNotMatch": (403, "The request signature we calculated does not match the signature you provided."),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "InvalidArgument": (400, "The argument provided is not valid"),
}


class S3Error(Exception):
    def __init__(self, code: str, headers: Headers | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.headers = headers or {}


class S3:
    """Answers S3 requests for one bucket; anybody may do anything, but read private keys unsigned."""

    def __init__(self, bucket: Bucket, clock: Clock, signer: Signer) -> None:
        self._bucket = bucket
        self._clock = clock
        self._signer = signer

    def answer(self, request: Request) -> Response:
        try:
            response = self._respond(request)
        except S3Error as error:
            response = _error_response(error, request)
        response.headers.setdefault("Server", "demo-s3")
        response.headers.setdefault("Date", http_date(self._clock.now()))
        response.headers.setdefault("Accept-Ranges", "bytes")
        return response

    def _respond(self, request: Request) -> Response:
        name, _, key = request.decoded_path.removeprefix("/").partition("/")
        if name != self._bucket.name:
            raise S3Error("NoSuchBucket")
        if not key:
            return self._bucket_request(request)
        if request.method in ("GET", "HEAD"):
            return self._read(key, request)
        if request.method == "PUT":
            kind = request.headers.get("content-type", "binary/octet-stream")
            written = self._bucket.put(key, request.body, content_type=kind)
            return Response(200, b"", {"ETag": f'"{written.etag}"', "x-amz-version-id": written.version_id})
        if request.method == "DELETE":
            return self._delete(key, request.parameters.get("versionId"))
        raise S3Error("MethodNotAllowed")

    def _read(self, key: str, request: Request) -> Response:
        parameters = request.parameters
        self._check_access(key, parameters)
        found = self._find(key, parameters.get("versionId"))
        content = found.content or b""
        headers = {
            "Content-Type": parameters.get("response-content-type", found.content_type),
            "ETag": f'"{found.etag}"',
            "Last-Modified": http_date(found.modified),
            "x-amz-version-id": found.version_id,
        }
        if shown := parameters.get("response-content-disposition"):
            headers["Content-Disposition"] = shown
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(304, b"", headers)
        span = _byte_range(request.headers.get("range", ""), len(content))
        if span is None:
            return Response(200, content, headers)
        first, last = span
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return Response(206, content[first : last + 1], headers)

    def _check_access(self, key: str, parameters: dict[str, str]) -> None:
        signed = "X-Amz-Signature" in parameters
        if signed and (problem := self._signer.problem(key, parameters)):
            raise S3Error(problem)
        if not signed and self._bucket.is_private(key):
            raise S3Error("AccessDenied")

    def _find(self, key: str, version_id: str | None) -> ObjectVersion:
        if version_id is not None:
            found = self._bucket.version(key, version_id)
            if found is None:
                raise S3Error("NoSuchVersion")
            if found.is_delete_marker:
                raise S3Error("MethodNotAllowed", {"x-amz-delete-marker": "true", "Allow": "DELETE"})
            return found
        found = self._bucket.latest(key)
        if found is None:
            raise S3Error("NoSuchKey")
        if found.is_delete_marker:
            raise S3Error("NoSuchKey", {"x-amz-delete-marker": "true", "x-amz-version-id": found.version_id})
        return found

    def _delete(self, key: str, version_id: str | None) -> Response:
        if version_id is None:
            marker = self._bucket.delete(key)
            return Response(204, b"", {"x-amz-version-id": marker.version_id, "x-amz-delete-marker": "true"})
        gone = self._bucket.delete_version(key, version_id)
        headers = {"x-amz-version-id": version_id}
        if gone is not None and gone.is_delete_marker:
            headers["x-amz-delete-marker"] = "true"
        return Response(204, b"", headers)

    def _bucket_request(self, request: Request) -> Response:
        parameters = request.parameters
        if request.method == "HEAD":
            return Response(200)
        if request.method != "GET":
            raise S3Error("MethodNotAllowed")
        if "versioning" in parameters:
            return _xml(f"<VersioningConfiguration {_NAMESPACE}><Status>Enabled</Status></VersioningConfiguration>")
        if "location" in parameters:
            return _xml(f"<LocationConstraint {_NAMESPACE}>us-east-2</LocationConstraint>")
        if "versions" in parameters:
            return self._list_versions(_Listing(parameters))
        return self._list_objects(_Listing(parameters), v2=parameters.get("list-type") == "2")

    def _list_objects(self, listing: _Listing, *, v2: bool) -> Response:
        token = listing.get("continuation-token") if v2 else ""
        after = _token_key(token) if token else listing.get("start-after" if v2 else "marker")
        page = self._bucket.list_objects(
            prefix=listing.prefix, delimiter=listing.delimiter, after=after, limit=listing.limit
        )
        parts = [
            listing.element("Name", self._bucket.name),
            listing.key_element("Prefix", listing.prefix),
            listing.common(page.truncated),
        ]
        last = page.entries[-1].key if page.entries else ""
        if v2:
            parts.append(f"<KeyCount>{len(page.entries)}</KeyCount>")
            parts += [listing.element("ContinuationToken", token)] if token else []
            parts += [listing.key_element("StartAfter", after)] if after and not token else []
            parts += [listing.element("NextContinuationToken", _key_token(last))] if page.truncated else []
        else:
            parts.append(listing.key_element("Marker", after))
            parts += [listing.key_element("NextMarker", last)] if page.truncated and listing.delimiter else []
        parts += [listing.content(entry) for entry in page.entries if entry.version]
        parts += listing.prefixes(page.entries)
        return _xml(f"<ListBucketResult {_NAMESPACE}>{''.join(parts)}</ListBucketResult>")

    def _list_versions(self, listing: _Listing) -> Response:
        key_marker, version_marker = listing.get("key-marker"), listing.get("version-id-marker")
        page = self._bucket.list_versions(
            prefix=listing.prefix,
            delimiter=listing.delimiter,
            key_marker=key_marker,
            version_marker=version_marker,
            limit=listing.limit,
        )
        parts = [
            listing.element("Name", self._bucket.name),
            listing.key_element("Prefix", listing.prefix),
            listing.key_element("KeyMarker", key_marker),
            listing.element("VersionIdMarker", version_marker),
            listing.common(page.truncated),
        ]
        if page.truncated:
            last = page.entries[-1]
            parts.append(listing.key_element("NextKeyMarker", last.key))
            if last.version:
                parts.append(listing.element("NextVersionIdMarker", last.version.version_id))
        parts += [listing.version(entry) for entry in page.entries if entry.version]
        parts += listing.prefixes(page.entries)
        return _xml(f"<ListVersionsResult {_NAMESPACE}>{''.join(parts)}</ListVersionsResult>")


class _Listing:
    """The parameters of a listing, and its answer's XML elements in the encoding it asks for."""

    def __init__(self, parameters: dict[str, str]) -> None:
        self._parameters = parameters
        self.prefix = self.get("prefix")
        self.delimiter = self.get("delimiter")
        self.encoding = self.get("encoding-type")
        limit = self.get("max-keys") or "1000"
        if not limit.isdecimal() or self.encoding not in ("", "url"):
            raise S3Error("InvalidArgument")
        self.limit = min(int(limit), 1000)
        self._spell: Callable[[str], str] = _url_encoded if self.encoding else _escaped

    def get(self, name: str) -> str:
        return self._parameters.get(name, "")

    @staticmethod
    def element(name: str, text: str) -> str:
        return f"<{name}>{_escaped(text)}</{name}>"

    def key_element(self, name: str, key: str) -> str:
        """An element that holds a key or a part of one."""
        return f"<{name}>{self._spell(key)}</{name}>"

    def common(self, truncated: bool) -> str:
        parts = [f"<MaxKeys>{self.limit}</MaxKeys>", f"<IsTruncated>{str(truncated).lower()}</IsTruncated>"]
        if self.delimiter:
            parts.append(self.key_element("Delimiter", self.delimiter))
        if self.encoding:
            parts.append(self.element("EncodingType", self.encoding))
        return "".join(parts)

    def prefixes(self, entries: list[Listed]) -> list[str]:
        return [
            f"<CommonPrefixes>{self.key_element('Prefix', entry.key)}</CommonPrefixes>"
            for entry in entries
            if entry.version is None
        ]

    def content(self, entry: Listed) -> str:
        return f"<Contents><Key>{self._spell(entry.key)}</Key>{_facts(entry.version)}</Contents>"

    def version(self, entry: Listed) -> str:
        version = entry.version
        assert version is not None
        head = (
            f"<Key>{self._spell(entry.key)}</Key><VersionId>{version.version_id}</VersionId>"
            f"<IsLatest>{str(entry.is_latest).lower()}</IsLatest>"
        )
        if version.is_delete_marker:
            return f"<DeleteMarker>{head}{_last_modified(version)}{_OWNER}</DeleteMarker>"
        return f"<Version>{head}{_facts(version)}{_OWNER}</Version>"


def _facts(version: ObjectVersion | None) -> str:
    assert version is not None
    return (
        f"{_last_modified(version)}<ETag>&quot;{version.etag}&quot;</ETag>"
        f"<Size>{version.size}</Size><StorageClass>STANDARD</StorageClass>"
    )


def _last_modified(version: ObjectVersion) -> str:
    # The date's first part, up to the seconds: strftime takes several times as long.
    return f"<LastModified>{version.modified.isoformat('T', 'seconds')[:19]}.000Z</LastModified>"


def _escaped(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else escape(text, _CARRIAGE_RETURN)


def _url_encoded(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else quote_plus(text, safe="/")


def _xml(document: str) -> Response:
    return Response(200, f"{_DECLARATION}{document}".encode(), {"Content-Type": "application/xml"})


def _error_response(error: S3Error, request: Request) -> Response:
    status, message = _MESSAGES[error.code]
    body = (
        f"{_DECLARATION}<Error><Code>{error.code}</Code><Message>{message}</Message>"
        f"<Resource>{_escaped(request.decoded_path)}</Resource><RequestId>DEMO</RequestId></Error>"
    )
    return Response(status, body.encode(), {"Content-Type": "application/xml", **error.headers})


def _key_token(key: str) -> str:
    return urlsafe_b64encode(key.encode()).decode()


def _token_key(token: str) -> str:
    try:
        return urlsafe_b64decode(token.encode()).decode()
    except ValueError:
        raise S3Error("InvalidArgument") from None


def _byte_range(header: str, size: int) -> tuple[int, int] | None:
    """First and last byte asked for; None when the whole is to be sent."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header)
    if match is None or match.group() == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        start, end = max(size - int(last), 0), size - 1
    else:
        start, end = int(first), min(int(last or size), size - 1)
    if start > end:
        raise S3Error("InvalidRange", {"Content-Range": f"bytes */{size}"})
    return start, end
