"""Content under embargo: kept for who may have it, and nothing public tells of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mirror.archive.instances import token_variable
from mirror.keeping.keeping import keep
from mirror.store import contents

BODY = b"not for everybody yet"


def with_a_closed_one(mirror: Any) -> None:
    os.environ[token_variable("demo-dandi")] = mirror.archive.token
    mirror.closed = mirror.archive.create_dandiset("Secret", embargoed=True)
    mirror.archive.add_assets(mirror.closed, [("sub-1/secret.nwb", BODY), ("sub-1/known.nwb", b"three")])
    mirror.zarr_id = mirror.archive.add_zarr(mirror.closed, "sub-1/a.zarr", {"0/0": b"a chunk", "0/1": b"another"})


@pytest.fixture
def mirror(mirror_with: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A mirror with a Dandiset under embargo, `closed`, that has a file of its own, one that is public, and a Zarr."""
    monkeypatch.setenv(token_variable("demo-dandi"), "")  # it is taken back afterwards
    return mirror_with(with_a_closed_one, select={"embargoed": True})


def closed_id(mirror: Any) -> str:
    return str(mirror.store.dataset_id(mirror.closed))


def test_it_comes_by_the_api_and_stays_on_the_closed_side(mirror: Any, key_of: Any) -> None:
    said = mirror.populate(mirror.closed)
    assert said.code == 0, said
    keys = {key_of("secret.nwb", BODY): len(BODY), key_of("known.nwb", b"three"): 5}
    assert mirror.held(closed_id(mirror)) == keys
    assert len(mirror.held(mirror.zarr_id)) == 2
    assert mirror.store.private in mirror.store.repository(mirror.closed).path.parents


def test_nothing_public_tells_of_it(mirror: Any, key_of: Any) -> None:
    token = mirror.archive.token
    mirror.populate(mirror.closed)
    keep(mirror.settings(content=[{"versions": "draft"}]))
    key = key_of("secret.nwb", BODY)
    told = [key.partition("--")[2][:64].encode(), mirror.closed.encode() + b"/sub-1", mirror.zarr_id.encode()]
    for path in Path(mirror.folder).rglob("*"):
        if path.is_file() and mirror.store.private not in path.parents:
            body = path.read_bytes()
            assert not [word for word in told if word in body], path
    for path in Path(mirror.folder).rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes()


def test_a_file_that_is_public_too_is_not_linked_to(mirror: Any, key_of: Any) -> None:
    mirror.populate(mirror.one)
    said = mirror.populate(mirror.closed)
    assert said.of(f"{mirror.closed}/sub-1/known.nwb")["message"] in ("held already, cloned", "held already, copied")
    place = contents.found(mirror.store.repository(mirror.one).path, key_of("b.nwb", b"three"))
    assert place is not None
    assert place.stat().st_nlink == 1


def test_what_is_closed_is_no_source_for_what_is_public(mirror: Any) -> None:
    mirror.populate(mirror.closed)
    assert mirror.populate(mirror.one).of(f"{mirror.one}/sub-1/b.nwb")["message"] == "fetched"


def test_without_a_token_it_is_told_and_the_rest_comes(mirror: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(token_variable("demo-dandi"))
    said = mirror.populate(mirror.one, mirror.closed)
    assert said.code == 3
    assert len(mirror.held()) == 4
    assert mirror.held(closed_id(mirror)) == {}


def test_once_it_is_opened_its_content_is_public_and_nothing_is_fetched_again(mirror: Any, key_of: Any) -> None:
    mirror.populate(mirror.closed)
    mirror.archive.unembargo(mirror.closed)
    mirror.sync()
    asked = mirror.asked()
    said = mirror.populate(mirror.closed)
    assert (said.code, said.records, mirror.asked()) == (0, [], asked)
    assert mirror.store.public in mirror.store.repository(mirror.closed).path.parents
    assert key_of("secret.nwb", BODY) in mirror.held(closed_id(mirror))
    pins = (Path(mirror.folder) / "state" / "pins.json").read_text()
    assert mirror.closed in pins
    assert mirror.closed not in (mirror.store.private / "state" / "pins.json").read_text()


def test_what_cannot_be_had_is_not_named_by_a_rule(mirror: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(token_variable("demo-dandi"))
    told: list[str] = []
    kept = keep(mirror.settings(content=[{"versions": "draft"}]), tell=told.append)
    assert kept.failed == 4
    assert set(kept.problems) == {"a content under embargo could not be had"}
    assert mirror.closed not in " ".join(told)


def test_it_is_given_up_where_the_archive_has_it(mirror: Any) -> None:
    mirror.populate(mirror.closed)
    assert mirror.populate("--drop", mirror.closed).code == 0
    assert mirror.held(closed_id(mirror)) == {}
    assert mirror.held(mirror.zarr_id) == {}


def test_a_query_is_asked_of_it_too(mirror: Any) -> None:
    said = mirror.populate("--where", "embargo = embargoed", "--dry-run")
    assert {one["path"].partition("/")[0] for one in said.records} == {mirror.closed}


def test_what_was_asked_for_goes_along_when_a_dandiset_is_closed(mirror: Any) -> None:
    mirror.populate(f"{mirror.one}/sub-1")
    mirror.archive.embargo(mirror.one)
    mirror.sync()
    keep(mirror.settings(content=[{"versions": "draft", "budget": "0B"}]))
    assert sorted(mirror.held().values()) == [3, 5]
    assert mirror.one not in (Path(mirror.folder) / "state" / "pins.json").read_text()
    assert mirror.one in (mirror.store.private / "state" / "pins.json").read_text()


def test_one_of_which_nothing_is_mirrored_yet_keeps_the_others_from_nothing(mirror: Any) -> None:
    refs = mirror.store.repository(mirror.closed).path / "refs"
    for path in (refs.with_name("packed-refs"), refs / "heads" / "draft"):
        path.unlink(missing_ok=True)
    kept = keep(mirror.settings(content=[{"where": "name ~ ripples", "versions": "draft"}]))
    assert (kept.unread, kept.populated.fetched.keys) == ([], 4)


def test_what_came_under_embargo_is_given_up_where_the_archive_has_it(mirror: Any) -> None:
    keep(mirror.settings(content=[{"versions": "draft"}]))
    mirror.archive.embargo(mirror.one)
    mirror.sync()
    done = keep(mirror.settings(content=[{"versions": "draft", "budget": "0B"}]))
    assert done.dropped.stayed.keys == 0
    assert mirror.held() == {}
