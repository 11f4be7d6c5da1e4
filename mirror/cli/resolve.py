"""`dandi-mirror resolve`: where a thing is, by whatever it is called, and how to get it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mirror.cli.amounts import human_size
from mirror.cli.options import json_option, log_level_option, settings_options
from mirror.cli.output import Output, Record, Status, printable, warn_if_incomplete

if TYPE_CHECKING:
    from mirror.config_layers import Loaded
    from mirror.store.resolving.answers import Answer, Missing, Spot
    from mirror.store.store import Store

logger = logging.getLogger(__name__)

_FILES = ("asset", "folder")
_LABELS = 10
_LONGEST_SHOWN = 300
"""characters of what was asked; paths of the archive are seldom as long"""


@click.command()
@click.argument("what", nargs=-1, required=True, metavar="WHAT...")
@settings_options("store")
@json_option
@log_level_option
def resolve(what: tuple[str, ...], loaded: Loaded, as_json: bool) -> None:
    """Tell where something is, or ever was: Dandisets, versions, paths, commits, and the commands that get it.

    WHAT is a DOI, a Dandiset or a version, an address in the archive or its bucket, an asset id, a blob id, a Zarr id,
    a SHA-256, a git-annex key, a commit, or a path; `./` before it makes it a path. Whatever becomes of one of them,
    the others are answered. Exits with 1 if any of them is not here, with 2 if any cannot be understood.

    \b
    dandi-mirror resolve https://doi.org/10.48324/dandi.000003/0.230629.1955
    dandi-mirror resolve DANDI:000003 000003/sub-1/sub-1.nwb
    dandi-mirror resolve --json SHA256E-s123--….nwb | jq -r .clone
    """
    from mirror.dataset.identity import ALL_DANDISETS
    from mirror.dataset.references import parse
    from mirror.store.resolving import Resolver
    from mirror.store.resolving.addresses import Addresses
    from mirror.store.store import Store

    asked = dict.fromkeys(what)
    settings = loaded.settings
    store = Store.open(settings.store)
    printer = _Printer(Output(as_json=as_json), store)
    with store.catalogue() as catalogue:
        superdatasets = {ALL_DANDISETS, *(one.name for one in settings.superdatasets)}
        resolver = Resolver(store, catalogue, Addresses.of(store.public, settings.publish.url), superdatasets)
        for given in asked:
            try:
                found = resolver.resolve(parse(given))
            except Exception as error:  # whatever it is: the others are answered, and it is told at the end
                printer.troubled(given, error)
            else:
                printer.answered(given, found)
        warn_if_incomplete(catalogue)
    if printer.not_found:
        raise _not_found(printer.not_found, printer.troubles, len(asked))


class _Printer:
    """Prints what was found, and keeps what was not for the end."""

    def __init__(self, output: Output, store: Store) -> None:
        self._output = output
        self._store = store
        self._is_first = True
        self.not_found: dict[str, Missing] = {}
        self.troubles: dict[str, Exception] = {}

    def answered(self, given: str, found: Iterable[Answer] | Missing) -> None:
        from mirror.store.resolving.answers import Missing

        if isinstance(found, Missing):
            self._missing(given, found)
        else:
            self._found(given, found)

    def troubled(self, given: str, error: Exception) -> None:
        logger.debug("%s:", given, exc_info=error)
        self.troubles[given] = error
        self._missing(given, _instead(error))

    def _found(self, given: str, answers: Iterable[Answer]) -> None:
        for answer in answers:
            if not self._is_first:
                self._output.text()
            self._is_first = False
            address = str(self._store.alias(answer.dataset))
            self._output.record(_record(given, answer, address), text="\n".join(_lines(answer)))

    def _missing(self, given: str, missing: Missing) -> None:
        self.not_found[given] = missing
        if self._output.as_json:
            message = f"{missing.reason} ({missing.hint})" if missing.hint else missing.reason
            more = {"what": given, **dict.fromkeys(_KEYS)}
            self._output.record(Record("resolve", given, Status.ERROR, "dataset", message, more))


def _instead(error: Exception) -> Missing:
    """What is said of a thing of which only this error was learnt."""
    from mirror.errors import MirrorError
    from mirror.store.resolving.answers import Missing

    if isinstance(error, MirrorError):
        return Missing(error.message, error.hint)
    if isinstance(error, OSError):
        return Missing(str(error))
    return Missing(f"{type(error).__name__}: {error}", "this is a bug; -l debug shows the traceback")


def _not_found(missing: Mapping[str, Missing], troubles: Mapping[str, Exception], asked: int) -> Exception:
    from mirror.errors import MirrorError, UsageError

    if asked == 1:
        ((given, one),) = missing.items()
        return troubles.get(given) or MirrorError(f"{given}: {one.reason}", hint=one.hint)
    kind = UsageError if any(isinstance(one, UsageError) for one in troubles.values()) else MirrorError
    lines = [
        f"{_short(given)}: {one.reason}" + (f" ({one.hint})" if one.hint else "") for given, one in missing.items()
    ]
    return kind("\n  ".join([f"{len(missing)} of {asked} not found", *lines]))


def _short(given: str) -> str:
    return given if len(given) <= _LONGEST_SHOWN else f"{given[:_LONGEST_SHOWN]}…"


_KEYS = (
    *("kind", "dandiset", "name", "doi", "asset_path", "asset_id", "blob", "zarr", "sha256", "size"),
    *("versions", "draft", "past", "clone", "checkout", "get", "zarr_clone"),
)


def _record(given: str, answer: Answer, address: str) -> Record:
    asset = answer.asset
    content = asset.content if asset else None
    alone = answer.dataset if answer.kind == "zarr" and asset is None else None
    more = {
        "what": given,
        "kind": str(answer.kind),
        "dandiset": answer.dataset if answer.dataset.isdecimal() else None,
        "name": answer.title or None,
        "doi": answer.doi,
        "asset_path": answer.path,
        "asset_id": asset.asset_id if asset else None,
        "blob": content if asset and not asset.is_zarr else None,
        "zarr": content if asset and asset.is_zarr else alone,
        "sha256": asset.sha256 if asset else None,
        "size": asset.size if asset else None,
        "versions": [asdict(spot) for spot in answer.versions],
        "draft": asdict(answer.draft) if answer.draft else None,
        "past": asdict(answer.past) if answer.past else None,
        "clone": answer.clone,
        "checkout": answer.checkout,
        "get": answer.get,
        "zarr_clone": answer.zarr_clone,
    }
    kind = "file" if answer.kind in _FILES else "dataset"
    return Record("resolve", address, type=kind, message=answer.note, more=more)


def _lines(answer: Answer) -> Iterator[str]:
    """A few lines for people, in two columns."""
    for label, text in _rows(answer):
        yield f"{label:{_LABELS}}{printable(text)}"


def _rows(answer: Answer) -> Iterator[tuple[str, str]]:
    from mirror.store.resolving.addresses import typed

    if answer.path is not None:
        size = f"  {human_size(answer.asset.size)}" if answer.asset else ""
        yield answer.kind, f"{answer.path}{size}"
    yield _label_of_dataset(answer), f"{answer.dataset}  {answer.title}".rstrip()
    if answer.doi:
        yield "doi", answer.doi
    width = max((len(spot.version) for spot in answer.versions), default=0)
    for number, spot in enumerate(answer.versions):
        yield "" if number else "versions" if len(answer.versions) > 1 else "version", _spot(spot, width)
    if answer.draft:
        yield "draft", _spot(answer.draft)
    if answer.past:
        yield "commit" if answer.kind == "commit" else "once in", _spot(answer.past)
    commands = (("clone", answer.clone), ("", answer.checkout), ("get", answer.get))
    yield from ((label, typed(command)) for label, command in commands if command)
    if answer.zarr_clone and answer.zarr_clone != answer.clone:
        yield "alone", typed(answer.zarr_clone)
    if answer.note:
        yield "note", answer.note


def _label_of_dataset(answer: Answer) -> str:
    if answer.dataset.isdecimal():
        return "Dandiset"
    return "Zarr" if answer.kind == "zarr" else "dataset"


def _spot(spot: Spot, width: int = 0) -> str:
    """The commit, with the version's name if that is not in the label, and the time."""
    name = "" if spot.version == "draft" else f"{spot.version:{width}}  "
    when = (spot.when or "")[:16].replace("T", " ")
    return f"{name}{spot.commit}  {when}".rstrip()
