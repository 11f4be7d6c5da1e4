"""A small disk for one mirror, to be full for a while: a file system in memory, in a name space of our own.

So nobody but root needs to be root for it, and nothing of it is left behind, however the simulation ends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_MARK = "SIMULATION_IN_ITS_OWN_MOUNTS"
_LEFT = 128 * 1024
"""When the disk is full so many bytes are left: enough for a mark, not for a pack."""
_TRIES = 20


def enter_own_mounts(module: str, arguments: Sequence[str]) -> None:
    """Run this program again where it may mount; return if that is where we are, or if there is no way."""
    if os.environ.pop(_MARK, None) or not sys.platform.startswith("linux"):
        return
    unshare = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        return
    os.environ[_MARK] = "1"
    os.execvp(unshare[0], [*unshare, sys.executable, "-m", module, *arguments])


class SmallDisk:
    """A folder with so much room and no more. `Unavailable` where nothing can be mounted."""

    class Unavailable(Exception):
        pass

    def __init__(self, folder: Path, size: int) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self._size = size
        try:
            if why := self._mount(f"size={size},mode=755"):
                raise self.Unavailable(why)
        except OSError as error:
            raise self.Unavailable(str(error)) from None

    def fill(self) -> None:
        """Leave next to nothing: the disk shrinks to what is on it, which takes no memory as a large file would."""
        for _ in range(_TRIES):
            used = shutil.disk_usage(self.folder).used
            if not (why := self._mount(f"remount,size={used + _LEFT}")):
                return
            # Somebody wrote something in that moment.
        raise OSError(why)

    def free(self) -> None:
        """As large as at first."""
        if why := self._mount(f"remount,size={self._size}"):
            raise OSError(why)

    def _mount(self, options: str) -> str:
        """Why not, if it cannot be done."""
        command = ["mount", "-t", "tmpfs", "-o", options, "simulation", str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stderr.strip() or f"mount ended with {done.returncode}" if done.returncode else ""

    def close(self, *, keep: bool) -> None:
        """Take it away; `keep`: what is on it is then in the folder itself."""
        kept = self.folder.with_name(f"{self.folder.name}.kept")
        if keep:
            shutil.copytree(self.folder, kept, symlinks=True)
        subprocess.run(["umount", "--lazy", str(self.folder)], capture_output=True, check=True)
        if keep:
            self.folder.rmdir()
            kept.rename(self.folder)
