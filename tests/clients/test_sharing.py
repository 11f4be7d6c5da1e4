"""Other users of the machine, and other machines, read the store: its modes, git's ownership check, static servers."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

STRANGER = 65534
AS_STRANGER = ("setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups")

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can become somebody else"
)


def system_config(folder: Path, text: str) -> dict[str, str | None]:
    """The environment of a machine whose `git config --system` is this; the real one stays as it is."""
    file = folder / "gitconfig-system"
    file.write_text(text)
    file.chmod(0o644)
    return {"GIT_CONFIG_SYSTEM": str(file), "GIT_CONFIG_NOSYSTEM": None}


@pytest.fixture
def home(open_folder: Path, isolated_home: Path) -> Path:
    """The stranger's own folder."""
    home = open_folder / "home"
    home.mkdir()
    shutil.copy(isolated_home / ".gitconfig", home)
    for path in (home, home / ".gitconfig"):
        os.chown(path, STRANGER, STRANGER)
    return home


def test_everything_is_readable_by_everybody_whatever_the_umask(shared: Any) -> None:
    closed = []
    for path in [shared.store, *shared.public.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        wanted = 0o755 if path.is_dir() else 0o444
        if path.name != "mirror.lock" and mode & wanted != wanted:
            closed.append((str(path), oct(mode)))
        assert not mode & 0o022, f"{path} can be written to by others: {mode:o}"
    assert closed == []


@needs_root
def test_another_user_clones_by_path_once_the_machine_trusts_the_owner(
    shared: Any, home: Path, run: Callable[..., str]
) -> None:
    def clone(name: str, config: str, *, ok: bool) -> str:
        env = {"HOME": str(home), **system_config(home.parent, config)}
        return run(*AS_STRANGER, "git", "clone", "-q", shared.alias, home / name, ok=ok, env=env)

    assert "dubious ownership" in clone("before", "", ok=False)
    clone("after", "[safe]\n\tdirectory = *\n", ok=True)
    assert (home / "after" / "README.md").stat().st_uid == STRANGER


@needs_root
def test_another_user_clones_from_a_static_server_as_it_is(
    shared: Any, home: Path, served: Callable[..., Any], run: Callable[..., str]
) -> None:
    env = {"HOME": str(home), **system_config(home.parent, "")}
    with served(shared.public) as url:
        run(*AS_STRANGER, "git", "clone", "-q", f"{url}/alias/000001", home / "clone", env=env)
    assert (home / "clone" / "README.md").stat().st_uid == STRANGER


@needs_root
@pytest.mark.parametrize("way", ["path", "ria+file"])
def test_datalad_clones_the_store_of_another_user_once_the_machine_trusts_it(
    shared: Any, clone_of: Callable[..., Any], run: Callable[..., str], tmp_path: Path, way: str
) -> None:
    run("chown", "-R", f"{STRANGER}:{STRANGER}", shared.store)
    address = shared.alias if way == "path" else f"ria+file://{shared.public}#~000001"
    run("datalad", "clone", address, tmp_path / "refused", ok=False, env=system_config(tmp_path, ""))
    assert not (tmp_path / "refused").exists()
    clone = clone_of(address, env=system_config(tmp_path, "[safe]\n\tdirectory = *\n"))
    clone.datalad("get", "sub-M1/sub-M1_later.nwb")
    assert clone.read("sub-M1/sub-M1_later.nwb") == b"later"
    clone.datalad("update", "--how", "ff-only")
    clone.assert_clean()


NGINX = """\
daemon off;
pid nginx.pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ root {public}; }}
    }}
}}
"""


@contextmanager
def nginx(folder: Path, public: Path) -> Iterator[str]:
    """nginx as the README sets it up; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "nginx.conf").write_text(NGINX.format(port=port, public=public))
    cmd = ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
    with subprocess.Popen(cmd) as process:
        try:
            _wait_for(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert process.poll() is None, "nginx did not start"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("nginx does not answer")


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
@pytest.mark.parametrize("scheme", ["http", "ria+http"])
def test_nginx_serves_it_with_one_line(
    shared: Any, open_folder: Path, clone_of: Callable[..., Any], scheme: str
) -> None:
    (open_folder / "nginx").mkdir()
    with nginx(open_folder / "nginx", shared.public) as url:
        clone = clone_of(f"ria+{url}#~000001" if scheme == "ria+http" else f"{url}/alias/000001")
        clone.datalad("get", "sub-M1/sub-M1_later.nwb")
        clone.assert_clean()
        shared.add("sub-M1/sub-M1_latest.nwb", b"latest")
        shared.sync()
        clone.datalad("update", "--how", "ff-only")
        clone.datalad("get", "sub-M1/sub-M1_latest.nwb")
        assert clone.read("sub-M1/sub-M1_latest.nwb") == b"latest"
