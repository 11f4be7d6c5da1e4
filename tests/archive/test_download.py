"""One object, brought into a file by pieces, from a bucket that has its bad moments."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mirror.archive import download as module
from mirror.archive.download import FIRST_PIECE, LARGEST_PIECE, Source, download
from mirror.archive.http import Http
from mirror.demo import DemoArchive
from mirror.demo.faults import Before, Beyond, Fault, NoRanges, OtherETag, OtherPart, Reset, Status, Truncated
from mirror.demo.web import Answer, Request, Response
from mirror.errors import BadAnswer, NotAllowed, NotFound, Unreachable

SIZE = 9 * FIRST_PIECE + 12_345
CONTENT = random.Random(3).randbytes(SIZE)


@dataclass
class Watched(Fault):
    """Honest answers but where another fault is due, and what was asked for and sent."""

    faults: dict[int, Fault] = field(default_factory=dict)
    """by the number of the request, from 0"""
    asked: list[tuple[int, int]] = field(default_factory=list)
    sent: int = 0

    def apply(self, request: Request, answer: Answer) -> Response:
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
        assert found is not None
        self.asked.append((int(found[1]), int(found[2])))
        fault = self.faults.get(len(self.asked) - 1)
        response = fault.apply(request, answer) if fault else answer(request)
        self.sent += len(response.body[: response.cut_after]) if not response.reset else 0
        return response


@pytest.fixture
def archive() -> Iterator[DemoArchive]:
    with DemoArchive(start=datetime(2026, 1, 1, tzinfo=UTC)) as archive:
        archive.objects.put("big", CONTENT)
        yield archive


@pytest.fixture
def http() -> Iterator[Http]:
    http = Http(sleep=lambda _: None)
    yield http
    http.close()


@pytest.fixture
def source(archive: DemoArchive) -> Source:
    return Source.at(f"{archive.s3_endpoint}/{archive.bucket}/big", "the big one")


@pytest.fixture
def watched(archive: DemoArchive) -> Watched:
    watched = Watched()
    archive.s3_faults.add(watched, path="big", times=None)
    return watched


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


def test_a_file_is_read_by_several_requests_and_whole(http: Http, source: Source, file: Path, watched: Watched) -> None:
    heard: list[int] = []
    download(http, source, file, SIZE, told=heard.append)
    assert file.read_bytes() == CONTENT
    assert len(watched.asked) > 2
    assert watched.sent == SIZE
    assert heard == sorted(heard)
    assert (heard[0], heard[-1]) == (0, SIZE)


def test_a_small_file_is_one_request(http: Http, archive: DemoArchive, file: Path) -> None:
    archive.objects.put("small", b"few bytes")
    download(http, Source.at(f"{archive.s3_endpoint}/{archive.bucket}/small", "it"), file, 9)
    assert file.read_bytes() == b"few bytes"
    assert archive.count(server="s3") == 1


def test_an_empty_file_is_nothing_to_be_asked_for(http: Http, source: Source, file: Path, archive: DemoArchive) -> None:
    download(http, source, file, 0)
    assert file.read_bytes() == b""
    assert archive.count() == 0


def test_it_goes_on_where_the_file_ends(http: Http, source: Source, file: Path, watched: Watched) -> None:
    begin = 3 * FIRST_PIECE + 7
    file.write_bytes(CONTENT[:begin])
    download(http, source, file, SIZE)
    assert file.read_bytes() == CONTENT
    assert min(watched.asked)[0] == begin
    assert watched.sent == SIZE - begin


def test_a_file_that_is_whole_is_not_asked_for(http: Http, source: Source, file: Path, archive: DemoArchive) -> None:
    file.write_bytes(CONTENT)
    download(http, source, file, SIZE)
    assert archive.count() == 0


def test_a_file_longer_than_the_object_is_begun_anew(http: Http, source: Source, file: Path) -> None:
    file.write_bytes(b"x" * (SIZE + 1))
    download(http, source, file, SIZE)
    assert file.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "fault",
    [Truncated(), Reset(), Status(503), Status(500), OtherPart()],
    ids=["cut", "reset", "503", "500", "another part"],
)
def test_a_piece_that_fails_is_asked_for_again_and_no_other(
    http: Http, source: Source, file: Path, watched: Watched, fault: Fault
) -> None:
    watched.faults = {2: fault}
    download(http, source, file, SIZE)
    assert file.read_bytes() == CONTENT
    assert len(watched.asked) == len(set(watched.asked)) + 1
    # No more than that one piece came more than once.
    assert watched.sent - SIZE <= LARGEST_PIECE


def test_a_server_that_fails_twice_is_asked_a_third_time(
    http: Http, source: Source, file: Path, watched: Watched
) -> None:
    watched.faults = {0: Status(503), 1: Status(503)}
    download(http, source, file, SIZE, connections=1)
    assert file.read_bytes() == CONTENT


def test_when_it_breaks_off_for_good_the_file_is_the_beginning_and_the_next_goes_on(
    source: Source, file: Path, watched: Watched
) -> None:
    watched.faults = dict.fromkeys(range(60), Beyond(4 * FIRST_PIECE, Truncated()))
    with pytest.raises(BadAnswer, match=r"the big one: .*broke off"):
        download(Http(tries=2, sleep=lambda _: None), source, file, SIZE)
    begin = file.stat().st_size
    assert 3 * FIRST_PIECE <= begin < SIZE
    assert CONTENT.startswith(file.read_bytes())
    before = settled(watched)
    watched.faults.clear()
    download(Http(), source, file, SIZE)
    assert file.read_bytes() == CONTENT
    assert watched.sent - before == SIZE - begin


def settled(watched: Watched) -> int:
    """What was sent, once that which nobody waits for any more was sent, too."""
    before = -1
    while watched.sent != before:
        before = watched.sent
        time.sleep(0.3)
    return before


def test_an_object_replaced_in_the_middle_is_noticed_and_nothing_is_kept(
    http: Http, source: Source, file: Path, watched: Watched
) -> None:
    watched.faults = {3: OtherETag()}
    with pytest.raises(BadAnswer, match="replaced while it was read"):
        download(http, source, file, SIZE, connections=1)
    assert file.read_bytes() == b""
    download(http, source, file, SIZE)
    assert file.read_bytes() == CONTENT


def test_an_object_of_another_size_is_refused(http: Http, source: Source, file: Path) -> None:
    with pytest.raises(BadAnswer, match=f"it has {SIZE} bytes, not {SIZE + 1}"):
        download(http, source, file, SIZE + 1)
    with pytest.raises(BadAnswer, match=f"it has {SIZE} bytes, not 10"):
        download(http, source, file.with_name("other"), 10)


def test_a_server_that_gives_no_parts_is_refused(http: Http, source: Source, file: Path, watched: Watched) -> None:
    watched.faults = dict.fromkeys(range(60), NoRanges())
    with pytest.raises(BadAnswer, match="not given by parts"):
        download(http, source, file, SIZE)
    assert file.read_bytes() == b""


def test_an_object_that_is_gone_is_said_to_be(http: Http, source: Source, file: Path, archive: DemoArchive) -> None:
    archive.objects.delete("big")
    with pytest.raises(NotFound, match="the big one: it is not there"):
        download(http, source, file, SIZE)


def test_an_object_that_is_private_is_said_to_be(http: Http, source: Source, file: Path, archive: DemoArchive) -> None:
    archive.objects.set_private("big", True)
    with pytest.raises(NotAllowed, match="the big one"):
        download(http, source, file, SIZE)


def test_a_server_that_is_not_there_is_unreachable(source: Source, file: Path, archive: DemoArchive) -> None:
    archive.close()
    with pytest.raises(Unreachable, match="asked 2 times"):
        download(Http(tries=2, sleep=lambda _: None), source, file, SIZE)


@pytest.fixture
def signed(archive: DemoArchive) -> tuple[Source, list[str]]:
    """A private object by its signed address, and the addresses that were made."""
    from mirror.archive.client import ArchiveClient

    identifier = archive.create_dandiset("Hidden")
    archive.add_asset(identifier, "a.nwb", CONTENT)
    archive.embargo(identifier)
    client = ArchiveClient(archive.api_url, token=archive.token)
    made: list[str] = []

    def sign() -> str:
        made.append(client.signed_url(archive.asset(identifier, "a.nwb").asset_id))
        return made[-1]

    return Source("a hidden one", sign), made


def test_a_signed_address_that_expires_in_the_middle_is_made_anew(
    http: Http, signed: tuple[Source, list[str]], file: Path, archive: DemoArchive
) -> None:
    source, made = signed
    archive.s3_faults.add(Before(lambda: archive.clock.advance(7 * 3600)), after=3)
    download(http, source, file, SIZE)
    assert file.read_bytes() == CONTENT
    assert len(made) == 2


def test_a_signature_that_is_refused_anew_is_refused_and_not_shown(
    http: Http, signed: tuple[Source, list[str]], file: Path, archive: DemoArchive
) -> None:
    source, made = signed
    archive.s3_faults.add(Status(403), times=None)
    with pytest.raises(NotAllowed, match="a hidden one") as caught:
        download(http, source, file, SIZE, connections=1)
    assert len(made) == 2
    assert "X-Amz" not in str(caught.value)


def test_whoever_listens_can_end_it(http: Http, source: Source, file: Path) -> None:
    def enough(there: int) -> None:
        if there > 2 * FIRST_PIECE:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        download(http, source, file, SIZE, told=enough)
    assert 0 < file.stat().st_size < SIZE
    assert CONTENT.startswith(file.read_bytes())


def test_pieces_grow_where_they_come_quickly_and_shrink_where_they_do_not(
    http: Http, source: Source, file: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    download(http, source, file, SIZE, connections=1)
    assert [last - first + 1 for first, last in watched.asked[:3]] == [FIRST_PIECE, 2 * FIRST_PIECE, 4 * FIRST_PIECE]
    watched.asked.clear()
    monkeypatch.setattr(module, "TEDIOUS", 0.0)
    monkeypatch.setattr(module, "QUICK", 0.0)
    file.unlink()
    download(http, source, file, SIZE, connections=1)
    assert [last - first + 1 for first, last in watched.asked[:3]] == [FIRST_PIECE, FIRST_PIECE // 2, FIRST_PIECE // 4]
    assert file.read_bytes() == CONTENT


def test_no_more_is_held_in_memory_than_pieces_under_way(
    http: Http, source: Source, file: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first piece is late: what comes after it waits, and nothing is asked for beyond that."""
    from threading import Event

    release, waiting = Event(), Event()
    read: Callable[..., bytes] = module._Pieces.read

    def late(pieces: module._Pieces, wanted: tuple[int, int]) -> bytes:
        if wanted[0] == 0:
            waiting.set()
            assert release.wait(10)
        body = read(pieces, wanted)
        if len(watched.asked) == 3 + module.WAITING - 1:
            release.set()
        return body

    monkeypatch.setattr(module._Pieces, "read", late)
    monkeypatch.setattr(module, "QUICK", 0.0)
    download(http, source, file, SIZE, connections=3)
    assert waiting.is_set()
    assert file.read_bytes() == CONTENT
