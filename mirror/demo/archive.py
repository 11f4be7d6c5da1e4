"""The demo archive: its holdings behind two real HTTP servers on loopback."""

from __future__ import annotations

from datetime import datetime
from types import TracebackType
from typing import Self

from mirror.demo.api import Api
from mirror.demo.clock import Clock
from mirror.demo.control import with_control
from mirror.demo.documents import Addresses
from mirror.demo.faults import Faults
from mirror.demo.ids import Ids
from mirror.demo.inventory import Inventory
from mirror.demo.s3 import S3
from mirror.demo.signing import Signer
from mirror.demo.traffic import Exchange, Traffic
from mirror.demo.weather import Weather
from mirror.demo.web import Answer, Request, Response, Server

BUCKET = "demo-archive"
INSTANCE_NAME = "DEMO-DANDI"
INSTANCE_URL = "https://demo-dandi.example.org/"
DOI_PREFIX = "10.80507"


class DemoArchive(Inventory):
    """A small DANDI archive that runs on this machine.

        with DemoArchive() as archive:
            identifier = archive.create_dandiset("Ripples")
            archive.add_asset(identifier, "README.md", b"Ripples of two mice")
            archive.publish(identifier)
            requests.get(f"{archive.api_url}/dandisets/")

    Ports are the operating system's choice unless given. With `start` (a fixed clock) and `seed` every answer is
    reproducible but for the ports in addresses. With `strict` it refuses what the real archive refuses. With
    `control` other processes may change it.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        s3_port: int = 0,
        start: datetime | None = None,
        seed: int | None = None,
        strict: bool = False,
        control: bool = False,
        instance_name: str = INSTANCE_NAME,
        instance_url: str = INSTANCE_URL,
        doi_prefix: str | None = DOI_PREFIX,
    ) -> None:
        self.requests = Traffic()
        self.api_faults = Faults(None if seed is None else f"{seed} api")
        self.s3_faults = Faults(None if seed is None else f"{seed} s3")
        self.weather = Weather({"api": self.api_faults, "s3": self.s3_faults})
        self._api_server = Server(lambda request: self._answer_api(request), port=port)
        self._s3_server = Server(lambda request: self._answer_s3(request), port=s3_port)
        addresses = Addresses(
            instance_name=instance_name,
            instance_url=instance_url,
            api_url=f"{self._api_server.url}/api",
            bucket_url=f"{self._s3_server.url}/{BUCKET}",
            doi_prefix=doi_prefix,
        )
        super().__init__(addresses, Clock(start), Ids(seed), BUCKET, strict=strict)
        signer = Signer(self.clock)
        watched = self._watched("api", self.api_faults, Api(self, signer).answer)
        self._answer_api = with_control(self, watched) if control else watched
        self._answer_s3 = self._watched("s3", self.s3_faults, S3(self.objects, self.clock, signer).answer)

    @property
    def api_url(self) -> str:
        """The REST API, without trailing slash."""
        return self.addresses.api_url

    @property
    def s3_endpoint(self) -> str:
        return self._s3_server.url

    @property
    def bucket(self) -> str:
        """The bucket's name; `objects` is the bucket itself."""
        return self.objects.name

    @property
    def instance_url(self) -> str:
        return self.addresses.instance_url

    def count(
        self,
        *,
        server: str | None = None,
        method: str | None = None,
        path: str | None = None,
        status: int | None = None,
    ) -> int:
        """How many requests were made, all or those of a kind; `path` is searched for as a regular expression."""
        return self.requests.count(server=server, method=method, path=path, status=status)

    def start(self) -> Self:
        self._api_server.start()
        self._s3_server.start()
        return self

    def close(self) -> None:
        self._api_server.close()
        self._s3_server.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _watched(self, name: str, faults: Faults, honest: Answer) -> Answer:
        """Log each request, and let the faults have their way with it."""

        def answer(request: Request) -> Response:
            fault = faults.striking(request)
            response = fault.apply(request, honest) if fault else honest(request)
            self.requests.record(Exchange(name, request.method, request.path, request.query, response.status))
            return response

        return answer
