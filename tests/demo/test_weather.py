"""Bad weather, put up by who drives the archive from elsewhere."""

from __future__ import annotations

import pytest
import requests

from mirror.demo import DemoArchive, DemoProcess
from mirror.errors import MirrorError


def test_each_kind_strikes_until_it_is_cleared() -> None:
    with DemoProcess("empty") as archive, requests.Session() as session:
        address = f"{archive.api_url}/info/"
        archive.call("add_fault", kind="503")
        assert session.get(address).status_code == 503
        archive.call("clear_faults")
        archive.call("add_fault", kind="html", times=1)
        assert "html" in session.get(address).headers["content-type"]
        assert session.get(address).json()["schema_version"]
        archive.call("add_fault", kind="reset", server="api", times=1)
        with pytest.raises(requests.ConnectionError):
            session.get(address)
        archive.call("add_fault", kind="truncated", times=1)
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            session.get(address)
        assert archive.call("count_faults") == {"503": 1, "reset": 1, "truncated": 1, "html": 1}


def test_one_server_may_be_in_trouble_and_the_other_not() -> None:
    with DemoProcess("empty") as archive, requests.Session() as session:
        archive.call("add_fault", kind="504", server="s3")
        assert session.get(f"{archive.s3_endpoint}/{archive.bucket}/").status_code == 504
        assert session.get(f"{archive.api_url}/info/").status_code == 200


def test_a_share_of_requests_is_struck_the_same_for_the_same_seed() -> None:
    def struck(seed: int) -> list[int]:
        with DemoArchive(seed=seed) as archive, requests.Session() as session:
            archive.weather.add_fault("503", share=0.3)
            return [session.get(f"{archive.api_url}/info/").status_code for _ in range(100)]

    first = struck(1)
    assert 10 < first.count(503) < 50
    assert struck(1) == first
    assert struck(2) != first


def test_faults_and_servers_that_there_are_not_are_refused() -> None:
    with DemoProcess("empty") as archive:
        with pytest.raises(MirrorError, match="knows no fault 'hail', but 503, "):
            archive.call("add_fault", kind="hail")
        with pytest.raises(MirrorError, match="has no server 'db', but api, s3"):
            archive.call("add_fault", kind="503", server="db")
