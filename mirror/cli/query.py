"""`dandi-mirror query`: list the Dandisets that match."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import click

from mirror.cli.amounts import human_size
from mirror.cli.options import json_option, log_level_option, settings_options
from mirror.cli.output import Output, Record, printable, warn_if_incomplete
from mirror.columns import cut, filled
from mirror.dataset.query import FIELDS, Query
from mirror.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.config_layers import Loaded
    from mirror.dataset.facts import Facts
    from mirror.store.catalogue import Standing
    from mirror.store.store import Store

_SPECIES_WIDTH, _LEAST_SPECIES, _LEAST_NAME = 26, 10, 20
_FIXED = 50
"""columns of all that is neither species nor name, with the blanks between"""


class _WithFields(click.Command):
    """Its help tells which fields there are."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Fields"):
            formatter.write_dl([(field.name, field.what.replace("`", "")) for field in FIELDS.values()])
        super().format_options(ctx, formatter)


@click.command(cls=_WithFields)
@click.argument("words", nargs=-1, metavar="QUERY")
@click.option("--published", is_flag=True, help="Ask of each Dandiset's latest published version, not of its draft.")
@settings_options("store")
@json_option
@log_level_option
def query(words: tuple[str, ...], published: bool, loaded: Loaded, as_json: bool) -> None:
    """List the Dandisets of the mirror that match QUERY, as drafts; it is one argument, so it goes into quotes.

    \b
    dandi-mirror query "species ~ 'Mus musculus' and approach ~ electrophysiological"
    dandi-mirror query "size < 10GB and (standard = NWB or standard = BIDS)"
    dandi-mirror query "doi is missing and modified >= 2024-05" --json
    dandi-mirror query --published "published = 2023 and not keyword ~ test"

    \b
    ~  !~             contains, does not contain (text)
    =  !=             is, is not; of several values: any is, none is
    <  <=  >  >=      numbers, sizes (500MB, 1.5TB), dates (2024, 2024-05-01)
    is missing, is present, and, or, not, ( )
    """
    from mirror.store.store import Store

    asked = Query.parse(_one(words))
    store = Store.open(loaded.settings.store)
    dandisets = list(_dandisets(store, published=published))
    found = [dandiset for dandiset in dandisets if asked.matches(dandiset.asked)]
    output = Output(as_json=as_json)
    widths = _widths()
    if found:
        output.text(f"{'Dandiset':<9} {'latest':<15} {'assets':>9} {'size':>10}  {'species':<{widths.species}}  name")
    for dandiset in found:
        output.record(_record(store, dandiset), text=_line(dandiset, widths))
    if found:
        output.text()
    output.text(_sum(found, len(dandisets)))


def _one(words: tuple[str, ...]) -> str:
    match words:
        case (text,):
            return text
        case ():
            fields = textwrap.fill(f"fields: {', '.join(FIELDS)}", width=78, subsequent_indent="  ")
            example = """such as "species ~ 'Mus musculus' and size < 10GB\""""
            raise UsageError(
                f"a query is missing, {example}", hint=f"{fields}\n  `dandi-mirror query --help` tells more"
            )
        case _:
            raise UsageError(
                "a query is one argument: put it into quotes",
                hint="the shell has a meaning of its own for ~, <, > and parentheses",
            )


@dataclass(frozen=True)
class _Dandiset:
    standing: Standing
    asked: Facts
    """what is asked: of a draft, with what its latest published version adds"""
    latest: Facts | None
    """its latest published version"""


def _dandisets(store: Store, *, published: bool) -> Iterator[_Dandiset]:
    """Every Dandiset that has a draft, or a published version, in order."""
    from mirror.dataset.facts import seen_with

    with store.catalogue() as catalogue:
        warn_if_incomplete(catalogue)
        for _, standings in groupby(catalogue.standings(), lambda standing: standing.facts.identifier):
            draft, release = _draft_and_latest(standings)
            latest = release.facts if release else None
            if published and release:
                yield _Dandiset(release, release.facts, latest)
            elif draft and not published:
                yield _Dandiset(draft, seen_with(draft.facts, latest), latest)


def _draft_and_latest(standings: Iterable[Standing]) -> tuple[Standing | None, Standing | None]:
    """Of the versions of one Dandiset, in their order."""
    draft = latest = None
    for standing in standings:
        if standing.facts.version == "draft":
            draft = standing
        else:
            latest = standing
    return draft, latest


def _record(store: Store, dandiset: _Dandiset) -> Record:
    facts, latest = dandiset.standing.facts, dandiset.latest
    return Record(
        "query",
        str(store.alias(facts.identifier)),
        more={
            "dandiset": facts.identifier,
            "version": facts.version,
            "commit": dandiset.standing.commit,
            "latest_version": latest.version if latest else None,
            "doi": dandiset.asked.doi,
            "name": facts.name,
            "assets": facts.assets,
            "bytes": facts.size,
            "subjects": facts.subjects,
            "species": facts.species,
            "approaches": facts.approaches,
            "techniques": facts.techniques,
            "standards": facts.standards,
            "license": facts.license,
            "created": facts.created,
            "modified": facts.modified,
            "published": dandiset.asked.published,
            "embargoed": facts.embargoed,
        },
    )


@dataclass(frozen=True)
class _Widths:
    species: int
    name: int | None
    """None: as wide as it is"""


def _widths() -> _Widths:
    """On a terminal, what makes each line fit, down to 80 columns; elsewhere names are whole, for `grep` to find."""
    if not sys.stdout.isatty():
        return _Widths(_SPECIES_WIDTH, None)
    room = shutil.get_terminal_size().columns - _FIXED
    species = max(_LEAST_SPECIES, min(_SPECIES_WIDTH, room - _LEAST_NAME))
    return _Widths(species, max(_LEAST_NAME, room - species))


def _line(dandiset: _Dandiset, widths: _Widths) -> str:
    facts = dandiset.standing.facts
    version = dandiset.latest.version if dandiset.latest else "-"
    species = cut(printable("; ".join(facts.species)), widths.species)
    name = printable(facts.name)
    return (
        f"{facts.identifier:<9} {printable(version):<15} {facts.assets:>9,} {human_size(facts.size):>10}"
        f"  {filled(species, widths.species)}  {name if widths.name is None else cut(name, widths.name)}"
    ).rstrip()


def _sum(found: list[_Dandiset], of: int) -> str:
    facts = [dandiset.standing.facts for dandiset in found]
    assets, size = sum(one.assets for one in facts), human_size(sum(one.size for one in facts))
    counted = f"{len(found):,} of {of:,} {'Dandiset' if of == 1 else 'Dandisets'}"
    return f"{counted}: {assets:,} {'asset' if assets == 1 else 'assets'}, {size}" if found else f"{counted} match"
