"""Where a token goes, and which servers are asked: what a clone says, somebody else wrote."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import pytest

from mirror.annex_remotes.archives import Archives
from mirror.demo import DemoArchive
from mirror.demo.faults import Redirect
from mirror.errors import ConfigError, NotAllowed

from .conftest import Conversation, Noted, Started, run

CONTENT = b"an embargoed recording"
KEY = f"SHA256E-s{len(CONTENT)}--{hashlib.sha256(CONTENT).hexdigest()}.nwb"
API = "remote.dandi.annex-dandi-api"
INSTANCE = "remote.dandi.annex-dandi-instance"


class Scene:
    """An embargoed file, and a program that is asked for it."""

    def __init__(self, archive: DemoArchive, started: Started, folder: Path) -> None:
        self.archive = archive
        self.identifier = archive.create_dandiset("Hidden")
        archive.add_asset(self.identifier, "a.nwb", CONTENT)
        archive.embargo(self.identifier)
        self.asset_id = archive.asset(self.identifier, "a.nwb").asset_id
        self.at_api = f"{archive.api_url}/assets/{self.asset_id}/download/"
        self.api, self.bucket = Noted(), Noted()
        archive.api_faults.add(self.api, times=None)
        archive.s3_faults.add(self.bucket, times=None)
        self._started = started
        self._folder = folder

    @property
    def file(self) -> Path:
        return self._folder / "file"

    def talk(self, settings: Mapping[str, str] | None = None, env: Mapping[str, str] | None = None) -> Conversation:
        return self._started([self.at_api], settings=settings, env=env)

    def retrieve(self, talk: Conversation) -> str:
        said = talk.ask(f"TRANSFER RETRIEVE {KEY} {self.file}")
        return said.removeprefix(f"TRANSFER-FAILURE RETRIEVE {KEY} ")

    def tokens_sent(self) -> list[str]:
        """To the API; the bucket never gets one."""
        assert not [one for one in self.bucket.headers if "authorization" in one]
        return [one["authorization"] for one in self.api.headers if "authorization" in one]


@pytest.fixture
def scene(archive: DemoArchive, started: Started, tmp_path: Path) -> Scene:
    return Scene(archive, started, tmp_path)


@pytest.fixture
def named(scene: Scene) -> dict[str, str]:
    """What a user sets to name this archive as theirs."""
    return {API: scene.archive.api_url, INSTANCE: "demo-dandi"}


def test_the_archive_that_the_user_has_named_gets_the_token(scene: Scene, named: dict[str, str]) -> None:
    talk = scene.talk(named, {"DEMO_DANDI_API_KEY": scene.archive.token})
    assert scene.retrieve(talk) == f"TRANSFER-SUCCESS RETRIEVE {KEY}"
    assert scene.file.read_bytes() == CONTENT
    assert scene.tokens_sent() == [f"token {scene.archive.token}"]
    assert talk.ask(f"CHECKPRESENT {KEY}") == f"CHECKPRESENT-SUCCESS {KEY}"


def test_an_archive_that_only_a_url_names_gets_no_token(scene: Scene) -> None:
    every = dict.fromkeys(["DANDI_API_KEY", "DEMO_DANDI_API_KEY", "CUSTOM_API_KEY"], scene.archive.token)
    talk = scene.talk(env=every)
    said = scene.retrieve(talk)
    assert "needs a token" in said
    assert f"git config remote.dandi.annex-dandi-api {scene.archive.api_url}" in said
    assert talk.ask(f"CHECKPRESENT {KEY}").startswith("CHECKPRESENT-UNKNOWN")
    assert scene.api.headers
    assert scene.tokens_sent() == []


def test_nor_is_git_credential_asked_for_it(scene: Scene, tmp_path: Path) -> None:
    helper = tmp_path / "helper"
    helper.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\necho username=x\necho password={scene.archive.token}\n")
    helper.chmod(0o755)
    assert "needs a token" in scene.retrieve(scene.talk({"credential.helper": str(helper)}))
    assert not (tmp_path / "asked").exists()


def test_git_credential_is_asked_for_the_one_that_is_named(scene: Scene, named: dict[str, str], tmp_path: Path) -> None:
    helper = tmp_path / "helper"
    helper.write_text(f"#!/bin/sh\necho username=x\necho password={scene.archive.token}\n")
    helper.chmod(0o755)
    assert "SUCCESS" in scene.retrieve(scene.talk({**named, "credential.helper": str(helper)}))


@pytest.mark.parametrize("name", ["dandi", "Dandi"])
def test_the_token_of_a_known_archive_is_for_no_other(scene: Scene, name: str) -> None:
    talk = scene.talk({API: scene.archive.api_url, INSTANCE: name}, {"DANDI_API_KEY": scene.archive.token})
    assert "needs a token" in scene.retrieve(talk)
    assert scene.tokens_sent() == []


def test_an_address_that_only_begins_like_the_named_one_gets_no_token(scene: Scene, named: dict[str, str]) -> None:
    named[API] = scene.archive.api_url.removesuffix("/api")
    assert "needs a token" in scene.retrieve(scene.talk(named, {"DEMO_DANDI_API_KEY": scene.archive.token}))
    assert scene.tokens_sent() == []


@pytest.mark.parametrize(
    ("token", "why", "what_to_do"),
    [
        ("", "this needs a token (HTTP 401)", "set DEMO_DANDI_API_KEY to a token, or hand a token to `git credential"),
        ("0" * 40, "the archive does not accept the token", "check DEMO_DANDI_API_KEY"),
        ("other", "the token's owner may not see this (HTTP 403)", "ask an owner of the Dandiset to add that user"),
        ("two words", "the token holds characters that no token has", "copy it anew from the archive's site"),
    ],
)
def test_each_trouble_with_a_token_is_told_with_what_to_do(
    scene: Scene, named: dict[str, str], token: str, why: str, what_to_do: str
) -> None:
    token = scene.archive.other_token if token == "other" else token
    talk = scene.talk(named, {"DEMO_DANDI_API_KEY": token})
    said = scene.retrieve(talk)
    assert why in said
    assert what_to_do in said
    assert talk.ask(f"CHECKPRESENT {KEY}").startswith(f"CHECKPRESENT-UNKNOWN {KEY} ")
    assert not token or token not in "".join(talk.said)


@pytest.mark.usefixtures("hasty")
def test_no_signed_address_is_said_or_left_anywhere(scene: Scene, named: dict[str, str], tmp_path: Path) -> None:
    talk = scene.talk(named, {"DEMO_DANDI_API_KEY": scene.archive.token})
    scene.bucket.faults = {0: Redirect("http://127.0.0.1:1/x?X-Amz-Signature=secret"), 2: Redirect("nonsense")}
    assert "FAILURE" in talk.ask(f"TRANSFER RETRIEVE {KEY} {scene.file}")
    assert "SUCCESS" in talk.ask(f"TRANSFER RETRIEVE {KEY} {scene.file}")
    status, complaints = talk.end()
    assert (status, complaints) == (0, "")
    left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for secret in ("X-Amz", scene.archive.token):
        assert secret not in "\n".join(talk.said)
        assert secret.encode() not in left


def test_an_archive_that_is_down_is_said_to_be(archives: Archives, archive: DemoArchive) -> None:
    archive.close()
    archives.tries = 1
    with pytest.raises(Exception, match="connection refused"):
        archives.client(archive.api_url).instance()


# Which servers are asked at all:


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    run("git", "init", "-q", tmp_path / "clone")
    return tmp_path / "clone"


@pytest.fixture
def archives(repository: Path) -> Archives:
    return Archives(str(repository / ".git"), "dandi")


def without_allowance(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tests' home folder lets git-annex ask loopback; this one does not."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/a",
        "http://localhost/a",
        "http://[::1]/a",
        "http://10.0.0.1/a",
        "http://192.168.1.1/a",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00::1]/a",
        "http://0.0.0.0/a",
    ],
)
def test_this_machine_s_own_network_is_not_asked(
    archives: Archives, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_allowance(monkeypatch, tmp_path)
    with pytest.raises(NotAllowed, match=r"no public address.*allowed-ip-addresses"):
        archives.check(url)


@pytest.mark.parametrize("allowed", ["127.0.0.1", "10.0.0.1 127.0.0.1", "[127.0.0.1]:8080", "127.0.0.1:8080", "all"])
def test_but_where_git_annex_may_ask_it(
    archives: Archives, repository: Path, allowed: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_allowance(monkeypatch, tmp_path)
    run("git", "config", "annex.security.allowed-ip-addresses", allowed, cwd=repository)
    archives.check("http://127.0.0.1:8080/a")
    with nullcontext() if allowed == "all" else pytest.raises(NotAllowed):
        archives.check("http://127.0.0.2/a")


def test_or_where_it_is_the_named_archive_s_own(
    archives: Archives, repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_allowance(monkeypatch, tmp_path)
    run("git", "config", API, "http://127.0.0.1:1000/api", cwd=repository)
    run("git", "config", "remote.dandi.annex-dandi-s3", "http://10.0.0.1:9000", cwd=repository)
    for url in ("http://127.0.0.1:1000/api", "http://127.0.0.1:2000/bucket/x", "http://10.0.0.1:9000/bucket/x"):
        archives.check(url)
    for url in ("http://10.0.0.1/x", "http://127.0.0.2:1000/x"):
        with pytest.raises(NotAllowed):
            archives.check(url)


def test_a_redirect_to_it_is_not_followed(scene: Scene, named: dict[str, str]) -> None:
    scene.api.faults = {0: Redirect("http://127.0.0.2:9/bucket/x?X-Amz-Signature=abc")}
    said = scene.retrieve(scene.talk(named, {"DEMO_DANDI_API_KEY": scene.archive.token}))
    assert "http://127.0.0.2:9: it is at no public address" in said
    assert "X-Amz" not in said


@pytest.mark.parametrize(
    "location", ["http://[bad/x?X-Amz-Signature=abc", "http://127.0.0.1:99999/x?X-Amz-Signature=abc"]
)
def test_a_redirect_to_what_is_no_address_is_refused_and_the_program_goes_on(
    scene: Scene, named: dict[str, str], location: str
) -> None:
    scene.api.faults = {0: Redirect(location)}
    talk = scene.talk(named, {"DEMO_DANDI_API_KEY": scene.archive.token})
    said = scene.retrieve(talk)
    assert "no web address" in said
    assert "X-Amz" not in said
    assert scene.retrieve(talk) == f"TRANSFER-SUCCESS RETRIEVE {KEY}"


def test_git_is_not_given_the_token_to_read_settings(
    repository: Path, archives: Archives, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run("git", "config", INSTANCE, "dandi-sandbox", cwd=repository)
    monkeypatch.setenv("DANDI_API_KEY", "0" * 40)
    watched = tmp_path / "programs/git"
    watched.parent.mkdir()
    watched.write_text(f'#!/bin/sh\nenv > {tmp_path}/environment\nexec {shutil.which("git")} "$@"\n')
    watched.chmod(0o755)
    monkeypatch.setenv("PATH", f"{watched.parent}:{os.environ['PATH']}")
    assert archives.default == "https://api.sandbox.dandiarchive.org/api"
    assert "DANDI_API_KEY" not in (tmp_path / "environment").read_text()


def test_known_archives_and_their_buckets_are_asked_without_looking_them_up(
    archives: Archives, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("socket.getaddrinfo", fails)
    for url in (
        "https://api.dandiarchive.org/api/assets/x/download/",
        "https://api.sandbox.dandiarchive.org/api",
        "https://dandiarchive.s3.amazonaws.com/blobs/x",
        "https://dandiarchive.s3.us-east-2.amazonaws.com/blobs/x",
    ):
        archives.check(url)


def test_known_archives_have_the_variables_of_the_dandi_client(archives: Archives) -> None:
    assert archives.default == "https://api.dandiarchive.org/api"
    assert archives.variable("https://api.dandiarchive.org/api") == "DANDI_API_KEY"
    assert archives.variable("https://api.sandbox.dandiarchive.org/api") == "DANDI_SANDBOX_API_KEY"
    assert archives.is_trusted("https://api.dandiarchive.org/api")
    assert not archives.is_trusted("https://api.dandiarchive.org.example.org/api")
    assert not archives.is_trusted("http://api.dandiarchive.org/api")


def test_dandi_urls_may_be_of_another_archive(archives: Archives, repository: Path) -> None:
    run("git", "config", INSTANCE, "dandi-sandbox", cwd=repository)
    assert archives.default == "https://api.sandbox.dandiarchive.org/api"


def test_an_instance_that_nobody_knows_needs_an_address(archives: Archives, repository: Path) -> None:
    run("git", "config", INSTANCE, "ours", cwd=repository)
    with pytest.raises(ConfigError, match=r"git config remote.dandi.annex-dandi-api URL"):
        _ = archives.default
