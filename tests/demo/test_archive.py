"""What happens in the demo archive when it is edited, published, embargoed, hashed."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from mirror.demo import DemoArchive
from mirror.errors import NotFound, UsageError

Session = requests.Session


def get(session: Session, archive: DemoArchive, path: str) -> Any:
    answer = session.get(f"{archive.api_url}{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def assets(session: Session, archive: DemoArchive, identifier: str, version: str = "draft") -> dict[str, Any]:
    page = get(session, archive, f"/dandisets/{identifier}/versions/{version}/assets/?metadata=true&page_size=1000")
    return {asset["path"]: asset for asset in page["results"]}


def info(session: Session, archive: DemoArchive, identifier: str, version: str = "draft") -> Any:
    return get(session, archive, f"/dandisets/{identifier}/versions/{version}/info/")


@pytest.fixture
def filled(archive: DemoArchive) -> str:
    identifier = archive.create_dandiset("Ripples", contributors=["Doe, Jane", "Roe, Richard"])
    archive.add_asset(identifier, "README.md", b"read me")
    archive.add_asset(identifier, "sub-1/a.nwb", b"first")
    return identifier


def test_new_content_is_a_new_asset_with_a_new_blob(archive: DemoArchive, filled: str, session: Session) -> None:
    before = assets(session, archive, filled)["README.md"]
    asset_id = archive.replace_asset(filled, "README.md", content=b"other")
    after = assets(session, archive, filled)["README.md"]
    assert after["asset_id"] == asset_id != before["asset_id"]
    assert after["blob"] != before["blob"]
    assert after["created"] > before["created"]
    assert (after["size"], after["metadata"]["contentSize"]) == (5, 5)


def test_new_metadata_and_a_new_name_keep_the_blob(archive: DemoArchive, filled: str, session: Session) -> None:
    before = assets(session, archive, filled)["sub-1/a.nwb"]
    archive.replace_asset(filled, "sub-1/a.nwb", metadata={"keywords": ["x"]})
    described = assets(session, archive, filled)["sub-1/a.nwb"]
    archive.rename_asset(filled, "sub-1/a.nwb", "sub-1/b.nwb")
    renamed = assets(session, archive, filled)["sub-1/b.nwb"]
    assert len({before["asset_id"], described["asset_id"], renamed["asset_id"]}) == 3
    assert before["blob"] == described["blob"] == renamed["blob"]
    assert renamed["metadata"]["keywords"] == ["x"]
    assert "sub-1/a.nwb" not in assets(session, archive, filled)


def test_equal_content_anywhere_is_one_blob(archive: DemoArchive, filled: str, session: Session) -> None:
    other = archive.create_dandiset("Other")
    archive.add_asset(other, "copy.nwb", b"first")
    assert (
        assets(session, archive, other)["copy.nwb"]["blob"] == assets(session, archive, filled)["sub-1/a.nwb"]["blob"]
    )


def test_a_changed_asset_is_gone_unless_it_was_published(archive: DemoArchive, filled: str, session: Session) -> None:
    published = archive.asset(filled, "README.md").asset_id
    archive.publish(filled)
    unpublished = archive.replace_asset(filled, "README.md", content=b"one")
    archive.remove_asset(filled, "README.md")
    assert session.get(f"{archive.api_url}/assets/{published}/").status_code == 200
    assert session.get(f"{archive.api_url}/assets/{unpublished}/").status_code == 404


def test_draft_and_version_share_assets_that_publication_marked(
    archive: DemoArchive, filled: str, session: Session
) -> None:
    before = assets(session, archive, filled)
    version = archive.publish(filled, release_notes="First")
    after = assets(session, archive, filled)
    assert after == assets(session, archive, filled, version)
    for path, asset in after.items():
        assert asset["asset_id"] == before[path]["asset_id"]
        assert asset["created"] == before[path]["created"]
        assert asset["modified"] > before[path]["modified"]
        assert asset["metadata"]["publishedBy"]["name"] == "DANDI publish"
    document = info(session, archive, filled, version)
    assert document["release_notes"] == document["metadata"]["releaseNotes"] == "First"
    assert document["metadata"]["doi"] == f"10.80507/demo-dandi.{filled}/{version}"
    assert document["metadata"]["citation"] == (
        f"Doe, Jane; Roe, Richard (2026) Ripples (Version {version}) [Data set]. DANDI Archive. "
        f"https://doi.org/10.80507/demo-dandi.{filled}/{version}"
    )


def test_a_second_publication_marks_only_what_is_new(archive: DemoArchive, filled: str, session: Session) -> None:
    archive.publish(filled)
    first = assets(session, archive, filled)
    archive.replace_asset(filled, "README.md", content=b"other")
    second = assets(session, archive, filled, archive.publish(filled))
    assert second["sub-1/a.nwb"] == first["sub-1/a.nwb"]
    assert second["README.md"]["asset_id"] != first["README.md"]["asset_id"]


def test_a_published_version_does_not_follow_the_draft(archive: DemoArchive, filled: str, session: Session) -> None:
    version = archive.publish(filled)
    before = info(session, archive, filled, version), assets(session, archive, filled, version)
    archive.edit_dandiset(filled, name="Waves", keywords=["k"])
    archive.remove_asset(filled, "README.md")
    assert (info(session, archive, filled, version), assets(session, archive, filled, version)) == before
    assert info(session, archive, filled)["name"] == "Waves"


def test_versions_published_within_a_minute_take_the_next_minutes(archive: DemoArchive, filled: str) -> None:
    names = [archive.publish(filled) for _ in range(3)]
    assert names == ["0.261120.1534", "0.261120.1535", "0.261120.1536"]


def test_a_version_can_be_given_its_name(archive: DemoArchive, filled: str) -> None:
    assert archive.publish(filled, version="0.210812.1448") == "0.210812.1448"
    with pytest.raises(UsageError, match="already has a version"):
        archive.publish(filled, version="0.210812.1448")


def test_a_doi_can_come_later_or_never(archive: DemoArchive, filled: str, session: Session) -> None:
    archive.doi_delay = 30
    version = archive.publish(filled)
    before = info(session, archive, filled, version)
    assert "doi" not in before["metadata"]
    assert before["metadata"]["citation"].endswith(before["metadata"]["url"])
    archive.clock.advance(31)
    after = info(session, archive, filled, version)
    assert after["metadata"]["doi"] in after["metadata"]["citation"]
    assert after["modified"] > before["modified"]

    undated = archive.publish(filled, doi=False)
    archive.clock.advance(days=10)
    assert "doi" not in info(session, archive, filled, undated)["metadata"]
    archive.mint_doi(filled, undated)
    assert "doi" in info(session, archive, filled, undated)["metadata"]


def test_an_instance_without_dois_mints_none() -> None:
    with DemoArchive(doi_prefix=None) as archive, requests.Session() as session:
        identifier = archive.create_dandiset()
        version = archive.publish(identifier)
        assert get(session, archive, "/info/")["instance_config"]["doi_prefix"] is None
        assert "doi" not in info(session, archive, identifier, version)["metadata"]


def test_saving_a_version_again_changes_only_what_the_archive_recomputes(
    archive: DemoArchive, filled: str, session: Session
) -> None:
    version = archive.publish(filled)
    before = info(session, archive, filled, version)
    archive.resave_version(filled, version, year=2031)
    after = info(session, archive, filled, version)
    assert after["modified"] > before["modified"]
    assert "(2031)" in after["metadata"]["citation"]
    changed = {key for key in after["metadata"] if after["metadata"][key] != before["metadata"][key]}
    assert changed == {"citation", "access"}


def test_hashing_moves_no_times(archive: DemoArchive, session: Session) -> None:
    identifier = archive.create_dandiset()
    archive.add_asset(identifier, "late.bin", b"late", hashed=False)
    before, draft = assets(session, archive, identifier)["late.bin"], info(session, archive, identifier)
    assert before["metadata"]["digest"].keys() == {"dandi:dandi-etag"}
    assert draft["status"] == "Pending"
    archive.hash_now()
    after = assets(session, archive, identifier)["late.bin"]
    assert after["metadata"]["digest"].keys() == {"dandi:dandi-etag", "dandi:sha2-256"}
    assert after["modified"] == before["modified"]
    assert info(session, archive, identifier)["modified"] == draft["modified"]


def test_touching_moves_the_draft_and_nothing_else(archive: DemoArchive, filled: str, session: Session) -> None:
    before, listed = info(session, archive, filled), assets(session, archive, filled)
    archive.touch_draft(filled, status="Pending")
    after = info(session, archive, filled)
    assert after["modified"] > before["modified"]
    assert after["status"] == "Pending"
    assert (after["metadata"], assets(session, archive, filled)) == (before["metadata"], listed)


def test_a_quiet_change_does_not_move_the_draft(archive: DemoArchive, filled: str, session: Session) -> None:
    before = info(session, archive, filled)
    with archive.quietly():
        archive.replace_asset(filled, "README.md", content=b"quiet")
    after = info(session, archive, filled)
    assert (after["modified"], after["asset_count"]) == (before["modified"], before["asset_count"])
    assert assets(session, archive, filled)["README.md"]["size"] == 5
    archive.add_asset(filled, "loud", b"loud")
    assert info(session, archive, filled)["modified"] > before["modified"]


def test_the_dandisets_own_modified_never_moves(archive: DemoArchive, filled: str, session: Session) -> None:
    before = get(session, archive, f"/dandisets/{filled}/")["modified"]
    archive.publish(filled)
    archive.remove_asset(filled, "README.md")
    assert get(session, archive, f"/dandisets/{filled}/")["modified"] == before


def test_counts_and_sizes_follow_the_assets(archive: DemoArchive, filled: str, session: Session) -> None:
    archive.add_zarr_asset(filled, "z.zarr", checksum="0" * 32 + "-3--70", size=70)
    archive.replace_asset(filled, "README.md", content=b"four")
    archive.rename_asset(filled, "sub-1/a.nwb", "sub-2/a.nwb")
    draft = info(session, archive, filled)
    total = sum(asset["size"] for asset in assets(session, archive, filled).values())
    assert (draft["asset_count"], draft["size"]) == (3, total) == (3, 79)
    summary = draft["metadata"]["assetsSummary"]
    assert (summary["numberOfFiles"], summary["numberOfBytes"], summary["numberOfSubjects"]) == (3, 79, 1)


def test_a_zarr_keeps_its_ids_while_its_content_changes(archive: DemoArchive, filled: str, session: Session) -> None:
    archive.add_zarr_asset(filled, "z.zarr")
    pending = assets(session, archive, filled)["z.zarr"]
    assert pending["metadata"]["digest"] == {"dandi:dandi-zarr-checksum": None}
    assert (pending["size"], pending["blob"]) == (0, None)
    archive.ingest_zarr(filled, "z.zarr", checksum="0" * 32 + "-3--70", size=70)
    complete = assets(session, archive, filled)["z.zarr"]
    assert (complete["asset_id"], complete["zarr"]) == (pending["asset_id"], pending["zarr"])
    assert complete["modified"] > pending["modified"]
    zarr = get(session, archive, f"/zarr/{complete['zarr']}/")
    assert (zarr["status"], zarr["file_count"], zarr["size"]) == ("Complete", 3, 70)


def test_an_embargo_closes_documents_and_bytes_until_it_is_lifted(
    archive: DemoArchive, filled: str, session: Session
) -> None:
    before = assets(session, archive, filled)["README.md"]
    archive.embargo(filled)
    api, s3 = before["metadata"]["contentUrl"]
    assert session.get(f"{archive.api_url}/dandisets/{filled}/").status_code == 401
    assert get(session, archive, "/dandisets/")["results"] == []
    assert session.get(s3).status_code == 403
    assert session.head(s3).status_code == 403
    assert session.get(api).status_code == 401
    mine = {"Authorization": f"token {archive.token}"}
    assert session.get(api, headers=mine).content == b"read me"

    archive.unembargo(filled, finish=False)
    assert session.get(f"{archive.api_url}/dandisets/{filled}/").status_code == 401
    archive.unembargo(filled)
    after = assets(session, archive, filled)["README.md"]
    assert after == before
    assert session.get(s3).content == session.get(api).content == b"read me"
    assert info(session, archive, filled)["metadata"]["access"][0]["status"] == "dandi:OpenAccess"


@pytest.mark.usefixtures("filled")
def test_a_blob_that_an_open_dandiset_holds_stays_readable(archive: DemoArchive, session: Session) -> None:
    secret = archive.create_dandiset("Secret", embargoed=True)
    archive.add_asset(secret, "shared", b"first")
    archive.add_asset(secret, "own", b"own")
    keys = {path: asset.blob.key for path, asset in archive.dandiset(secret).draft.assets.items() if asset.blob}
    address = f"{archive.s3_endpoint}/{archive.bucket}"
    assert session.get(f"{address}/{keys['shared']}").status_code == 200
    assert session.get(f"{address}/{keys['own']}").status_code == 403
    archive.embargo(secret)
    assert session.get(f"{address}/{keys['shared']}").status_code == 200


def test_a_forged_or_stale_signature_opens_nothing(archive: DemoArchive, session: Session) -> None:
    secret = archive.create_dandiset("Secret", embargoed=True)
    asset_id = archive.add_asset(secret, "own", b"own")
    mine = {"Authorization": f"token {archive.token}"}
    address = f"{archive.api_url}/assets/{asset_id}/download/"
    location = session.get(address, headers=mine, allow_redirects=False).headers["Location"]
    assert session.get(location[:-1] + ("0" if location[-1] != "0" else "1")).status_code == 403
    archive.clock.advance(7 * 3600)
    assert session.get(location).status_code == 403


def test_what_is_deleted_is_gone(archive: DemoArchive, filled: str, session: Session) -> None:
    only_there = archive.asset(filled, "README.md").asset_id
    version = archive.publish(filled)
    archive.remove_asset(filled, "README.md")
    archive.delete_version(filled, version)
    assert session.get(f"{archive.api_url}/dandisets/{filled}/versions/{version}/").status_code == 404
    assert session.get(f"{archive.api_url}/assets/{only_there}/").status_code == 404
    assert get(session, archive, f"/dandisets/{filled}/")["most_recent_published_version"] is None
    archive.delete_dandiset(filled)
    assert session.get(f"{archive.api_url}/dandisets/{filled}/").status_code == 404
    with pytest.raises(NotFound):
        archive.add_asset(filled, "x", b"")


def test_a_drifted_version_says_something_else(archive: DemoArchive, filled: str, session: Session) -> None:
    version = archive.publish(filled)
    archive.edit_version(filled, version, description="drifted")
    assert info(session, archive, filled, version)["metadata"]["description"] == "drifted"


def test_an_asset_is_not_added_twice(archive: DemoArchive, filled: str) -> None:
    with pytest.raises(UsageError, match="already has an asset"):
        archive.add_asset(filled, "README.md", b"again")


LENIENT = [".git/config", ".gitattributes", "dandiset.yaml", "a\nb", "-x", " x ", "a\\b", "a[b]`", "A"]
REJECTED = ["../x", "a//b", "/a", "a/", "é", "a:b", "a'b", "a@b", "a%b", "a;b", "a!b", "a$b", "x" * 513]


@pytest.mark.parametrize("path", LENIENT)
def test_the_strict_archive_takes_odd_paths_as_the_real_one(path: str) -> None:
    archive = DemoArchive(strict=True)
    archive.add_asset(archive.create_dandiset(), path, b"")
    archive.close()


@pytest.mark.parametrize("path", REJECTED)
def test_only_the_strict_archive_rejects_what_the_real_one_rejects(path: str) -> None:
    strict, lenient = DemoArchive(strict=True), DemoArchive()
    identifier = strict.create_dandiset()
    with pytest.raises(UsageError, match="does not accept"):
        strict.add_asset(identifier, path, b"")
    lenient.add_asset(lenient.create_dandiset(), path, b"")
    strict.close()
    lenient.close()


def test_the_strict_archive_refuses_publications_as_the_real_one() -> None:
    archive = DemoArchive(strict=True)
    identifier = archive.create_dandiset()
    with pytest.raises(UsageError, match="not valid"):
        archive.publish(identifier)
    archive.add_asset(identifier, "a", b"")
    archive.publish(identifier)
    with pytest.raises(UsageError, match="no changes"):
        archive.publish(identifier)
    archive.add_zarr_asset(identifier, "z.zarr")
    with pytest.raises(UsageError, match="contain zarrs"):
        archive.publish(identifier)
    archive.embargo(identifier)
    with pytest.raises(UsageError, match="OPEN"):
        archive.publish(identifier)
    archive.close()


def everything(session: Session, archive: DemoArchive) -> str:
    identifier = archive.create_dandiset("Same")
    archive.add_asset(identifier, "a", b"a")
    version = archive.publish(identifier)
    text = session.get(f"{archive.api_url}/dandisets/{identifier}/versions/{version}/info/").text
    text += session.get(f"{archive.api_url}/dandisets/{identifier}/versions/draft/assets/?metadata=true").text
    text += session.get(f"{archive.s3_endpoint}/{archive.bucket}?versions").text
    return text.replace(archive.api_url, "API").replace(archive.s3_endpoint, "S3")


def test_with_clock_and_seed_all_is_reproducible(session: Session) -> None:
    start = datetime(2026, 1, 2, tzinfo=UTC)
    answers = []
    for seed in (7, 7, 8):
        with DemoArchive(start=start, seed=seed) as archive:
            answers.append(everything(session, archive))
    assert answers[0] == answers[1] != answers[2]


def test_ports_can_be_given(session: Session) -> None:
    with DemoArchive() as archive:
        ports = [int(url.split(":")[2].split("/")[0]) for url in (archive.api_url, archive.s3_endpoint)]
    with DemoArchive(port=ports[0], s3_port=ports[1]) as again:
        assert again.api_url == archive.api_url
        assert again.s3_endpoint == archive.s3_endpoint
        assert session.get(f"{again.api_url}/info/").status_code == 200


def test_twenty_thousand_assets_take_seconds(archive: DemoArchive) -> None:
    identifier = archive.create_dandiset()
    before = time.process_time()
    archive.add_assets(identifier, ((f"sub-{number // 100}/{number}", b"%d" % number) for number in range(20_000)))
    assert time.process_time() - before < 5
    assert len(archive.dandiset(identifier).draft.assets) == 20_000
