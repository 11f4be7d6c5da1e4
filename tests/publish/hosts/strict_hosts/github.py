"""GitHub, after docs.github.com: "Repositories", "Releases", "Rate limits", API version 2022-11-28."""

from __future__ import annotations

import re
from typing import Any

from strict_hosts.server import MEMBER, TOKEN, Answer, Repo, Request, StrictHost

_MAKE = {
    "name": str, "description": str, "homepage": str, "private": bool, "has_issues": bool, "has_projects": bool,
    "has_wiki": bool, "has_downloads": bool, "is_template": bool, "team_id": int, "auto_init": bool,
    "gitignore_template": str, "license_template": str, "allow_squash_merge": bool, "allow_merge_commit": bool,
    "allow_rebase_merge": bool, "allow_auto_merge": bool, "delete_branch_on_merge": bool,
}  # fmt: skip
_EDIT = {**_MAKE, "visibility": str, "default_branch": str, "archived": bool, "allow_forking": bool}
_RELEASE = {
    "tag_name": str, "target_commitish": str, "name": str, "body": str, "draft": bool, "prerelease": bool,
    "discussion_category_name": str, "generate_release_notes": bool, "make_latest": str,
}  # fmt: skip


class StrictGitHub(StrictHost):
    kind = "github"
    api = "/api/v3"

    def usual_headers(self) -> dict[str, str]:
        return {
            "x-ratelimit-limit": "5000",
            "x-ratelimit-remaining": str(self.remaining),
            "x-ratelimit-reset": self.reset_at(),
        }

    def route(self, request: Request, path: str) -> Answer:
        self.expect_header(request, "Accept", "application/vnd.github+json")
        self.expect_header(request, "X-GitHub-Api-Version", "2022-11-28")
        if not request.headers.get("User-Agent"):
            return Answer(403, {"message": "Request forbidden by administrative rules."})
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return Answer(401, {"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest"})
        self.remaining -= 1
        if (request.method, path) == ("GET", "/user"):
            return Answer(200, {"login": MEMBER, "id": 1, "type": "User"})
        if request.method == "POST" and (match := re.fullmatch(r"/orgs/([^/]+)/repos", path)):
            return self._make(request, match[1]) if match[1] in self.organizations else _not_found()
        if (request.method, path) == ("POST", "/user/repos"):
            return self._make(request, MEMBER)
        if match := re.fullmatch(r"/repos/([^/]+)/([^/]+)(/releases)?", path):
            return self._of_repo(request, match[1], match[2], bool(match[3]))
        return self.unknown(request)

    def _of_repo(self, request: Request, owner: str, name: str, releases: bool) -> Answer:
        if name in self.moved and request.method == "GET":
            return Answer(
                301, {"message": "Moved Permanently"}, {"Location": f"{self.api}/repos/{owner}/{self.moved[name]}"}
            )
        repo = self.repos.get((owner, name))
        if repo is None:
            return _not_found()
        if releases and request.method == "POST":
            return self._release(request, repo)
        if not releases and request.method == "GET":
            return Answer(200, _shown(repo))
        if not releases and request.method == "PATCH":
            return self._edit(request, repo)
        return self.unknown(request)

    def _make(self, request: Request, owner: str) -> Answer:
        if not self.check(request, _MAKE, ("name",)):
            return _invalid("Repository", "name", "missing_field")
        fields = request.fields()
        if (owner, fields["name"]) in self.repos:
            return _invalid("Repository", "name", "custom", "name already exists on this account")
        if bad := _bad_description(fields):
            return bad
        private = fields.pop("private", False)
        name = fields.pop("name")
        usual = {"has_issues": True, "has_projects": True, "has_wiki": True, "default_branch": "main"}
        repo = self.add(owner, name, private=private, fields={**usual, **fields})
        self.events.append(("create", name, "private" if private else "public"))
        return Answer(201, _shown(repo))

    def _edit(self, request: Request, repo: Repo) -> Answer:
        if not self.check(request, _EDIT):
            return _invalid("Repository", "name", "invalid")
        fields = request.fields()
        if bad := _bad_description(fields):
            return bad
        if "default_branch" in fields and not repo.has(f"refs/heads/{fields['default_branch']}"):
            return _invalid("Repository", "default_branch", "invalid", "The branch was not found.")
        if "private" in fields:
            repo.private = fields.pop("private")
            self.events.append(("edit", repo.name, "private" if repo.private else "public"))
        repo.fields |= fields
        return Answer(200, _shown(repo))

    def _release(self, request: Request, repo: Repo) -> Answer:
        if not self.check(request, _RELEASE, ("tag_name",)):
            return _invalid("Release", "tag_name", "missing_field")
        fields = request.fields()
        if fields.get("make_latest", "true") not in ("true", "false", "legacy"):
            return _invalid("Release", "make_latest", "invalid")
        if fields["tag_name"] in repo.releases:
            return _invalid("Release", "tag_name", "already_exists")
        if repo.empty:
            return Answer(422, {"message": "Repository is empty.", "documentation_url": "https://docs.github.com/rest"})
        if not repo.has(f"refs/tags/{fields['tag_name']}"):
            self.violations.append(f"a release of {fields['tag_name']}, which is no tag: GitHub would make one")
        repo.releases[fields["tag_name"]] = fields
        return Answer(201, {"id": len(repo.releases), **fields})


def _bad_description(fields: dict[str, Any]) -> Answer | None:
    description = fields.get("description", "")
    if any(ord(char) < 32 for char in description):
        return _invalid("Repository", "description", "custom", "description control characters are not allowed")
    if len(description) > 350:
        return _invalid("Repository", "description", "custom", "description cannot be more than 350 characters")
    return None


def _shown(repo: Repo) -> dict[str, Any]:
    return {
        "id": 1,
        "name": repo.name,
        "full_name": f"{repo.owner}/{repo.name}",
        "private": repo.private,
        "visibility": "private" if repo.private else "public",
        "description": None,
        "homepage": None,
        **repo.fields,
    }


def _not_found() -> Answer:
    return Answer(404, {"message": "Not Found", "documentation_url": "https://docs.github.com/rest", "status": "404"})


def _invalid(resource: str, field: str, code: str, message: str | None = None) -> Answer:
    error = {"resource": resource, "field": field, "code": code, **({"message": message} if message else {})}
    return Answer(
        422, {"message": "Validation Failed", "errors": [error], "documentation_url": "https://docs.github.com"}
    )
