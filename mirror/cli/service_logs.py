"""How a command that runs unattended is told to log: `--log-format`, `-v`, and `-l` as every command has it."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from mirror.cli import logs
from mirror.cli.options import log_level_option

Command = Callable[..., Any]

_FORMAT = click.option(
    "--log-format",
    type=click.Choice(logs.FORMS),
    default="text",
    show_default=True,
    help="Log lines for people, or one JSON object a line.",
)
_VERBOSE = click.option(
    "-v",
    "--verbose",
    count=True,
    help="Log each Dandiset that is looked at, and what is asked for again; -vv everything.",
)


def service_log_options(command: Command) -> Command:
    """Give a command these options, and set logging up before it begins."""

    @functools.wraps(command)
    def logging_so(*args: Any, log_format: logs.Form, verbose: int, **kwargs: Any) -> Any:
        logs.set_up_service(log_format, verbose, level=_asked_level())
        return command(*args, **kwargs)

    return log_level_option(_FORMAT(_VERBOSE(logging_so)))


def _asked_level() -> str | None:
    """What `-l` said, before the command's name or after it; None where it was not given."""
    context: click.Context | None = click.get_current_context()
    while context is not None:
        if context.get_parameter_source("log_level") is ParameterSource.COMMANDLINE:
            return str(logging.getLevelName(logging.getLogger("mirror").level)).lower()
        context = context.parent
    return None
