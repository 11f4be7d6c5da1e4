"""GitLab, after docs.gitlab.com: "Projects API", "Releases API", "Namespaces API", "REST API"."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from strict_hosts.server import MEMBER, TOKEN, Answer, Repo, Request, StrictHost

_FEATURES = ("disabled", "private", "enabled")
_EDIT = {
    "name": str, "path": str, "description": str, "visibility": str, "auto_devops_enabled": bool,
    "builds_access_level": str, "issues_access_level": str, "snippets_access_level": str, "wiki_access_level": str,
    "merge_requests_access_level": str, "default_branch": str, "lfs_enabled": bool, "topics": list,
    "request_access_enabled": bool,
}  # fmt: skip
_MAKE = {**_EDIT, "namespace_id": int, "initialize_with_readme": bool}
_RELEASE = {
    "name": str, "tag_name": str, "tag_message": str, "description": str, "ref": str, "milestones": list,
    "assets": dict, "released_at": str,
}  # fmt: skip


class StrictGitLab(StrictHost):
    kind = "gitlab"
    api = "/api/v4"
    namespaces = {"lab": 42, MEMBER: 7, "institute/lab": 43}  # noqa: RUF012

    def usual_headers(self) -> dict[str, str]:
        return {
            "RateLimit-Limit": "600",
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": self.reset_at(),
        }

    def route(self, request: Request, path: str) -> Answer:
        if request.headers.get("PRIVATE-TOKEN") != TOKEN:
            return Answer(401, {"message": "401 Unauthorized"})
        self.remaining -= 1
        if request.method == "GET" and (match := re.fullmatch(r"/namespaces/([^/]+)", path)):
            number = self.namespaces.get(unquote(match[1]))
            if number is None:
                return Answer(404, {"message": "404 Namespace Not Found"})
            return Answer(200, {"id": number, "path": unquote(match[1]), "full_path": unquote(match[1])})
        if (request.method, path) == ("POST", "/projects"):
            return self._make(request)
        if match := re.fullmatch(r"/projects/([^/]+)(/releases)?", path):
            return self._of_project(request, unquote(match[1]), bool(match[2]))
        return self.unknown(request)

    def _of_project(self, request: Request, full: str, releases: bool) -> Answer:
        owner, _, name = full.rpartition("/")
        if name in self.moved and request.method == "GET":
            target = f"{self.api}/projects/{owner}%2F{self.moved[name]}"
            return Answer(
                301, {"message": f"This resource has been moved permanently to {target}"}, {"Location": target}
            )
        repo = self.repos.get((owner, name))
        if repo is None:
            return Answer(404, {"message": "404 Project Not Found"})
        if releases and request.method == "POST":
            return self._release(request, repo)
        if not releases and request.method == "GET":
            return Answer(200, _shown(repo))
        if not releases and request.method == "PUT":
            return self._edit(request, repo)
        return self.unknown(request)

    def _make(self, request: Request) -> Answer:
        fields = request.fields()
        if not self.check(request, _MAKE, ("name", "path")) or self._bad_values(fields):
            return Answer(400, {"error": "name is missing, path is missing"})
        if "default_branch" in fields and not fields.get("initialize_with_readme"):
            self.violations.append("default_branch requires initialize_with_readme to be true")
        owner = {number: path for path, number in self.namespaces.items()}[fields.pop("namespace_id", 7)]
        if (owner, fields["path"]) in self.repos:
            taken = ["has already been taken"]
            return Answer(400, {"message": {"project_namespace.name": taken, "name": taken, "path": taken}})
        private = fields.pop("visibility", "private") != "public"
        usual = {f"{name}_access_level": "enabled" for name in ("issues", "wiki", "snippets", "builds")}
        repo = self.add(
            owner, fields.pop("path"), private=private, fields={**usual, "auto_devops_enabled": True, **fields}
        )
        self.events.append(("create", repo.name, "private" if private else "public"))
        return Answer(201, _shown(repo))

    def _edit(self, request: Request, repo: Repo) -> Answer:
        fields = request.fields()
        if not self.check(request, _EDIT) or self._bad_values(fields):
            return Answer(400, {"error": "a parameter is invalid"})
        if "default_branch" in fields and not repo.has(f"refs/heads/{fields['default_branch']}"):
            return Answer(400, {"message": {"base": ["Could not set the default branch"]}})
        if "visibility" in fields:
            repo.private = fields.pop("visibility") != "public"
            self.events.append(("edit", repo.name, "private" if repo.private else "public"))
        repo.fields |= fields
        return Answer(200, _shown(repo))

    def _bad_values(self, fields: dict[str, Any]) -> bool:
        bad = [name for name, value in fields.items() if name.endswith("_access_level") and value not in _FEATURES]
        bad += ["visibility"] if fields.get("visibility", "public") not in ("private", "internal", "public") else []
        bad += ["description"] if len(fields.get("description", "")) > 2000 else []
        if bad:
            self.violations.append(f"wrong values of {bad}")
        return bool(bad)

    def _release(self, request: Request, repo: Repo) -> Answer:
        if not self.check(request, _RELEASE, ("tag_name",)):
            return Answer(400, {"error": "tag_name is missing"})
        fields = request.fields()
        if not repo.has(f"refs/tags/{fields['tag_name']}") and "ref" not in fields:
            return Answer(422, {"message": "Ref is not specified"})
        if fields["tag_name"] in repo.releases:
            return Answer(409, {"message": "Release already exists"})
        repo.releases[fields["tag_name"]] = fields
        return Answer(201, fields)


def _shown(repo: Repo) -> dict[str, Any]:
    return {
        "id": 1,
        "name": repo.name,
        "path": repo.name,
        "path_with_namespace": f"{repo.owner}/{repo.name}",
        "visibility": "private" if repo.private else "public",
        "description": None,
        "default_branch": None if repo.empty else "main",
        **{key: value for key, value in repo.fields.items() if key != "name"},
    }
