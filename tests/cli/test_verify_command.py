"""`dandi-mirror verify`, and what `status` tells of it, as users and scripts see them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.sync.engine import sync

from ..warm import warm_program

START = datetime(2026, 11, 20, 15, 34, 17, tzinfo=UTC)
Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture
def archive() -> Iterator[DemoArchive]:
    with DemoArchive(start=START, seed=1) as archive:
        yield archive


@pytest.fixture
def dandiset(archive: DemoArchive, settings: Settings) -> str:
    """A Dandiset that is mirrored in `store`."""
    identifier = archive.create_dandiset("Ripples")
    archive.add_asset(identifier, "README.md", b"Ripples\n")
    archive.add_asset(identifier, "one.nwb", b"spikes of one")
    archive.add_asset(identifier, "two.nwb", b"spikes of two!")
    archive.publish(identifier)
    sync(settings)
    return identifier


@pytest.fixture
def run(tmp_path: Path, settings: Settings) -> Run:
    """Runs `python -m mirror COMMAND ARGS` with the settings of the test."""
    archive = settings.archive
    (tmp_path / "mirror.yaml").write_text(
        f"archive:\n  instance: {archive.instance}\n  api_url: {archive.api_url}\n"
        f"  s3_endpoint: {archive.s3_endpoint}\n  settle_seconds: 0\nstore: {settings.store}\n"
    )

    def run(command: str, *args: str) -> Done:
        return warm_program().run(command, "-c", "mirror.yaml", *args, cwd=tmp_path)

    return run


def records(done: Done) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert all({"action", "path", "status", "type", "message"} <= record.keys() for record in found)
    return found


def blob(archive: DemoArchive, content: bytes) -> str:
    for key in archive.objects.keys("blobs/"):
        latest = archive.objects.latest(key)
        if latest is not None and latest.content == content:
            return key
    raise AssertionError


def test_a_mirror_that_is_as_it_should_be_is_0(run: Run, dandiset: str) -> None:
    done = run("verify", "--level", "bytes")

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == [f"{dandiset}  names: 6 files", f"{dandiset}  urls: 2 contents"]
    assert lines[2].startswith("1 Dandiset, nothing is wrong in ")


def test_what_is_not_as_it_should_be_is_3_and_named(run: Run, dandiset: str, archive: DemoArchive) -> None:
    archive.objects.put(blob(archive, b"spikes of one"), b"something else")

    done = run("verify", dandiset.lstrip("0"), "--level", "urls")

    assert done.returncode == 3
    assert f"{dandiset}  non-current: draft: one.nwb: the archive has it only as a version" in done.stdout
    assert "1 wrong" in done.stdout
    assert "dandi-mirror: error: 1 thing is not as it should be" in done.stderr


def test_for_scripts_there_is_a_line_for_each_finding_and_each_dataset(
    run: Run, dandiset: str, archive: DemoArchive
) -> None:
    archive.objects.delete(blob(archive, b"spikes of one"))

    done = run("verify", "--level", "urls", "--json")

    assert done.returncode == 3
    finding = next(one for one in records(done) if one["action"] == "verify-finding")
    assert (finding["status"], finding["type"], finding["path"]) == ("error", "file", "one.nwb")
    assert (finding["subject"], finding["level"], finding["kind"]) == (dandiset, "urls", "non-current")
    assert finding["key"].startswith("SHA256E-s13--")
    subject = [one for one in records(done) if one["action"] == "verify"][-1]
    assert (subject["checked"], subject["findings"]) == (2, {"non-current": 1})


def test_offline_the_archive_is_asked_nothing(run: Run, dandiset: str, archive: DemoArchive) -> None:
    assert dandiset
    before = archive.count()

    assert run("verify", "--offline", "--level", "bytes").returncode == 0
    assert archive.count() == before


def test_addresses_cannot_be_proved_offline(run: Run, dandiset: str) -> None:
    assert dandiset
    assert run("verify", "--offline", "--level", "urls").returncode == 2


def test_a_sample_that_is_none_is_2(run: Run, dandiset: str) -> None:
    assert dandiset
    done = run("verify", "--sample", "many")
    assert (done.returncode, "'many' is no sample" in done.stderr) == (2, True)


def test_what_is_not_in_the_store_is_2(run: Run, dandiset: str) -> None:
    assert dandiset
    done = run("verify", "000999")
    assert (done.returncode, "not in the store" in done.stderr) == (2, True)


def test_status_tells_what_can_be_had_and_what_is_at_risk(run: Run, dandiset: str, archive: DemoArchive) -> None:
    assert "can be had" not in run("status").stdout
    archive.objects.put(blob(archive, b"spikes of one"), b"something else")
    run("verify", "--level", "urls")

    shown = run("status").stdout
    assert "content: 1 of 2 files (27 B) can be had: 1 in the archive" in shown
    assert "at risk: 1 (13 B) only as a version that the archive will delete" in shown
    of_one = run("status", dandiset).stdout
    assert "draft: 2 of 3 files (35 B) can be had: 1 in the archive, 1 in git; at risk: 1 (13 B)" in of_one
    assert "non-current: one.nwb" in of_one


def test_where_only_names_were_proved_status_says_nothing_of_content(run: Run, dandiset: str) -> None:
    assert run("verify", dandiset).returncode == 0

    shown = run("status").stdout

    assert "content: nobody asked for it yet" in shown
    assert "proved of everything: names since 20" in shown
    assert "urls" not in shown.partition("proved of everything")[2]


def test_of_texts_alone_nothing_is_left_to_be_asked_for(run: Run, archive: DemoArchive, settings: Settings) -> None:
    texts, empty = archive.create_dandiset("Words"), archive.create_dandiset("Nothing")
    archive.add_asset(texts, "README.md", b"Words\n")
    sync(settings)

    assert run("verify", "--level", "urls").returncode == 0

    assert "nobody asked" not in run("status").stdout
    assert "draft: 1 of 1 files (6 B) can be had: 1 in git (seen" in run("status", texts).stdout
    assert "draft: 0 of 0 files (0 B) can be had (seen" in run("status", empty).stdout


def test_status_tells_what_is_held_now_whenever_it_was_proved(run: Run, dandiset: str) -> None:
    assert run("verify", "--level", "urls").returncode == 0
    assert "held here now" not in run("status").stdout

    assert run("populate", dandiset).returncode == 0
    assert "held here now: 2 contents, 27 B" in run("status").stdout
    assert "held here now: 2 contents, 27 B" in run("status", dandiset).stdout
    (every,) = (one for one in records(run("status", "--json")) if one["action"] == "status-content")
    assert every["here"] == {"contents": 2, "bytes": 27}

    assert run("populate", "--drop", dandiset).returncode == 0
    assert "held here now" not in run("status").stdout


def test_what_is_wrong_with_a_zarr_is_told_of_its_dandiset(
    run: Run, dandiset: str, archive: DemoArchive, settings: Settings
) -> None:
    zarr_id = archive.add_zarr(dandiset, "image.ome.zarr", {".zattrs": b"{}", "0/0": b"pixels"})
    sync(settings)
    archive.objects.put(f"zarr/{zarr_id}/0/0", b"PIXELS")
    assert run("verify", "--level", "urls").returncode == 3

    assert f"non-current: Zarr {zarr_id}: 0/0: the archive has it only as" in run("status", dandiset).stdout
    found = [one for one in records(run("status", dandiset, "--json")) if one["action"] == "status-finding"]
    assert [(one["subject"], one["where"]) for one in found] == [(zarr_id, "0/0")]


def test_status_tells_programs_the_same(run: Run, dandiset: str, archive: DemoArchive) -> None:
    nothing = next(one for one in records(run("status", "--json")) if one["action"] == "status-content")
    assert (nothing["content"], nothing["proved_since"], nothing["status"]) == (None, None, "ok")
    archive.objects.delete(blob(archive, b"spikes of one"))
    run("verify", "--level", "urls")

    every = next(one for one in records(run("status", "--json")) if one["action"] == "status-content")
    assert every["status"] == "error"
    assert every["content"]["non_current"] == {"files": 1, "bytes": 13}
    assert every["content"]["had"] == {"files": 1, "bytes": 14}
    assert every["wrong"] == {"names": 0, "urls": 1, "bytes": 0}
    assert every["proved_since"].keys() == {"names", "urls"}
    assert every["proved_since"]["urls"].startswith("20")
    (finding,) = (one for one in records(run("status", "--json", dandiset)) if one["action"] == "status-finding")
    assert (finding["kind"], finding["where"], finding["subject"]) == ("non-current", "one.nwb", dandiset)
    versions = [one for one in records(run("status", "--json", dandiset)) if one["action"] == "status-version"]
    assert [one["version"] for one in versions][-1] == "draft"
    assert versions[-1]["content"]["all"] == {"files": 3, "bytes": 35}


def test_two_mirrors_are_compared(run: Run, dandiset: str, archive: DemoArchive, settings: Settings) -> None:
    other = settings.model_copy(update={"store": settings.store.with_name("other")})
    archive.clock.advance(120)
    archive.publish(dandiset)
    sync(other)

    done = run("compare", "other")

    assert done.returncode == 0, done.stderr
    assert f"{dandiset}  behind: the other has more" in done.stdout
    assert "1 behind" in done.stdout.splitlines()[-1]
    (record,) = records(run("compare", "other", "--json"))
    assert (record["verdict"], record["status"], record["releases"]) == ("behind", "ok", "behind")


def test_mirrors_that_contradict_each_other_are_3(run: Run, dandiset: str, settings: Settings) -> None:
    text = settings.text_in_git.model_copy(update={"max_bytes": 1})
    sync(settings.model_copy(update={"store": settings.store.with_name("other"), "text_in_git": text}))

    done = run("compare", "other")

    assert done.returncode == 3
    assert f"{dandiset}  different from" in done.stdout
    assert "layouts differ" in done.stdout


def test_a_mirror_that_is_not_there_is_2(run: Run, dandiset: str) -> None:
    assert dandiset
    assert run("compare", "nowhere").returncode == 2
