"""Options that several commands have, each written once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from mirror.cli import logs

Command = Callable[..., Any]

_INSTANCE = click.option(
    "-i",
    "--dandi-instance",
    "instance",
    metavar="NAME|URL",
    help="The archive: dandi, dandi-sandbox, ember-dandi, linc, or the URL of an API.",
)
_STORE = click.option("--store", metavar="DIR", help="The folder of the mirror.")
_JOBS = click.option("-J", "--jobs", type=int, metavar="N", help="Work on so many Dandisets at a time.")
_SETTINGS = {"instance": ("archive.instance", _INSTANCE), "store": ("store", _STORE), "jobs": ("jobs", _JOBS)}


def settings_options(*names: str) -> Callable[[Command], Command]:
    """Give a command `-c` and the options in `names` (of: instance, store, jobs).

    The command takes the settings in force as `loaded` (`mirror.config_layers.Loaded`).
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_settings(*args: Any, config_file: Path | None, **kwargs: Any) -> Any:
            from mirror.config_layers import load  # here, because `--help` need not wait for pydantic

            given = {_SETTINGS[name][0]: kwargs.pop(name) for name in names}
            loaded = load(config_file, {key: value for key, value in given.items() if value is not None})
            return command(*args, loaded=loaded, **kwargs)

        return _decorated(with_settings, [_CONFIG, *(_SETTINGS[name][1] for name in names)])

    return decorate


def _decorated(command: Command, options: Iterable[Callable[[Command], Command]]) -> Command:
    for option in reversed(list(options)):
        command = option(command)
    return command


_CONFIG = click.option(
    "-c",
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Read the settings from this file.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
"""Gives a command `--json`, as `as_json`."""


def _set_level(_ctx: click.Context, _param: click.Parameter, level: str | None) -> None:
    if level is not None:
        logs.set_level(level)


log_level_option = click.option(
    "-l",
    "--log-level",
    type=click.Choice(logs.LEVELS, case_sensitive=False),
    callback=_set_level,
    expose_value=False,
    is_eager=True,
    help=f"Log from this level on, to stderr.  [default: {logs.USUAL_LEVEL}; of run: info]",
)
"""Gives a command `-l`, which works before the command's name and after it."""
