"""GitLab, here or anywhere; the owner is a group, a group within a group, or a user."""

from __future__ import annotations

from functools import cached_property
from urllib.parse import quote

from mirror.publish.hosts.api import ApiHost, Fields, one_line
from mirror.publish.hosts.failures import HostUnavailable
from mirror.publish.hosts.rest import Reply
from mirror.publish.hosts.target import Wanted
from mirror.publish.publication import Release

API = "https://gitlab.com/api/v4"
_LONGEST_DESCRIPTION = 2000
_OFF = "disabled"


class GitLab(ApiHost):
    user = "oauth2"
    edit_method = "PUT"
    full_name = "path_with_namespace"

    def default_url(self) -> str:
        return API

    def headers(self, token: str) -> dict[str, str]:
        return {"Accept": "application/json", "PRIVATE-TOKEN": token}

    def web_url(self, api_url: str) -> str:
        return api_url.removesuffix("/v4").removesuffix("/api")

    def path(self, name: str) -> str:
        return f"/projects/{quote(f'{self.owner}/{name}', safe='')}"

    @cached_property
    def _namespace(self) -> int:
        reply = self.rest.send("GET", f"/namespaces/{quote(self.owner, safe='')}", expect=(200, 404))
        number = reply.fields().get("id")
        if reply.status == 404 or not isinstance(number, int):
            raise HostUnavailable(f"there is no group or user {self.owner} that the token may use")
        return number

    def create(self, wanted: Wanted) -> Reply:
        body = {
            "name": wanted.name,
            "path": wanted.name,
            "namespace_id": self._namespace,
            **self.visibility(private=wanted.private),
            **self.described(wanted),
        }
        reply = self.rest.send("POST", "/projects", body, expect=(201, 400, 403, 409))
        if reply.status == 403:
            raise HostUnavailable(f"the token may not make projects in {self.owner}: {self.rest.said(reply)}")
        return reply

    def described(self, wanted: Wanted) -> Fields:
        # A project has no field for a homepage.
        homepage = f" {wanted.homepage}" if wanted.homepage else ""
        return {
            "description": one_line(wanted.description, _LONGEST_DESCRIPTION - len(homepage)) + homepage,
            "issues_access_level": _OFF,
            "wiki_access_level": _OFF,
            "snippets_access_level": _OFF,
            "builds_access_level": _OFF,
            "auto_devops_enabled": False,
        }

    def visibility(self, *, private: bool) -> Fields:
        return {"visibility": "private" if private else "public"}

    def release(self, name: str, release: Release) -> None:
        body = {"tag_name": release.tag, "name": release.title, "description": release.notes}
        if release.created is not None:
            body["released_at"] = release.created
        self.rest.send("POST", f"{self.path(name)}/releases", body, expect=(201, 409))
