"""The program, imported once: each command is run by a fork of a process that did. Importing takes it longer than most
of what tests ask of it. How it starts, and what signals do to it, is for tests that start it themselves.

    python warm.py FD     of a socket: JSON of words, folder, environment, and of other code than the program's if that
                          is to be run, with two files for what is said on stdout and stderr; its exit code comes back
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from _typeshed import HasFileno

_MOST = 1 << 20
_ASKED_FOR_LATE = (
    *("mirror.archive.connections", "mirror.config_layers", "mirror.daemon.once", "mirror.daemon.service"),
    *("mirror.keeping.bundle.making", "mirror.keeping.populating", "mirror.proving.comparing", "mirror.proving.verify"),
    *("mirror.publish.hosts", "mirror.publish.publishing", "mirror.store.overview", "mirror.store.resolving.answers"),
    *("mirror.cron", "mirror.store.resolving.client_config", "mirror.sync.under_way"),
)


class WarmProgram:
    """Runs commands."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            command = [sys.executable, __file__, str(number)]
            # Python remembers of its stdout whether it can seek; in a pipe it cannot, as it cannot on a terminal.
            self._process = subprocess.Popen(
                command, pass_fds=[number], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
            )

    def run(
        self,
        *words: str,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        code: str | None = None,
        stdout: int | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """`python -m mirror WORDS`, or with `code`, `python -c CODE WORDS`; `env` is added to the environment.

        What is said on stdout goes to the open file `stdout`, if that is given.
        """
        asked = json.dumps([words, str(cwd), {**os.environ, **(env or {})}, code]).encode()
        with TemporaryFile("w+", encoding="utf-8") as out, TemporaryFile("w+", encoding="utf-8") as err:
            socket.send_fds(self._socket, [asked], [out.fileno() if stdout is None else stdout, err.fileno()])
            ended = self._ended(timeout)
            return subprocess.CompletedProcess(words, ended, *(file.read() for file in (out, err) if not file.seek(0)))

    def _ended(self, timeout: float) -> int:
        self._socket.settimeout(timeout)
        try:
            return int(self._socket.recv(16))
        except TimeoutError:
            os.killpg(self._process.pid, signal.SIGKILL)
            warm_program.cache_clear()
            raise

    def close(self) -> None:
        self._socket.close()
        self._process.communicate()


@cache
def warm_program() -> WarmProgram:
    """The one of this process, with which it ends."""
    program = WarmProgram()
    atexit.register(program.close)
    return program


def serve(peer: socket.socket) -> None:
    """Run what is asked for, one after the other."""
    main = import_module("mirror.cli.main")
    for module in (*_ASKED_FOR_LATE, *(entry.module for entry in main.COMMANDS.values())):
        import_module(module)
    gc.freeze()
    os.fsync = _not_waited_for
    while True:
        asked, files, _, _ = socket.recv_fds(peer, _MOST, 2)
        if not asked:
            return
        child = os.fork()
        if child == 0:
            peer.close()
            words, folder, environment, code = json.loads(asked)
            _settle(files, folder, environment)
            sys.argv = ["-c" if code else "dandi-mirror", *words]
            _run_to_its_end(main.main if code is None else partial(exec, code, {"__name__": "__main__"}))
        for file in files:
            os.close(file)
        _, status = os.waitpid(child, 0)
        peer.sendall(b"%d" % os.waitstatus_to_exitcode(status))


def _not_waited_for(fd: int | HasFileno) -> None:
    """Only a power cut would show that something is not on a disk yet."""
    os.fstat(fd if isinstance(fd, int) else fd.fileno())


def _settle(files: list[int], folder: str, environment: dict[str, str]) -> None:
    """Be as if started with these files as stdout and stderr, in this folder, with this environment."""
    for number, file in zip((1, 2), files, strict=True):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()


def _run_to_its_end(run: Callable[[], object]) -> NoReturn:
    """As Python ends, but that modules are not taken apart one by one: that takes longer than most commands."""
    code: object = 1
    try:
        run()
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as the end of a process does
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
