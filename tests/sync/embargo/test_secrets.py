"""What must not be found anywhere after a run: the token, and addresses that are signed."""

from __future__ import annotations

import gzip
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from mirror.demo import DemoArchive
from mirror.demo.faults import Reset, Status
from mirror.demo.samples import embargoed_dandiset
from mirror.store.store import Store
from tests.sync.embargo.conftest import TOKEN_VARIABLE
from tests.warm import warm_program

_SIGNATURES = ("X-Amz-Signature", "Signature=", "X-Amz-Credential")

_WITNESS = """\
#!/bin/sh
{{ printf '%s\\n' "$0" "$@"; env; }} > {folder}/git-$$
exec {git} "$@"
"""
"""Stands before the real git on the path, and writes down what `/proc` would show of it."""


class World:
    """A mirror that is run by its commands, and everything that came of that."""

    def __init__(self, archive: DemoArchive, folder: Path) -> None:
        self.archive = archive
        self.folder = folder
        self.rounds = 0
        for name in ("bin", "seen", "home"):
            (folder / name).mkdir()
        git = shutil.which("git")
        assert git is not None
        witness = folder / "bin" / "git"
        witness.write_text(_WITNESS.format(folder=shlex.quote(str(folder / "seen")), git=shlex.quote(git)))
        witness.chmod(0o755)
        hook = f"env > {folder}/seen/hook-$$.env; cat > {folder}/seen/hook-$$.json"
        settings = {
            "archive": {
                "instance": "demo-dandi",
                "api_url": archive.api_url,
                "s3_endpoint": archive.s3_endpoint,
                "settle_seconds": 0,
            },
            "store": str(folder / "store"),
            "jobs": 2,
            "select": {"embargoed": True},
            "on_failure": hook,
            "alarm_after": 1,
            "publish": {"hosts": [{"name": "safe", "kind": "ria", "url": str(folder / "host"), "private": True}]},
        }
        (folder / "dandi-mirror.yaml").write_text(json.dumps(settings))

    def run(self, *args: str, token: str | None) -> str:
        """Run a command; what it printed to stdout."""
        self.rounds += 1
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        assert TOKEN_VARIABLE not in os.environ
        environment = {"PATH": path, "HOME": str(self.folder / "home")}
        if token is not None:
            environment[TOKEN_VARIABLE] = token
        done = warm_program().run(*args, cwd=self.folder, env=environment)
        (self.folder / "seen" / f"stdout-{self.rounds}").write_text(done.stdout)
        (self.folder / "seen" / f"stderr-{self.rounds}").write_text(done.stderr)
        assert done.returncode in (0, 3), done.stderr
        return done.stdout

    def found(self, *secrets: str) -> list[tuple[str, str]]:
        """Which of these stand where, in whatever was written."""
        bodies = {path: _body(path) for path in self.folder.rglob("*") if path.is_file() and not path.is_symlink()}
        stores = (self.folder / "store", self.folder / "host")
        bodies |= {config.parent: _objects(config.parent) for store in stores for config in store.rglob("config")}
        return [(secret, str(path)) for path, body in bodies.items() for secret in secrets if secret.encode() in body]


def _body(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def _objects(repository: Path) -> bytes:
    command = ["git", "-C", str(repository), "cat-file", "--batch-all-objects", "--batch", "--unordered"]
    return subprocess.run(command, capture_output=True, check=True).stdout


@pytest.fixture
def world(archive: DemoArchive, tmp_path: Path) -> World:
    return World(archive, tmp_path)


def test_neither_token_nor_signature_is_found_anywhere_after_a_life_of_runs(archive: DemoArchive, world: World) -> None:
    identifier, failing = embargoed_dandiset(archive), embargoed_dandiset(archive)
    token = archive.token
    broken = archive.dandiset(failing).draft.assets["README.md"].asset_id
    archive.api_faults.add(Status(404), path=f"/assets/{broken}/download/", times=None)
    archive.api_faults.add(Status(503), path="/download/|/zarr/", times=1)
    archive.s3_faults.add(Reset(), path="X-Amz-Signature", times=1)
    archive.s3_faults.add(Status(503), path="X-Amz-Signature", times=1)
    world.run("run", "--once", "--json", "-vv", token=token)
    world.run("sync", "--json", "-l", "debug", failing, token=token)
    archive.clock.advance(3600)
    archive.unembargo(identifier)
    world.run("run", "--once", "--json", "-vv", token=token)
    world.run("status", "--json", token=token)
    archive.s3_faults.clear()
    archive.api_faults.clear()
    archive.embargo(identifier)
    world.run("sync", "--json", "-l", "debug", token=None)
    world.run("sync", "--json", "-l", "debug", "--full", token=archive.other_token)

    store = Store.open(world.folder / "store")
    assert store.embargoed() == [identifier, failing]
    assert archive.count(server="s3", path="X-Amz-Signature", status=200) > 0
    seen = sorted(path.name.partition("-")[0] for path in (world.folder / "seen").iterdir())
    assert {"git", "hook", "stderr", "stdout"} <= set(seen)
    # It is no wonder that nothing of the others is found, if nothing could be:
    found = world.found(token, archive.other_token, *_SIGNATURES, archive.api_url)
    assert {secret for secret, _ in found} == {archive.api_url}


def test_the_token_may_come_from_git(archive: DemoArchive, world: World, tmp_path: Path) -> None:
    identifier = embargoed_dandiset(archive)
    helper = tmp_path.parent / f"{tmp_path.name}-helper"
    helper.write_text(f"#!/bin/sh\necho username=me\necho password={archive.token}\n")
    helper.chmod(0o755)
    (world.folder / "home" / ".gitconfig").write_text(f"[credential]\n\thelper = {helper}\n")
    world.run("sync", "--json", "-l", "debug", token=None)
    assert Store.open(world.folder / "store").embargoed() == [identifier]
    assert world.found(archive.token, *_SIGNATURES) == []
