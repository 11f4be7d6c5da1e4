"""What a review tried to break publishing with: odd records, kills, marks that are lost, an archive that stumbles."""

from __future__ import annotations

import json
import re
import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mirror.demo import DemoArchive
from mirror.demo.faults import Before, Fault, Status
from mirror.demo.web import Answer, Request, Response
from mirror.errors import UsageError
from mirror.publish.overview import superdatasets
from mirror.publish.publishing import Published, publish
from mirror.store.skips import Skip
from mirror.store.store import Store
from mirror.sync.dandiset import layout_of
from mirror.sync.frontier import ABSENCE_PATIENCE

from .conftest import ALWAYS, Mirror, chain, git, release, released

OF_FIRSTS = {"superdatasets": [{"name": "firsts", "where": "name ~ 'dandiset'"}]}


@dataclass(frozen=True)
class Edited(Fault):
    """The honest answer, with something in it replaced."""

    old: bytes
    new: bytes

    def apply(self, request: Request, answer: Answer) -> Response:
        plain = replace(request, headers={**request.headers, "accept-encoding": "identity"})
        honest = answer(plain)
        return Response(honest.status, honest.body.replace(self.old, self.new), honest.headers)


def publish_alone(mirror: Mirror, *, anew: str | None = None, **more: object) -> Published:
    settings = mirror.settings(**more)
    return publish(settings, layout_of(settings), command="dandi-mirror publish", anew=anew)


def feed(mirror: Mirror) -> list[str]:
    """The Dandisets that the feed tells of."""
    return [json.loads(line)["dandiset"] for line in mirror.store.changes.read_bytes().splitlines()]


def made_at(archive: DemoArchive, identifier: str, version: str, created: str) -> None:
    """Let a published version have been made at another time."""
    archive.dandiset(identifier).published[version].created = created
    archive.dandiset(identifier).summary_json = None


# --- the chain ----------------------------------------------------------------------------------------------------


def test_versions_of_one_instant_wait_for_each_other(
    archive: DemoArchive, mirror: Mirror, fresh: Mirror, dandisets: list[str]
) -> None:
    archive.clock.advance(3600)
    for identifier in dandisets:
        made_at(archive, identifier, archive.publish(identifier), "2026-11-20T18:34:10.000000Z")
    archive.api_faults.add(Status(404), path=f"/dandisets/{dandisets[1]}/versions/0.*/assets/", times=ALWAYS)
    for _ in range(3):
        mirror.run()
    assert chain(mirror)[-1] == dandisets[0]
    archive.api_faults.clear()
    mirror.run()
    fresh.run()
    assert released(mirror) == released(fresh)


def test_a_version_from_the_future_does_not_let_others_pass(
    archive: DemoArchive, mirror: Mirror, fresh: Mirror, dandisets: list[str]
) -> None:
    first, second, third = dandisets
    made_at(archive, second, release(archive, second), "2036-11-20T20:00:00.000000Z")
    archive.clock.advance(3600)
    mirror.run(settle_seconds=120)

    def publish_two() -> None:
        release(archive, first)
        release(archive, third)
        archive.clock.advance(600)

    archive.add_asset(third, "notes.md", b"new")
    archive.api_faults.add(Before(publish_two), path=f"/dandisets/{third}/versions/", times=1)
    for _ in range(2):
        mirror.run(settle_seconds=120)
    fresh.run(settle_seconds=120)
    assert released(mirror) == released(fresh)


def test_two_versions_of_one_instant_do_not_leave_and_come_back_for_ever(
    archive: DemoArchive, mirror: Mirror, dandisets: list[str]
) -> None:
    for name in ("Other", "Dandiset again"):
        archive.edit_dandiset(dandisets[1], name=name)
        made_at(archive, dandisets[1], release(archive, dandisets[1]), "2026-11-20T20:00:00.000000Z")
    mirror.run(**OF_FIRSTS)
    before = released(mirror, "firsts")
    publish_alone(mirror, **OF_FIRSTS)
    assert released(mirror, "firsts") == before


def test_what_has_left_stays_left_when_the_horizon_goes_back(
    archive: DemoArchive, mirror: Mirror, fresh: Mirror, dandisets: list[str]
) -> None:
    mirror.run(**OF_FIRSTS)
    archive.clock.advance(0.7)
    archive.edit_dandiset(dandisets[0], name="Other")
    release(archive, dandisets[0])
    mirror.run(**OF_FIRSTS)
    fresh.run(**OF_FIRSTS)
    (mirror.root / "state/frontier.json").unlink()
    publish_alone(mirror, **OF_FIRSTS)
    assert released(mirror, "firsts") == released(fresh, "firsts")


def test_a_chain_written_anew_that_is_the_same_stays_as_it_is(
    archive: DemoArchive,
    mirror: Mirror,
    dandisets: list[str],  # noqa: ARG001
) -> None:
    archive.clock.advance(60)
    mirror.run()
    before = mirror.refs("dandisets")
    publish_alone(mirror, anew="dandisets")
    assert mirror.refs("dandisets") == before


@pytest.mark.parametrize("change", ["frontier lost", "other selection"])
def test_a_chain_is_not_written_anew_where_it_would_lose_releases(
    archive: DemoArchive, mirror: Mirror, dandisets: list[str], change: str
) -> None:
    archive.clock.advance(60)
    mirror.run()
    before = mirror.refs("dandisets")
    more: dict[str, object] = {}
    if change == "frontier lost":
        (mirror.root / "state/frontier.json").unlink()
    else:
        more = {"select": {"exclude": [dandisets[1]]}}
    done = publish_alone(mirror, anew="dandisets", **more)
    assert "would lose 2 releases" in done.problems[0]
    assert mirror.refs("dandisets") == before
    with pytest.raises(UsageError):
        publish_alone(mirror, anew="no-such")


def test_skips_of_what_is_not_selected_are_not_named(
    archive: DemoArchive, mirror: Mirror, fresh: Mirror, dandisets: list[str]
) -> None:
    first = dandisets[0]
    archive.api_faults.add(Status(404), path=f"/dandisets/{first}/versions/0.*/assets/", times=ALWAYS)
    archive.clock.advance(60)
    mirror.run()
    ((version, created),) = mirror.store.state(first).awaited.items()
    mirror.store.save_skips([Skip(first, version, created, "why", "2026-11-21")])
    mirror.run()
    others = {"select": {"exclude": [first]}}
    mirror.run(**others)
    publish_alone(mirror, anew="dandisets", **others)
    fresh.run(**others)
    assert released(mirror) == released(fresh)


# --- an archive that stumbles -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 404])
def test_a_selected_dandiset_that_cannot_be_seen_once_is_waited_for(
    archive: DemoArchive, mirror: Mirror, fresh: Mirror, dandisets: list[str], status: int
) -> None:
    select = {"select": {"dandisets": [dandisets[0], dandisets[2]]}}
    archive.clock.advance(60)
    if status == 403:
        mirror.run(**select)
        release(archive, dandisets[0])
        release(archive, dandisets[2])
        archive.clock.advance(60)
    archive.api_faults.add(Status(status), path=f"/dandisets/{dandisets[0]}/", times=1)
    _, published = mirror.run(**select)
    assert published.waits_for is not None
    mirror.run(**select)
    fresh.run(**select)
    assert released(mirror) == released(fresh)


@pytest.mark.parametrize("status", [403, 404])
def test_a_dandiset_that_the_list_lacks_once_is_waited_for(
    archive: DemoArchive, mirror: Mirror, fresh: Mirror, dandisets: list[str], status: int
) -> None:
    first, _, third = dandisets
    mirror.run()
    release(archive, first)
    release(archive, third)
    archive.clock.advance(60)
    swapped = Edited(b'"identifier":"%s"' % first.encode(), b'"identifier":"%s"' % third.encode())
    archive.api_faults.add(swapped, path=r"/dandisets/\?", times=1)
    archive.api_faults.add(Status(status), path=f"/dandisets/{first}/", times=1)
    _, published = mirror.run()
    assert f"Dandiset {first}" in str(published.waits_for)
    mirror.run()
    fresh.run()
    assert released(mirror) == released(fresh)


def test_a_dandiset_that_has_gone_is_waited_for_some_days_and_can_be_skipped(
    archive: DemoArchive, mirror: Mirror, dandisets: list[str]
) -> None:
    first, _, third = dandisets
    archive.clock.advance(60)
    mirror.run()
    archive.delete_dandiset(first)
    release(archive, third)
    archive.clock.advance(60)
    _, published = mirror.run()
    assert f"Dandiset {first}, which the archive does not show since" in str(published.waits_for)
    assert chain(mirror) == [first, third]
    archive.clock.advance(days=ABSENCE_PATIENCE.days + 1)
    mirror.run()
    assert chain(mirror) == [first, third, third]


def test_a_dandiset_that_comes_under_embargo_leaves_the_superdatasets_and_goes_to_no_host(
    archive: DemoArchive, mirror: Mirror, tmp_path: Path
) -> None:
    for name in ("Mice", "Rats"):
        archive.add_asset(archive.create_dandiset(name), "a.md", name.encode())
    mirror.run()
    archive.embargo("000001")
    report, _ = mirror.run()
    assert [(one.identifier, one.result) for one in report.outcomes] == [("000001", "embargoed")]
    assert mirror.store.state("000001").embargoed is not None
    assert git(mirror, "ls-tree", "--name-only", "draft", "000001") == ""
    host = {"name": "backup", "kind": "ria", "url": str(tmp_path / "backup")}
    report, published = mirror.run(publish={"hosts": [host]})
    assert report.outcomes == []
    assert published.hosts[0].pushed == ["000002", "dandisets"]


# --- odd records --------------------------------------------------------------------------------------------------


def test_only_a_round_that_nobody_typed_leaves_a_host_alone_that_failed(
    mirror: Mirror, dandisets: list[str], tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    publish = {"hosts": [{"name": "backup", "kind": "ria", "url": str(disk / "store")}]}
    assert not mirror.run(publish=publish)[1].hosts[0].ok
    marks = mirror.store.host_marks / "backup.jsonl"
    marks.write_text(re.sub(r'"since":"[^"]*"', '"since":"2026-01-01T00:00:00+00:00"', marks.read_text()))
    disk.mkdir()
    (outcome,) = mirror.run(publish=publish, patient=True)[1].hosts
    assert (outcome.ok, outcome.pushed) == (False, [])
    assert "there is no folder" in (outcome.stopped or "")
    assert publish_alone(mirror, publish=publish).hosts[0].pushed == [*dandisets, "dandisets"]


def test_a_size_beyond_all_bounds_stops_nobody(archive: DemoArchive, mirror: Mirror, dandisets: list[str]) -> None:
    mirror.run()
    archive.add_asset(dandisets[1], "big.nwb", b"z" * 77777)
    archive.add_asset(dandisets[2], "notes.md", b"new")
    for path in (f"/dandisets/{dandisets[1]}/", "/assets/"):
        archive.api_faults.add(Edited(b":77777", b":%d" % 2**63), path=path, times=ALWAYS)
    mirror.run()
    assert git(mirror, "ls-tree", "draft", dandisets[2]).split()[2] == mirror.refs(dandisets[2])["refs/heads/draft"]


@pytest.mark.parametrize("doi", ["10.48324/\x00x", "10.48324/a b\tc", "\x1b[31m"])
def test_an_odd_doi_stops_nobody(archive: DemoArchive, mirror: Mirror, dandisets: list[str], doi: str) -> None:
    first, second, third = dandisets
    archive.edit_version(second, release(archive, second), doi=doi)
    release(archive, first)
    archive.clock.advance(60)
    _, published = mirror.run()
    assert published.problems == []
    assert chain(mirror) == [first, third, second, first]


def test_what_a_terminal_would_obey_is_in_no_table_and_no_message(archive: DemoArchive, mirror: Mirror) -> None:
    identifier = archive.create_dandiset("A \x1b[31mred\x9b2J title\u202e of mice")
    archive.add_asset(identifier, "a.md", b"a")
    archive.publish(identifier)
    mirror.run()
    for text in (
        git(mirror, "show", "draft:dandisets.tsv"),
        git(mirror, "log", "releases"),
        git(mirror, "show", "draft:releases.tsv"),
    ):
        assert "A [31mred2J title of mice" in text
        assert not {"\x1b", "\x9b", "\u202e"} & set(text)


# --- what is lost or damaged --------------------------------------------------------------------------------------


def die(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("then", ["sync", "publish"])
def test_a_dandiset_killed_before_it_had_its_address_is_announced_all_the_same(
    mirror: Mirror, dandisets: list[str], monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    mirror.run(dandisets[0])
    with monkeypatch.context() as patch:
        patch.setattr(Store, "publish_alias", die)
        with pytest.raises(KeyboardInterrupt):
            mirror.run(dandisets[1])
    if then == "sync":
        mirror.run(dandisets[0])
    else:
        publish_alone(mirror)
    for _ in range(2):
        mirror.run()
    assert set(feed(mirror)) == set(dandisets)
    assert dandisets[1] in git(mirror, "ls-tree", "--name-only", "draft").split()


def test_a_version_that_could_not_be_catalogued_is_waited_for(
    archive: DemoArchive, mirror: Mirror, fresh: Mirror, dandisets: list[str]
) -> None:
    first, _, third = dandisets
    mirror.run()
    archive.remove_asset(first, "README.md")
    archive.add_asset(first, "other.md", b"other")
    release(archive, first)
    release(archive, third)
    catalogue = sqlite3.connect(mirror.root / "state/catalogue.sqlite")
    which = "SELECT number FROM dandiset WHERE identifier = ?"
    catalogue.execute(f"DELETE FROM asset WHERE dandiset = ({which})", (first,))
    catalogue.commit()
    catalogue.close()
    _, published = mirror.run()
    assert first in published.problems[0]
    assert chain(mirror) == [first, third]
    mirror.store.discard_catalogue()
    mirror.run()
    fresh.run()
    assert released(mirror) == released(fresh)


@pytest.mark.parametrize("page", range(1, 12, 2))
def test_a_damaged_catalogue_is_made_anew(mirror: Mirror, dandisets: list[str], page: int) -> None:
    mirror.run()
    file = mirror.root / "state/catalogue.sqlite"
    catalogue = sqlite3.connect(file)
    catalogue.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    catalogue.close()
    body = bytearray(file.read_bytes())
    assert len(body) > (page + 1) * 4096
    body[page * 4096 : (page + 1) * 4096] = b"\xa5" * 4096
    file.write_bytes(body)
    mirror.archive.add_asset(dandisets[0], "notes.md", b"new")
    for _ in range(2):
        _, published = mirror.run()
    assert published.problems == []
    assert len(feed(mirror)) == len(set(mirror.store.changes.read_bytes().splitlines()))
    assert git(mirror, "ls-tree", "draft", dandisets[0]).split()[2] == mirror.refs(dandisets[0])["refs/heads/draft"]


@pytest.mark.parametrize("damage", ["lost", "damaged"])
def test_marks_that_are_lost_do_not_let_the_chain_pass(
    archive: DemoArchive, mirror: Mirror, dandisets: list[str], damage: str
) -> None:
    first, _, third = dandisets
    mirror.run()
    archive.api_faults.add(Status(404), path=f"/dandisets/{first}/versions/0.*/assets/", times=ALWAYS)
    release(archive, first)
    release(archive, third)
    mirror.run()
    marks = mirror.root / f"state/dandisets/{first}.json"
    if damage == "lost":
        marks.unlink()
    else:
        marks.write_bytes(b"{")
    publish_alone(mirror)
    assert chain(mirror) == [first, third]


@pytest.mark.parametrize("file", ["frontier.json", "published.json", "dandisets/000001.json"])
def test_a_byte_gone_bad_in_marks_costs_a_second_look(mirror: Mirror, dandisets: list[str], file: str) -> None:
    mirror.run()
    marks = mirror.root / "state" / file
    body = bytearray(marks.read_bytes())
    body[body.index(b'": "') + 5] = 0xFF
    marks.write_bytes(body)
    mirror.run()
    assert chain(mirror) == [dandisets[0], dandisets[2]]


def test_nothing_is_said_to_be_held_back_that_is_there(
    archive: DemoArchive,
    mirror: Mirror,
    dandisets: list[str],  # noqa: ARG001
) -> None:
    archive.clock.advance(60)
    mirror.run()
    (mirror.root / "state/frontier.json").unlink()
    assert publish_alone(mirror).held_back == 0


def test_status_tells_of_a_damaged_superdataset_and_of_the_others(
    mirror: Mirror,
    dandisets: list[str],  # noqa: ARG001
) -> None:
    mirror.run(**OF_FIRSTS)
    (mirror.store.alias("dandisets").resolve() / "packed-refs").write_bytes(b"bad\n")
    found = {one.name: one for one in superdatasets(mirror.settings(**OF_FIRSTS), mirror.store)}
    assert "packed-refs" in str(found["dandisets"].damage)
    assert found["firsts"].dandisets == 3


def test_what_came_too_late_is_still_told_years_later(
    archive: DemoArchive, mirror: Mirror, dandisets: list[str]
) -> None:
    archive.clock.advance(60)
    mirror.run(select={"dandisets": [dandisets[2]]})
    mirror.run()
    (row,) = superdatasets(mirror.settings(), mirror.store)
    assert [name.split()[0] for name in row.late] == [dandisets[0]]
