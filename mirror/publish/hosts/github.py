"""GitHub, and GitHub Enterprise Server (its `url` is https://HOST/api/v3)."""

from __future__ import annotations

from urllib.parse import urlsplit

from mirror.errors import HostError
from mirror.publish.hosts.api import Fields, OrganizationHost, one_line
from mirror.publish.hosts.target import Wanted
from mirror.publish.publication import Release

API = "https://api.github.com"
_LONGEST_DESCRIPTION = 350
_LONGEST_NOTES = 120_000


class GitHub(OrganizationHost):
    user = "x-access-token"

    def default_url(self) -> str:
        return API

    def pause_after_change(self, url: str) -> float:
        # What GitHub asks of those who change much; an Enterprise Server limits nothing by default.
        return 1.0 if url == API else 0.0

    def headers(self, token: str) -> dict[str, str]:
        return {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {token}",
            "X-GitHub-Api-Version": "2022-11-28",
        }

    def web_url(self, api_url: str) -> str:
        if api_url == API:
            return "https://github.com"
        parts = urlsplit(api_url)
        return f"{parts.scheme}://{parts.netloc}"

    def new(self, wanted: Wanted) -> Fields:
        return {"name": wanted.name, **self.visibility(private=wanted.private), **self.described(wanted)}

    def described(self, wanted: Wanted) -> Fields:
        return {
            "description": one_line(wanted.description, _LONGEST_DESCRIPTION),
            "homepage": wanted.homepage,
            "has_issues": False,
            "has_projects": False,
            "has_wiki": False,
        }

    def release(self, name: str, release: Release) -> None:
        body = {
            "tag_name": release.tag,
            "name": release.title,
            "body": release.notes[:_LONGEST_NOTES],
            # Which release is the latest goes by version, not by which of them we happen to make last.
            "make_latest": "legacy",
        }
        reply = self.rest.send("POST", f"{self.path(name)}/releases", body, expect=(201, 422))
        if reply.status == 422 and "already_exists" not in self.rest.said(reply):
            raise HostError(f"release {release.tag} of {name}: {self.rest.said(reply)}")
