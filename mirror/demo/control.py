"""Driving a demo archive from another process: `POST /demo/<method>` with the arguments as a JSON object.

Bytes are written as `{"base64": "…"}`. Off unless asked for: whoever can reach the port can do what a contributor
can.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mirror.demo.records import to_json
from mirror.demo.samples import fill
from mirror.demo.web import Answer, Request, Response
from mirror.errors import MirrorError

if TYPE_CHECKING:
    from mirror.demo.archive import DemoArchive

PREFIX = "/demo/"
_ARCHIVE_METHODS = (
    "create_dandiset",
    "edit_dandiset",
    "delete_dandiset",
    "touch_draft",
    "add_asset",
    "add_assets",
    "add_zarr",
    "add_zarr_asset",
    "link_zarr",
    "change_zarr",
    "ingest_zarr",
    "replace_asset",
    "rename_asset",
    "remove_asset",
    "hash_now",
    "publish",
    "mint_doi",
    "resave_version",
    "edit_version",
    "delete_version",
    "embargo",
    "unembargo",
    "count",
    "inventory",
    "draft_paths",
    "standing",
)


def with_control(archive: DemoArchive, api: Answer) -> Answer:
    """The API's answers, and the control's below `/demo/`."""
    methods: dict[str, Callable[..., object]] = {name: getattr(archive, name) for name in _ARCHIVE_METHODS}
    methods["clear_requests"] = archive.requests.clear
    methods["advance_clock"] = lambda **by: archive.clock.advance(**by).isoformat()
    methods["fill"] = lambda **size: fill(archive, **size)
    methods["set_doi_delay"] = lambda seconds: setattr(archive, "doi_delay", seconds)
    for name in ("add_fault", "clear_faults", "count_faults"):
        methods[name] = getattr(archive.weather, name)

    def answer(request: Request) -> Response:
        if not request.path.startswith(PREFIX):
            return api(request)
        return _perform(methods.get(request.path.removeprefix(PREFIX)), request)

    return answer


def encoded(value: Any) -> Any:
    """A value as the control's JSON has it."""
    if isinstance(value, bytes):
        return {"base64": b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: encoded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encoded(item) for item in value]
    return value


def decoded(value: Any) -> Any:
    # A Zarr may have one file, of this very name.
    if isinstance(value, dict) and value.keys() == {"base64"} and isinstance(value["base64"], str):
        return b64decode(value["base64"])
    if isinstance(value, dict):
        return {key: decoded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [decoded(item) for item in value]
    return value


def _perform(method: Callable[..., object] | None, request: Request) -> Response:
    # A web page in the user's browser can post forms to loopback, but not JSON.
    if request.method != "POST" or request.headers.get("content-type") != "application/json":
        return _json(405, {"error": "the control takes POST requests with JSON"})
    if method is None:
        return _json(404, {"error": f"the control knows no {request.path}"})
    try:
        return _json(200, {"result": method(**decoded(json.loads(request.body or b"{}")))})
    except (MirrorError, TypeError, ValueError) as error:
        return _json(400, {"error": str(error)})


def _json(status: int, document: object) -> Response:
    return Response(status, to_json(document), {"Content-Type": "application/json"})
