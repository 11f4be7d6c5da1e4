"""Forgejo, and Gitea, whose API is the same as far as we use it."""

from __future__ import annotations

from mirror.publish.hosts.api import Fields, OrganizationHost, one_line
from mirror.publish.hosts.target import Wanted
from mirror.publish.publication import Release

_LONGEST_DESCRIPTION = 2048
_LONGEST_TITLE = 255


class Forgejo(OrganizationHost):
    def headers(self, token: str) -> dict[str, str]:
        return {"Accept": "application/json", "Authorization": f"token {token}"}

    def web_url(self, api_url: str) -> str:
        return api_url.removesuffix("/v1").removesuffix("/api")

    def new(self, wanted: Wanted) -> Fields:
        # The rest can only be said of a repository that exists.
        return {
            "name": wanted.name,
            "description": one_line(wanted.description, _LONGEST_DESCRIPTION),
            "default_branch": wanted.default_branch,
            "auto_init": False,
            **self.visibility(private=wanted.private),
        }

    def described(self, wanted: Wanted) -> Fields:
        return {
            "description": one_line(wanted.description, _LONGEST_DESCRIPTION),
            "website": wanted.homepage,
            "has_issues": False,
            "has_projects": False,
            "has_wiki": False,
        }

    def release(self, name: str, release: Release) -> None:
        body = {"tag_name": release.tag, "name": one_line(release.title, _LONGEST_TITLE), "body": release.notes}
        self.rest.send("POST", f"{self.path(name)}/releases", body, expect=(201, 409))
