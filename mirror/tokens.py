"""The user's token for an archive: from the environment, or from git's credential helpers.

    git credential approve <<EOF
    url=https://api.dandiarchive.org/api
    username=dandi
    password=THE-TOKEN
    EOF

hands it to whatever `credential.helper` is set up, which keeps it as it keeps passwords for `git push`. Which user name
it is kept under does not matter: the archive knows its users by their tokens.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from threading import Lock
from urllib.parse import urlsplit

from mirror.git.process import is_secret

SECONDS = 5.0
"""how long a helper may take; one that waits for somebody is ended"""

# Nobody is asked: neither on the terminal, nor by a window, nor in a browser.
_NOBODY_IS_ASKED = {"GIT_ASKPASS": "", "GIT_TERMINAL_PROMPT": "0", "GCM_INTERACTIVE": "never", "LC_ALL": "C"}
_SETTINGS = ("-c", "core.askPass=", "-c", "credential.interactive=false")

_known: dict[str, str | None] = {}
_lock = Lock()


def token_for(variable: str | None, url: str) -> str | None:
    """The token for the archive whose API is at `url`; None where there is none.

    The environment `variable` comes first. Git's helpers are asked once in the life of this process.
    """
    said = os.environ.get(variable, "").strip() if variable else ""
    if said:
        return said
    with _lock:
        if url not in _known:
            _known[url] = _from_git(url)
        return _known[url]


def _from_git(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host = parts.netloc
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or "@" in host or any(char in url for char in "\r\n\0"):
        return None
    lines = f"protocol={parts.scheme}\nhost={host}\npath={parts.path.strip('/')}\n\n"
    answer = dict(line.partition("=")[::2] for line in _asked(lines).splitlines())
    return answer.get("password", "").strip() or None


def _asked(lines: str) -> str:
    """What `git credential fill` says; nothing where it knows nothing, or does not answer in time."""
    environment = {name: value for name, value in os.environ.items() if not is_secret(name)} | _NOBODY_IS_ASKED
    try:
        # In a session of its own: without a terminal, and to be ended with all that it started.
        process = subprocess.Popen(
            ["git", *_SETTINGS, "credential", "fill"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
            text=True,
            errors="replace",
        )
    except OSError:
        return ""
    try:
        said, _ = process.communicate(lines, timeout=SECONDS)
    except BaseException as error:
        # Whoever is interrupted here would leave it behind: the terminal's Ctrl-C does not reach its session.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            return ""
        raise
    return said if process.returncode == 0 else ""
