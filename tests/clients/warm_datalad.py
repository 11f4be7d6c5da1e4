"""DataLad, imported once: each command that comes in over a socket is run by a fork of this process, as the program
itself would run it. Importing takes DataLad longer than most of what the tests ask of it.

    python warm_datalad.py FD      of a socket: JSON of words, folder and changes of the environment, with two files for
                                   what it says and what it complains of
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import NoReturn

import datalad
import datalad.api
from datalad.cli.main import main

_MOST = 1 << 16


def serve(peer: socket.socket) -> None:
    while True:
        asked, files, _, _ = socket.recv_fds(peer, _MOST, 2)
        if not asked:
            return
        child = os.fork()
        if child == 0:
            peer.close()
            _become(*json.loads(asked), *files)
        for file in files:
            os.close(file)
        _, status = os.waitpid(child, 0)
        peer.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


def _become(words: list[str], folder: str, changes: dict[str, str | None], out: int, err: int) -> NoReturn:
    """The program, with these words, in this folder."""
    for file, number in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    datalad.cfg.reload(force=True)
    code = 1
    try:
        main(words)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
