"""The settings of the bytes: what content the store holds, where it is copied to, and how it is proved."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from mirror.config_values import BOOL, Expects, HostName, Section, Where, WrongWithin
from mirror.dataset.query.kinds import Size


def _bytes(given: Any) -> Any:
    """A size as queries have it, `1.5TB`; or a number of bytes."""
    return Size().read("".join(given.split())).start if isinstance(given, str) else given


Budget = Annotated[int, Field(strict=True, ge=0), BeforeValidator(_bytes)]


class ContentRule(Section):
    """Content that the daemon keeps in the store."""

    where: Annotated[
        Where | None,
        Expects("a query, such as `species ~ 'Mus musculus'`, or null"),
        Field(description="of the Dandisets that match this query, see [Queries](#queries); null: of all"),
    ] = None
    versions: Annotated[
        Literal["latest", "all", "draft"],
        Expects("`latest`, `all` or `draft`"),
        Field(
            description="`latest`: their latest published versions, the drafts of those that have none;"
            " `all`: every published version and the draft; `draft`: the drafts"
        ),
    ] = "latest"
    budget: Annotated[
        Budget | None,
        Expects("a size, such as 2TB, or null"),
        Field(description="no more than this for the rule, small files first; null: as far as the disk goes"),
    ] = None


_SET_BY_US = {"name", "type", "uuid", "autoenable", "sameas", "exporttree", "importtree"}
_SECRET = re.compile(r"passw|secret|token|credential|api_?key", re.IGNORECASE)
_OPTION = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


def _as_git_annex_has_it(given: Any) -> Any:
    """YAML takes `yes` for a truth value, and 8080 for a number: git-annex wants them as they were written."""
    if not isinstance(given, dict):
        return given
    words = {True: "yes", False: "no"}
    return {
        key: words[value] if isinstance(value, bool) else str(value) if isinstance(value, int | float) else value
        for key, value in given.items()
    }


def _options(options: dict[str, str]) -> dict[str, str]:
    for key, value in options.items():
        if not _OPTION.fullmatch(key):
            raise WrongWithin((key,), "no parameter of git-annex has such a name")
        if key in _SET_BY_US:
            raise WrongWithin((key,), "this is not for you to set")
        if _SECRET.search(key) or (key == "embedcreds" and value != "no"):
            raise WrongWithin(
                (key,), "secrets have no place in it: git-annex reads them from variables such as AWS_SECRET_ACCESS_KEY"
            )
        if not value.isprintable():
            raise WrongWithin((key,), "there are control characters in it")
    return options


class BackupRemote(Section):
    """A special remote of git-annex that content is copied to."""

    name: Annotated[
        HostName,
        Expects("a name of letters, digits, `.`, `-` and `_`"),
        Field(description="what you call it; in clones, the remote has this name"),
    ]
    type: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z][A-Za-z0-9-]*$",
            description="the kind of special remote: `directory`, `rsync`, `S3`, `rclone`, or any that git-annex knows",
        ),
        Expects("a kind of special remote, such as directory, rsync, S3 or rclone"),
    ]
    options: Annotated[
        dict[str, str],
        BeforeValidator(_as_git_annex_has_it),
        AfterValidator(_options),
        Expects("the parameters of the special remote, such as {directory: /backup/dandi}"),
        Field(
            default_factory=dict,
            description="what `git annex initremote` takes for that kind, such as `{directory: /backup/dandi}`",
        ),
    ]
    private: Annotated[bool, *BOOL, Field(description="copy the content of embargoed Dandisets there, too")] = False


class Verify(Section):
    """How what is there is proved."""

    level: Annotated[
        Literal["names", "urls", "bytes"],
        Expects("`names`, `urls` or `bytes`"),
        Field(
            description="how far the daemon goes: `names`: the repositories; `urls`: every address as well;"
            " `bytes`: and the content held here is read"
        ),
    ] = "bytes"
    requests_per_second: Annotated[
        float,
        Field(gt=0, le=1000),
        Expects("a number above 0, at most 1000"),
        Field(description="no more than so many are made to prove addresses"),
    ] = 20.0
