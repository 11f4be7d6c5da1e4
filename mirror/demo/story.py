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

from mirror.dataset.identity import ALL_DANDISETS
from mirror.demo.archive import DemoArchive
from mirror.demo.nwb import Recording, nwb_bytes
from mirror.demo.samples import SLICE, sample_dandisets
from mirror.errors import MirrorError, UsageError

MARKER = ".dandi-mirror-demo"
SETTINGS = "demo.yaml"
STORE = "mirror"
CLONE = "ripples"
ZARR_CLONE = "places"
LATER_CLONE = "years-later"
FILE = "sub-M541/sub-M541_ses-20240102_ecephys.nwb"


def _read_nwb(clone: str) -> str:
    return f"""python -c "
from pynwb import NWBHDF5IO
nwb = NWBHDF5IO('{clone}/{FILE}', 'r').read()
series = nwb.acquisition['ElectricalSeries']
print(nwb.subject.subject_id, nwb.session_start_time, series.data.shape)
\""""


_READ_ZARR = f"""python -c "
import zarr
picture = zarr.open('{ZARR_CLONE}/{SLICE}/2', mode='r')
print(picture.shape, 'of mean brightness', round(float(picture[:].mean()), 1))
\""""
_WIDTH = 100


def tell(folder: Path) -> None:
    """Tell the story in `folder`, which is made, or emptied if an earlier story was told there."""
    _prepare(folder)
    with DemoArchive() as archive:
        _Story(folder, archive).tell()


def _prepare(folder: Path) -> None:
    if folder.is_dir() and (folder / MARKER).exists():
        # git-annex write-protects the contents it holds, and their folders.
        for path, folders, _ in os.walk(folder):
            for name in folders:
                if not (Path(path) / name).is_symlink():
                    (Path(path) / name).chmod(0o755)
        shutil.rmtree(folder)
    elif folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not of an earlier demo", hint="choose another with --folder")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()


class _Story:
    def __init__(self, folder: Path, archive: DemoArchive) -> None:
        self._folder = folder
        self._archive = archive
        self._environment = _environment()

    def tell(self) -> None:
        identifier = sample_dandisets(self._archive)[0]
        self._write_settings()
        self._say(
            f"A small DANDI archive now runs on this machine, at {self._archive.api_url}. It has three Dandisets. The"
            f" commands below are what you would type; {SETTINGS} tells them which archive to mirror, and into which"
            " folder."
        )
        self._show(f"cd {shlex.quote(str(self._folder))}")
        self._mirror(identifier)
        self._compare()
        self._get()
        self._open_zarr()
        self._follow(identifier)
        self._all_in_one(identifier)
        self._ask()
        self._keep(identifier)
        self._outlive(identifier)
        self._farewell()

    def _mirror(self, identifier: str) -> None:
        self._title("Mirror all of it")
        self._run(f"dandi-mirror sync -c {SETTINGS}")
        self._run(f"dandi-mirror status -c {SETTINGS}")
        self._title("Clone a Dandiset from the mirror")
        self._say("What was written can be cloned at once. A clone has every path and record, and no content yet.")
        self._run(f"datalad clone {STORE}/public/alias/{identifier} {CLONE}")

    def _compare(self) -> None:
        self._title("Compare two versions")
        self._say("Every published version is a tag.")
        self._run(f"git -C {CLONE} tag -n1 '0.*'")
        first, second = self._versions()
        self._run(f"git -C {CLONE} diff --stat {first} {second} -- . ':!.dandi'")
        self._say("Text is in git itself, so what changed in it can be read without a download.")
        self._run(f"git -C {CLONE} diff {first} {second} -- README.md")

    def _get(self) -> None:
        self._title("Get a file, and open it")
        self._say(
            "The bytes come from the archive's own bucket and are checked against its digest. The first command is for"
            " this demo only: git-annex downloads from this machine's own servers only if it is told that it may."
        )
        self._run(f"git -C {CLONE} config annex.security.allowed-ip-addresses 127.0.0.1")
        self._run(f"datalad -C {CLONE} get {FILE}")
        self._run(_read_nwb(CLONE))

    def _open_zarr(self) -> None:
        self._title("Open a Zarr")
        self._say(
            "The second Dandiset has a picture as a Zarr: a folder of many small files. It is a dataset of its own,"
            " below its Dandiset, so that you get of it what you need. Here, the coarsest of three resolutions."
        )
        self._run(f"datalad clone {STORE}/public/alias/000002 {ZARR_CLONE}")
        self._run(f"datalad -C {ZARR_CLONE} get -n {SLICE}")
        self._run(f"git -C {ZARR_CLONE}/{SLICE} config annex.security.allowed-ip-addresses 127.0.0.1")
        self._run(f"datalad -C {ZARR_CLONE} get {SLICE}/2")
        self._run(_READ_ZARR)

    def _follow(self, identifier: str) -> None:
        self._title("Follow the archive")
        self._say("Meanwhile somebody edits a text, adds a session, publishes a third version. Sync again, and update.")
        second = self._versions()[-1]
        self._change(identifier)
        self._run(f"dandi-mirror sync -c {SETTINGS}")
        self._run(f"datalad -C {CLONE} update --how ff-only")
        self._run(f"git -C {CLONE} diff --stat {second} {self._versions()[-1]} -- . ':!.dandi'")
        self._say("The draft has a history of its own, into which each published version is merged.")
        self._run(f"git -C {CLONE} log --graph --format='%h %s' -6")

    def _all_in_one(self, identifier: str) -> None:
        self._title("All Dandisets in one")
        self._say(
            "There is also one dataset of all Dandisets. Clone it, and get those that you need. Its branch releases has"
            " a commit for each version ever published, whichever Dandiset it is of."
        )
        self._run(f"datalad clone {STORE}/public/alias/{ALL_DANDISETS}")
        self._run(f"git -C {ALL_DANDISETS} log --format='%h %as %s' origin/releases")
        self._say(
            "Each of these commits holds all that was published by then, has the same hash in every mirror of the"
            " archive, and is tagged with the DOI of its version. So one DOI is enough to go back to that moment:"
        )
        self._run(f"git -C {ALL_DANDISETS} checkout -q {self._doi_tag()}")
        self._run(f"datalad -C {ALL_DANDISETS} get -n {identifier}")
        self._run(f"git -C {ALL_DANDISETS}/{identifier} describe")

    def _ask(self) -> None:
        self._title("Ask the mirror")
        self._say("Where is it, and how do I get it? Ask by a DOI, an asset's id, a digest, a path.")
        self._run(f"dandi-mirror resolve {self._doi_tag().removeprefix('doi/')} -c {SETTINGS}")
        self._say("What is new? The mirror numbers all changes. The first sync brought six, and since then:")
        self._run(f"dandi-mirror changes --since 6 -c {SETTINGS}")

    def _keep(self, identifier: str) -> None:
        self._title("Keep copies")
        self._say("The mirror has the names so far, and the archive has the bytes. Have it keep these, too.")
        self._run(f"dandi-mirror populate {identifier} -c {SETTINGS}")
        self._say("Is it all there, and can it be had? Read and hash what is kept, and ask the archive for the rest.")
        self._run(f"dandi-mirror verify --level bytes -c {SETTINGS}")

    def _outlive(self, identifier: str) -> None:
        self._title("Years later")
        self._archive.close()
        self._say(
            "The archive of this demo has just been switched off. Versions and what is kept of them can be cloned, got"
            " and opened all the same."
        )
        first = self._versions()[0]
        self._run(f"datalad clone {STORE}/public/alias/{identifier} {LATER_CLONE}")
        self._run(f"git -C {LATER_CLONE} checkout -q {first}")
        self._run(f"datalad -C {LATER_CLONE} get {FILE}")
        self._run(_read_nwb(LATER_CLONE))

    def _versions(self) -> list[str]:
        return self._tags("--list", "0.*", "--sort=version:refname")

    def _doi_tag(self) -> str:
        """The tag under the DOI of the second version."""
        (tag,) = self._tags("--points-at", f"{self._versions()[1]}^0", "doi/*")
        return tag

    def _tags(self, *options: str) -> list[str]:
        command = ["git", "-C", CLONE, "tag", *options]
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

    def _title(self, text: str) -> None:
        print(f"\n{_bold(f'--- {text} ---')}", flush=True)

    def _say(self, text: str) -> None:
        print("\n" + textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False), flush=True)

    def _show(self, line: str) -> None:
        print(f"\n{_bold(f'$ {line}')}", flush=True)

    def _run(self, line: str) -> None:
        """Show a command and run it; its output is its own."""
        self._show(line)
        command = shlex.split(line)
        if command[0] == "dandi-mirror":
            command = [sys.executable, "-m", "mirror", *command[1:]]
        elif command[0] == "python":
            command[0] = sys.executable
        result = subprocess.run(command, cwd=self._folder, env=self._environment, stderr=subprocess.STDOUT)
        if result.returncode:
            raise MirrorError(f"`{line}` ended with {result.returncode}")

    def _farewell(self) -> None:
        self._title("That was the whole story")
        lines = [
            "",
            f"The store:   {self._folder / STORE}",
            f"The clone:   {self._folder / CLONE}",
            f"Settings:    {self._folder / SETTINGS}",
            "",
            "Look around, and remove the folder when you have seen enough.",
            "",
            "To mirror a real Dandiset into ./dandi-mirror, and clone it:",
            "",
            *(f"    {line}" for line in _at_hand()),
            "    dandi-mirror sync 000027",
            '    datalad clone "$PWD/dandi-mirror/public/alias/000027"',
            "",
            "`dandi-mirror sync --help` tells how to mirror more, and where to.",
        ]
        print("\n".join(lines), flush=True)


def _at_hand() -> list[str]:
    """What to type first where the programs are in an environment that the user's shell does not look into."""
    programs = Path(sys.prefix) / "bin"
    of_a_checkout = (Path(sys.prefix).parent / "scripts" / "dandi-mirror").is_file()
    if not of_a_checkout:
        return []
    return [
        "# dandi-mirror, datalad and git-annex are there:",
        f'export PATH={shlex.quote(str(programs))}:"$PATH"',
    ]


def _bold(text: str) -> str:
    """Text that stands out, on a terminal whose user does not mind."""
    plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain else f"\x1b[1m{text}\x1b[0m"


def _environment() -> Mapping[str, str]:
    """The user's environment: our own programs first, no pager, and a name for git if the user has given it none."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DANDI_MIRROR_")}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    environment |= {"GIT_PAGER": "cat", "GIT_OPTIONAL_LOCKS": "0"}
    environment |= {"DATALAD_UI_PROGRESSBAR": "none", "DATALAD_LOG_LEVEL": "warning"}
    named = subprocess.run(["git", "config", "user.email"], capture_output=True, env=environment)
    if named.returncode:
        for who in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{who}_NAME": "Demo", f"GIT_{who}_EMAIL": "demo@example.org"}
    return environment
