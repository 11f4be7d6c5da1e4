"""`dandi-mirror clone-config` as a user sees it: a git configuration with comments, for one mirror."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mirror.archive.records import Instance
from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.store.chronicle import Chronicle
from mirror.store.store import Store
from mirror.sync.engine import sync

from ..warm import warm_program

START = datetime(2026, 11, 20, 15, 34, 17, tzinfo=UTC)
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an empty store of the archive's main instance."""
    Store.open_or_create(tmp_path / "store", Instance("DANDI", "https://dandiarchive.org", "10.48324"))
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    """Runs `python -m mirror clone-config --store store ARGS`."""

    def run(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return warm_program().run("clone-config", "--store", "store", *args, cwd=folder, env=env)

    return run


def values(text: str, folder: Path) -> dict[str, list[str]]:
    """What git itself reads in it."""
    file = folder / "printed"
    file.write_text(text)
    listed = subprocess.run(
        ["git", "config", "-z", "--list", "--file", file], check=True, capture_output=True, text=True
    ).stdout
    found: dict[str, list[str]] = {}
    for entry in listed.split("\0")[:-1]:
        key, _, value = entry.partition("\n")
        found.setdefault(key, []).append(value)
    return found


def substituted(found: dict[str, list[str]], name: str) -> set[str]:
    """What DataLad makes of a name, by the rules in its documentation."""
    results = set()
    for key, rules in found.items():
        if key.startswith("datalad.clone.url-substitute."):
            (rule,) = rules
            pattern, replacement = rule[1:].split(rule[0])
            if re.match(pattern, name):
                results.add(re.sub(pattern, replacement, name))
    return results


def test_it_is_a_git_configuration_for_the_address_in_the_settings(run: Run, folder: Path) -> None:
    done = run(DANDI_MIRROR_PUBLISH__URL="https://mirror.example.org/dandi/")
    assert (done.returncode, done.stderr) == (0, "")
    found = values(done.stdout, folder)
    assert list(found) == [
        "datalad.clone.url-substitute.mirrored-dandi",
        "datalad.clone.url-substitute.mirrored-dandi-version",
        "url.https://mirror.example.org/dandi/alias/.insteadof",
    ]
    assert found["url.https://mirror.example.org/dandi/alias/.insteadof"] == [
        "dandi://dandi/",
        "https://dandiarchive.org/dandiset/",
        "DANDI:",
    ]
    assert "# for `git clone` only: DataLad would take DANDI: for an ssh host" in done.stdout


@pytest.mark.parametrize(
    "name",
    [
        *("DANDI:000003", "dandi:000003", "https://identifiers.org/DANDI:000003", "dandi://dandi/000003"),
        *("https://dandiarchive.org/dandiset/000003", "https://dandiarchive.org/#/dandiset/000003/"),
        *("doi:10.48324/dandi.000003", "https://doi.org/10.48324/DANDI.000003"),
    ],
)
@pytest.mark.parametrize("version", ["0.230629.1955", "draft"])
def test_every_name_of_a_dandiset_becomes_its_address_with_or_without_a_version(
    run: Run, folder: Path, name: str, version: str
) -> None:
    found = values(run("--url", "https://mirror.example.org/dandi").stdout, folder)
    assert substituted(found, name) == {"ria+https://mirror.example.org/dandi#~000003"}
    versioned = f"{name.rstrip('/')}/{version}"
    assert substituted(found, versioned) == {f"ria+https://mirror.example.org/dandi#~000003@{version}"}


@pytest.mark.parametrize(
    "name",
    [
        *("DANDI-SANDBOX:000003", "DANDI:abc", "DANDI:000003/0.1/x", "doi:10.80507/dandi.000003", "/data/DANDI:000003"),
        *("https://sandbox.dandiarchive.org/dandiset/000003", "https://github.com/dandisets/000003", "000003"),
    ],
)
def test_what_is_no_name_of_this_archive_is_left_alone(run: Run, folder: Path, name: str) -> None:
    assert substituted(values(run().stdout, folder), name) == set()


@pytest.mark.parametrize(
    ("url", "address", "base"),
    [
        ("ria+ssh://me@host.example.org/data/dandi/", "ria+ssh://me@host.example.org/data/dandi", None),
        ("file:///data/a%20b", "ria+file:///data/a%20b", "/data/a b/alias/"),
        ("https://example.org/a,b", "ria+https://example.org/a%2Cb", "https://example.org/a,b/alias/"),
    ],
)
def test_an_address_may_be_of_any_kind_that_clones(
    run: Run, folder: Path, url: str, address: str, base: str | None
) -> None:
    found = values(run("--url", url).stdout, folder)
    assert substituted(found, "DANDI:000003") == {f"{address}#~000003"}
    assert f"url.{base or address.removeprefix('ria+') + '/alias/'}.insteadof" in found


@pytest.mark.parametrize(
    "url", ["mirror.example.org", "ftp://x/y", "https://", "https://x/?y", "https://x/\ny", "https://x/\"'"]
)
def test_what_is_no_address_is_a_usage_error(run: Run, url: str) -> None:
    done = run("--url", url)
    assert (done.returncode, done.stdout) == (2, "")
    assert "starts with http://" in done.stderr or "%20" in done.stderr


def test_without_a_store_it_is_10(run: Run) -> None:
    assert run("--store", "nowhere").returncode == 10


def test_the_examples_are_of_a_version_that_is_mirrored_and_its_doi_is_known(tmp_path: Path) -> None:
    with DemoArchive(start=START, seed=1) as archive:
        connection = {"instance": "demo-dandi", "api_url": archive.api_url, "s3_endpoint": archive.s3_endpoint}
        archive.add_asset(archive.create_dandiset(identifier="000108"), "a.nwb", b"a recording")
        version = archive.publish("000108")
        settings = {"archive": {**connection, "settle_seconds": 0}, "store": tmp_path / "store"}
        sync(Settings.model_validate(settings)).check()
    with Chronicle(Store.open(tmp_path / "store")) as chronicle:
        chronicle.follow("000108")
    done = warm_program().run("clone-config", "--store", str(tmp_path / "store"), cwd=tmp_path)
    doi = f"10.80507/demo-dandi.000108/{version}"
    assert f"#     datalad clone doi:{doi} 000108-{version}\n" in done.stdout
    address = f"ria+file://{tmp_path}/store/public#~000108"
    found = values(done.stdout, tmp_path)
    assert substituted(found, f"https://doi.org/{doi}") == {f"{address}@{version}"}
    assert substituted(found, "DEMO-DANDI:000108") == {address}
