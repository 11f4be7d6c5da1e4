"""What the archive says is not believed: each answer is checked, and a bad one harms its own Dandiset only."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mirror.demo import DemoArchive
from mirror.demo.faults import Fault, Redirect, Truncated, WrongBody
from mirror.demo.web import Answer, Request, Response, Server
from mirror.store.store import Store
from mirror.sync.engine import Report
from mirror.sync.turn import Outcome

MirrorOnce = Callable[..., Report]
Document = dict[str, Any]

TABLE = b"participant_id\tsex\nM1\tF\n"
NWB = "sub-M1/sub-M1_ecephys.nwb"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes no sense is asked for again; here, at once."""
    monkeypatch.setattr("mirror.archive.http.FIRST_WAIT", 0.0)


@pytest.fixture
def dandisets(archive: DemoArchive) -> list[str]:
    """Three Dandisets with a text and a recording each; the first is published."""
    identifiers = [archive.create_dandiset(f"Dandiset {number}") for number in range(3)]
    for identifier in identifiers:
        archive.add_asset(identifier, "participants.tsv", TABLE + identifier.encode())
        archive.add_asset(identifier, NWB, b"a recording of " + identifier.encode())
    archive.publish(identifiers[0])
    return identifiers


@dataclass(frozen=True)
class Altered(Fault):
    """The honest answer with something done to its JSON."""

    alter: Callable[[Document], object]

    def apply(self, request: Request, answer: Answer) -> Response:
        response = answer(Request(request.method, request.path, request.query))
        document = json.loads(response.body)
        self.alter(document)
        # `json.dumps` writes NaN and lone surrogates without a murmur, as some servers do; nesting it cannot write.
        body = json.dumps(document).encode().replace(b'"BRACKETS"', b"[" * 100_000 + b"]" * 100_000)
        return Response(200, body, {**response.headers})


def alter_assets(archive: DemoArchive, identifier: str, alter: Callable[[Document], object], path: str = NWB) -> None:
    """Do something to each record of the asset at `path`, wherever it is listed."""

    def each(document: Document) -> None:
        for record in document["results"]:
            if record["path"] == path:
                alter(record)

    archive.api_faults.add(Altered(each), path=rf"/{identifier}/versions/[^/]+/assets/\?", times=None)


def results(report: Report) -> dict[str, str]:
    return {outcome.identifier: outcome.result for outcome in report.outcomes}


def outcome_of(report: Report, identifier: str) -> Outcome:
    return next(outcome for outcome in report.outcomes if outcome.identifier == identifier)


def files_of(repository: Path) -> dict[str, str]:
    """Every file of a repository with a digest of its bytes."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in repository.resolve().rglob("*")
        if path.is_file()
    }


def set_metadata(**fields: Any) -> Callable[[Document], object]:
    return lambda record: record["metadata"].update(fields)


def set_digest(value: Any) -> Callable[[Document], object]:
    return lambda record: record["metadata"]["digest"].update({"dandi:sha2-256": value})


def drop_metadata(name: str) -> Callable[[Document], object]:
    return lambda record: record["metadata"].pop(name)


def set_record(**fields: Any) -> Callable[[Document], object]:
    return lambda record: record.update(fields)


# --- records -------------------------------------------------------------------------------------------------------

HEX = hashlib.sha256(b"").hexdigest()
BAD_ASSETS: dict[str, tuple[Callable[[Document], object], str]] = {
    "digest in upper case": (set_digest(HEX.upper()), "malformed SHA-256"),
    "digest too short": (set_digest(HEX[:-1]), "malformed SHA-256"),
    "digest too long": (set_digest(HEX + "0"), "malformed SHA-256"),
    "digest with a newline": (set_digest(HEX + "\n"), "malformed SHA-256"),
    "digest that is a path": (set_digest("../" * 21 + "x"), "malformed SHA-256"),
    "digest that is a number": (set_digest(256), "malformed SHA-256"),
    "digests that are a list": (set_metadata(digest=[HEX]), "digest is not an object"),
    "negative size": (set_record(size=-1), "impossible size"),
    "size that is a string": (set_record(size="15"), "Expected `int`, got `str`"),
    "size with a fraction": (set_record(size=1.5), "Expected `int`, got `float`"),
    "size beyond all bounds": (set_record(size=2**70), "size"),
    "two different sizes": (set_metadata(contentSize=1), "two sizes"),
    "no path": (lambda record: record.pop("path") and record.update(path=None), "Expected `str`, got `null`"),
    "id that is none": (set_record(asset_id="../../etc"), "malformed id"),
    "neither blob nor Zarr": (set_record(blob=None), "neither a blob nor a Zarr"),
    "no metadata": (lambda record: record.pop("metadata"), "missing required field `metadata`"),
    "metadata that is a list": (set_record(metadata=[]), "not a JSON object"),
    "NaN": (set_metadata(approach=float("nan")), "not JSON"),
    "a lone surrogate": (set_metadata(name="\ud800"), "JSON|UTF-8|surrogate"),
    "absurd nesting": (set_metadata(keywords="BRACKETS"), "nested too deeply|recursion"),
    "no contentUrl": (drop_metadata("contentUrl"), "no contentUrl"),
    "contentUrl that is a text": (set_metadata(contentUrl="https://x/y"), "no contentUrl"),
    "no S3 address": (lambda record: record["metadata"]["contentUrl"].pop(), "0 S3 addresses"),
    "two S3 addresses": (lambda record: record["metadata"]["contentUrl"].append("https://x/y"), "2 S3 addresses"),
}


@pytest.mark.parametrize(("alter", "reason"), BAD_ASSETS.values(), ids=BAD_ASSETS.keys())
def test_a_bad_asset_record_leaves_its_dandiset_as_it_was_and_stops_no_other(
    alter: Callable[[Document], object],
    reason: str,
    archive: DemoArchive,
    dandisets: list[str],
    mirror_once: MirrorOnce,
    store: Path,
) -> None:
    victim = dandisets[1]
    mirror_once()
    before = files_of(Store.open(store).alias(victim))
    for identifier in dandisets:
        archive.edit_dandiset(identifier, description="Edited")
    alter_assets(archive, victim, alter)
    # The list of assets is only read again where it is asked for.
    report = mirror_once(everything=True)
    assert results(report) == {dandisets[0]: "changed", victim: "failed", dandisets[2]: "changed"}
    message = outcome_of(report, victim).message
    assert re.search(reason, message), message
    assert f"Dandiset {victim}" in message
    assert files_of(Store.open(store).alias(victim)) == before
    archive.api_faults.clear()
    assert results(mirror_once()) == {victim: "changed"}


def test_a_published_asset_without_a_digest_is_refused(
    archive: DemoArchive, dandisets: list[str], mirror_once: MirrorOnce
) -> None:
    alter_assets(archive, dandisets[0], lambda record: record["metadata"]["digest"].pop("dandi:sha2-256"))
    outcome = outcome_of(mirror_once(), dandisets[0])
    assert outcome.result == "failed"
    assert f"asset {NWB!r} is published without a digest of its content" in outcome.message


def test_a_draft_asset_without_a_digest_is_pending_not_wrong(
    archive: DemoArchive, dandisets: list[str], mirror_once: MirrorOnce, store: Path
) -> None:
    alter_assets(archive, dandisets[1], lambda record: record["metadata"]["digest"].pop("dandi:sha2-256"))
    assert results(mirror_once())[dandisets[1]] == "changed"
    assert Store.open(store).state(dandisets[1]).pending == 1


BAD_VERSIONS: dict[str, tuple[Callable[[Document], object], str]] = {
    "metadata that is a text": (set_record(metadata="none"), "not a JSON object"),
    "no metadata": (lambda info: info.pop("metadata"), "missing required field `metadata`"),
    "a lone surrogate": (set_metadata(name="\udfff"), "JSON|UTF-8|surrogate"),
    "NaN": (set_metadata(name=float("nan")), "JSON"),
    "absurd nesting": (set_metadata(keywords="BRACKETS"), "nested too deeply|recursion"),
    "asset count that is a text": (set_record(asset_count="two"), "Expected `int`, got `str`"),
    "modified that is no time": (set_record(modified="yesterday"), "not a time|yesterday"),
}


@pytest.mark.parametrize(("alter", "reason"), BAD_VERSIONS.values(), ids=BAD_VERSIONS.keys())
def test_a_bad_version_record_fails_its_dandiset_only(
    alter: Callable[[Document], object],
    reason: str,
    archive: DemoArchive,
    dandisets: list[str],
    mirror_once: MirrorOnce,
) -> None:
    victim = dandisets[1]
    archive.api_faults.add(Altered(alter), path=rf"/{victim}/versions/draft/info/", times=None)
    report = mirror_once()
    assert results(report) == {dandisets[0]: "changed", victim: "failed", dandisets[2]: "changed"}
    assert re.search(reason, outcome_of(report, victim).message), outcome_of(report, victim).message
    assert not outcome_of(report, victim).message.startswith("unexpected")  # which is to say, foreseen


@pytest.mark.parametrize("name", ["../../../heads/draft", "0.1 2", "-rf", "a..b", "x.lock", "draft/../x"])
def test_a_version_that_no_tag_can_be_named_after_is_refused(
    name: str, archive: DemoArchive, dandisets: list[str], mirror_once: MirrorOnce, store: Path
) -> None:
    def rename(document: Document) -> None:
        for version in document["results"]:
            if version["version"] != "draft":
                version["version"] = name

    archive.api_faults.add(Altered(rename), path=rf"/{dandisets[0]}/versions/\?", times=None)
    report = mirror_once()
    assert results(report) == {dandisets[0]: "failed", **dict.fromkeys(dandisets[1:], "changed")}
    assert repr(name) in outcome_of(report, dandisets[0]).message
    assert Store.open(store).dandisets() == dandisets[1:]


@pytest.mark.parametrize("path", ["../escape.nwb", "/etc/passwd", "a//b.nwb", "a/./b.nwb", f"{NWB}/inside.nwb", "a/"])
def test_a_path_that_no_tree_can_hold_is_refused(
    path: str, archive: DemoArchive, dandisets: list[str], mirror_once: MirrorOnce
) -> None:
    archive.add_asset(dandisets[1], path, b"where to")
    report = mirror_once()
    assert results(report) == {dandisets[0]: "changed", dandisets[1]: "failed", dandisets[2]: "changed"}
    assert f"Dandiset {dandisets[1]}, version draft" in outcome_of(report, dandisets[1]).message


@pytest.mark.parametrize(
    "fault",
    [
        WrongBody(b"not JSON at all"),
        WrongBody(b""),
        WrongBody(b"null"),
        WrongBody(b"[]"),
        WrongBody(b'{"results": {}}'),
        WrongBody(b"[" * 100_000),
        WrongBody(b"\xff\xfe{}"),
        WrongBody(b"<!doctype html><h1>Log in</h1>", "text/html"),
        Truncated(),
    ],
    ids=["text", "nothing", "null", "list", "object of another shape", "brackets", "bytes", "HTML", "truncated"],
)
def test_an_answer_that_makes_no_sense_fails_its_dandiset_only(
    fault: Fault, archive: DemoArchive, dandisets: list[str], mirror_once: MirrorOnce
) -> None:
    victim = dandisets[1]
    archive.api_faults.add(WithDate(fault), path=rf"/{victim}/versions/draft/assets/\?", times=None)
    report = mirror_once()
    assert results(report) == {dandisets[0]: "changed", victim: "failed", dandisets[2]: "changed"}
    message = outcome_of(report, victim).message
    assert f"the assets of Dandiset {victim}, version draft, page 1: " in message
    assert re.search("JSON|unexpected shape|broke off|HTML", message), message


@dataclass(frozen=True)
class WithDate(Fault):
    """Another fault, with the header that all servers send."""

    fault: Fault

    def apply(self, request: Request, answer: Answer) -> Response:
        response = self.fault.apply(request, answer)
        response.headers.setdefault("Date", "Fri, 20 Nov 2026 15:34:17 GMT")
        return response


# --- where content comes from --------------------------------------------------------------------------------------


class Canary(Server):
    """A server that must not be asked anything."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        super().__init__(self._sing)

    def _sing(self, request: Request) -> Response:
        self.asked.append(request)
        return Response(200, TABLE, {"Content-Type": "text/plain"})


@pytest.fixture
def canary() -> Iterator[Canary]:
    """Reachable by many names, as the machines inside an institute's network are."""
    server = Canary()
    server.start()
    yield server
    server.close()


# `{port}` is the canary's, `{archive}` host and port of the archive's bucket, `{path}` the path of the asset's blob.
ELSEWHERE = [
    "http://localhost:{port}/{path}",
    "http://{archive}@localhost:{port}/{path}",
    "http://{archive}:pass@localhost:{port}/{path}",
    "http://demo-archive.s3.amazonaws.com@localhost:{port}/{path}",
    "http://localhost:{port}#@{archive}/{path}",
    "http://localhost:{port}?@{archive}/{path}",
    "http://localhost:{port}\\@{archive}/{path}",
    "http://127.1:{port}/{path}",
    "http://2130706433:{port}/{path}",
    "http://0x7f000001:{port}/{path}",
    "http://[::ffff:127.0.0.1]:{port}/{path}",
    "http://127.0.0.1.:{port}/{path}",
    "http://169.254.169.254/latest/meta-data/iam",
    "http://s3.amazonaws.com.evil.example/{path}",
    "ftp://{archive}/{path}",
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "s3://demo-archive/{path}",
    "//{archive}/{path}",
    "/{path}",
    "http://",
    "",
    "http://{archive}/{path}\n",
    "http://{archive}/ demo-archive/{path}",
    "http://[{archive}/{path}",
]


@pytest.mark.parametrize("path", ["participants.tsv", NWB], ids=["text", "annexed"])
@pytest.mark.parametrize("endpoint", [True, False], ids=["with s3_endpoint", "without"])
def test_content_that_is_said_to_be_elsewhere_is_neither_fetched_nor_recorded(
    path: str,
    endpoint: bool,
    archive: DemoArchive,
    dandisets: list[str],
    canary: Canary,
    mirror_once: MirrorOnce,
    store: Path,
) -> None:
    victim = dandisets[1]
    blob = archive.asset(victim, path).blob
    assert blob is not None
    names = {
        "port": canary.port,
        "archive": archive.s3_endpoint.removeprefix("http://"),
        "path": f"{archive.bucket}/{blob.key}",
    }
    overrides = {} if endpoint else {"archive__s3_endpoint": None}
    for url in (template.format(**names) for template in ELSEWHERE):
        archive.api_faults.clear()
        archive.s3_faults.clear()
        archive.requests.clear()

        def point(record: Document, url: str = url) -> None:
            record["metadata"]["contentUrl"][1] = url

        alter_assets(archive, victim, point, path)
        outcome = outcome_of(mirror_once(victim, **overrides), victim)
        assert outcome.result == "failed", url
        assert f"asset {path!r}" in outcome.message, outcome.message
        assert f"Dandiset {victim}" in outcome.message
        assert not outcome.message.startswith("unexpected"), url
        assert archive.count(path=blob.blob_id) == 0, url
    assert canary.asked == []
    assert not Store.open(store).alias(victim).is_symlink()


def test_a_download_redirected_elsewhere_is_not_followed(
    archive: DemoArchive, dandisets: list[str], canary: Canary, mirror_once: MirrorOnce
) -> None:
    victim = dandisets[1]
    blob = archive.asset(victim, "participants.tsv").blob
    assert blob is not None
    for status in (301, 302, 303, 307, 308):
        archive.s3_faults.add(Redirect(f"{canary.url}/elsewhere", status), path=blob.blob_id, method="GET")
        outcome = outcome_of(mirror_once(victim), victim)
        assert outcome.result == "failed"
        assert f"redirects to {canary.url}" in outcome.message
    assert canary.asked == []
    assert results(mirror_once(victim)) == {victim: "changed"}


def test_an_api_redirected_elsewhere_is_not_followed(
    archive: DemoArchive, dandisets: list[str], canary: Canary, mirror_once: MirrorOnce
) -> None:
    victim = dandisets[1]
    for place in (rf"/{victim}/versions/\?", rf"/{victim}/versions/draft/info/", rf"/{victim}/versions/draft/assets/"):
        archive.api_faults.add(Redirect(f"{canary.url}/api/", 301), path=place)
        report = mirror_once()
        assert outcome_of(report, victim).result == "failed"
        assert f"redirects to {canary.url}" in outcome_of(report, victim).message
    assert canary.asked == []


def test_a_next_link_that_leads_elsewhere_is_no_place_to_go(
    archive: DemoArchive, dandisets: list[str], canary: Canary, mirror_once: MirrorOnce
) -> None:
    """`next` says whether more follow. Where, we know ourselves."""

    def mislead(document: Document) -> None:
        document["next"] = f"{canary.url}/api/"

    rule = archive.api_faults.add(Altered(mislead), path=rf"/{dandisets[1]}/versions/draft/assets/", times=1)
    outcome = outcome_of(mirror_once(dandisets[1]), dandisets[1])
    assert rule.struck == 1
    assert outcome.result == "changed"
    assert archive.count(path=rf"/{dandisets[1]}/versions/draft/assets/.*page=2") == 1
    assert canary.asked == []


# --- the token -----------------------------------------------------------------------------------------------------


@pytest.fixture
def heard(archive: DemoArchive) -> list[tuple[str, Request]]:
    """Every request that the archive's servers got, with its headers."""
    found: list[tuple[str, Request]] = []
    lock = threading.Lock()

    def listen(name: str) -> Fault:
        class Listening(Fault):
            def apply(self, request: Request, answer: Answer) -> Response:
                with lock:
                    found.append((name, request))
                return answer(request)

        return Listening()

    archive.api_faults.add(listen("api"), times=None)
    archive.s3_faults.add(listen("s3"), times=None)
    return found


def test_a_wrong_token_is_told_with_the_name_of_its_variable(
    archive: DemoArchive, dandisets: list[str], mirror_once: MirrorOnce, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEMO_DANDI_API_KEY", "0123456789-wrong-token")
    with pytest.raises(Exception, match="does not accept the token") as raised:
        mirror_once()
    assert "check DEMO_DANDI_API_KEY" in str(raised.value)
    assert "wrong-token" not in repr(raised.value)
    assert archive.count(status=401) > 0
    monkeypatch.delenv("DEMO_DANDI_API_KEY")
    assert results(mirror_once()) == dict.fromkeys(dandisets, "changed")


def test_a_token_goes_to_the_api_and_to_nobody_else(
    archive: DemoArchive,
    dandisets: list[str],
    heard: list[tuple[str, Request]],
    tmp_path: Path,
    store: Path,
) -> None:
    """Neither to the bucket, nor into any log, error, argument, or file of the store: not even its beginning."""
    archive.add_asset(dandisets[2], "a//b.nwb", b"a failure to remember")
    file = tmp_path / "settings.yaml"
    file.write_text(
        f"archive: {{instance: demo-dandi, api_url: '{archive.api_url}', s3_endpoint: '{archive.s3_endpoint}',"
        f" settle_seconds: 0}}\nstore: '{store}'\njobs: 2\n"
    )
    arguments: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-m", "mirror", "sync", "-c", str(file), "-l", "debug"],
        env={**os.environ, "DEMO_DANDI_API_KEY": archive.token},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        while process.poll() is None:
            arguments.append(subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout)
            time.sleep(0.05)
        assert process.stdout is not None
        said = process.stdout.read()
    assert process.returncode == 3
    assert f"GET {archive.api_url}/dandisets/" in said  # debugging tells of each request

    spoken = archive.token[:12]
    assert {request.headers.get("authorization") for name, request in heard if name == "api"} == {
        f"token {archive.token}"
    }
    to_bucket = [request for name, request in heard if name == "s3"]
    assert to_bucket
    assert not any(spoken in str(request) or "authorization" in request.headers for request in to_bucket)
    assert spoken not in said
    assert not any(spoken in shown for shown in arguments)
    written = [path for path in store.rglob("*") if path.is_file()]
    assert written
    assert not any(spoken.encode() in path.read_bytes() for path in written)
    for identifier in Store.open(store).dandisets():
        contents = subprocess.run(
            ["git", "-C", str(Store.open(store).alias(identifier)), "cat-file", "--batch", "--batch-all-objects"],
            env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull},
            check=True,
            capture_output=True,
        ).stdout
        assert contents
        assert spoken.encode() not in contents
