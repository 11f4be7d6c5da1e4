"""The environment in which git talks to a host.

How to reach a server (proxies, certificates, ssh) is a matter of this machine, so git's own configuration counts here,
other than for work in the store; what it could change of the push itself is set. The token goes to git through its
environment, bound to the one server it is for; redirects are not followed with it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from mirror.git.process import environment

DEFAULT_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=60"

# Of whoever runs this: how to reach a server.
_OPERATORS = (
    *("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"),
    *("GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT"),
    *("GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSL_NO_VERIFY"),
)

_SETTINGS = {
    "push.followTags": "false",
    "push.gpgSign": "false",
    "push.pushOption": "",
    "push.recurseSubmodules": "no",
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "600",
}

# Not on the terminal either: in a process group of its own (see `processes`) whoever reads from it is halted.
_NOBODY_IS_ASKED = {"GIT_ASKPASS": "", "SSH_ASKPASS": "false", "SSH_ASKPASS_REQUIRE": "force"}


@dataclass(frozen=True)
class Remote:
    """Where to push to, and what to say there."""

    url: str
    header: str | None = None
    """the value of an `Authorization` header, for that server alone"""


def push_environment(remote: Remote | None = None) -> dict[str, str]:
    """The environment for talking to a host."""
    base = {key: value for key, value in environment().items() if key not in _OPERATORS}
    kept = {key: os.environ[key] for key in _OPERATORS if key in os.environ}
    if "GIT_SSH" not in kept:
        kept.setdefault("GIT_SSH_COMMAND", DEFAULT_SSH)
    settings = _SETTINGS | _certificates(kept)
    if remote is not None and remote.header:
        server = _server(remote.url)
        settings |= {
            f"http.{server}.extraHeader": f"Authorization: {remote.header}",
            f"http.{server}.followRedirects": "false",
            "credential.helper": "",
        }
    else:
        # Credential helpers read tokens of theirs from the environment, as that of GitHub's `gh` does.
        kept |= {key: value for key, value in os.environ.items() if key.endswith("_TOKEN")}
    variables = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return base | kept | _NOBODY_IS_ASKED | variables


def _certificates(kept: Mapping[str, str]) -> dict[str, str]:
    """The bundle that our own requests trust, for git too."""
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    return {"http.sslCAInfo": bundle} if bundle and "GIT_SSL_CAINFO" not in kept else {}


def _server(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/"
