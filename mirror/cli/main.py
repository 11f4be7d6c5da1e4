"""The command `dandi-mirror`: finds the subcommand, and makes every error a message on stderr and an exit code."""

from __future__ import annotations

import difflib
import importlib
import io
import os
import select
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import click

from mirror import __version__
from mirror.cli import logs
from mirror.cli.options import log_level_option
from mirror.errors import Interrupted, MirrorError

PROGRAM = "dandi-mirror"


@dataclass(frozen=True)
class _Entry:
    module: str
    """holds a click command under the command's own name"""
    summary: str


COMMANDS = {
    "sync": _Entry("mirror.cli.sync", "Mirror what is new in the archive."),
    "run": _Entry("mirror.cli.run", "Keep the mirror up to date, unattended."),
    "status": _Entry("mirror.cli.status", "Tell what the mirror holds."),
    "materialize": _Entry("mirror.cli.materialize", "Write the repositories of Zarrs held as manifests."),
    "populate": _Entry("mirror.cli.populate", "Bring content into the store."),
    "backup": _Entry("mirror.cli.backup", "Copy content to special remotes."),
    "bundle": _Entry("mirror.cli.bundle", "Make something to carry on a disk: one version, with its content."),
    "verify": _Entry("mirror.cli.verify", "Prove that what the mirror says is so."),
    "compare": _Entry("mirror.cli.compare", "Compare this mirror with another, hash by hash."),
    "publish": _Entry("mirror.cli.publish", "Bring superdatasets and git hosts up to what is mirrored."),
    "changes": _Entry("mirror.cli.changes", "Tell what changed, and when."),
    "query": _Entry("mirror.cli.query", "List the Dandisets that match."),
    "resolve": _Entry("mirror.cli.resolve", "Tell where a DOI, an asset, a digest, a path is."),
    "clone-config": _Entry("mirror.cli.clone_config", "Print what makes `datalad clone DANDI:000003` come here."),
    "skip": _Entry("mirror.cli.skip", "Do not wait for a version that will never come."),
    "config": _Entry("mirror.cli.config", "Show the settings in force."),
    "demo": _Entry("mirror.cli.demo", "Show the whole story on a small archive of its own."),
}


class _Commands(click.Group):
    """Imports a command only when it is asked for, so that `--help` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = getattr(importlib.import_module(entry.module), cmd_name.replace("-", "_"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        near = difflib.get_close_matches(args[0], COMMANDS, n=1)
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"No such command '{args[0]}'." + (f" Did you mean '{near[0]}'?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise  # click's own, which it handles itself
        except Exception as exc:
            return ctx.exit(_report(exc))


@click.group(
    PROGRAM,
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 ok, 1 error, 2 usage or settings, 3 some Dandisets failed, 10 no store here, 11 locked, "
    "130 interrupted.",
)
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
@log_level_option
def cli() -> None:
    """Mirror the DANDI archive as DataLad datasets.

    \b
    dandi-mirror demo                     see it work, on a small archive of its own
    dandi-mirror sync 000027              mirror one Dandiset into ./dandi-mirror
    dandi-mirror sync -c config/dandi.yaml
    dandi-mirror run -c config/dandi.yaml         the same, for years
    datalad clone "$PWD/dandi-mirror/public/alias/000027"
    """


def run(args: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    logs.set_level(logs.USUAL_LEVEL)
    try:
        code = cli.main(args, prog_name=PROGRAM, standalone_mode=False)
    except click.ClickException as exc:
        exc.show(sys.stderr)
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _report(Interrupted("interrupted"))
    return code if isinstance(code, int) else 0


def main() -> NoReturn:
    """The entry point: run, and leave stdout in a state that Python can close without a word."""
    _prepare_streams()
    code = run()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = code or 1
    sys.exit(code)


def _prepare_streams() -> None:
    """Have stdin, stdout and stderr be there, and take any text.

    One that was closed would have its number given to the next file that is opened, which would then be told what is
    meant for people; and a terminal that is not UTF-8 is no reason to fail.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest free number: this one
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - as long as the process lives
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _report(exc: BaseException) -> int:
    """Say what went wrong, once, and return the exit code for it."""
    if isinstance(exc, BrokenPipeError) and _reader_is_gone():
        return 1  # `dandi-mirror status | head`: nobody listens any more
    if logs.debugging():
        traceback.print_exception(exc, file=sys.stderr)
    if isinstance(exc, MirrorError):
        _complain(exc.message, exc.hint)
        return exc.exit_code
    # A pipe that breaks is no trouble of the machine, but of ours.
    if isinstance(exc, OSError) and exc.strerror and not isinstance(exc, BrokenPipeError):
        _complain(f"{exc.strerror}: {exc.filename}" if exc.filename else exc.strerror, None)
        return 1
    _complain(
        f"{type(exc).__name__}: {exc}",
        "this is a bug" + ("" if logs.debugging() else "; run with -l debug for the traceback"),
    )
    return 1


def _complain(message: str, hint: str | None) -> None:
    click.echo(f"{PROGRAM}: error: {logs.harmless(message)}", err=True)
    if hint:
        click.echo(f"  {logs.harmless(hint)}", err=True)


def _reader_is_gone() -> bool:
    """Whether it is our own stdout that broke, and not a pipe to some process of ours."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
