"""What README.md promises in its tables is what the program does."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

from mirror import errors
from mirror.archive.instances import KNOWN_INSTANCES
from mirror.cli.output import Status
from mirror.config import SETTINGS
from mirror.config_layers import CONFIG_VARIABLE, VARIABLE_PREFIX, variable_of
from mirror.demo import DemoArchive

from ..warm import warm_program

README = Path(__file__).parents[2] / "README.md"
# Here each command is seen to import all that it needs, whatever others have imported before.
ALONE = """
import sys
for name in [name for name in sys.modules if name.partition(".")[0] == "mirror"]:
    del sys.modules[name]
from mirror.cli.main import main
main()
"""
EVERY_RECORD = {"action", "path", "status", "type", "message"}


def table(heading: str) -> list[dict[str, str]]:
    """The first table below a heading, each row by the names of the columns. Code quotes are taken off."""
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", README.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"README.md has no section {heading!r}"
    lines = [line for line in found[1].splitlines() if line.startswith("|")]
    head, _, *rows = ([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines)
    assert rows
    return [dict(zip(head, (_unquoted(cell) for cell in row), strict=True)) for row in rows]


def _unquoted(cell: str) -> str:
    return cell[1:-1] if re.fullmatch(r"`[^`]*`", cell) else cell


def column(heading: str, name: str) -> list[str]:
    cells = [row[name] for row in table(heading)]
    assert len(set(cells)) == len(cells)
    return cells


# --- exit codes ----------------------------------------------------------------------------------------------------


def test_every_exit_code_is_listed_with_the_error_that_ends_with_it() -> None:
    listed = {int(row["code"]): row["error"] for row in table("Exit codes")}
    assert listed.pop(0) == ""
    for code, name in listed.items():
        assert getattr(errors, name).exit_code == code
    assert set(listed) == {error.exit_code for error in _all_errors()}


def _all_errors() -> list[type[errors.MirrorError]]:
    return [
        found
        for _, found in inspect.getmembers(errors, inspect.isclass)
        if issubclass(found, errors.MirrorError) and found.__module__ == errors.__name__
    ]


# --- JSON records --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """The records that all commands print, by action, of an archive with something of everything."""
    folder = tmp_path_factory.mktemp("records")
    records: dict[str, list[dict[str, Any]]] = {}
    with DemoArchive() as archive:
        for path in ("sub-1/sub-1.nwb", "sub-1//sub-1.nwb"):
            archive.add_asset(archive.create_dandiset(), path, b"content")
        archive.create_dandiset(embargoed=True)
        archive.add_zarr("000001", "sub-1/sub-1.zarr", {".zgroup": b"{}"})
        archive.add_asset(archive.create_dandiset(), "README.md", b"# Published just now\n")
        version = archive.publish("000004")
        settings = {
            "DANDI_MIRROR_ARCHIVE__INSTANCE": "demo-dandi",
            "DANDI_MIRROR_ARCHIVE__API_URL": archive.api_url,
            "DANDI_MIRROR_ARCHIVE__S3_ENDPOINT": archive.s3_endpoint,
            "DANDI_MIRROR_JOBS": "1",
            "DANDI_MIRROR_PUBLISH__HOSTS": f"[{{name: backup, kind: ria, url: {folder / 'backup'}}}]",
            "DANDI_MIRROR_BACKUP": f"[{{name: nas, type: directory, options: {{directory: {folder / 'nas'}}}}}]",
        }
        (folder / "nas").mkdir()
        for command in (
            "sync 1 2 3",
            "sync 4",
            "materialize 1",
            "populate 1",
            "backup 1",
            "bundle 1 -o bundle",
            "bundle --verify bundle",
            "verify 1 --level bytes",
            "status 1",
            "compare dandi-mirror",
            "run --once",
            "status",
            "config show",
            "changes",
            "resolve 000001 sub-1/sub-1.nwb",
            f"skip 4 {version} --why because",
        ):
            for record in _records(command.split(), folder, settings):
                records.setdefault(record["action"], []).append(record)
        _damage(folder)
        for command in ("bundle --verify bundle", "verify 1 --offline --level bytes", "status 1"):
            for record in _records(command.split(), folder, settings):
                records.setdefault(record["action"], []).append(record)
        for record in _records(["query", "identifier is present"], folder, settings):
            records.setdefault(record["action"], []).append(record)
    return records


def _damage(folder: Path) -> None:
    """Change a content, in the store and in the bundle."""
    for place in ("dandi-mirror/public", "bundle/annex"):
        for path in (folder / place).rglob("SHA256E-s7--*"):
            if path.is_file():
                path.chmod(0o644)
                path.write_bytes(b"damaged")


def _records(command: list[str], folder: Path, settings: dict[str, str]) -> list[dict[str, Any]]:
    done = warm_program().run(*command, "--json", cwd=folder, env=settings, code=ALONE)
    assert done.stdout, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_key_of_a_record_is_listed_and_every_listed_key_is_there(
    printed: dict[str, list[dict[str, Any]]],
) -> None:
    listed: dict[str, set[str]] = {}
    for row in table("JSON records"):
        listed.setdefault(row["action"], set()).add(row["key"])
    assert listed.pop("all") == EVERY_RECORD
    assert listed.keys() == printed.keys()
    for action, records in printed.items():
        found = {key for record in records for key in record}
        assert found - EVERY_RECORD == listed[action], action
        if action != "config-show":  # where a token's record has other keys than a setting's
            assert all(record.keys() == found for record in records), action


def test_the_values_that_are_spelled_out_are_all_there_are(printed: dict[str, list[dict[str, Any]]]) -> None:
    meanings = {(row["action"], row["key"]): row["value"] for row in table("JSON records")}
    assert quoted(meanings["all", "status"]) == set(Status)
    records = [record for command in printed.values() for record in command]
    assert {record["type"] for record in records} <= quoted(meanings["all", "type"])
    failure = next(record["failure"] for record in printed["status"] if record["failure"])
    assert failure.keys() == quoted(meanings["status", "failure"])
    origin = next(record["origin"] for record in printed["config-show"] if "origin" in record)
    assert origin.keys() == quoted(meanings["config-show", "origin"])
    results = {record["result"] for record in printed["sync"]}
    assert results == {"changed", "failed", "embargoed"}
    assert results < quoted(meanings["sync", "result"])


def quoted(text: str) -> set[str]:
    return set(re.findall(r"`([^`]*)`", text))


# --- variables and settings ----------------------------------------------------------------------------------------


def test_every_variable_for_a_setting_is_listed_and_no_other() -> None:
    listed = {name for name in column("Environment variables", "variable") if name.startswith(VARIABLE_PREFIX)}
    assert listed == {CONFIG_VARIABLE, *map(variable_of, SETTINGS)}
    for row in table("Environment variables"):
        if row["variable"].startswith(VARIABLE_PREFIX) and row["variable"] != CONFIG_VARIABLE:
            key = re.findall(r"`([^`]*)`", row["meaning"])[0]
            assert variable_of(key) == row["variable"]


def test_the_variable_for_the_token_of_every_known_instance_is_listed() -> None:
    listed = {name for name in column("Environment variables", "variable") if name.endswith("_API_KEY")}
    assert listed == {instance.token_variable for instance in KNOWN_INSTANCES.values()}


def test_every_other_variable_that_is_listed_is_read_by_the_program() -> None:
    package = README.parent / "mirror"
    source = "\n".join(path.read_text() for path in sorted(package.rglob("*.py")))
    for name in column("Environment variables", "variable"):
        if name.startswith(VARIABLE_PREFIX) or name.endswith(("_API_KEY", "_PROXY")):
            continue  # composed from what the tests above compare, or read by the HTTP library
        assert name in source, name


def test_every_setting_is_listed_with_its_default_and_meaning() -> None:
    listed = {row["key"]: (row["default"], row["meaning"]) for row in table("Configuration")}
    assert list(listed) == list(SETTINGS)
    for key, field in SETTINGS.items():
        default, meaning = listed[key]
        value = list(field.default) if isinstance(field.default, tuple) else field.default
        assert default == (json.dumps(value) if not isinstance(value, str | Path) else str(value)), key
        assert meaning == field.description, key
