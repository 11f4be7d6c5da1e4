"""The settings of what is published: superdatasets of one's own, and the hosts where everything is pushed to."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from mirror.config_values import (
    BOOL,
    DatasetName,
    EmptyIsNone,
    Expects,
    HostName,
    HostUrl,
    HttpUrl,
    Owner,
    Section,
    VariableName,
    Where,
    WrongWithin,
    absolute_path,
    each_named_once,
    is_a_path,
    is_a_store,
)


class Superdataset(Section):
    """A superdataset of the Dandisets that a query finds."""

    name: Annotated[
        DatasetName,
        Expects("a name of small letters, digits, `-` and `_`"),
        Field(description="what it is cloned as; small letters, digits, `-` and `_`"),
    ]
    where: Annotated[
        Where,
        Expects("a query, such as `species ~ 'Mus musculus'`"),
        Field(description="the query that its Dandisets match, see [Queries](#queries)"),
    ]


_WITH_API = ("github", "forgejo", "gitea", "gitlab")
_ONLY_OF: dict[str, tuple[str, ...]] = {
    "create": ("plain",),
    "owner": _WITH_API,
    "token_variable": ("plain", *_WITH_API),
    "push_url": _WITH_API,
}
"""The settings that hosts of some kinds only have."""

_API_URL = "that of its API, such as https://git.example.org/api/v1"
_NEEDED = {
    ("plain", "url"): "the address of one repository, with `{name}` in it",
    ("ria", "url"): "where the store is, a path or an ssh URL",
    ("forgejo", "url"): _API_URL,
    ("gitea", "url"): _API_URL,
    **{(kind, "owner"): "the organization, group or user that has the repositories" for kind in _WITH_API},
}


class Host(Section):
    """Where the repositories are pushed to."""

    name: Annotated[
        HostName,
        Expects("a name of letters, digits, `.`, `-` and `_`"),
        Field(description="what you call it; `status` and messages do, too"),
    ]
    kind: Annotated[
        Literal["plain", "github", "forgejo", "gitea", "gitlab", "ria"],
        Expects("`plain`, `github`, `forgejo`, `gitea`, `gitlab` or `ria`"),
        Field(description="`github`, `forgejo`, `gitea`, `gitlab`; `plain`: any git server; `ria`: another RIA store"),
    ]
    url: Annotated[
        HostUrl | None,
        Expects("a URL or a path, without a password, or null"),
        Field(
            description="`plain`: the address of one repository, with `{name}` in it; `ria`: a path or an ssh URL;"
            " otherwise the API's URL, needed for `forgejo` and `gitea`"
        ),
    ] = None
    create: Annotated[
        Annotated[str, Field(min_length=1)] | None,
        Expects("a shell command, or null"),
        Field(
            description="`plain` only: a shell command that makes a repository, with `{name}` in it;"
            " null: they are there already, or made by a push"
        ),
    ] = None
    owner: Annotated[
        Owner | None,
        Expects("the name of an organization, group or user, or null"),
        Field(description="the organization, group or user that has the repositories; hosts with an API need it"),
    ] = None
    token_variable: Annotated[
        VariableName | None,
        Expects("the name of an environment variable, in capitals, such as GITHUB_TOKEN, or null"),
        Field(
            description="the environment variable that has the token; null: `GITHUB_TOKEN`, `FORGEJO_TOKEN`,"
            " `GITEA_TOKEN`, `GITLAB_TOKEN`, and none for `plain`"
        ),
    ] = None
    push_url: Annotated[
        HostUrl | None,
        Expects("a URL, without a password, or null"),
        Field(
            description="where to push to, with `{owner}` and `{name}` in it, such as"
            " `git@github.com:{owner}/{name}.git`; null: over HTTPS, with the token"
        ),
    ] = None
    zarrs: Annotated[bool, *BOOL, Field(description="push the repositories of Zarrs, too")] = True
    releases: Annotated[
        bool, *BOOL, Field(description="make each published version a release on the host, where it knows such")
    ] = True
    private: Annotated[bool, *BOOL, Field(description="push embargoed Dandisets, too, into private repositories")] = (
        False
    )

    @field_validator("url")
    @classmethod
    def _from_here(cls, url: str | None, info: ValidationInfo) -> str | None:
        """Absolute: what is remembered of a host goes by its address, and git runs in other folders."""
        at_paths = info.data.get("kind") in ("plain", "ria")
        return absolute_path(url) if url is not None and at_paths and is_a_path(url) else url

    @model_validator(mode="after")
    def _of_one_piece(self) -> Host:
        """Everything that its kind needs is there, and nothing that would do nothing."""
        for (kind, field), what in _NEEDED.items():
            if kind == self.kind and getattr(self, field) is None:
                raise WrongWithin((field,), f"a host of kind {kind} needs it: {what}")
        for field, kinds in _ONLY_OF.items():
            if self.kind not in kinds and getattr(self, field) is not None:
                raise WrongWithin((field,), f"a host of kind {self.kind} has none")
        for field in ("url", "create") if self.kind == "plain" else ("push_url",):
            if "{name}" not in (getattr(self, field) or "{name}"):
                raise WrongWithin((field,), "it has `{name}` in it, where each repository's name is put")
        if self.kind == "ria" and not is_a_store(self.url or ""):
            raise WrongWithin(("url",), "a store is at a path, or at ssh://host/path")
        if self.kind == "ria" and "{name}" in (self.url or ""):
            raise WrongWithin(("url",), "it has no `{name}` in it: a store holds all repositories")
        if self.kind in _WITH_API and self.url is not None and not self.url.startswith(("http://", "https://")):
            raise WrongWithin(("url",), "the URL of an API starts with http:// or https://")
        return self


class Publish(Section):
    """How the mirror is seen from elsewhere, and where else it goes."""

    url: Annotated[
        HttpUrl | None,
        Expects("an http(s) URL, or null"),
        Field(description="where people find the store's folder `public`, for the addresses that are printed for them"),
    ] = None
    hosts: Annotated[
        tuple[Host, ...],
        EmptyIsNone,
        AfterValidator(each_named_once),
        Expects("a list of hosts, each with at least a name and a kind"),
        Field(description="git hosts and further stores that everything is pushed to, see [Git hosts](#git-hosts)"),
    ] = ()
