"""What can be asked of a version: the fields, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mirror.dataset.query.kinds import Date, Embargo, Kind, Number, Size, Text
from mirror.dataset.query.taxa import scientific_name
from mirror.dataset.times import moment
from mirror.errors import RecordRefused

if TYPE_CHECKING:
    from mirror.dataset.facts import Facts


@dataclass(frozen=True)
class Field:
    """One thing that can be asked."""

    name: str
    what: str
    """what it is, for help texts"""
    kind: Kind[Any]
    values: Callable[[Facts], tuple[Any, ...]]
    """of a version; none: it is missing"""
    also: tuple[str, ...] = ()
    """other names for it"""


def _some(*texts: str | None) -> tuple[str, ...]:
    return tuple(text for text in texts if text)


def _moments(text: str | None) -> tuple[datetime, ...]:
    """Missing, too, if it is nothing that can be compared."""
    try:
        return (moment(text),) if text else ()
    except RecordRefused:
        return ()


def _species(facts: Facts) -> tuple[str, ...]:
    """Over the years the archive has called one species `House mouse` and `Mus musculus - House mouse`."""

    def names() -> Iterator[str]:
        for name in facts.species:
            yield name
            yield from name.split(" - ")
        for identifier in facts.species_ids:
            taxon = identifier.rpartition("/")[2]
            yield from _some(identifier, taxon, scientific_name(taxon))

    return tuple(dict.fromkeys(names()))


def _standards(facts: Facts) -> tuple[str, ...]:
    """`Neurodata Without Borders (NWB)` is both of these."""
    parts = (part.removesuffix(")") for name in facts.standards for part in name.split(" ("))
    return tuple(dict.fromkeys((*facts.standards, *parts)))


def _licenses(facts: Facts) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*facts.license, *(name.removeprefix("spdx:") for name in facts.license))))


_TEXT = Text()
_NUMBER = Number()
_DATE = Date()

_ALL = (
    Field(
        "species",
        "names (`Mus musculus`, `House mouse`) and identifiers (`NCBITaxon_10090`) of the species",
        _TEXT,
        _species,
    ),
    Field("approach", "approaches, such as `electrophysiological approach`", _TEXT, lambda facts: facts.approaches),
    Field("technique", "measurement techniques", _TEXT, lambda facts: facts.techniques),
    Field("standard", "data standards, such as `NWB` or `BIDS`", _TEXT, _standards),
    Field("license", "licenses, such as `CC-BY-4.0`", _TEXT, _licenses, ("licence",)),
    Field("keyword", "keywords", _TEXT, lambda facts: facts.keywords),
    Field(
        "contributor", "names of all contributors, persons and organizations", _TEXT, lambda facts: facts.contributors
    ),
    Field("funder", "names of funders and sponsors", _TEXT, lambda facts: facts.funders),
    Field("name", "the Dandiset's title", _TEXT, lambda facts: _some(facts.name), ("title",)),
    Field("description", "its description", _TEXT, lambda facts: _some(facts.description.strip())),
    Field("identifier", "six digits, such as `000003`", _TEXT, lambda facts: _some(facts.identifier)),
    Field(
        "version",
        "name of the version, or of the latest one published from a draft; `draft` if there is none",
        _TEXT,
        lambda facts: _some(facts.version),
    ),
    Field("doi", "DOI of that version", _TEXT, lambda facts: _some(facts.doi)),
    Field("size", "bytes of all assets together", Size(), lambda facts: (facts.size,)),
    Field("assets", "number of assets", _NUMBER, lambda facts: (facts.assets,)),
    Field(
        "subjects",
        "number of subjects",
        _NUMBER,
        lambda facts: () if facts.subjects is None else (facts.subjects,),
    ),
    Field(
        "created",
        "when the archive made the draft, or the published version",
        _DATE,
        lambda facts: _moments(facts.created),
    ),
    Field("modified", "when the draft last changed", _DATE, lambda facts: _moments(facts.modified)),
    Field("published", "when that version was published", _DATE, lambda facts: _moments(facts.published)),
    Field(
        "embargo",
        "`open`; what is under embargo is not among them",
        Embargo(),
        lambda facts: ("embargoed" if facts.embargoed else "open",),
    ),
)

FIELDS: Mapping[str, Field] = {field.name: field for field in _ALL}
"""Every field by its name."""

FIELDS_BY_ANY_NAME: Mapping[str, Field] = {
    **FIELDS,
    **{other: field for field in _ALL for other in field.also},
}
