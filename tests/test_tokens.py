"""The user's token: from the environment, else from git's credential helpers, and from nobody who would have to ask."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from mirror import tokens
from mirror.tokens import token_for

API = "https://api.example.org/api"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of one's own, and nothing remembered."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("DANDI_API_KEY", raising=False)
    monkeypatch.setattr(tokens, "_known", {})
    return tmp_path


def helped_by(home: Path, script: str) -> None:
    """A credential helper that runs this."""
    helper = home / "helper"
    helper.write_text(f"#!/bin/sh\n{script}\n")
    helper.chmod(0o755)
    subprocess.run(["git", "config", "--global", "credential.helper", str(helper)], check=True)


def has_ended(process: int) -> bool:
    """Within a moment; or nobody has asked for its status yet."""
    for _ in range(500):
        done = subprocess.run(["ps", "-o", "stat=", str(process)], capture_output=True, text=True, check=False)
        if not done.stdout.strip() or done.stdout.startswith("Z"):
            return True
        time.sleep(0.01)
    return False


def test_the_environment_comes_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helped_by(home, f"touch {home}/asked; echo password=of-the-helper")
    monkeypatch.setenv("DANDI_API_KEY", " of-the-environment\n")
    assert token_for("DANDI_API_KEY", API) == "of-the-environment"
    assert not (home / "asked").exists()


def test_git_credential_is_asked_next_and_once(home: Path) -> None:
    helped_by(home, f"cat >> {home}/asked; echo username=any; echo password=of-the-helper")
    assert [token_for("DANDI_API_KEY", API) for _ in range(3)] == ["of-the-helper"] * 3
    asked = (home / "asked").read_text()
    assert asked.count("host=api.example.org") == 1
    assert "protocol=https" in asked


def test_what_git_was_told_by_approve_is_found() -> None:
    """As the README says it."""
    subprocess.run(["git", "config", "--global", "credential.helper", "store"], check=True)
    said = f"url={API}\nusername=dandi\npassword=kept\n\n"
    subprocess.run(["git", "credential", "approve"], input=said, text=True, check=True)
    assert token_for("DANDI_API_KEY", API) == "kept"
    assert token_for(None, "https://elsewhere.example.org/api") is None


def test_nobody_is_asked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asking = home / "asking"
    asking.write_text(f"#!/bin/sh\ntouch {home}/asked\necho secret\n")
    asking.chmod(0o755)
    for name in ("GIT_ASKPASS", "SSH_ASKPASS"):
        monkeypatch.setenv(name, str(asking))
    monkeypatch.setenv("GIT_TERMINAL_PROMPT", "1")
    subprocess.run(["git", "config", "--global", "core.askPass", str(asking)], check=True)
    started = time.monotonic()
    assert token_for("DANDI_API_KEY", API) is None
    assert time.monotonic() - started < 15
    assert not (home / "asked").exists()


def test_a_helper_that_waits_for_somebody_is_ended(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "SECONDS", 0.5)
    # Its child keeps the pipe open: ending git alone would not end the wait.
    helped_by(home, "sleep 60 & sleep 60")
    started = time.monotonic()
    assert token_for("DANDI_API_KEY", API) is None
    assert time.monotonic() - started < 30


def test_a_helper_is_not_left_behind_by_whoever_is_interrupted_while_it_waits(home: Path) -> None:
    """It is in a session of its own: Ctrl-C reaches us only."""
    helped_by(home, f"echo $$ > {home}/helper.pid; exec sleep 60")
    main = threading.get_ident()

    def interrupt() -> None:
        for _ in range(500):
            if (home / "helper.pid").exists():
                break
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            token_for("DANDI_API_KEY", API)
    finally:
        interrupting.join()
        signal.signal(signal.SIGINT, handler)
    assert has_ended(int((home / "helper.pid").read_text()))


def test_a_helper_s_environment_has_no_token_of_ours(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_API_KEY", "not for you")
    monkeypatch.setenv("GITHUB_TOKEN", "nor this")
    helped_by(home, f"env > {home}/environment; echo username=any; echo password=fine")
    assert token_for("DANDI_API_KEY", API) == "fine"
    environment = (home / "environment").read_text()
    assert "HOME=" in environment
    assert "not for you" not in environment
    assert "nor this" not in environment


@pytest.mark.parametrize("script", ["exit 1", "echo nonsense", "printf '\\377\\376'", "kill -9 $$"])
def test_a_helper_that_fails_has_none(home: Path, script: str) -> None:
    helped_by(home, script)
    assert token_for("DANDI_API_KEY", API) is None


def test_without_git_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert token_for(None, API) is None


@pytest.mark.parametrize(
    "url", ["ftp://a/b", "https://", "https://user@host/api", "https://a\nhost=b/api", "https://[/"]
)
def test_what_is_no_address_of_an_api_is_not_asked_for(home: Path, url: str) -> None:
    helped_by(home, f"touch {home}/asked; echo password=x")
    assert token_for(None, url) is None
    assert not (home / "asked").exists()
