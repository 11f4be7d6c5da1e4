"""What is taken for the archive's word that a Dandiset is under embargo, and what is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mirror import tokens
from mirror.demo import DemoArchive
from mirror.demo.faults import Status
from mirror.errors import BadAnswer, TokenRefused
from mirror.sync.poll import BELIEVED_LACKING
from tests.sync.embargo.conftest import TOKEN_VARIABLE, Mirror


@pytest.fixture
def several(archive: DemoArchive, mirror: Mirror) -> list[str]:
    """Open Dandisets, that are mirrored: more than may be refused in one poll."""
    identifiers = [archive.create_dandiset(f"Number {number}") for number in range(BELIEVED_LACKING + 1)]
    for identifier in identifiers:
        archive.add_asset(identifier, "a.nwb", identifier.encode())
    mirror.run(embargoed=False).check()
    return identifiers


@pytest.mark.parametrize(("status", "body"), [(401, b""), (403, b"<html>Access denied</html>")])
def test_the_page_of_a_proxy_withdraws_nothing(
    archive: DemoArchive, mirror: Mirror, opened: str, status: int, body: bytes
) -> None:
    mirror.run(embargoed=False).check()
    archive.api_faults.add(Status(status, body=body), path=rf"/dandisets/{opened}/", times=None)
    archive.embargo(opened)  # so that the list has it no more
    assert mirror.results(embargoed=False) == {opened: "failed"}
    assert mirror.results(opened, embargoed=False) == {opened: "failed"}
    assert (mirror.store.dandisets(), mirror.store.embargoed()) == ([opened], [])
    archive.api_faults.clear()
    mirror.run(embargoed=False).check()
    assert mirror.store.embargoed() == [opened]


def test_many_that_are_refused_at_once_are_not_believed(
    archive: DemoArchive, mirror: Mirror, several: list[str], opened: str
) -> None:
    mirror.run(embargoed=False).check()
    for identifier in several:
        archive.embargo(identifier)
    with pytest.raises(BadAnswer, match=r"refuses many Dandisets that were open.*can be named: `dandi-mirror sync ID`"):
        mirror.run(embargoed=False)
    assert mirror.store.embargoed() == []
    mirror.run(several[0], embargoed=False).check()
    assert mirror.store.embargoed() == several[:1]
    # Of those that are left not too many are refused.
    mirror.run(embargoed=False).check()
    assert (mirror.store.dandisets(), mirror.store.embargoed()) == ([opened], several)


def test_many_that_are_listed_as_embargoed_are(
    archive: DemoArchive, mirror: Mirror, several: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, archive.token)
    for identifier in several:
        archive.embargo(identifier)
    mirror.run().check()
    assert mirror.store.embargoed() == several


def test_a_token_that_is_none_withdraws_nothing(
    archive: DemoArchive, mirror: Mirror, opened: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.run(embargoed=False).check()
    refusal = Status(401, body=b'{"detail":"Invalid token."}')
    archive.api_faults.add(refusal, path=rf"/dandisets/{opened}/", times=None)
    monkeypatch.setenv(TOKEN_VARIABLE, archive.token)
    with pytest.raises(TokenRefused, match="does not accept the token"):
        mirror.run(opened, embargoed=False)
    assert mirror.store.embargoed() == []


# --- whose token ----------------------------------------------------------------------------------------------------


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A credential helper with a token of long ago; the file that tells how often it was asked."""
    asked, script = tmp_path / "asked", tmp_path / "helper"
    script.write_text(f"#!/bin/sh\necho $1 >> {asked}\necho username=me\necho password=of-long-ago\n")
    script.chmod(0o755)
    config = tmp_path / "gitconfig"
    config.write_text(f"[credential]\n\thelper = {script}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.fspath(config))
    monkeypatch.setattr(tokens, "_known", {})
    return asked


def test_for_what_is_open_gits_helpers_are_not_asked(mirror: Mirror, opened: str, helper: Path) -> None:
    assert mirror.results(embargoed=False) == {opened: "changed"}
    assert not helper.exists()


@pytest.mark.usefixtures("opened")
def test_for_what_is_embargoed_they_are(mirror: Mirror, helper: Path) -> None:
    with pytest.raises(TokenRefused, match="does not accept the token"):
        mirror.run()
    assert helper.read_text() == "get\n"
