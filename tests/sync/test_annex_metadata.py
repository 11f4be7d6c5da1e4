"""git-annex metadata follows the archive's: also when a field is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mirror.annex import hashdirs, metadata
from mirror.demo import DemoArchive


def participant(**fields: object) -> dict[str, Any]:
    return {"wasAttributedTo": [{"schemaKey": "Participant", "identifier": "M1", **fields}]}


def test_a_field_that_an_asset_has_no_more_is_gone_from_its_key(
    archive: DemoArchive,
    mirror_once: Callable[..., object],
    git: Callable[..., str],
    repository_of: Callable[..., Path],
) -> None:
    identifier = archive.create_dandiset("One subject")
    sexed = participant(sex={"name": "Male", "schemaKey": "SexType"})
    archive.add_asset(identifier, "sub-M1/a.nwb", b"content", sexed)
    mirror_once()
    repository = repository_of(identifier)
    key = git(repository, "show", "draft:sub-M1/a.nwb").rpartition("/")[2]
    log = f"git-annex:{hashdirs.lower(key).decode()}/{key}.log.met"
    assert metadata.decode(git(repository, "show", log).encode())["sex"] == ["Male"]

    archive.replace_asset(identifier, "sub-M1/a.nwb", metadata=participant())
    mirror_once()

    now = metadata.decode(git(repository, "show", log).encode())
    assert "sex" not in now
    assert now["subject"] == ["M1"]
