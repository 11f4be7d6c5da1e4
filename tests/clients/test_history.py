"""What git tells of a Dandiset's history: which version this is, what changed, what was cited."""

from __future__ import annotations

from typing import Any


def trailers(reading: Any, commit: str) -> dict[str, str]:
    lines = reading.git("log", "-1", "--format=%(trailers:only,unfold)", commit).splitlines()
    return dict(line.split(": ", 1) for line in lines if line)


def test_describe_names_the_latest_version(scene: Any, reading: Any) -> None:
    latest = scene.versions[1]
    assert reading.git("describe").startswith(f"{latest}-1-g")
    assert reading.git("describe", "--abbrev=0") == latest
    assert reading.git("describe", "origin/releases") == latest


def test_every_tag_is_an_ancestor_of_draft(scene: Any, reading: Any) -> None:
    tags = reading.git("tag").splitlines()
    assert sorted(tags) == sorted([*scene.versions, *(f"doi/{scene.mirror.doi(name)}" for name in scene.versions)])
    for tag in tags:
        reading.git("merge-base", "--is-ancestor", tag, "draft")


def test_a_version_and_its_doi_are_the_same_commit(scene: Any, reading: Any) -> None:
    for version in scene.versions:
        assert reading.git("cat-file", "-t", version) == "tag"
        assert reading.git("rev-parse", f"doi/{scene.mirror.doi(version)}") == reading.git("rev-parse", f"{version}^0")


def test_a_tag_says_how_to_cite_the_version(scene: Any, reading: Any) -> None:
    version = scene.versions[0]
    address = f"https://doi.org/{scene.mirror.doi(version)}"
    title, citation, facts, notes = reading.git("tag", "-l", "--format=%(contents)", version).strip().split("\n\n")
    assert title == "Ripples"
    assert citation.startswith("Doe, Jane (20")
    assert f"Ripples (Version {version})" in citation
    assert citation.endswith(address)
    assert facts == f"DOI: {address}\nLicense: spdx:CC-BY-4.0"
    assert notes == "The first release."


def test_a_release_commit_says_what_it_holds(scene: Any, reading: Any) -> None:
    version = scene.versions[1]
    assert reading.git("log", "-1", "--format=%s", version) == f"{version}: 1 added, 1 modified"
    assets = list(scene.mirror.archive.version(scene.mirror.identifier, version).assets.values())
    assert trailers(reading, version) == {
        "Dandiset": "000001",
        "Version": version,
        "DOI": scene.mirror.doi(version),
        "Assets": str(len(assets)),
        "Bytes": str(sum(asset.size for asset in assets)),
        "Layout": "2",
    }


def test_a_draft_commit_says_when_the_archive_changed_it(scene: Any, reading: Any) -> None:
    draft = scene.mirror.archive.dandiset(scene.mirror.identifier).draft
    said = trailers(reading, "draft")
    assert said["Version"] == "draft"
    assert said["Archive-Modified"] == draft.modified
    assert said["Assets"] == str(len(draft.assets))
    assert "DOI" not in said


def test_the_first_parents_of_draft_are_its_own_history(filled: Any, clone_of: Any) -> None:
    filled.add("sub-M1/sub-M1_more.nwb", b"more")
    third = filled.publish("The third.")
    filled.sync()
    clone = clone_of(filled.alias)
    subjects = clone.git("log", "--first-parent", "--format=%s", "draft").splitlines()
    assert subjects[:2] == ["draft: 1 added", "draft: 1 added"]
    assert clone.git("describe", "--abbrev=0") == third
    clone.git("merge-base", "--is-ancestor", third, "draft")


def test_two_versions_differ_in_readable_text(scene: Any, reading: Any) -> None:
    first, second = scene.versions
    changed = reading.git("diff", first, second, "--", "README.md").splitlines()
    assert changed[-2:] == ["-Two animals.", "+Two animals, one image."]
    assert set(reading.git("diff", "--name-status", first, second, "--", "sub-M1").splitlines()) == {
        "A\tsub-M1/sub-M1_image.nwb"
    }
    assert "+version: " in reading.git("diff", first, second, "--", "dandiset.yaml")


def test_a_table_is_there_without_a_download(reading: Any) -> None:
    assert reading.read("participants.tsv").startswith(b"participant_id\tspecies\n")
    assert not (reading.path / "participants.tsv").is_symlink()
