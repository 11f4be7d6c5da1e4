"""What hosts with a REST API have in common: when a repository is made, changed, hidden and opened."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from mirror.config import Host
from mirror.errors import HostError
from mirror.publish.hosts.failures import HostUnavailable, RepositoryMissing
from mirror.publish.hosts.git_environment import Remote
from mirror.publish.hosts.git_push import Git
from mirror.publish.hosts.patience import Waiting
from mirror.publish.hosts.rest import Reply, Rest
from mirror.publish.hosts.secret import Secret
from mirror.publish.hosts.takeover import check_ours
from mirror.publish.hosts.target import Prepared, Wanted
from mirror.publish.publication import Release

Fields = Mapping[str, object]
"""The fields of a repository, as this host's API calls them."""


class ApiHost(ABC):
    """A host with a REST API. Each kind says how things are called there."""

    user = "git"
    """whom git says the token to be of"""
    edit_method = "PATCH"

    def __init__(self, host: Host, secret: Secret, waiting: Waiting) -> None:
        assert host.owner is not None
        self.owner = host.owner
        url = host.url or self.default_url()
        self.rest = Rest(
            url, self.headers(secret.reveal()), secret, waiting, pause_after_change=self.pause_after_change(url)
        )
        self._push_url = host.push_url or f"{self.web_url(url)}/{{owner}}/{{name}}.git"
        self._header = secret.basic(self.user)
        self._git = Git(secret, waiting)

    # What a kind says of itself

    def default_url(self) -> str:
        raise HostUnavailable("this kind of host needs the url of its API")

    def pause_after_change(self, url: str) -> float:  # noqa: ARG002 - a kind may look at it
        """How long to pause after each request that changes something, for politeness."""
        return 0.0

    @abstractmethod
    def headers(self, token: str) -> dict[str, str]: ...

    @abstractmethod
    def web_url(self, api_url: str) -> str:
        """Where the repositories of the host with this API are."""

    @abstractmethod
    def path(self, name: str) -> str:
        """Of a repository, within the API."""

    @abstractmethod
    def create(self, wanted: Wanted) -> Reply:
        """Ask for a new repository. An answer other than 201 says why there is none."""

    @abstractmethod
    def described(self, wanted: Wanted) -> Fields:
        """The fields that the repository should have, whether or not it is private."""

    @abstractmethod
    def visibility(self, *, private: bool) -> Fields: ...

    @abstractmethod
    def release(self, name: str, release: Release) -> None: ...

    # What all do

    def prepare(self, wanted: Wanted, about_to_hide: Callable[[], None]) -> Prepared:
        standing = self._look(wanted.name)
        created = standing is None
        if standing is None:
            if wanted.private:
                about_to_hide()
            standing = self._made(wanted)
        elif not wanted.is_known:
            self._check_ours(wanted)
        changes = {
            field: value
            for field, value in self.described(wanted).items()
            if (standing.get(field) or "") != (value or "")
        }
        if wanted.private and not self._is_private(standing):
            about_to_hide()
            changes |= self.visibility(private=True)
        elif not (wanted.private or self._is_public(standing)) and wanted.may_open:
            changes |= self.visibility(private=False)
        if changes:
            standing = self._edit(wanted.name, changes)
        if wanted.private and not self._is_private(standing):
            raise HostError(f"{self.owner}/{wanted.name} could not be made private: nothing was pushed")
        return Prepared(created, self._is_private(standing))

    def _made(self, wanted: Wanted) -> dict[str, Any]:
        reply = self.create(wanted)
        if reply.status == 201:
            return reply.fields()
        # A try whose answer got lost may have made it.
        standing = self._look(wanted.name)
        if standing is None:
            raise HostError(f"{self.owner}/{wanted.name} could not be made: {self.rest.said(reply)}")
        self._check_ours(wanted)
        return standing

    def _check_ours(self, wanted: Wanted) -> None:
        check_ours(self._git, wanted.repository, self.remote(wanted.name))

    def push(self, wanted: Wanted) -> None:
        self._git.push(wanted.repository, self.remote(wanted.name))

    def set_default_branch(self, wanted: Wanted) -> None:
        branch = wanted.default_branch
        found = self._edit(wanted.name, {"default_branch": branch}).get("default_branch")
        if found != branch:
            raise HostError(f"the default branch of {self.owner}/{wanted.name} is {found!r}, and stayed so")

    def hide(self, wanted: Wanted) -> None:
        standing = self._look(wanted.name)
        if standing is None:
            raise RepositoryMissing(f"{self.owner}/{wanted.name} is gone")
        if not self._is_private(standing):
            standing = self._edit(wanted.name, self.visibility(private=True))
        if not self._is_private(standing):
            raise HostError(f"{self.owner}/{wanted.name} is embargoed again, and could not be made private")

    def _is_public(self, standing: Mapping[str, Any]) -> bool:
        return _has(standing, self.visibility(private=False))

    def _is_private(self, standing: Mapping[str, Any]) -> bool:
        """Plainly so. What all users of a host may see is `internal`, at GitHub with `private` next to it."""
        return _has(standing, self.visibility(private=True)) and standing.get("visibility", "private") == "private"

    def _look(self, name: str) -> dict[str, Any] | None:
        """The repository as it is; None when there is none."""
        reply = self.rest.send("GET", self.path(name), expect=(200, 404))
        if reply.status == 404:
            return None
        standing = reply.fields()
        found = str(standing.get(self.full_name, ""))
        if found.lower() != f"{self.owner}/{name}".lower():
            raise HostError(
                f"{self.owner}/{name} leads to {found or 'something else'}",
                hint="was it renamed there? name it as it was",
            )
        return standing

    full_name = "full_name"
    """the field that has the owner and the name"""

    def _edit(self, name: str, changes: Fields) -> dict[str, Any]:
        return self.rest.send(self.edit_method, self.path(name), changes, expect=(200,)).fields()

    def remote(self, name: str) -> Remote:
        """Where git pushes a repository to."""
        url = self._push_url.replace("{owner}", self.owner).replace("{name}", name)
        over_http = url.startswith(("http://", "https://"))
        return Remote(url, self._header if over_http else None)


class OrganizationHost(ApiHost):
    """A host where repositories belong to organizations or users, each made at an address of its own."""

    _personal = False

    def path(self, name: str) -> str:
        return f"/repos/{self.owner}/{name}"

    @abstractmethod
    def new(self, wanted: Wanted) -> Fields:
        """The fields of a repository to be made."""

    def create(self, wanted: Wanted) -> Reply:
        reply = self._create(wanted)
        if reply.status == 404 and not self._personal:
            # No organization of that name: then it should be the user whose token this is.
            login = str(self.rest.send("GET", "/user", expect=(200,)).fields().get("login", ""))
            if login.lower() != self.owner.lower():
                raise HostUnavailable(
                    f"there is no organization {self.owner}, or the token of {login} may not make repositories in it"
                )
            self._personal = True
            reply = self._create(wanted)
        if reply.status == 403:
            raise HostUnavailable(f"the token may not make repositories for {self.owner}: {self.rest.said(reply)}")
        return reply

    def _create(self, wanted: Wanted) -> Reply:
        where = "/user/repos" if self._personal else f"/orgs/{self.owner}/repos"
        return self.rest.send("POST", where, self.new(wanted), expect=(201, 400, 403, 404, 409, 422))

    def visibility(self, *, private: bool) -> Fields:
        return {"private": private}


def _has(standing: Mapping[str, Any], fields: Fields) -> bool:
    return all(standing.get(field) == value for field, value in fields.items())


def one_line(text: str, most: int) -> str:
    """`text` as hosts take it for a description: one line of printable characters, not too long."""
    line = re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", text).strip()
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"
