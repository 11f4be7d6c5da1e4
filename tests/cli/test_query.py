"""`dandi-mirror query` as a user or a script sees it: in a process of its own, of a store that a sync made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import termios
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mirror.columns import columns
from mirror.config import Settings
from mirror.dataset.query import FIELDS
from mirror.demo import DemoArchive
from mirror.git.process import run_git
from mirror.store.chronicle import Chronicle
from mirror.store.store import Store
from mirror.sync.engine import sync

from ..warm import warm_program

START = datetime(2026, 11, 20, 15, 34, 17, tzinfo=UTC)
MOUSE = {"name": "Mus musculus - House mouse", "identifier": "http://purl.obolibrary.org/obo/NCBITaxon_10090"}
RAT = {"name": "ラット", "identifier": "http://purl.obolibrary.org/obo/NCBITaxon_10116"}
LONG_NAME = "Of men, ヒトについて, and of how long a title of theirs may become when nobody is there to cut it"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def of(species: dict[str, str]) -> dict[str, Any]:
    """An asset's metadata."""
    return {
        "encodingFormat": "application/x-nwb",
        "wasAttributedTo": [{"identifier": "one", "species": species}],
        "approach": [{"name": "electrophysiological approach"}],
    }


@pytest.fixture(scope="module")
def versions() -> dict[str, str]:
    """The latest published version of each Dandiset; known once `folder` was made."""
    return {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, versions: dict[str, str]) -> Path:
    """A folder with a `store` of three Dandisets: of mice and published twice, of rats, of nothing yet."""
    folder = tmp_path_factory.mktemp("query")
    with DemoArchive(start=START, seed=1) as archive:
        mice, rats, _ = (archive.create_dandiset(name) for name in ("Of mice", "Of rats\x1b[2J", LONG_NAME))
        for name in ("sub-one/a.nwb", "sub-one/b.nwb"):
            archive.add_asset(mice, name, b"x" * 1500, of(MOUSE))
            versions[mice] = archive.publish(mice)
        archive.add_asset(mice, "sub-one/c.nwb", b"x" * 1500, of(MOUSE))
        archive.edit_dandiset(mice, name="Of mice, and more")
        archive.add_asset(rats, "sub-one/a.nwb", b"y", of(RAT))
        settings = Settings.model_validate(
            {
                "archive": {
                    "instance": "demo-dandi",
                    "api_url": archive.api_url,
                    "s3_endpoint": archive.s3_endpoint,
                    "settle_seconds": 0,
                },
                "store": folder / "store",
                "jobs": 1,
            }
        )
        sync(settings)
    store = Store.open(settings.store)
    with store.lock("a test"), Chronicle(store) as chronicle:
        chronicle.catch_up()
        chronicle.finish()
    return folder


@pytest.fixture
def run(folder: Path) -> Run:
    """Runs `python -m mirror query --store store ARGS`."""

    def run(*args: str, store: str = "store") -> subprocess.CompletedProcess[str]:
        return warm_program().run("query", "--store", store, *args, cwd=folder)

    return run


def found(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The identifiers of what is listed."""
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split()[0] for line in done.stdout.splitlines() if line[:6].isdigit()]


def test_what_matches_is_a_table_of_drafts_with_a_count(run: Run, versions: dict[str, str]) -> None:
    done = run("size > 0")
    assert (done.returncode, done.stderr) == (0, "")
    head, mice, rats, blank, count = done.stdout.splitlines()
    assert mice.split(maxsplit=5) == [
        *("000001", versions["000001"], "3", "4.5", "kB"),
        "Mus musculus - House mouse  Of mice, and more",
    ]
    assert rats.split() == ["000002", "-", "1", "1", "B", "ラット", "Of", "rats\\x1b[2J"]
    assert (blank, count) == ("", "2 of 3 Dandisets: 4 assets, 4.5 kB")
    for line, name in ((mice, "Of mice"), (rats, "Of rats")):
        assert columns(line[: line.index(name)]) == head.index("name")


@pytest.mark.parametrize("width", [80, 96, 120, 200])
def test_on_a_terminal_names_are_cut_to_its_width(folder: Path, width: int) -> None:
    lines = drawn(folder, width)
    assert max(map(columns, lines)) <= width
    start = lines[0].index("name")
    assert width - start >= 20
    name = lines[3][start:]
    assert name == LONG_NAME if width == 200 else LONG_NAME.startswith(name.removesuffix("…"))
    assert lines[1].endswith("Of mice, and more")


def test_on_a_narrow_terminal_20_columns_of_a_name_remain(folder: Path) -> None:
    assert drawn(folder, 40)[3].partition("Of men")[2] == drawn(folder, 80)[3].partition("Of men")[2] != ""


def drawn(folder: Path, width: int) -> list[str]:
    """The lines of all Dandisets on a terminal of this width."""
    terminal, other_end = os.openpty()
    termios.tcsetwinsize(other_end, (24, width))
    # COLUMNS, which some shells export, would count for more than the terminal itself.
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLUMNS", raising=False)
        done = warm_program().run("query", "--store", "store", "assets >= 0", cwd=folder, stdout=other_end)
    os.close(other_end)
    text = b"".join(_read_to_the_end(terminal)).decode()
    assert done.returncode == 0
    return text.splitlines()


def _read_to_the_end(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            yield os.read(terminal, 65536)
        except OSError:  # how Linux tells that the other end is closed
            os.close(terminal)
            return


def test_through_a_pipe_names_are_whole(run: Run) -> None:
    assert run("assets = 0").stdout.splitlines()[1].endswith(f"  {LONG_NAME}")


def test_published_asks_of_the_latest_versions_instead(run: Run) -> None:
    assert found(run("name ~ 'and more'")) == ["000001"]
    assert found(run("name ~ 'and more'", "--published")) == []
    done = run("--published", "assets = 2")
    assert found(done) == ["000001"]
    assert done.stdout.splitlines()[-1] == "1 of 1 Dandiset: 2 assets, 3.0 kB"


def test_a_draft_is_asked_with_what_its_latest_version_adds(run: Run, versions: dict[str, str]) -> None:
    assert found(run(f"version = {versions['000001']} and published = 2026 and assets = 3")) == ["000001"]
    assert found(run("doi is missing")) == ["000002", "000003"]
    assert found(run("version = draft")) == ["000002", "000003"]


def test_json_is_one_record_a_dandiset(run: Run, folder: Path, versions: dict[str, str]) -> None:
    done = run("--json", "species = 'mus musculus'")
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    record = json.loads(line)
    alias = folder / "store/public/alias/000001"
    for time in ("created", "modified", "published"):
        assert datetime.fromisoformat(record.pop(time)).date() == START.date()
    assert record.pop("doi").endswith(f"/demo-dandi.000001/{versions['000001']}")
    assert record == {
        "action": "query",
        "path": str(alias),
        "status": "ok",
        "type": "dataset",
        "message": "",
        "dandiset": "000001",
        "version": "draft",
        "commit": run_git(alias, "rev-parse", "draft").decode().strip(),
        "latest_version": versions["000001"],
        "name": "Of mice, and more",
        "assets": 3,
        "bytes": 4500,
        "subjects": 1,
        "species": ["Mus musculus - House mouse"],
        "approaches": ["electrophysiological approach"],
        "techniques": [],
        "standards": ["Neurodata Without Borders (NWB)"],
        "license": ["spdx:CC-BY-4.0"],
        "embargoed": False,
    }
    (published,) = map(json.loads, run("--json", "--published", "doi is present").stdout.splitlines())
    commit = run_git(alias, "rev-parse", f"{versions['000001']}^{{commit}}").decode().strip()
    assert (published["version"], published["commit"]) == (versions["000001"], commit)
    assert published.keys() == json.loads(line).keys()


def test_nothing_that_matches_is_no_error(run: Run) -> None:
    done = run("species ~ axolotl")
    assert (done.returncode, done.stdout) == (0, "0 of 3 Dandisets match\n")
    assert run("species ~ axolotl", "--json").stdout == ""


def test_a_wrong_query_ends_with_2_and_points_at_the_place(run: Run) -> None:
    done = run("specie ~ mouse")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("dandi-mirror: error: no such field; the nearest is `species`\n  specie ~ mouse\n  ^\n")


def test_without_a_query_the_fields_are_told(run: Run) -> None:
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert set(FIELDS) <= set(done.stderr.replace(",", "").split())
    assert max(map(len, done.stderr.splitlines())) <= 100


def test_a_query_without_quotes_is_explained(run: Run) -> None:
    done = run("species", "/home/me", "mouse")
    assert done.returncode == 2
    assert "put it into quotes" in done.stderr


def test_help_tells_the_fields_and_its_examples_are_true(run: Run, folder: Path) -> None:
    text = run("--help").stdout
    assert all(f"\n  {field} " in text for field in FIELDS)
    examples = [line.strip() for line in text.splitlines() if line.startswith("  dandi-mirror query")]
    assert len(examples) == 4
    for example in examples:
        shell = example.replace("dandi-mirror", r"printf '%s\0'", 1)
        words = subprocess.run(shell, shell=True, cwd=folder, check=True, capture_output=True, text=True).stdout
        assert warm_program().run(*words.split("\0")[:-1], "--store", "store", cwd=folder).returncode == 0


def test_without_a_store_it_is_10(run: Run, folder: Path) -> None:
    done = run("doi is missing", store="nowhere")
    assert (done.returncode, done.stdout) == (10, "")
    assert "there is no store at" in done.stderr
    assert not (folder / "nowhere").exists()


def test_a_catalogue_that_is_not_complete_says_so(folder: Path, tmp_path: Path, run: Run) -> None:
    store = tmp_path / "store"
    shutil.copytree(folder / "store", store, symlinks=True)
    (store / "state" / "catalogue.sqlite").unlink()
    done = run("size > 0", store=str(store))
    assert done.returncode == 0
    assert "0 of 0" in done.stdout
    assert "the next `dandi-mirror sync` completes it" in done.stderr
