"""`dandi-mirror config`: the settings in force."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mirror.cli.options import json_option, log_level_option, settings_options
from mirror.cli.output import Output, Record

if TYPE_CHECKING:
    from mirror.config_layers import Loaded


@click.group()
def config() -> None:
    """Show the settings in force."""


@config.command()
@settings_options("instance", "store", "jobs")
@json_option
@log_level_option
def show(loaded: Loaded, as_json: bool) -> None:
    """Show every setting, its value, and where that came from.

    \b
    Settings are read from, the later overruling the earlier:
      1. built-in defaults
      2. one file: -c FILE, else $DANDI_MIRROR_CONFIG, else ./dandi-mirror.yaml,
         else dandi-mirror/config.yaml in $XDG_CONFIG_HOME (usually ~/.config)
      3. environment variables: DANDI_MIRROR_STORE, DANDI_MIRROR_ARCHIVE__INSTANCE, …
      4. options of the command line
    Where a layer names another archive (archive.instance, archive.api_url), what
    the layers before it said of these and of archive.s3_endpoint is forgotten.

    \b
    dandi-mirror config show
    dandi-mirror config show -i dandi-sandbox --json
    """
    output = Output(as_json=as_json)
    values = {key: _plain(value) for key, value in loaded.settings.flat().items()}
    shown = {key: _shown(value) for key, value in values.items()}
    key_width, value_width = (max(map(len, column)) for column in (shown, shown.values()))
    output.text(f"settings file: {loaded.file or 'none'}")
    for key, value in values.items():
        origin = loaded.origins[key]
        record = Record("config-show", key, type="setting", more={"value": value, "origin": asdict(origin)})
        output.record(record, f"{key:{key_width}}  {shown[key]:{value_width}}  {origin}")
        for item in _items(value):
            output.text(f"{'':{key_width}}    {json.dumps(item, ensure_ascii=False)}")
    variable = loaded.token_variable
    is_set = bool(os.environ.get(variable))
    said = "is set" if is_set else "is not set; only embargoed Dandisets need one"
    output.record(
        Record("config-show", variable, type="token", more={"set": is_set}),
        f"{'(token)':{key_width}}  {variable} {said}",
    )


def _shown(value: object) -> str:
    """A setting's value on one line; of a list of things, how many there are."""
    if isinstance(value, str):
        return value
    items = _items(value)
    return f"{len(items)}:" if items else json.dumps(value)


def _items(value: object) -> list[object]:
    """The things that a setting lists, if it lists things and not just words."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _plain(value: object) -> object:
    """A setting's value as JSON has it."""
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
