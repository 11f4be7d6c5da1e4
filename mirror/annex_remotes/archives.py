"""Which servers may be asked, and which of them with a token.

The addresses in a clone came from somebody else. So they decide neither where a token goes, nor whether something of
this machine's own network is asked:

- a token goes to the archives that are known by name, and to the one that the user has named in the configuration of
  this clone (`git config remote.NAME.annex-dandi-api URL`); never to another, whatever a clone says;
- servers that are not at a public address are asked only if the user said so, as git-annex itself does it
  (`annex.security.allowed-ip-addresses`), or if they are that archive's own.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import urlsplit

from mirror.archive.client import ArchiveClient
from mirror.archive.content import Content
from mirror.archive.http import Http, checked_url, origin
from mirror.archive.instances import ANY_S3_HOST, KNOWN_INSTANCES, content_hosts, instance_at, token_variable
from mirror.archive.s3 import content_url_allowed
from mirror.errors import ConfigError, NotAllowed, Unreachable
from mirror.git.process import is_secret
from mirror.tokens import token_for

TRIES = 6
"""git-annex asks again, too."""
API, BUCKET, INSTANCE = "annex-dandi-api", "annex-dandi-s3", "annex-dandi-instance"
_PRIVATE_ALLOWED = ("annex.security.allowed-ip-addresses", "annex.security.allowed-http-addresses")


@dataclass
class Archives:
    """What may be asked from a clone."""

    git_dir: str
    remote: str
    """the name of the remote in this clone"""
    tries: int = TRIES
    _clients: dict[tuple[str, int], ArchiveClient] = field(default_factory=dict)
    _judged: dict[str, str | None] = field(default_factory=dict)
    """by scheme, host and port: why it is not asked"""

    @cached_property
    def content(self) -> Content:
        """What is at addresses."""
        return Content(Http(tries=self.tries), self.client, self._named(BUCKET), check=self.check)

    def client(self, api_url: str, *, tries: int | None = None) -> ArchiveClient:
        """The archive at this address; with the user's token if it is one that tokens are for."""
        wanted = checked_url(api_url), tries or self.tries
        if wanted not in self._clients:
            api_url = wanted[0]
            self.check(api_url)
            variable = self.variable(api_url)
            token = token_for(variable, api_url) if self.is_trusted(api_url) else None
            self._clients[wanted] = ArchiveClient(api_url, token=token, token_variable=variable, tries=wanted[1])
        return self._clients[wanted]

    @property
    def default(self) -> str:
        """The API that `dandi:` URLs are of."""
        instance = KNOWN_INSTANCES.get(self._setting(INSTANCE) or "dandi")
        named = self._named(API) or (instance.api_url if instance else None)
        if named is None:
            raise ConfigError(
                f"remote.{self.remote}.{INSTANCE} is no archive known by name",
                hint=f"give its address, too: git config remote.{self.remote}.{API} URL",
            )
        return named

    def described(self) -> dict[str, str]:
        """Whom `dandi:` URLs and the token are for, and where that comes from."""
        api_url = self.default
        variable = self.variable(api_url)
        has_token = token_for(variable, api_url) is not None
        is_set = variable and os.environ.get(variable, "").strip()
        source = f"from {variable}" if is_set else "from git credential"
        return {"archive": api_url, "token": source if has_token else "none"}

    def is_trusted(self, api_url: str) -> bool:
        """Whether a token may go there."""
        return instance_at(api_url) is not None or api_url == self._named(API)

    def variable(self, api_url: str) -> str | None:
        """The environment variable that holds the token for this API."""
        if (at := instance_at(api_url)) is not None:
            return at.token_variable
        # The variable of a known archive holds that archive's token, which is for no other.
        instance = self._setting(INSTANCE) if api_url == self._named(API) else ""
        variable = token_variable(instance) if instance else None
        return None if variable in {known.token_variable for known in KNOWN_INSTANCES.values()} else variable

    def explained(self, error: NotAllowed, api_url: str) -> NotAllowed:
        """A refusal of this archive, with what can be done about it from a clone."""
        if not self.is_trusted(api_url):
            named = f"git config remote.{self.remote}.{API}"
            hint = f"a token goes only to archives that are known, or that you name: {named} {api_url}"
            hint = error.hint if error.hint and named in error.hint else hint
        elif self.client(api_url).http.has_token:
            hint = error.hint or "check the token, and that an owner of the Dandiset has added its user"
        else:
            variable = self.variable(api_url)
            hint = f"{f'set {variable} to a token, or ' if variable else ''}hand a token to `git credential approve`"
        return NotAllowed(error.message, hint=hint)

    def check(self, url: str) -> None:
        """`NotAllowed` for a server that is not to be asked."""
        if content_url_allowed(url, self._hosts):
            return
        server = _server(url)
        if server not in self._judged:
            self._judged[server] = self._objection(server)
        objection = self._judged[server]
        if objection:
            raise NotAllowed(
                f"{server or 'an address'}: {objection}",
                hint=f"if it is your archive: git config remote.{self.remote}.{API} URL",
            )

    @cached_property
    def _hosts(self) -> frozenset[str]:
        """Hosts that belong to archives."""
        known = {urlsplit(instance.api_url).netloc for instance in KNOWN_INSTANCES.values()}
        api, bucket = self._named(API), self._named(BUCKET)
        own = content_hosts(api) | {urlsplit(api).netloc} if api else set()
        return frozenset(known) | ANY_S3_HOST | own | ({urlsplit(bucket).netloc} if bucket else set())

    def _objection(self, server: str) -> str | None:
        import ipaddress
        import socket

        if not server:
            return "no web address"
        parts = urlsplit(server)
        try:
            found = socket.getaddrinfo(parts.hostname, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise Unreachable(f"{server}: there is no such host, or the network is down") from None
        allowed = " ".join(self._settings.get(name, "") for name in _PRIVATE_ALLOWED).split()
        for address in {str(one[4][0]) for one in found}:
            plain = ipaddress.ip_address(address.partition("%")[0])
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
            names = {"all", str(plain), f"[{plain}]", f"{plain}:{port}", f"[{plain}]:{port}"}
            if not plain.is_global and not names & set(allowed):
                return "it is at no public address, and annex.security.allowed-ip-addresses does not allow it"
        return None

    def _named(self, setting: str) -> str | None:
        url = self._setting(setting)
        return checked_url(url) if url else None

    def _setting(self, name: str) -> str:
        return self._settings.get(f"remote.{self.remote}.{name}", "")

    @cached_property
    def _settings(self) -> Mapping[str, str]:
        """What the user has set: what a remote's parameters or the branch say was written by anybody."""
        command = ["git", "config", "--null", "--get-regexp", r"^(remote\..*\.annex-dandi-|annex\.security\.)"]
        # As the user has it, `git -c` included; but git needs no token for this.
        environment = {name: value for name, value in os.environ.items() if not is_secret(name)}
        environment["GIT_DIR"] = self.git_dir
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        entries = done.stdout.decode(errors="surrogateescape").split("\0")
        return {name: value for entry in entries if entry for name, _, value in [entry.partition("\n")]}


def _server(url: str) -> str:
    """Scheme, host and port; empty where that is no web address."""
    try:
        return origin(url)
    except ValueError:
        return ""
