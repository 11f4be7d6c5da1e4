"""Small real NWB files, made with pynwb when first asked for."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mirror.demo.model import Document
from mirror.errors import UsageError

if TYPE_CHECKING:
    from pynwb import NWBFile

_NAMESPACE = uuid.UUID("6f1c0f0e-3c1b-5c3e-9a55-5f0d5f1b6f00")
_FIRST_SESSION = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass(frozen=True)
class Species:
    name: str
    taxon: str


MOUSE = Species("Mus musculus - House mouse", "http://purl.obolibrary.org/obo/NCBITaxon_10090")
RAT = Species("Rattus norvegicus - Norway rat", "http://purl.obolibrary.org/obo/NCBITaxon_10116")
_SEXES = {
    "M": ("Male", "http://purl.obolibrary.org/obo/PATO_0000384"),
    "F": ("Female", "http://purl.obolibrary.org/obo/PATO_0000383"),
}


@dataclass(frozen=True)
class Recording:
    """One recording session of one animal; the same fields give the same file, byte for byte."""

    subject: str
    session: str
    seed: int = 0
    species: Species = MOUSE
    sex: str = "M"
    age: str = "P90D"

    @property
    def path(self) -> str:
        return f"sub-{self.subject}/sub-{self.subject}_ses-{self.session}_ecephys.nwb"

    @property
    def started(self) -> datetime:
        return _FIRST_SESSION + timedelta(days=self.seed)

    def metadata(self) -> Document:
        """What the archive's client reads out of such a file."""
        sex, sex_id = _SEXES[self.sex]
        generated = {
            "name": self.session,
            "schemaKey": "Session",
            "startDate": self.started.isoformat(),
            "identifier": self.session,
            "description": "Extracellular recording in the hippocampus",
        }
        participant = {
            "age": {
                "value": self.age,
                "unitText": "ISO-8601 duration",
                "schemaKey": "PropertyValue",
                "valueReference": {"value": "dandi:BirthReference", "schemaKey": "PropertyValue"},
            },
            "sex": {"name": sex, "schemaKey": "SexType", "identifier": sex_id},
            "species": {"name": self.species.name, "schemaKey": "SpeciesType", "identifier": self.species.taxon},
            "schemaKey": "Participant",
            "identifier": self.subject,
        }
        technique = "multi electrode extracellular electrophysiology recording technique"
        return {
            "approach": [{"name": "electrophysiological approach", "schemaKey": "ApproachType"}],
            "keywords": ["hippocampus", "demo"],
            "encodingFormat": "application/x-nwb",
            "wasGeneratedBy": [generated],
            "wasAttributedTo": [participant],
            "variableMeasured": [{"value": "ElectricalSeries", "schemaKey": "PropertyValue"}],
            "measurementTechnique": [{"name": technique, "schemaKey": "MeasurementTechniqueType"}],
        }


def nwb_bytes(recording: Recording) -> bytes:
    """The recording as an NWB file: one second of four noisy channels."""
    try:
        import h5py  # type: ignore[import-untyped,unused-ignore]
        from pynwb import NWBHDF5IO
    except ImportError as missing:
        raise UsageError(
            "the demo archive's NWB files need pynwb", hint="pip install 'dandi-mirror[demo]'"
        ) from missing
    nwbfile = _nwbfile(recording)
    _name_objects(nwbfile, recording)
    with (
        h5py.File("recording.nwb", "w", driver="core", backing_store=False) as file,
        NWBHDF5IO(file=file, mode="w") as writer,
    ):
        writer.write(nwbfile)
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def _nwbfile(recording: Recording) -> NWBFile:
    import numpy
    from pynwb import NWBFile
    from pynwb.ecephys import ElectricalSeries
    from pynwb.file import Subject

    nwbfile = NWBFile(
        session_description="Extracellular recording in the hippocampus",
        identifier=str(_name(recording, "file")),
        session_start_time=recording.started,
        file_create_date=recording.started + timedelta(hours=1),
        session_id=recording.session,
        experimenter=["Doe, Jane"],
        lab="Demo lab",
        institution="University of Somewhere",
        keywords=["hippocampus", "demo"],
    )
    nwbfile.subject = Subject(
        subject_id=recording.subject,
        species=recording.species.taxon,
        sex=recording.sex,
        age=recording.age,
        description="An animal that never lived",
    )
    probe = nwbfile.create_device(name="probe", description="A probe of four channels")
    shank = nwbfile.create_electrode_group(name="shank", description="The only shank", location="CA1", device=probe)
    for _ in range(4):
        nwbfile.add_electrode(location="CA1", group=shank)
    electrodes = nwbfile.create_electrode_table_region(region=[0, 1, 2, 3], description="all channels")
    noise = numpy.random.default_rng([recording.seed, *recording.path.encode()]).normal(scale=40, size=(1000, 4))
    nwbfile.add_acquisition(
        ElectricalSeries(
            name="ElectricalSeries",
            data=noise.astype("int16"),
            electrodes=electrodes,
            starting_time=0.0,
            rate=1000.0,
            conversion=1e-6,
        )
    )
    return nwbfile


def _name_objects(nwbfile: Any, recording: Recording) -> None:
    """Give every object in the file an id that follows from the recording; by default they are random."""
    for number, item in enumerate([nwbfile, *nwbfile.all_children()]):
        # hdmf takes an id from its reader only; for new objects there is no public way to set it.
        item._AbstractContainer__object_id = str(_name(recording, str(number)))


def _name(recording: Recording, part: str) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, f"{recording} {part}")
