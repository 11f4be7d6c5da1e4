"""The archive as a sync talks to it: its API, its bucket, and the hosts whose content may be fetched."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from mirror.archive.bucket import Bucket
from mirror.archive.client import Answer, ArchiveClient
from mirror.archive.instances import content_hosts, token_variable
from mirror.archive.records import Instance
from mirror.config import Settings


@dataclass(frozen=True)
class Connection:
    """One archive. May be shared among threads; each process opens its own."""

    client: ArchiveClient
    bucket: Bucket
    hosts: frozenset[str]

    @classmethod
    def open(cls, settings: Settings) -> Connection:
        archive = settings.archive
        variable = token_variable(archive.instance)
        client = ArchiveClient(archive.api_url, token=os.environ.get(variable) or None, token_variable=variable)
        return cls(
            client=client,
            bucket=Bucket(client.http, archive.s3_endpoint),
            hosts=content_hosts(archive.api_url, archive.s3_endpoint),
        )

    @cached_property
    def _described(self) -> Answer[Instance]:
        return self.client.instance()

    @property
    def instance(self) -> Instance:
        return self._described.value

    @property
    def opened(self) -> datetime:
        """When the archive was first asked anything, by its own clock."""
        return self._described.date

    def close(self) -> None:
        self.client.http.close()
