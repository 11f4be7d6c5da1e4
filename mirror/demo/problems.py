"""Answers other than success, with the bodies the real archive gives."""

from __future__ import annotations

from typing import Any

from mirror.demo.web import Headers

NOT_FOUND_PAGE = b"""
<!doctype html>
<html lang="en">
<head>
  <title>Not Found</title>
</head>
<body>
  <h1>Not Found</h1><p>The requested resource was not found on this server.</p>
</body>
</html>
"""


class Problem(Exception):
    """Ends a request with this status. `body` is JSON, or a whole HTML page."""

    def __init__(self, status: int, body: Any, headers: Headers | None = None) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.headers = headers or {}


def not_found() -> Problem:
    return Problem(404, {"detail": "Not found."})


def no_such_page() -> Problem:
    """For an address that the archive has no route for: its framework's page, not JSON."""
    return Problem(404, NOT_FOUND_PAGE)


def unauthorized(detail: str = "Authentication credentials were not provided.") -> Problem:
    return Problem(401, {"detail": detail}, {"WWW-Authenticate": 'Bearer realm="api"'})


def forbidden() -> Problem:
    return Problem(403, {"detail": "You do not have permission to perform this action."})
