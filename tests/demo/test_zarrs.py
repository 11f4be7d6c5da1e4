"""Zarrs of the demo archive: their files, their states, and who may see them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from requests import Session
from zarr_checksum.tree import ZarrChecksumTree

from mirror.demo import DemoArchive
from mirror.errors import NotFound, UsageError

FILES = {".zgroup": b'{"zarr_format": 2}', "0/.zarray": b"{}", "0/0/0": b"same", "0/0/1": b"same", "0/1/0": b"other"}
PATH = "sub-1/image.ome.zarr"


@pytest.fixture
def identifier(archive: DemoArchive) -> str:
    return archive.create_dandiset("With a Zarr")


def expected_checksum(files: dict[str, bytes]) -> str:
    tree = ZarrChecksumTree()
    for name, content in files.items():
        tree.add_leaf(Path(name), len(content), hashlib.md5(content, usedforsecurity=False).hexdigest())
    return str(tree.process())


def get(session: Session, archive: DemoArchive, path: str) -> Any:
    answer = session.get(f"{archive.api_url}{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def the_asset(session: Session, archive: DemoArchive, identifier: str, version: str = "draft") -> Any:
    listing = get(session, archive, f"/dandisets/{identifier}/versions/{version}/assets/?zarr=true&metadata=true")
    (asset,) = listing["results"]
    return asset


def draft_of(session: Session, archive: DemoArchive, identifier: str) -> Any:
    return get(session, archive, f"/dandisets/{identifier}/versions/draft/info/")


def object_url(archive: DemoArchive, zarr_id: str, name: str) -> str:
    return f"{archive.s3_endpoint}/{archive.bucket}/zarr/{zarr_id}/{name}"


def checksum_of(asset: Any) -> str | None:
    checksum: str | None = asset["metadata"]["digest"]["dandi:dandi-zarr-checksum"]
    return checksum


class TestANewZarr:
    def test_its_files_are_objects_whose_etag_is_the_md5(
        self, archive: DemoArchive, identifier: str, session: Session
    ) -> None:
        zarr_id = archive.add_zarr(identifier, PATH, FILES)
        for name, content in FILES.items():
            answer = session.get(object_url(archive, zarr_id, name))
            assert answer.content == content
            assert answer.headers["ETag"] == f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'

    def test_asset_and_zarr_tell_its_checksum_and_size(
        self, archive: DemoArchive, identifier: str, session: Session
    ) -> None:
        zarr_id = archive.add_zarr(identifier, PATH, FILES, {"keywords": ["k"]})
        asset, size = the_asset(session, archive, identifier), sum(map(len, FILES.values()))
        assert (asset["zarr"], asset["blob"], asset["size"]) == (zarr_id, None, size)
        assert checksum_of(asset) == expected_checksum(FILES)
        assert asset["metadata"]["contentUrl"][1] == object_url(archive, zarr_id, "")
        assert (asset["metadata"]["encodingFormat"], asset["metadata"]["keywords"]) == ("application/x-zarr", ["k"])
        assert get(session, archive, f"/zarr/{zarr_id}/") == {
            "name": PATH,
            "dandiset": identifier,
            "zarr_id": zarr_id,
            "status": "Complete",
            "checksum": expected_checksum(FILES),
            "file_count": len(FILES),
            "size": size,
        }
        assert draft_of(session, archive, identifier)["size"] == size

    def test_until_it_is_ingested_it_has_files_only(
        self, archive: DemoArchive, identifier: str, session: Session
    ) -> None:
        zarr_id = archive.add_zarr(identifier, PATH, FILES, ingested=False)
        asset, zarr = the_asset(session, archive, identifier), get(session, archive, f"/zarr/{zarr_id}/")
        assert (checksum_of(asset), asset["size"]) == (None, 0)
        assert (zarr["status"], zarr["checksum"], zarr["file_count"], zarr["size"]) == ("Pending", None, 0, 0)
        assert len(get(session, archive, f"/zarr/{zarr_id}/files/")["results"]) == len(FILES)
        archive.ingest_zarr(identifier, PATH)
        ingested = the_asset(session, archive, identifier)
        assert checksum_of(ingested) == expected_checksum(FILES)
        assert (ingested["asset_id"], ingested["created"]) == (asset["asset_id"], asset["created"])
        assert ingested["modified"] > asset["modified"]

    def test_a_path_that_is_taken_leaves_no_zarr_behind(self, archive: DemoArchive, identifier: str) -> None:
        archive.add_asset(identifier, PATH, b"")
        with pytest.raises(UsageError, match="already has"):
            archive.add_zarr(identifier, PATH, FILES)
        assert archive.zarrs == {}


class TestAChange:
    def test_it_keeps_the_ids_and_moves_what_is_modified(
        self, archive: DemoArchive, identifier: str, session: Session
    ) -> None:
        archive.add_zarr(identifier, PATH, FILES)
        before, draft = the_asset(session, archive, identifier), draft_of(session, archive, identifier)
        archive.change_zarr(identifier, PATH, {"0/1/0": b"changed", "0/1/1": b"new"}, ["0/0/1"])
        after = the_asset(session, archive, identifier)
        files = {**FILES, "0/1/0": b"changed", "0/1/1": b"new"}
        del files["0/0/1"]
        assert [after[key] for key in ("asset_id", "zarr", "created")] == [
            before[key] for key in ("asset_id", "zarr", "created")
        ]
        assert checksum_of(after) == expected_checksum(files)
        assert after["modified"] > before["modified"]
        changed = draft_of(session, archive, identifier)
        assert changed["modified"] > draft["modified"]
        assert changed["size"] == after["size"] == sum(map(len, files.values()))

    def test_objects_get_versions_and_delete_markers(self, archive: DemoArchive, identifier: str) -> None:
        zarr_id = archive.add_zarr(identifier, PATH, FILES)
        archive.change_zarr(identifier, PATH, {"0/1/0": b"changed"}, ["0/0/1"])
        listed = archive.objects.list_versions(prefix=f"zarr/{zarr_id}/0/").entries
        contents = [entry.version.content for entry in listed if entry.version]
        assert contents == [b"{}", b"same", None, b"same", b"changed", b"other"]
        assert [entry.is_latest for entry in listed] == [True, True, True, False, True, False]

    def test_until_it_is_ingested_nothing_says_when(
        self, archive: DemoArchive, identifier: str, session: Session
    ) -> None:
        archive.add_zarr(identifier, PATH, FILES)
        before, draft = the_asset(session, archive, identifier), draft_of(session, archive, identifier)
        archive.change_zarr(identifier, PATH, {"0/1/0": b"changed"}, ingested=False)
        pending = the_asset(session, archive, identifier)
        assert (checksum_of(pending), pending["size"]) == (None, 0)
        assert pending["modified"] == before["modified"]
        changed = draft_of(session, archive, identifier)
        assert (changed["modified"], changed["size"]) == (draft["modified"], 0)
        assert get(session, archive, "/dandisets/")["results"][0]["draft_version"]["size"] == 0
        archive.ingest_zarr(identifier, PATH)
        assert checksum_of(the_asset(session, archive, identifier)) == expected_checksum({**FILES, "0/1/0": b"changed"})

    def test_of_a_file_that_is_not_there_nothing_is_done(self, archive: DemoArchive, identifier: str) -> None:
        zarr_id = archive.add_zarr(identifier, PATH, FILES)
        with pytest.raises(UsageError, match="no file '0/9'"):
            archive.change_zarr(identifier, PATH, {"0/1/0": b"changed"}, ["0/9"])
        assert archive.zarr(zarr_id).checksum == expected_checksum(FILES)

    def test_of_something_else_is_refused(self, archive: DemoArchive, identifier: str) -> None:
        archive.add_asset(identifier, "a", b"")
        with pytest.raises(UsageError, match="is no Zarr"):
            archive.change_zarr(identifier, "a", {"0": b""})
        with pytest.raises(NotFound, match="no Zarr"):
            archive.link_zarr(identifier, "b", "0" * 36)


def test_the_archive_can_lie(archive: DemoArchive, identifier: str, session: Session) -> None:
    zarr_id = archive.add_zarr(identifier, PATH, FILES)
    lie = f"{'0' * 32}-7--99"
    archive.ingest_zarr(identifier, PATH, checksum=lie)
    zarr = get(session, archive, f"/zarr/{zarr_id}/")
    assert (zarr["checksum"], zarr["file_count"], zarr["size"]) == (lie, 7, 99)
    archive.ingest_zarr(identifier, PATH, checksum=lie, size=1)
    assert get(session, archive, f"/zarr/{zarr_id}/")["size"] == the_asset(session, archive, identifier)["size"] == 1
    archive.ingest_zarr(identifier, PATH, size=2)
    asset = the_asset(session, archive, identifier)
    assert (checksum_of(asset), asset["size"]) == (expected_checksum(FILES), 2)
    archive.ingest_zarr(identifier, PATH)
    assert the_asset(session, archive, identifier)["size"] == sum(map(len, FILES.values()))


class TestOneZarrInTwoPlaces:
    @pytest.fixture
    def other(self, archive: DemoArchive) -> str:
        return archive.create_dandiset("With the same Zarr")

    @pytest.fixture
    def zarr_id(self, archive: DemoArchive, identifier: str, other: str) -> str:
        zarr_id = archive.add_zarr(identifier, PATH, FILES)
        archive.link_zarr(other, "linked.zarr", zarr_id)
        return zarr_id

    def test_a_change_is_seen_in_both(
        self, archive: DemoArchive, identifier: str, other: str, zarr_id: str, session: Session
    ) -> None:
        before = [(the_asset(session, archive, one), draft_of(session, archive, one)) for one in (identifier, other)]
        archive.change_zarr(other, "linked.zarr", {"0/1/0": b"changed"})
        for one, (asset, draft) in zip((identifier, other), before, strict=True):
            now, now_draft = the_asset(session, archive, one), draft_of(session, archive, one)
            assert (now["zarr"], now["asset_id"]) == (zarr_id, asset["asset_id"])
            assert checksum_of(now) == expected_checksum({**FILES, "0/1/0": b"changed"})
            assert now["modified"] > asset["modified"]
            assert now_draft["modified"] > draft["modified"]
            assert now_draft["size"] == now["size"] == asset["size"] + 2

    def test_two_paths_of_one_dandiset(self, archive: DemoArchive, identifier: str, zarr_id: str) -> None:
        archive.link_zarr(identifier, "again.zarr", zarr_id)
        archive.change_zarr(identifier, PATH, {"0/1/0": b"changed"})
        draft = archive.dandiset(identifier).draft
        assert draft.size == 2 * archive.zarr(zarr_id).size
        assert draft.assets["again.zarr"].modified != draft.assets[PATH].modified

    def test_removing_one_leaves_the_other(
        self, archive: DemoArchive, identifier: str, other: str, zarr_id: str, session: Session
    ) -> None:
        archive.remove_asset(identifier, PATH)
        assert get(session, archive, f"/zarr/{zarr_id}/")["dandiset"] == identifier
        archive.delete_dandiset(identifier)
        assert get(session, archive, f"/zarr/{zarr_id}/")["dandiset"] == other
        archive.change_zarr(other, "linked.zarr", {"0/1/0": b"changed"})
        assert the_asset(session, archive, other)["zarr"] == zarr_id
        archive.delete_dandiset(other)
        assert session.get(f"{archive.api_url}/zarr/{zarr_id}/").status_code == 404

    def test_an_embargo_of_one_leaves_the_files_open(
        self, archive: DemoArchive, identifier: str, other: str, zarr_id: str, session: Session
    ) -> None:
        address = object_url(archive, zarr_id, "0/1/0")
        archive.embargo(identifier)
        assert session.get(address).status_code == 200
        archive.embargo(other)
        assert session.get(address).status_code == 403
        archive.unembargo(other)
        assert session.get(address).status_code == 200


def test_an_embargo_closes_the_files(archive: DemoArchive, session: Session) -> None:
    identifier = archive.create_dandiset("Closed", embargoed=True)
    zarr_id = archive.add_zarr(identifier, PATH, FILES)
    archive.change_zarr(identifier, PATH, {"0/1/0": b"changed", "0/1/1": b"new"}, ["0/0/1"])
    addresses = [object_url(archive, zarr_id, name) for name in (".zgroup", "0/1/0", "0/1/1")]
    assert {session.get(address).status_code for address in addresses} == {403}
    assert session.get(f"{archive.api_url}/zarr/{zarr_id}/").status_code == 404
    authorized = {"Authorization": f"token {archive.token}"}
    listing = f"{archive.api_url}/zarr/{zarr_id}/files/"
    assert len(session.get(listing, headers=authorized).json()["results"]) == 5
    redirect = session.get(f"{listing}?prefix=0/1/1&download=true", headers=authorized, allow_redirects=False)
    assert session.get(redirect.headers["Location"]).content == b"new"
    archive.unembargo(identifier, finish=False)
    assert session.get(addresses[0]).status_code == 403
    archive.unembargo(identifier)
    assert {session.get(address).status_code for address in addresses} == {200}
    first = archive.objects.list_versions(prefix=f"zarr/{zarr_id}/0/0/1").entries[-1]
    assert first.version is not None
    old = session.get(f"{object_url(archive, zarr_id, '0/0/1')}?versionId={first.version.version_id}")
    assert old.content == b"same"


class TestPublishing:
    def test_it_is_refused_by_default(self, archive: DemoArchive, identifier: str) -> None:
        archive.add_zarr(identifier, PATH, FILES)
        with pytest.raises(UsageError, match="Cannot publish dandisets which contain zarrs"):
            archive.publish(identifier)

    def test_where_it_is_allowed_the_version_keeps_what_it_showed(
        self, archive: DemoArchive, identifier: str, session: Session
    ) -> None:
        zarr_id = archive.add_zarr(identifier, PATH, FILES)
        version = archive.publish(identifier, allow_zarrs=True)
        published = the_asset(session, archive, identifier, version)
        assert the_asset(session, archive, identifier) == published
        assert checksum_of(published) == expected_checksum(FILES)
        before = draft_of(session, archive, identifier)["modified"]
        archive.change_zarr(identifier, PATH, {"0/1/0": b"changed"})
        assert the_asset(session, archive, identifier, version) == published
        draft = the_asset(session, archive, identifier)
        assert draft["zarr"] == published["zarr"] == zarr_id
        assert draft["asset_id"] != published["asset_id"]
        assert checksum_of(draft) == expected_checksum({**FILES, "0/1/0": b"changed"})
        assert "datePublished" not in draft["metadata"]
        assert draft_of(session, archive, identifier)["modified"] > before

    def test_a_renamed_asset_shows_later_changes(self, archive: DemoArchive, identifier: str) -> None:
        zarr_id = archive.add_zarr(identifier, PATH, FILES)
        archive.publish(identifier, allow_zarrs=True)
        archive.rename_asset(identifier, PATH, "b.zarr")
        archive.change_zarr(identifier, "b.zarr", {"0/1/0": b"changed"})
        assert archive.asset(identifier, "b.zarr").zarr is archive.zarr(zarr_id)


class TestLists:
    def test_zarrs_of_a_dandiset_and_by_name(self, archive: DemoArchive, identifier: str, session: Session) -> None:
        ids = [archive.add_zarr(identifier, f"{number}.zarr", {"0": b"%d" % number}) for number in range(3)]
        other = archive.create_dandiset()
        ids.append(archive.add_zarr(other, "3.zarr", {}))

        def listed(query: str = "") -> list[str]:
            return [zarr["zarr_id"] for zarr in get(session, archive, f"/zarr/{query}")["results"]]

        assert listed() == ids
        assert listed(f"?dandiset={other}") == ids[3:]
        assert listed("?name=1.zarr") == ids[1:2]
        first = get(session, archive, f"/zarr/?dandiset={identifier}&page_size=2")
        assert first["count"] == 3
        assert [zarr["zarr_id"] for zarr in session.get(first["next"]).json()["results"]] == ids[2:3]

    def test_pages_of_files_make_up_the_whole(self, archive: DemoArchive, identifier: str, session: Session) -> None:
        files = {f"0/{number}": b"%d" % number for number in range(25)} | {"1/a b&c": b""}
        zarr_id = archive.add_zarr(identifier, PATH, files)
        archive.change_zarr(identifier, PATH, remove=["0/3"])
        found: list[str] = []
        address: str | None = f"{archive.api_url}/zarr/{zarr_id}/files/?limit=7"
        while address:
            page = session.get(address).json()
            found += [file["Key"] for file in page["results"]]
            address = page["next"]
        assert found == sorted(files.keys() - {"0/3"})

    @pytest.mark.parametrize(
        ("limit", "message"),
        [
            ("1001", "Ensure this value is less than or equal to 1000."),
            ("-1", "Ensure this value is greater than or equal to 0."),
            ("x", "A valid integer is required."),
        ],
    )
    def test_limits_that_are_refused(
        self, archive: DemoArchive, identifier: str, session: Session, limit: str, message: str
    ) -> None:
        zarr_id = archive.add_zarr(identifier, PATH, FILES)
        answer = session.get(f"{archive.api_url}/zarr/{zarr_id}/files/?limit={limit}")
        assert (answer.status_code, answer.json()) == (400, {"limit": [message]})

    def test_a_download_leads_to_the_file_of_that_name(
        self, archive: DemoArchive, identifier: str, session: Session
    ) -> None:
        zarr_id = archive.add_zarr(identifier, PATH, {"0/0": b"this", "0/0/1": b"another", "a b+c%": b"odd"})
        address = f"{archive.api_url}/zarr/{zarr_id}/files/"
        for name, content in (("0/0", b"this"), ("a b+c%", b"odd")):
            assert session.get(address, params={"prefix": name, "download": "true"}).content == content
            head = session.head(address, params={"prefix": name})
            assert head.status_code == 302
            assert "X-Amz-Signature=" in head.headers["Location"]
            assert session.get(head.headers["Location"]).content == content
        assert session.get(address, params={"prefix": "0/", "download": "true"}).status_code == 404

    def test_there_are_no_files_of_an_unknown_zarr(self, archive: DemoArchive, session: Session) -> None:
        answer = session.get(f"{archive.api_url}/zarr/{'0' * 8}-0000-4000-8000-{'0' * 12}/files/")
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})
