"""The demo archive's REST API: the requests a client of the archive reads it by."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote, urlencode

from isal import igzip

from mirror.demo import documents, records
from mirror.demo.asset_lists import assets_page
from mirror.demo.clock import http_date
from mirror.demo.dandiset_lists import dandisets_page
from mirror.demo.model import Asset, Dandiset, User, Version, Zarr
from mirror.demo.paging import boolean, page_of
from mirror.demo.problems import Problem, forbidden, no_such_page, not_found, unauthorized
from mirror.demo.publishing import Publishing
from mirror.demo.records import to_json
from mirror.demo.signing import Signer
from mirror.demo.web import Request, Response
from mirror.demo.zarr_lists import zarr_files_page, zarrs_page

_JSON = "application/json"
_WORTH_COMPRESSING = 200
_READ_METHODS = ("GET", "HEAD", "OPTIONS")
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_DANDISET = r"dandisets/(?P<identifier>\d{6})"
_VERSION = rf"{_DANDISET}/versions/(?P<version>draft|0\.\d{{6}}\.\d{{4}})"


class Api:
    """Answers requests below `/api`."""

    def __init__(self, archive: Publishing, signer: Signer) -> None:
        self._archive = archive
        self._signer = signer
        nested = rf"{_VERSION}/assets/(?P<asset_id>{_UUID})"
        asset = rf"assets/(?P<asset_id>{_UUID})"
        routes: list[tuple[str, Callable[[_Call], Response]]] = [
            (r"info", self._info),
            (r"stats", self._stats),
            (r"users/me", self._me),
            (r"dandisets", self._dandisets),
            (_DANDISET, self._dandiset),
            (rf"{_DANDISET}/versions", self._versions),
            (_VERSION, self._version),
            (rf"{_VERSION}/info", self._version_info),
            (rf"{_VERSION}/assets", self._assets),
            (rf"(?:{nested}|{asset.replace('asset_id', 'top_id')})", self._asset),
            (rf"(?:{nested}|{asset.replace('asset_id', 'top_id')})/info", self._asset_info),
            (rf"(?:{nested}|{asset.replace('asset_id', 'top_id')})/download", self._asset_download),
            (r"zarr", self._zarrs),
            (rf"zarr/(?P<zarr_id>{_UUID})", self._zarr),
            (rf"zarr/(?P<zarr_id>{_UUID})/files", self._zarr_files),
        ]
        self._routes = [(re.compile(pattern), view) for pattern, view in routes]

    def answer(self, request: Request) -> Response:
        response = self._respond(request)
        response.headers.setdefault("Server", "demo-archive")
        response.headers.setdefault("Date", http_date(self._archive.clock.now()))
        response.headers.setdefault("Vary", "Accept, Cookie, Accept-Encoding, origin")
        accepted = request.headers.get("accept-encoding", "")
        if len(response.body) >= _WORTH_COMPRESSING and "gzip" in accepted:
            response.body = igzip.compress(response.body, compresslevel=1, mtime=0)
            response.headers["Content-Encoding"] = "gzip"
        return response

    def _respond(self, request: Request) -> Response:
        try:
            path = request.path.removeprefix("/api/")
            view, found = self._route(path.removesuffix("/"))
            if not path.endswith("/"):
                location = f"{request.path}/" + (f"?{request.query}" if request.query else "")
                return Response(301, b"", {"Location": location, "Content-Type": "text/html; charset=utf-8"})
            with self._archive.lock:
                self._archive.mint_due_dois()
                return view(_Call(self._archive, request, self._authenticate(request), found))
        except Problem as problem:
            if isinstance(problem.body, bytes):
                kind, body = "text/html; charset=utf-8", problem.body
            else:
                kind, body = _JSON, to_json(problem.body)
            return Response(problem.status, body, {"Content-Type": kind, **problem.headers})

    def _route(self, path: str) -> tuple[Callable[[_Call], Response], dict[str, str]]:
        for pattern, view in self._routes:
            if match := pattern.fullmatch(path):
                return view, {name: text for name, text in match.groupdict().items() if text is not None}
        raise no_such_page()

    def _authenticate(self, request: Request) -> User | None:
        """Whose token this is. A wrong token is refused everywhere, also where none is needed."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "token":
            user = None
        elif (user := self._archive.user_of(token.strip())) is None:
            raise unauthorized("Invalid token.")
        if request.method not in _READ_METHODS:
            raise Problem(405, {"detail": f'Method "{request.method}" not allowed.'}) if user else unauthorized()
        return user

    def _info(self, _call: _Call) -> Response:
        names = self._archive.addresses
        return _json(
            {
                "instance_config": {
                    "instance_name": names.instance_name,
                    "instance_identifier": documents.RRID,
                    "instance_url": names.instance_url,
                    "doi_prefix": names.doi_prefix,
                    "licenses": ["spdx:CC-BY-4.0", "spdx:CC0-1.0"],
                },
                "schema_version": documents.SCHEMA_VERSION,
                "schema_url": f"{names.api_url}/schemas/?model=Dandiset",
                "allowed_schema_versions": ["0.6.9", "0.6.10", documents.SCHEMA_VERSION],
                "version": "1.0.0",
                "services": {
                    "api": {"url": names.api_url},
                    "webui": {"url": names.repository},
                    "jupyterhub": {"url": "https://hub.dandiarchive.org/"},
                },
                "cli-minimal-version": "0.74.0",
                "cli-requires-python": ">=3.10",
                "cli-bad-versions": [],
            }
        )

    def _stats(self, _call: _Call) -> Response:
        dandisets = self._archive.dandisets.values()
        return _json(
            {
                "dandiset_count": len(dandisets),
                "published_dandiset_count": sum(1 for dandiset in dandisets if dandiset.published),
                "user_count": 2,
                "size": sum(dandiset.draft.size for dandiset in dandisets),
            }
        )

    def _me(self, call: _Call) -> Response:
        if (user := call.user) is None:
            raise unauthorized()
        return _json({"username": user.username, "name": user.name, "admin": user.admin, "status": "APPROVED"})

    def _dandisets(self, call: _Call) -> Response:
        body = dandisets_page(self._archive, call.user, call.parameters, call.address)
        return Response(200, body, {"Content-Type": _JSON})

    def _dandiset(self, call: _Call) -> Response:
        return _json(records.dandiset_record(call.dandiset()))

    def _versions(self, call: _Call) -> Response:
        dandiset = call.dandiset()
        versions = [dandiset.draft, *dandiset.published.values()]
        order = call.parameters.get("order", "created")
        if order not in ("created", "-created"):
            raise Problem(400, {"order": [f"Select a valid choice. {order} is not one of the available choices."]})
        versions.sort(key=lambda version: version.created, reverse=order.startswith("-"))
        body = page_of(
            versions,
            lambda version: to_json(records.version_record(version, dandiset)),
            call.parameters,
            call.address,
        )
        return Response(200, body, {"Content-Type": _JSON})

    def _version(self, call: _Call) -> Response:
        dandiset, version = call.version()
        return _json(self._archive.document(dandiset, version))

    def _version_info(self, call: _Call) -> Response:
        dandiset, version = call.version()
        return _json(records.version_info(version, dandiset, self._archive))

    def _assets(self, call: _Call) -> Response:
        _, version = call.version()
        body = assets_page(self._archive, version, call.parameters, call.address)
        return Response(200, body, {"Content-Type": _JSON})

    def _asset(self, call: _Call) -> Response:
        asset = call.asset()
        dandiset = self._archive.dandisets[asset.dandiset]
        return _json(documents.asset_document(asset, dandiset, self._archive.addresses))

    def _asset_info(self, call: _Call) -> Response:
        return Response(200, records.full_asset_json(call.asset(), self._archive), {"Content-Type": _JSON})

    def _asset_download(self, call: _Call) -> Response:
        asset = call.asset()
        disposition = call.parameters.get("content_disposition", "attachment")
        if disposition not in ("attachment", "inline"):
            raise Problem(400, {"content_disposition": [f'"{disposition}" is not a valid choice.']})
        if asset.blob is None:
            text = "Unable to provide download link for zarr assets. Please browse the zarr files directly to do so."
            raise Problem(400, text)
        shown = {"response-content-disposition": f'{disposition}; filename="{asset.path.rpartition("/")[2]}"'}
        if disposition == "inline":
            shown["response-content-type"] = asset.stored.get("encodingFormat", "application/octet-stream")
        return self._redirect_to(asset.blob.key, shown)

    def _zarrs(self, call: _Call) -> Response:
        body = zarrs_page(self._archive, call.may_read, call.parameters, call.address)
        return Response(200, body, {"Content-Type": _JSON})

    def _zarr(self, call: _Call) -> Response:
        return _json(records.zarr_record(call.zarr()))

    def _zarr_files(self, call: _Call) -> Response:
        zarr = call.zarr()
        if call.method == "HEAD" or boolean(call.parameters, "download", False):
            # Whether there is such a file is for the bucket to say.
            return self._redirect_to(zarr.key + call.parameters.get("prefix", ""), {})
        body = zarr_files_page(self._archive, zarr, call.parameters, call.address)
        return Response(200, body, {"Content-Type": _JSON})

    def _redirect_to(self, key: str, shown: dict[str, str]) -> Response:
        """To an object of the bucket, by a signed address; `shown` says how it is to be presented."""
        query = urlencode({**shown, **self._signer.sign(key)}, quote_via=quote)
        location = f"{self._archive.addresses.bucket_url}/{quote(key)}?{query}"
        return Response(302, b"", {"Location": location, "Content-Type": "text/html; charset=utf-8"})


class _Call:
    """A request on its way through a view: who asks, for what."""

    def __init__(self, archive: Publishing, request: Request, user: User | None, found: dict[str, str]) -> None:
        self.archive = archive
        self.user = user
        self.method = request.method
        self.found = found
        self.parameters = request.parameters
        host = request.headers.get("host")
        self.address = f"http://{host}{request.path}" if host else request.path

    def dandiset(self) -> Dandiset:
        dandiset = self.archive.dandisets.get(self.found["identifier"])
        if dandiset is None:
            raise not_found()
        self.check_access(dandiset)
        return dandiset

    def version(self) -> tuple[Dandiset, Version]:
        dandiset = self.dandiset()
        version = dandiset.version(self.found["version"])
        if version is None:
            raise not_found()
        return dandiset, version

    def asset(self) -> Asset:
        asset = self.archive.assets.get(self.found.get("top_id") or self.found["asset_id"])
        if "identifier" in self.found:
            _, version = self.version()
            if asset is not None and version.assets.get(asset.path) is not asset:
                asset = None
        if asset is None:
            raise not_found()
        self.check_access(self.archive.dandisets[asset.dandiset])
        return asset

    def zarr(self) -> Zarr:
        zarr = self.archive.zarrs.get(self.found["zarr_id"])
        # An embargoed Zarr is not there for strangers, where an embargoed asset is 401.
        if zarr is None or not self.may_read(self.archive.dandisets[zarr.dandiset]):
            raise not_found()
        return zarr

    def may_read(self, dandiset: Dandiset) -> bool:
        return dandiset.is_open or (self.user is not None and self.user.username in dandiset.owners)

    def check_access(self, dandiset: Dandiset) -> None:
        if not self.may_read(dandiset):
            raise forbidden() if self.user else unauthorized()


def _json(document: object) -> Response:
    return Response(200, to_json(document), {"Content-Type": _JSON})
