"""A sync of an archive that stumbles: what passes is overcome, what does not pass fails one Dandiset and no other."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mirror.archive.bucket import Bucket
from mirror.archive.client import ArchiveClient
from mirror.archive.instances import content_hosts
from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.demo.faults import Before, Fault, LostPage, RepeatedPage, Reset, Slow, Status, Truncated
from mirror.demo.nwb import Recording
from mirror.demo.web import Answer, Request, Response
from mirror.errors import SomeFailed
from mirror.store.state import Failure
from mirror.store.store import Store
from mirror.sync.connection import Connection
from mirror.sync.dandiset import DandisetSync
from mirror.sync.engine import Report, sync
from mirror.sync.observe import ATTEMPTS, Observer
from mirror.sync.turn import Outcome

Mirror = Callable[..., Report]
RefsOf = Callable[..., dict[str, str]]
MakeSettings = Callable[..., Settings]

TRIES = 3
ASSETS_PER_PAGE = 4
FOREVER = None
HANGS = Slow(0.5)


class ProxyPage(Fault):
    """A proxy's page of apology, with status 200 and all the headers of an answer."""

    def apply(self, request: Request, answer: Answer) -> Response:
        headers = {"Date": answer(request).headers["Date"], "Content-Type": "text/html"}
        return Response(200, b"<!doctype html><h1>Service temporarily unavailable</h1>", headers)


@pytest.fixture
def pauses() -> list[float]:
    """How long it would have waited, each time it did."""
    return []


@pytest.fixture
def hasty(settings: MakeSettings, pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """Sync once: with few tries, short pages, and no real pauses."""

    read_timeout = 10.0

    def connect(settings: Settings) -> Connection:
        archive = settings.archive
        client = ArchiveClient(
            archive.api_url, tries=TRIES, read_timeout=read_timeout, page_size=ASSETS_PER_PAGE, sleep=pauses.append
        )
        hosts = content_hosts(archive.api_url, archive.s3_endpoint)
        return Connection(client, Bucket(client.http, archive.s3_endpoint), hosts)

    monkeypatch.setattr(Connection, "open", connect)
    monkeypatch.setattr("mirror.sync.dandiset.Observer", partial(Observer, sleep=pauses.append))

    def run(*named: str, everything: bool = False, timeout: float = 10.0, **overrides: Any) -> Report:
        nonlocal read_timeout
        read_timeout = timeout
        return sync(settings(**overrides), list(named), everything=everything)

    return run


@pytest.fixture
def dandisets(archive: DemoArchive) -> list[str]:
    """Three Dandisets: recordings and texts on several pages and in a published version, a draft, a text alone."""
    published = archive.create_dandiset("Published")
    archive.add_asset(published, "README.md", b"# Published\n")
    archive.add_asset(published, "participants.tsv", b"participant_id\tsex\nM1\tF\n")
    for number in range(2 * ASSETS_PER_PAGE):
        archive.add_asset(published, f"sub-M1/sub-M1_run-{number}_ecephys.nwb", b"recording %d" % number)
    archive.publish(published)
    draft = archive.create_dandiset("Draft")
    recording = Recording("M2", "1", 1)
    archive.add_asset(draft, recording.path, b"one more", recording.metadata())
    text = archive.create_dandiset("Text")
    archive.add_asset(text, "README.md", b"# Text\n")
    return [published, draft, text]


def outcomes(report: Report) -> dict[str, Outcome]:
    return {outcome.identifier: outcome for outcome in report.outcomes}


def results(report: Report) -> dict[str, str]:
    return {identifier: outcome.result for identifier, outcome in outcomes(report).items()}


def failure_of(store: Path, identifier: str) -> Failure:
    failure = Store.open(store).state(identifier).failure
    assert failure is not None
    return failure


def files_of(repository: Path) -> dict[str, str]:
    """Every file of a repository with a digest of its bytes: refs, packs, and all."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in repository.resolve().rglob("*")
        if path.is_file()
    }


# --- trouble that passes -------------------------------------------------------------------------------------------

PLACES = {
    "the list of Dandisets": ("api", r"/api/dandisets/\?", "GET"),
    "a version's record": ("api", r"/versions/draft/info/", "GET"),
    "a page of assets": ("api", r"/assets/\?.*page=2", "GET"),
    "the text of an asset": ("s3", r"/blobs/", "GET"),
    "the version id of a blob": ("s3", r"/blobs/", "HEAD"),
}


@pytest.mark.parametrize(
    "fault",
    [Status(503), Status(502, body=b"<html>Bad Gateway</html>"), Status(429, retry_after=7), Reset(), HANGS],
    ids=["503", "502", "429", "reset", "hang"],
)
def test_what_passes_leaves_no_trace(
    fault: Fault,
    archive: DemoArchive,
    dandisets: list[str],
    hasty: Mirror,
    refs_of: RefsOf,
    tmp_path: Path,
    pauses: list[float],
) -> None:
    """Wherever it strikes, and as often as there is patience for: the mirror is as if nothing had been."""
    times = 1 if fault is HANGS else TRIES - 1
    servers = {"api": archive.api_faults, "s3": archive.s3_faults}
    rules = {
        place: servers[server].add(fault, path=path, method=method, times=times)
        for place, (server, path, method) in PLACES.items()
    }
    report = hasty(timeout=0.3 if fault is HANGS else 10.0)
    assert results(report) == dict.fromkeys(dandisets, "changed")
    assert {place: rule.struck for place, rule in rules.items()} == dict.fromkeys(PLACES, times)
    assert pauses
    if isinstance(fault, Status) and fault.retry_after:
        assert min(pauses) >= 7  # as the server asked

    undisturbed = tmp_path / "undisturbed"
    archive.api_faults.clear()
    archive.s3_faults.clear()
    hasty(store=undisturbed)
    for identifier in dandisets:
        assert refs_of(identifier) == refs_of(identifier, store=undisturbed)


@pytest.mark.parametrize("fault", [Truncated(), ProxyPage()], ids=["truncated", "HTML"])
def test_an_answer_that_is_not_whole_is_asked_for_again(
    fault: Fault, archive: DemoArchive, dandisets: list[str], hasty: Mirror
) -> None:
    places = [r"/api/info/", r"/api/dandisets/\?", r"/versions/\?", r"/versions/draft/info/", r"/assets/\?.*page=2"]
    rules = [archive.api_faults.add(fault, path=path, times=TRIES - 1) for path in places]
    rules.append(archive.s3_faults.add(Truncated(), path="/blobs/", method="GET", times=TRIES - 1))
    assert results(hasty()) == dict.fromkeys(dandisets, "changed")
    assert [rule.struck for rule in rules] == [TRIES - 1] * len(rules)


# --- trouble that does not pass ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Status(503), "HTTP 503"),
        (Status(429, retry_after=1), "HTTP 429"),
        (Reset(), "no connection|no answer"),
        (Truncated(), "broke off"),
        (ProxyPage(), "HTML"),
    ],
    ids=["503", "429", "reset", "truncated", "HTML"],
)
def test_a_page_that_cannot_be_had_fails_that_dandiset_only(
    fault: Fault, reason: str, archive: DemoArchive, dandisets: list[str], hasty: Mirror, store: Path
) -> None:
    first, *others = dandisets
    archive.api_faults.add(fault, path=rf"/{first}/versions/draft/assets/\?.*page=2", times=FOREVER)
    report = hasty()
    assert results(report) == {first: "failed", **dict.fromkeys(others, "changed")}
    with pytest.raises(SomeFailed, match="1 Dandiset failed, 2 did not") as raised:
        report.check()
    assert raised.value.exit_code == 3
    message = outcomes(report)[first].message
    assert f"Dandiset {first}, version draft, page 2" in message
    assert any(word in message for word in reason.split("|")), message
    assert failure_of(store, first).message == message
    assert not Store.open(store).alias(first).is_symlink()  # nothing to clone, so no address


def test_a_text_that_cannot_be_had_is_named_with_its_dandiset(
    archive: DemoArchive, dandisets: list[str], hasty: Mirror
) -> None:
    text = dandisets[2]
    blob = archive.asset(text, "README.md").blob
    assert blob is not None
    archive.s3_faults.add(Status(503), path=blob.blob_id, method="GET", times=FOREVER)
    report = hasty()
    assert results(report) == {dandisets[0]: "changed", dandisets[1]: "changed", text: "failed"}
    message = outcomes(report)[text].message
    assert f"Dandiset {text}" in message
    assert "'README.md'" in message
    assert "HTTP 503" in message


def test_a_text_that_is_not_what_its_digest_says_is_refused(
    archive: DemoArchive, dandisets: list[str], hasty: Mirror
) -> None:
    blob = archive.asset(dandisets[2], "README.md").blob
    assert blob is not None
    for content in (b"# Tex!\n", b"# Text, but longer\n", b"#"):
        archive.objects.put(blob.key, content)
        outcome = outcomes(hasty(dandisets[2]))[dandisets[2]]
        assert outcome.result == "failed"
        assert "'README.md'" in outcome.message


def test_a_version_id_that_cannot_be_had_is_told_and_fails_nothing(
    archive: DemoArchive,
    dandisets: list[str],
    hasty: Mirror,
    git: Callable[..., str],
    repository_of: Callable[..., Path],
) -> None:
    """The content can be had without it: its plain address is recorded instead."""
    draft = dandisets[1]
    (asset,) = archive.dandiset(draft).draft.assets.values()
    archive.add_asset(draft, "sub-M2/another.nwb", b"of which it can be had")
    assert asset.blob is not None
    archive.s3_faults.add(Status(503), path=asset.blob.blob_id, method="HEAD", times=FOREVER)
    outcome = outcomes(hasty(draft))[draft]
    assert outcome.result == "changed"
    assert any(asset.path in warning and "version id" in warning for warning in outcome.warnings)
    logged = git(repository_of(draft), "grep", "-h", asset.blob.blob_id, "git-annex")
    assert logged.endswith(asset.blob.key)


def test_what_failed_stays_bit_for_bit_and_is_repaired_by_the_next_sync(
    archive: DemoArchive, dandisets: list[str], hasty: Mirror, refs_of: RefsOf, store: Path, tmp_path: Path
) -> None:
    hasty()
    first = dandisets[0]
    repository = Store.open(store).alias(first)
    before = files_of(repository)
    archive.replace_asset(first, "README.md", content=b"# Published, and edited\n")
    archive.add_asset(first, "sub-M1/sub-M1_run-9_ecephys.nwb", b"recording 9")
    archive.publish(first)
    blob = archive.asset(first, "README.md").blob
    assert blob is not None
    archive.s3_faults.add(Status(503), path=blob.blob_id, method="GET", times=FOREVER)

    for count in (1, 2):
        assert results(hasty()) == {first: "failed"}
        failure = failure_of(store, first)
        assert (failure.count, failure.kind) == (count, "Unreachable")
        assert files_of(repository) == before
        assert failure.since <= failure.last
    assert Store.open(store).state(first).synced is not None  # that it was mirrored once is not forgotten
    assert list(Store.open(store).temporary.iterdir()) == []

    archive.s3_faults.clear()
    assert results(hasty()) == {first: "changed"}
    assert Store.open(store).state(first).failure is None
    undisturbed = tmp_path / "undisturbed"
    hasty(store=undisturbed)
    # The draft's own history has only what was seen of it; what is published is the same everywhere.
    mine, other = refs_of(first), refs_of(first, store=undisturbed)
    assert mine["refs/heads/releases"] == other["refs/heads/releases"]
    assert {ref: oid for ref, oid in mine.items() if ref.startswith("refs/tags/")} == {
        ref: oid for ref, oid in other.items() if ref.startswith("refs/tags/")
    }


def test_a_failure_whose_cause_is_gone_without_a_change_is_forgotten(
    archive: DemoArchive, dandisets: list[str], hasty: Mirror, store: Path
) -> None:
    hasty()
    archive.touch_draft(dandisets[0])
    archive.api_faults.add(Status(500), path=f"/{dandisets[0]}/versions/draft/info/", times=FOREVER)
    assert results(hasty()) == {dandisets[0]: "failed"}
    archive.api_faults.clear()
    assert results(hasty()) == {dandisets[0]: "unchanged"}
    assert Store.open(store).state(dandisets[0]).failure is None
    assert hasty().outcomes == []


# --- a listing that does not stand still ---------------------------------------------------------------------------


def assert_mirrors_the_draft(archive: DemoArchive, identifier: str, git: Callable[..., str], repository: Path) -> None:
    mirrored = git(repository, "ls-tree", "-r", "--name-only", "draft").splitlines()
    own = {"dandiset.yaml", ".gitattributes"}
    listed = {path for path in mirrored if path not in own and not path.startswith((".dandi/", ".datalad/"))}
    assert listed == set(archive.dandiset(identifier).draft.assets)


def _replace_an_asset(archive: DemoArchive, identifier: str) -> None:
    archive.replace_asset(identifier, "README.md", content=b"# Replaced between two pages\n")


def _remove_an_asset(archive: DemoArchive, identifier: str) -> None:
    archive.remove_asset(identifier, "README.md")


def _add_an_asset(archive: DemoArchive, identifier: str) -> None:
    archive.add_asset(identifier, "A/first_of_all.nwb", b"which moves all others by one")


@pytest.mark.parametrize("happening", [_replace_an_asset, _remove_an_asset, _add_an_asset])
@pytest.mark.parametrize("mirrored_before", [False, True])
def test_a_listing_that_moved_once_is_listed_again(
    happening: Callable[[DemoArchive, str], None],
    mirrored_before: bool,
    archive: DemoArchive,
    dandisets: list[str],
    hasty: Mirror,
    git: Callable[..., str],
    repository_of: Callable[..., Path],
) -> None:
    first = dandisets[0]
    if mirrored_before:
        hasty(first)
        archive.touch_draft(first)
    rule = archive.api_faults.add(
        Before(lambda: happening(archive, first)), path=rf"/{first}/versions/draft/assets/\?.*page=2"
    )
    assert results(hasty(first)) == {first: "changed"}
    assert rule.struck == 1
    assert_mirrors_the_draft(archive, first, git, repository_of(first))


def test_a_page_that_is_lost_once_is_listed_again(
    archive: DemoArchive,
    dandisets: list[str],
    hasty: Mirror,
    git: Callable[..., str],
    repository_of: Callable[..., Path],
) -> None:
    first = dandisets[0]
    rule = archive.api_faults.add(LostPage(), path=rf"/{first}/versions/draft/assets/\?.*page=2")
    assert results(hasty(first)) == {first: "changed"}
    assert rule.struck == 1
    assert_mirrors_the_draft(archive, first, git, repository_of(first))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(LostPage(), "10 assets were announced, 6 listed"), (RepeatedPage(), "page 2 repeats page 1")],
    ids=["lost", "repeated"],
)
def test_a_page_lost_or_repeated_again_and_again_is_not_believed(
    fault: Fault,
    reason: str,
    archive: DemoArchive,
    dandisets: list[str],
    hasty: Mirror,
    git: Callable[..., str],
    repository_of: Callable[..., Path],
) -> None:
    first = dandisets[0]
    archive.api_faults.add(fault, path=rf"/{first}/versions/draft/assets/\?.*page=2", times=FOREVER)
    report = hasty(first)
    assert results(report) == {first: "failed"}
    assert reason in outcomes(report)[first].message
    assert f"Dandiset {first}" in outcomes(report)[first].message
    archive.api_faults.clear()
    assert results(hasty(first)) == {first: "changed"}
    assert_mirrors_the_draft(archive, first, git, repository_of(first))


def test_a_version_that_keeps_moving_is_left_for_the_next_sync(
    archive: DemoArchive, dandisets: list[str], hasty: Mirror, pauses: list[float], store: Path
) -> None:
    first, *others = dandisets
    archive.api_faults.add(
        Before(lambda: archive.touch_draft(first)), path=rf"/{first}/versions/draft/assets/\?.*page=2", times=FOREVER
    )
    report = hasty()
    assert results(report) == {first: "failed", **dict.fromkeys(others, "changed")}
    message = outcomes(report)[first].message
    assert f"Dandiset {first}" in message
    assert "left for the next sync" in message
    assert failure_of(store, first).kind == "Moving"
    assert pauses == sorted(pauses)
    assert len(pauses) == ATTEMPTS - 1
    archive.api_faults.clear()
    assert results(hasty()) == {first: "changed"}


# --- trouble of our own --------------------------------------------------------------------------------------------


def test_an_error_nobody_foresaw_fails_one_dandiset_and_is_logged_with_its_traceback(
    archive: DemoArchive,
    dandisets: list[str],
    hasty: Mirror,
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    honest = DandisetSync.run

    def run(self: DandisetSync, *args: Any) -> Any:
        if self.identifier == dandisets[1]:
            raise ZeroDivisionError("one by zero")
        return honest(self, *args)

    monkeypatch.setattr(DandisetSync, "run", run)
    report = hasty()
    assert results(report) == {dandisets[0]: "changed", dandisets[1]: "failed", dandisets[2]: "changed"}
    assert failure_of(store, dandisets[1]).message == "unexpected ZeroDivisionError: one by zero"
    assert "Traceback" in caplog.text
    monkeypatch.undo()
    assert archive.count(path=f"/{dandisets[1]}/") == 0
    assert results(hasty()) == {dandisets[1]: "changed"}


class HeldBack:
    """A request that is held back until it is let go: a sync in the middle of its work."""

    def __init__(self, archive: DemoArchive, identifier: str) -> None:
        self.came = threading.Event()
        self._go_on = threading.Event()
        archive.api_faults.add(Before(self._hold), path=rf"/{identifier}/versions/draft/assets/\?")

    def _hold(self) -> None:
        self.came.set()
        self._go_on.wait(60)

    def let_go(self) -> None:
        self._go_on.set()


def family_of(pid: int) -> dict[int, int]:
    """All descendants of a process, with the parent of each."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in listed.splitlines())}
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found and child not in found}:
        found |= more
    return {child: parents[child] for child in found - {pid}}


def workers_of(pid: int) -> set[int]:
    """The processes that do the work of a sync with several of them: grandchildren, by way of a fork server."""
    family = family_of(pid)
    return {child for child, parent in family.items() if family.get(parent) == pid}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


@pytest.fixture
def program(settings: MakeSettings, tmp_path: Path) -> Callable[[], subprocess.Popen[str]]:
    """Starts a sync with two workers, in a process of its own, that prints how it went with each Dandiset."""
    script = tmp_path / "program.py"
    script.write_text(
        textwrap.dedent(
            f"""\
            from mirror.config import Settings
            from mirror.sync.engine import sync

            if __name__ == "__main__":
                settings = Settings.model_validate_json({settings(jobs=2).model_dump_json()!r})
                for outcome in sync(settings).outcomes:
                    print(outcome.identifier, outcome.result, outcome.message, flush=True)
            """
        )
    )

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return start


@pytest.fixture
def held_back(archive: DemoArchive, dandisets: list[str]) -> Iterator[list[HeldBack]]:
    """The first two Dandisets, each held back in the middle of its sync."""
    held = [HeldBack(archive, identifier) for identifier in dandisets[:2]]
    yield held
    for each in held:
        each.let_go()


def test_a_worker_that_is_killed_fails_its_dandiset_and_the_next_sync_repairs(
    held_back: list[HeldBack],
    dandisets: list[str],
    program: Callable[[], subprocess.Popen[str]],
    hasty: Mirror,
    store: Path,
    refs_of: RefsOf,
    tmp_path: Path,
) -> None:
    first, *others = dandisets
    with program() as process:
        assert all(held.came.wait(20) for held in held_back)
        held_back[1].let_go()
        # The other worker does all the others; then the only one at work is the one that waits.
        assert eventually(lambda: all(Store.open(store).state(other).synced for other in others))
        for worker in workers_of(process.pid):
            os.kill(worker, signal.SIGKILL)
        stdout, _ = process.communicate(timeout=20)
    told = dict(line.split()[:2] for line in stdout.splitlines())
    assert told == {first: "failed", **dict.fromkeys(others, "changed")}
    assert "was killed" in failure_of(store, first).message
    held_back[0].let_go()

    assert results(hasty()) == {first: "changed"}
    assert Store.open(store).state(first).failure is None
    assert list(Store.open(store).temporary.iterdir()) == []
    undisturbed = tmp_path / "undisturbed"
    hasty(store=undisturbed)
    assert refs_of(first) == refs_of(first, store=undisturbed)


def test_a_worker_that_is_killed_takes_no_other_dandiset_with_it(
    held_back: list[HeldBack], dandisets: list[str], program: Callable[[], subprocess.Popen[str]]
) -> None:
    with program() as process:
        assert all(held.came.wait(20) for held in held_back)
        os.kill(min(workers_of(process.pid)), signal.SIGKILL)
        for held in held_back:
            held.let_go()
        stdout, _ = process.communicate(timeout=20)
    told = [line.split()[1] for line in stdout.splitlines()]
    assert len(told) == len(dandisets)
    assert told.count("failed") <= 1


def test_no_worker_outlives_a_killed_sync(
    held_back: list[HeldBack],
    dandisets: list[str],
    program: Callable[[], subprocess.Popen[str]],
    hasty: Mirror,
    store: Path,
) -> None:
    with program() as process:
        assert all(held.came.wait(20) for held in held_back)
        family = family_of(process.pid)
        assert len(workers_of(process.pid)) == 2
        process.kill()
        process.communicate(timeout=10)
        assert eventually(lambda: not any(is_alive(member) for member in family))
    for held in held_back:
        held.let_go()
    assert results(hasty()) == dict.fromkeys(dandisets, "changed")
    assert list(Store.open(store).temporary.iterdir()) == []
