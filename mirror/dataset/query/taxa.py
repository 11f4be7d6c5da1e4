"""Scientific names of the species of the field.

A version names a species as its uploaders' tools did that year: `House mouse`, `Mus musculus - House mouse`. The
identifier stayed, and with it one query finds all of them.
"""

from __future__ import annotations

_NAMES = {
    6239: "Caenorhabditis elegans",
    7227: "Drosophila melanogaster",
    7955: "Danio rerio",
    8355: "Xenopus laevis",
    9031: "Gallus gallus",
    9483: "Callithrix jacchus",
    9541: "Macaca fascicularis",
    9544: "Macaca mulatta",
    9545: "Macaca nemestrina",
    9606: "Homo sapiens",
    9615: "Canis lupus familiaris",
    9669: "Mustela putorius furo",
    9685: "Felis catus",
    9823: "Sus scrofa",
    9940: "Ovis aries",
    9986: "Oryctolagus cuniculus",
    10036: "Mesocricetus auratus",
    10047: "Meriones unguiculatus",
    10090: "Mus musculus",
    10116: "Rattus norvegicus",
    10141: "Cavia porcellus",
    59729: "Taeniopygia guttata",
}


def scientific_name(taxon: str) -> str | None:
    """The scientific name for the last part of an identifier, such as `NCBITaxon_10090`, if it is known here."""
    number = taxon.removeprefix("NCBITaxon_")
    return _NAMES.get(int(number)) if number.isascii() and number.isdigit() and len(number) < 10 else None
