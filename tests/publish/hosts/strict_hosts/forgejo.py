"""Forgejo and Gitea, after the Swagger description that each instance serves at /api/swagger."""

from __future__ import annotations

import re
from typing import Any

from strict_hosts.server import MEMBER, TOKEN, Answer, Repo, Request, StrictHost

_MAKE = {
    "name": str, "description": str, "private": bool, "issue_labels": str, "auto_init": bool, "template": bool,
    "gitignores": str, "license": str, "readme": str, "default_branch": str, "trust_model": str,
    "object_format_name": str,
}  # fmt: skip
_EDIT = {
    "name": str, "description": str, "website": str, "private": bool, "template": bool, "has_issues": bool,
    "has_wiki": bool, "default_branch": str, "has_pull_requests": bool, "has_projects": bool, "has_releases": bool,
    "has_packages": bool, "has_actions": bool, "archived": bool,
}  # fmt: skip
_RELEASE = {"tag_name": str, "target_commitish": str, "name": str, "body": str, "draft": bool, "prerelease": bool}


class StrictForgejo(StrictHost):
    kind = "forgejo"
    api = "/api/v1"

    def route(self, request: Request, path: str) -> Answer:
        self.expect_header(request, "Accept", "application/json")
        if request.headers.get("Authorization") != f"token {TOKEN}":
            return Answer(401, {"message": "user does not exist [uid: 0, name: ]", "url": f"{self.url}/api/swagger"})
        if (request.method, path) == ("GET", "/user"):
            return Answer(200, {"login": MEMBER, "id": 1})
        if request.method == "POST" and (match := re.fullmatch(r"/orgs/([^/]+)/repos", path)):
            return self._make(request, match[1]) if match[1] in self.organizations else self._not_found()
        if (request.method, path) == ("POST", "/user/repos"):
            return self._make(request, MEMBER)
        if match := re.fullmatch(r"/repos/([^/]+)/([^/]+)(/releases)?", path):
            return self._of_repo(request, match[1], match[2], bool(match[3]))
        return self.unknown(request)

    def _of_repo(self, request: Request, owner: str, name: str, releases: bool) -> Answer:
        if name in self.moved and request.method == "GET":
            return Answer(307, None, {"Location": f"{self.api}/repos/{owner}/{self.moved[name]}"})
        repo = self.repos.get((owner, name))
        if repo is None:
            return self._not_found()
        if releases and request.method == "POST":
            return self._release(request, repo)
        if not releases and request.method == "GET":
            return Answer(200, _shown(repo))
        if not releases and request.method == "PATCH":
            return self._edit(request, repo)
        return self.unknown(request)

    def _make(self, request: Request, owner: str) -> Answer:
        if not self.check(request, _MAKE, ("name",)):
            return self._error(422, "[Name]: Required")
        fields = request.fields()
        if (owner, fields["name"]) in self.repos:
            return self._error(409, "The repository with the same name already exists.")
        if len(fields.get("description", "")) > 2048:
            return self._error(422, "[Description]: MaxSize")
        usual = {"website": "", "has_issues": True, "has_projects": True, "has_wiki": True}
        kept = {key: fields[key] for key in ("description", "default_branch") if key in fields}
        repo = self.add(owner, fields["name"], private=fields.get("private", False), fields={**usual, **kept})
        self.events.append(("create", repo.name, "private" if repo.private else "public"))
        return Answer(201, _shown(repo))

    def _edit(self, request: Request, repo: Repo) -> Answer:
        if not self.check(request, _EDIT):
            return self._error(422, "wrong fields")
        fields = request.fields()
        branch = fields.get("default_branch")
        if branch is not None and not repo.empty and not repo.has(f"refs/heads/{branch}"):
            del fields["default_branch"]  # passed over without a word
        if "private" in fields:
            repo.private = fields.pop("private")
            self.events.append(("edit", repo.name, "private" if repo.private else "public"))
        repo.fields |= fields
        return Answer(200, _shown(repo))

    def _release(self, request: Request, repo: Repo) -> Answer:
        if not self.check(request, _RELEASE, ("tag_name",)):
            return self._error(422, "[TagName]: Required")
        fields = request.fields()
        if repo.empty:
            return self._error(422, "repo is empty")
        if fields["tag_name"] in repo.releases:
            return self._error(409, "Release is has no Tag")
        if not repo.has(f"refs/tags/{fields['tag_name']}"):
            self.violations.append(f"a release of {fields['tag_name']}, which is no tag: Forgejo would make one")
        repo.releases[fields["tag_name"]] = fields
        return Answer(201, {"id": len(repo.releases), **fields})

    def _error(self, status: int, message: str) -> Answer:
        return Answer(status, {"message": message, "url": f"{self.url}/api/swagger"})

    def _not_found(self) -> Answer:
        return Answer(404, {"message": "The target couldn't be found.", "url": f"{self.url}/api/swagger", "errors": []})


def _shown(repo: Repo) -> dict[str, Any]:
    return {
        "id": 1,
        "name": repo.name,
        "full_name": f"{repo.owner}/{repo.name}",
        "private": repo.private,
        "internal": False,
        "description": "",
        "website": "",
        "default_branch": "main",
        **repo.fields,
    }
