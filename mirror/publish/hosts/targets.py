"""Which class a kind of host is."""

from __future__ import annotations

from mirror.config import Host
from mirror.publish.hosts.forgejo import Forgejo
from mirror.publish.hosts.github import GitHub
from mirror.publish.hosts.gitlab import GitLab
from mirror.publish.hosts.patience import Waiting
from mirror.publish.hosts.plain import Plain
from mirror.publish.hosts.ria import Ria
from mirror.publish.hosts.secret import Secret
from mirror.publish.hosts.target import Target

_TOKENS = {
    "github": "GITHUB_TOKEN",
    "forgejo": "FORGEJO_TOKEN",
    "gitea": "GITEA_TOKEN",
    "gitlab": "GITLAB_TOKEN",
}


def target_of(host: Host, waiting: Waiting, *, known: bool) -> Target:
    """The host, ready to be talked to. `HostUnavailable` when its token is missing.

    `known`: whether anything was pushed there before.
    """
    variable = host.token_variable or _TOKENS.get(host.kind)
    secret = Secret.from_environment(variable) if variable else Secret()
    match host.kind:
        case "github":
            return GitHub(host, secret, waiting)
        case "forgejo" | "gitea":
            return Forgejo(host, secret, waiting)
        case "gitlab":
            return GitLab(host, secret, waiting)
        case "ria":
            return Ria(host, secret, waiting, known=known)
        case "plain":
            return Plain(host, secret, waiting)
