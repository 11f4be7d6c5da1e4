"""The program, imported once: each command that comes in is run by a fork of this process. Importing takes it longer
than what is asked of it here.

    python warm.py      a line of JSON on stdin: the words, the folder, files for stdout and stderr; its code on stdout
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import NoReturn

from mirror.cli.main import main

_ASKED_FOR_LATE = ("mirror.publish.hosts", "mirror.publish.publishing", "mirror.sync.engine")


def serve() -> None:
    for name in _ASKED_FOR_LATE:
        import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(*json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(words: list[str], folder: str, out: str, err: str) -> NoReturn:
    """The program, with these words, in this folder."""
    files = (os.devnull, os.O_RDONLY), (out, os.O_WRONLY | os.O_CREAT), (err, os.O_WRONLY | os.O_CREAT)
    for number, (path, flags) in enumerate(files):
        os.dup2(os.open(path, flags, 0o600), number)
    os.chdir(folder)
    sys.argv = ["dandi-mirror", *words]
    code: int | str | None = 1
    try:
        main()
    except SystemExit as error:
        code = error.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    serve()
