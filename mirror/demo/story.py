"""The first five minutes: the whole story of a mirror, each step a command that a person would type, run for real.

Everything happens in one folder: the store, the settings, the clone.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from mirror.demo.archive import DemoArchive
from mirror.demo.nwb import Recording, nwb_bytes
from mirror.demo.samples import sample_dandisets
from mirror.errors import MirrorError, UsageError

MARKER = ".dandi-mirror-demo"
SETTINGS = "demo.yaml"
STORE = "mirror"
CLONE = "ripples"
FILE = "sub-M541/sub-M541_ses-20240102_ecephys.nwb"

_READ_NWB = (
    "from pynwb import NWBHDF5IO; "
    f"nwb = NWBHDF5IO('{CLONE}/{FILE}', 'r').read(); "
    "print(nwb.identifier, nwb.subject.species, nwb.acquisition['ElectricalSeries'].data.shape)"
)


def tell(folder: Path) -> None:
    """Tell the story in `folder`, which is made, or emptied if an earlier story was told there."""
    _prepare(folder)
    with DemoArchive() as archive:
        _Story(folder, archive).tell()


def _prepare(folder: Path) -> None:
    if folder.exists():
        if not (folder / MARKER).exists():
            raise UsageError(f"{folder} exists and is not of an earlier demo", hint="choose another with --folder")
        # git-annex write-protects the contents it holds, and their folders.
        for path, folders, _ in os.walk(folder):
            for name in folders:
                if not (Path(path) / name).is_symlink():
                    (Path(path) / name).chmod(0o755)
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARKER).touch()


class _Story:
    def __init__(self, folder: Path, archive: DemoArchive) -> None:
        self._folder = folder
        self._archive = archive
        self._environment = _environment()

    def tell(self) -> None:
        self._say("A small archive starts on this machine, with three Dandisets.")
        identifier = sample_dandisets(self._archive)[0]
        self._write_settings()
        self._say(f"Its API is at {self._archive.api_url}. Mirror all of it:")
        self._run(f"dandi-mirror sync -c {SETTINGS}")
        self._run(f"dandi-mirror status -c {SETTINGS}")
        self._say("What was written can be cloned at once, without any content:")
        self._run(f"datalad clone {STORE}/public/alias/{identifier} {CLONE}")
        self._say("Every published version is a tag. What changed between the two?")
        self._run(f"git -C {CLONE} tag -n1 '0.*'")
        first, second = self._versions()
        self._run(f"git -C {CLONE} diff --stat {first} {second} -- . ':!.dandi'")
        self._run(f"git -C {CLONE} diff {first} {second} -- README.md")
        self._say(
            "Get one file, from the archive's bucket. (git-annex downloads from this machine only when told that it"
            " may; with a real archive the first command is not needed.)"
        )
        self._run(f"git -C {CLONE} config annex.security.allowed-ip-addresses 127.0.0.1")
        self._run(f"datalad -C {CLONE} get {FILE}")
        self._run(f"python -c {shlex.quote(_READ_NWB)}")
        self._say("Meanwhile in the archive: a text is edited, a session added, and a third version published.")
        self._change(identifier)
        self._run(f"dandi-mirror sync -c {SETTINGS}")
        self._run(f"datalad -C {CLONE} update --how ff-only")
        self._run(f"git -C {CLONE} log --oneline --graph -6")
        third = self._versions()[-1]
        self._run(f"git -C {CLONE} diff --stat {second} {third} -- . ':!.dandi'")
        self._farewell()

    def _versions(self) -> list[str]:
        command = ["git", "-C", CLONE, "tag", "--list", "0.*", "--sort=version:refname"]
        result = subprocess.run(
            command, cwd=self._folder, env=self._environment, check=True, capture_output=True, text=True
        )
        return result.stdout.split()

    def _change(self, identifier: str) -> None:
        readme = b"# Sharp-wave ripples\n\nTwo mice, recorded while asleep. Now with a fifth session.\n"
        recording = Recording("M541", "20240106", 8, sex="M")
        self._archive.replace_asset(identifier, "README.md", content=readme)
        self._archive.add_asset(identifier, recording.path, nwb_bytes(recording), recording.metadata())
        self._archive.publish(identifier, release_notes="A fifth session")

    def _write_settings(self) -> None:
        (self._folder / SETTINGS).write_text(
            textwrap.dedent(
                f"""\
                # The demo archive, for as long as the demo runs.
                archive:
                  instance: demo-dandi
                  api_url: {self._archive.api_url}
                  s3_endpoint: {self._archive.s3_endpoint}
                  settle_seconds: 0
                store: {STORE}
                """
            )
        )

    def _say(self, text: str) -> None:
        print("\n" + textwrap.fill(text, 100), flush=True)

    def _run(self, line: str) -> None:
        """Show a command and run it; its output is its own."""
        print(f"\n$ {line}", flush=True)
        command = shlex.split(line)
        if command[0] == "dandi-mirror":
            command = [sys.executable, "-m", "mirror", *command[1:]]
        elif command[0] == "python":
            command[0] = sys.executable
        result = subprocess.run(command, cwd=self._folder, env=self._environment, stderr=subprocess.STDOUT)
        if result.returncode:
            raise MirrorError(f"`{line}` ended with {result.returncode}")

    def _farewell(self) -> None:
        store = self._folder / STORE
        print(
            "\n"
            + textwrap.dedent(
                f"""\
                That was the whole story. The store lies at {store},
                the clone at {self._folder / CLONE}.
                The demo archive has stopped; remove the folder when you have seen enough.

                To mirror a real Dandiset into ./dandi-mirror, and clone it:

                    dandi-mirror sync 000027
                    datalad clone dandi-mirror/public/alias/000027
                """
            ),
            flush=True,
        )


def _environment() -> Mapping[str, str]:
    """The user's environment: our own programs first, no pager, and a name for git if the user has given it none."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DANDI_MIRROR_")}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    environment |= {"GIT_PAGER": "cat", "GIT_OPTIONAL_LOCKS": "0", "DATALAD_UI_PROGRESSBAR": "none"}
    named = subprocess.run(["git", "config", "user.email"], capture_output=True, env=environment)
    if named.returncode:
        for who in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{who}_NAME": "Demo", f"GIT_{who}_EMAIL": "demo@example.org"}
    return environment
