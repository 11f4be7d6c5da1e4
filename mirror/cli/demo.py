"""`dandi-mirror demo`: show the whole story on a small archive of its own."""

from __future__ import annotations

from pathlib import Path

import click

from mirror.cli.options import log_level_option


@click.command()
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("dandi-mirror-demo"),
    show_default=True,
    metavar="DIR",
    help="Where everything happens.",
)
@log_level_option
def demo(folder: Path) -> None:
    """Show the whole story on a small archive that runs on this machine.

    Syncs it, clones from the mirror with datalad, compares two versions, gets a file and opens it, changes the archive
    and follows. Shows each command a person would type, with its real output. Takes half a minute.
    """
    from mirror.demo.story import tell
    from mirror.errors import MirrorError

    try:
        import datalad  # noqa: F401
        import pynwb  # noqa: F401
    except ImportError as error:
        raise MirrorError(
            f"the demo needs {error.name}", hint="install dandi-mirror with its demo extra: dandi-mirror[demo]"
        ) from None
    tell(folder.absolute())
