"""The archive as a sync talks to it: its API, its bucket, and the hosts whose content may be fetched."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from mirror.archive.bucket import Bucket
from mirror.archive.client import Answer, ArchiveClient
from mirror.archive.content import Content
from mirror.archive.instances import content_hosts, token_variable
from mirror.archive.records import Instance
from mirror.config import Settings
from mirror.tokens import token_for


@dataclass(frozen=True)
class Connection:
    """One archive. May be shared among threads; each process opens its own."""

    client: ArchiveClient
    bucket: Bucket
    hosts: frozenset[str]
    endpoint: str | None = None
    """where buckets are, if not where their addresses say"""

    @classmethod
    def open(cls, settings: Settings) -> Connection:
        archive = settings.archive
        variable = token_variable(archive.instance)
        token = _token(settings, variable)
        client = ArchiveClient(archive.api_url, token=token, token_variable=variable)
        return cls(
            client=client,
            bucket=Bucket(client.http, archive.s3_endpoint),
            hosts=content_hosts(archive.api_url, archive.s3_endpoint),
            endpoint=archive.s3_endpoint,
        )

    @cached_property
    def _described(self) -> Answer[Instance]:
        return self.client.instance()

    @property
    def instance(self) -> Instance:
        return self._described.value

    @cached_property
    def content(self) -> Content:
        """The bytes of what is mirrored. The token goes to this archive's API alone, whatever else was recorded."""
        return Content(self.client.http, self._client_for, self.endpoint)

    def _client_for(self, api_url: str) -> ArchiveClient | None:
        ours = {url.rstrip("/") for url in (self.client.api_url, self.instance.api_url) if url}
        return self.client if api_url.rstrip("/") in ours else None

    @property
    def opened(self) -> datetime:
        """When the archive was first asked anything, by its own clock."""
        return self._described.date

    def close(self) -> None:
        self.client.http.close()


def _token(settings: Settings, variable: str | None) -> str | None:
    """What is open needs none: git's helpers, which may have an old one, are asked only for the sake of embargoed
    Dandisets."""
    if settings.select.embargoed:
        return token_for(variable, settings.archive.api_url)
    return os.environ.get(variable) if variable else None
