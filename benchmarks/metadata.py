"""What made-up versions say of themselves, as long as in the real archive.

A description of a kilobyte, twelve contributors with their institutes, two funders, techniques, keywords, a summary of
the assets: some 9 kB of YAML.
"""

from __future__ import annotations

_SPECIES = (
    ("Mus musculus - House mouse", "http://purl.obolibrary.org/obo/NCBITaxon_10090"),
    ("Homo sapiens - Human", "http://purl.obolibrary.org/obo/NCBITaxon_9606"),
    ("Rattus norvegicus - Norway rat", "http://purl.obolibrary.org/obo/NCBITaxon_10116"),
    ("Macaca mulatta - Rhesus monkey", "http://purl.obolibrary.org/obo/NCBITaxon_9544"),
)
_APPROACHES = (
    "electrophysiological approach",
    "behavioral approach",
    "microscopy approach; cell population imaging",
)
_TECHNIQUES = ("spike sorting technique", "signal filtering technique", "two-photon microscopy technique")
_WORDS = (
    *("hippocampus", "ripples", "sleep", "cortex", "decision", "vision", "reward", "striatum", "learning", "network"),
    *("neurons", "recorded", "during", "behaviour", "animals", "sessions", "probes", "stimulus", "response", "memory"),
)
_DESCRIPTION_WORDS = 125
_PEOPLE = 12


def document(identifier: str, version: str, when: str, assets: int) -> dict[str, object]:
    """The metadata of a version, as the archive answers it."""
    number = int(identifier)
    doi = f"10.48324/dandi.{identifier}/{version}"
    landing = f"https://dandiarchive.org/dandiset/{identifier}/{version}"
    name = f"{_sentence(number, 9)} {identifier}"
    found: dict[str, object] = {
        "id": f"DANDI:{identifier}/{version}",
        "doi": doi,
        "url": landing,
        "name": name,
        "about": [
            {"name": _word(number), "schemaKey": "Anatomy", "identifier": "http://purl.obolibrary.org/obo/UBERON_1"}
        ],
        "access": [{"status": "dandi:OpenAccess", "schemaKey": "AccessRequirements"}],
        "license": ["spdx:CC-BY-4.0"],
        "version": version,
        "@context": "https://raw.githubusercontent.com/dandi/schema/master/releases/0.6.7/context.json",
        "citation": f"{name} (Version {version}) [Data set]. DANDI Archive. https://doi.org/{doi}",
        "keywords": [_word(number + step) for step in range(6)],
        "protocol": ["https://www.protocols.io/view/made-up"],
        "schemaKey": "Dandiset",
        "identifier": f"DANDI:{identifier}",
        "repository": "https://dandiarchive.org",
        "contributor": [_person(number + step, contact=step == 0) for step in range(_PEOPLE)] + _funders(number),
        "dateCreated": when,
        "description": _sentence(number, _DESCRIPTION_WORDS),
        "assetsSummary": _summary(number, assets),
        "schemaVersion": "0.6.7",
        "ethicsApproval": [{"schemaKey": "EthicsApproval", "identifier": f"protocol {number}"}],
        "relatedResource": [_paper(number + step) for step in range(2)],
        "manifestLocation": [f"https://dandiarchive.s3.amazonaws.com/dandisets/{identifier}/{version}/assets.yaml"],
    }
    if version == "draft":
        del found["doi"]
        return found
    return {**found, "datePublished": when, "publishedBy": _publication(number, when)}


def _word(number: int) -> str:
    return _WORDS[number % len(_WORDS)]


def _sentence(number: int, words: int) -> str:
    return " ".join(_word(number * (step + 1) + step * step) for step in range(words)).capitalize()


def _person(number: int, *, contact: bool) -> dict[str, object]:
    roles = ["dcite:Author", *(["dcite:ContactPerson"] if contact else []), "dcite:DataCollector"]
    institute = {
        "name": f"University of {_word(number).capitalize()}",
        "schemaKey": "Affiliation",
        "identifier": f"https://ror.org/{number:09}",
    }
    return {
        "name": f"{_word(number).capitalize()}, {_word(number + 7).capitalize()} {chr(65 + number % 26)}.",
        "email": f"person{number}@example.org",
        "roleName": roles,
        "schemaKey": "Person",
        "identifier": f"0000-0002-{number:04}-1234",
        "affiliation": [institute],
        "includeInCitation": True,
    }


def _funders(number: int) -> list[dict[str, object]]:
    return [
        {
            "name": f"National Institute of {_word(number + step).capitalize()}",
            "roleName": ["dcite:Sponsor"],
            "schemaKey": "Organization",
            "identifier": f"https://ror.org/{number + step:09}",
            "awardNumber": f"R01 {number:06}",
            "includeInCitation": False,
        }
        for step in range(2)
    ]


def _paper(number: int) -> dict[str, object]:
    return {
        "url": f"https://doi.org/10.1016/j.neuron.2020.{number:06}",
        "name": _sentence(number, 14),
        "relation": "dcite:IsDescribedBy",
        "schemaKey": "Resource",
        "identifier": f"doi: 10.1016/j.neuron.2020.{number:06}",
        "repository": "Neuron",
    }


def _summary(number: int, assets: int) -> dict[str, object]:
    name, identifier = _SPECIES[number % len(_SPECIES)]
    techniques = _TECHNIQUES[: 1 + number % len(_TECHNIQUES)]
    return {
        "species": [{"name": name, "schemaKey": "SpeciesType", "identifier": identifier}],
        "approach": [{"name": _APPROACHES[number % len(_APPROACHES)], "schemaKey": "ApproachType"}],
        "schemaKey": "AssetsSummary",
        "dataStandard": [
            {
                "name": "Neurodata Without Borders (NWB)",
                "schemaKey": "StandardsType",
                "identifier": "RRID:SCR_015242",
            }
        ],
        "numberOfBytes": assets * 1_000_000,
        "numberOfFiles": assets,
        "numberOfSubjects": 1 + number % 40,
        "variableMeasured": ["ElectricalSeries", "Units", "ElectrodeGroup", "SpatialSeries"],
        "measurementTechnique": [{"name": one, "schemaKey": "MeasurementTechniqueType"} for one in techniques],
    }


def _publication(number: int, when: str) -> dict[str, object]:
    return {
        "id": f"urn:uuid:00000000-0000-4000-8000-{number:012}",
        "name": "DANDI publish",
        "endDate": when,
        "schemaKey": "PublishActivity",
        "startDate": when,
        "wasAssociatedWith": [
            {
                "id": f"urn:uuid:00000000-0000-4000-9000-{number:012}",
                "name": "DANDI API",
                "version": "0.1.0",
                "schemaKey": "Software",
                "identifier": "RRID:ABC_123456",
            }
        ],
    }
