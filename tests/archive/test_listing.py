"""All objects under a prefix, in order and in parallel, against the demo archive's S3 server over HTTP."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from mirror.archive import bucket as bucket_module
from mirror.archive import listing
from mirror.archive.bucket import Bucket
from mirror.archive.http import Http
from mirror.archive.s3 import ObjectVersion, S3Location
from mirror.demo import DemoArchive
from mirror.demo.faults import Slow, Status
from mirror.errors import BadAnswer, Unreachable

ROOT = "zarr/6f1c/"


@pytest.fixture
def archive() -> Iterator[DemoArchive]:
    with DemoArchive() as archive:
        yield archive


@pytest.fixture
def http(pauses: list[float]) -> Iterator[Http]:
    http = Http(tries=2, sleep=pauses.append)
    yield http
    http.close()


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of 20, so that some hundred objects are a large Zarr."""
    monkeypatch.setattr(bucket_module, "KEYS_PER_PAGE", 20)
    monkeypatch.setattr(listing, "PAGE", 20)
    monkeypatch.setattr(listing, "LARGE", 120)
    monkeypatch.setattr(listing, "LONG", 60)


def put(archive: DemoArchive, names: list[str]) -> list[str]:
    """Put empty objects below the root, and some that are just outside."""
    for name in names:
        archive.objects.put(ROOT + name, b"")
    for neighbour in ("zarr/6f1b/zzz", "zarr/6f1c", "zarr/6f1c.zarr/0", "zarr/6f1c0", "zarr/6f1d/0"):
        archive.objects.put(neighbour, b"")
    return sorted(ROOT + name for name in names)


def reading(archive: DemoArchive, http: Http, jobs: int = 4) -> Iterator[list[ObjectVersion]]:
    place = S3Location(archive.bucket, ROOT, "https://s3.amazonaws.com", "virtual")
    return Bucket(http, archive.s3_endpoint, jobs=jobs).current_objects(place)


def listed(archive: DemoArchive, http: Http, jobs: int = 4) -> list[str]:
    batches = list(reading(archive, http, jobs))
    assert all(batches)
    return [version.key for batch in batches for version in batch]


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("listing")]


def grid(*sizes: int, separator: str = "/") -> list[str]:
    names = [""]
    for size in sizes:
        names = [f"{name}{separator}{number}" for name in names for number in range(size)]
    return [name.removeprefix(separator) for name in names]


def random_names(seed: int) -> list[str]:
    """A tree whose directories differ wildly in size, with names that sort in surprising places."""
    chance = random.Random(seed)
    odd = [
        "a",
        "a.b",
        "a b",
        "a+b",
        "a%2Fb",
        "é",
        "日本",
        "\U0001f41f",
        "x\ny",
        "0",
        "00",
        "-",
        "~",
        ".z",
        "\ue000",
        "A&B",
    ]
    names: set[str] = set()
    for top in chance.sample(odd, chance.randint(1, 8)):
        separator = chance.choice("/.")
        for number in range(chance.choice([1, 3, 12])):
            for last in range(chance.choice([1, 2, 30, 150])):
                names.add(f"{top}{chance.choice('/.')}{number}{separator}{last}" if chance.random() < 0.9 else f"{top}")
    return sorted(names)


LAYOUTS = {
    "nested": grid(3, 20, 30),
    "flat with dots": grid(40, 50, separator="."),
    "one long directory": grid(1500),
    "directories of one file": [f"{name}/a" for name in grid(1500)],
    "directories a little over a page": grid(40, 21),
    "one huge level among small ones": [*grid(10, 5), *(f"5x/{name}" for name in grid(2, 700)), *grid(9, 1, 2)],
    "levels of an image": [
        ".zattrs",
        *(f"{level}/{n}" for level in range(4) for n in grid(2, 30 >> level, 20 >> level)),
    ],
    "random hex names": [f"{random.Random(number).getrandbits(64):016x}" for number in range(1500)],
}


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_listed_whole_in_order_and_in_few_requests(
    archive: DemoArchive, http: Http, layout: str
) -> None:
    expected = put(archive, LAYOUTS[layout])
    assert listed(archive, http) == expected
    assert http.counts()["s3"].requests <= 1.3 * len(expected) / 20 + 30


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize(("seed", "jobs"), [(seed, (2, 5)[seed % 2]) for seed in range(25)])
def test_any_layout_is_listed_whole_and_in_order(archive: DemoArchive, http: Http, seed: int, jobs: int) -> None:
    expected = put(archive, random_names(seed))
    assert listed(archive, http, jobs) == expected


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("seed", range(12))
def test_old_versions_and_deleted_objects_are_left_out(archive: DemoArchive, http: Http, seed: int) -> None:
    chance = random.Random(seed)
    names = chance.choice([grid(8, 15), grid(150), grid(20, 6, separator=".")])
    keys = set(put(archive, names))
    for key in sorted(keys):
        for _ in range(chance.choice([0, 0, 2, 45])):
            archive.objects.put(key, b"newer")
        if chance.random() < 0.3:
            archive.objects.delete(key)
            keys.discard(key)
    assert listed(archive, http) == sorted(keys)
    latest = {key: archive.objects.latest(key) for key in keys}
    shown = [version for batch in reading(archive, http) for version in batch]
    assert all((found := latest[one.key]) and one.version_id == found.version_id for one in shown)


@pytest.mark.usefixtures("small_pages")
def test_pages_on_end_without_a_current_object_are_no_batches(archive: DemoArchive, http: Http) -> None:
    keys = put(archive, grid(10, 30))
    for key in keys[10:-10]:
        archive.objects.delete(key)
    assert listed(archive, http) == keys[:10] + keys[-10:]


def test_up_to_a_thousand_versions_are_one_request(archive: DemoArchive, http: Http) -> None:
    expected = put(archive, grid(10, 100))
    assert listed(archive, http) == expected
    assert archive.count(server="s3", method="GET") == 1
    assert not threads()


def test_nothing_is_one_request_and_no_batch(archive: DemoArchive, http: Http) -> None:
    assert list(reading(archive, http)) == []
    assert archive.count(server="s3") == 1


def test_a_file_beside_a_folder_of_its_name_and_a_dot_before_a_slash(archive: DemoArchive, http: Http) -> None:
    expected = put(archive, ["a.b/x", "a/x", "a", "a0"])
    assert listed(archive, http) == expected
    assert expected == [ROOT + name for name in ("a", "a.b/x", "a/x", "a0")]


@pytest.mark.usefixtures("small_pages")
def test_one_job_asks_for_nothing_but_full_pages(archive: DemoArchive, http: Http) -> None:
    expected = put(archive, grid(5, 4, 55))
    assert listed(archive, http, 1) == expected
    assert archive.count(server="s3") == 55
    assert archive.count(server="s3", path="delimiter") == 0


def test_requests_run_at_once(archive: DemoArchive, http: Http) -> None:
    put(archive, grid(40, 500))
    archive.s3_faults.add(Slow(0.1), times=None)
    started = time.monotonic()
    assert len(listed(archive, http, 8)) == 20_000
    requests = http.counts()["s3"].requests
    assert requests <= 46
    assert time.monotonic() - started < 0.1 * requests * 0.7


@pytest.mark.usefixtures("small_pages")
def test_no_more_than_two_pages_a_thread_are_asked_for_ahead(archive: DemoArchive, http: Http) -> None:
    put(archive, grid(30, 100))
    taken = most = 0
    for batch in reading(archive, http, 3):
        time.sleep(0.002)
        taken += len(batch)
        most = max(most, http.counts()["s3"].bytes)
        ahead = archive.count(server="s3", path="^[^?]*[?](?!.*delimiter)") * 20 - taken
        assert ahead <= (2 * 3 + 1) * 20 + 0.4 * taken + 100
    assert taken == 3000
    assert most > 0


@pytest.mark.usefixtures("small_pages")
def test_whoever_stops_early_leaves_no_threads_and_no_requests(archive: DemoArchive, http: Http) -> None:
    put(archive, grid(30, 100))
    batches = reading(archive, http, 4)
    for _ in range(5):
        next(batches)
    batches.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 5
    while threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not threads()
    assert archive.count(server="s3") < 40


@pytest.mark.usefixtures("small_pages")
def test_a_page_that_fails_for_good_ends_the_listing(archive: DemoArchive, http: Http) -> None:
    put(archive, grid(30, 100))
    archive.s3_faults.add(Status(503), path="versions", after=40, times=None)
    taken: list[list[ObjectVersion]] = []
    with pytest.raises(Unreachable, match=r"the listing of s3://demo-archive/zarr/6f1c/.*HTTP 503"):
        taken.extend(reading(archive, http))
    assert archive.count(server="s3") < 60


@pytest.mark.usefixtures("small_pages")
def test_a_page_that_fails_once_is_asked_for_again(archive: DemoArchive, http: Http) -> None:
    expected = put(archive, grid(30, 40))
    archive.s3_faults.add(Status(503), path="versions", after=10, times=1)
    assert listed(archive, http) == expected


def page(keys: list[str], marker: tuple[str, str] | None = None) -> bytes:
    entries = "".join(
        f"<Version><Key>{key}</Key><VersionId>1</VersionId><IsLatest>true</IsLatest><LastModified>t</LastModified>"
        "<ETag>e</ETag><Size>1</Size></Version>"
        for key in keys
    )
    more = (
        f"<IsTruncated>true</IsTruncated><NextKeyMarker>{marker[0]}</NextKeyMarker>"
        f"<NextVersionIdMarker>{marker[1]}</NextVersionIdMarker>"
        if marker
        else ""
    )
    return f"<ListVersionsResult>{entries}{more}</ListVersionsResult>".encode()


@pytest.mark.parametrize(
    ("pages", "said"),
    [
        ([page(["zb", "za"])], "out of order"),
        ([page(["za", "za"])], "out of order"),
        ([page(["za"], ("za", "1")), page(["za"])], "out of order"),
        ([page(["zb"], ("zb", "1")), page(["za"])], "out of order"),
        ([page(["other"])], "out of order"),
        ([page(["za"], ("za", "1")), page([], ("za", "1"))], "does not get on"),
        ([page(["zb"], ("zb", "1")), page([], ("za", "1"))], "does not get on"),
        ([page(["za"], ("za", "1")), page([], ("za", "2")), page([], ("za", "1"))], "does not get on"),
    ],
)
def test_a_listing_that_makes_no_sense_is_a_bad_answer(server: Any, http: Http, pages: list[bytes], said: str) -> None:
    for body in pages:
        server.then(body)
    place = S3Location("b", "z", "https://s3.amazonaws.com", "virtual")
    with pytest.raises(BadAnswer, match=said):
        list(Bucket(http, server.url, jobs=1).current_objects(place))


def test_batches_ascend_within_and_among_each_other(archive: DemoArchive, http: Http) -> None:
    put(archive, grid(7, 700))
    batches = list(reading(archive, http))
    keys = [version.key.encode() for batch in batches for version in batch]
    assert all(low < high for low, high in pairwise(keys))
    assert max(map(len, batches)) <= 1000
