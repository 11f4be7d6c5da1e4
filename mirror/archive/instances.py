"""The archive instances known by name, and what follows from an instance's API URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import urlsplit

from mirror.errors import UsageError


@dataclass(frozen=True)
class KnownInstance:
    """An instance that users name with `-i`: where its API is, and which buckets hold its content."""

    name: str
    api_url: str
    buckets: tuple[str, ...]

    @property
    def content_hosts(self) -> frozenset[str]:
        """Hosts that this instance's content URLs may name, as `content_url_allowed` takes them."""
        return frozenset(
            host for bucket in self.buckets for host in (f"{bucket}.s3.amazonaws.com", f"{bucket}.s3.*.amazonaws.com")
        )

    @property
    def token_variable(self) -> str:
        """The environment variable that holds a token for this instance."""
        return token_variable(self.name)


def _table(*instances: KnownInstance) -> Mapping[str, KnownInstance]:
    return MappingProxyType({instance.name: instance for instance in instances})


KNOWN_INSTANCES = _table(
    KnownInstance("dandi", "https://api.dandiarchive.org/api", ("dandiarchive", "dandiarchive-embargo")),
    KnownInstance(
        "dandi-sandbox",
        "https://api.sandbox.dandiarchive.org/api",
        # The sandbox was once called staging; its buckets still are.
        ("dandi-api-staging-dandisets", "dandi-api-staging-embargo-dandisets"),
    ),
    KnownInstance("ember-dandi", "https://api-dandi.emberarchive.org/api", ("ember-open-data",)),
    KnownInstance("linc", "https://api.lincbrain.org/api", ("linc-brain-mit-prod-us-east-2", "linc-brain-mit-prod")),
)

# An instance we do not know may keep its content in any bucket of Amazon's, in either style of address.
ANY_S3_HOST = frozenset({"*.s3.amazonaws.com", "*.s3.*.amazonaws.com", "s3.amazonaws.com", "s3.*.amazonaws.com"})


def known_instance(name: str) -> KnownInstance:
    """The instance called `name`."""
    try:
        return KNOWN_INSTANCES[name]
    except KeyError:
        raise UsageError(
            f"no archive instance is known as {name!r}",
            hint=f"known are {', '.join(KNOWN_INSTANCES)}; any other can be given by its API URL",
        ) from None


def instance_at(api_url: str) -> KnownInstance | None:
    """The known instance whose API is at `api_url`, if it is one."""
    wanted = api_url.rstrip("/").lower()
    return next((instance for instance in KNOWN_INSTANCES.values() if instance.api_url == wanted), None)


def token_variable(name: str) -> str:
    """The environment variable that holds a token for the instance called `name`, as in the dandi client."""
    return f"{name.upper().replace('-', '_')}_API_KEY"


def content_hosts(api_url: str, s3_endpoint: str | None = None) -> frozenset[str]:
    """Hosts that content URLs may name at the instance with this API, which may be one we do not know.

    An API's own host is trusted at any port: small set-ups serve API and bucket from one machine.
    """
    known = instance_at(api_url)
    hosts = known.content_hosts if known else ANY_S3_HOST | {f"{_host(api_url)}:*"}
    return hosts | {urlsplit(s3_endpoint).netloc.lower()} if s3_endpoint else hosts


def _host(url: str) -> str:
    host = urlsplit(url).hostname or ""
    return f"[{host}]" if ":" in host else host
