"""`dandi-mirror demo`: show the whole story on a small archive of its own."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from mirror.cli.options import log_level_option

_NEEDED = ("datalad", "pynwb", "zarr")


@click.command()
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("dandi-mirror-demo"),
    show_default=True,
    metavar="DIR",
    help="Where everything happens. The folder of an earlier demo is replaced.",
)
@log_level_option
def demo(folder: Path) -> None:
    """Show the whole story on a small archive that runs on this machine.

    Syncs it, clones from the mirror with datalad, compares two versions, gets a file and opens it, changes the archive
    and follows, keeps copies, and gets them with the archive switched off. Shows each command a person would type, with
    its real output. Takes half a minute.

    \b
    dandi-mirror demo
    dandi-mirror demo --folder /tmp/demo
    """
    from mirror.demo.story import tell
    from mirror.errors import MirrorError

    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise MirrorError(
            f"the demo needs {' and '.join(missing)}",
            hint="install it with its demo extra: `pip install '.[demo]'` in a clone of its repository",
        )
    tell(folder.resolve())
