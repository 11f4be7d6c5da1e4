"""Whether a published version stands still: the archive goes on working on it for a while after it appears."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from mirror.archive.records import Instance, VersionInfo
from mirror.dataset.times import moment
from mirror.errors import RecordRefused

DOI_PATIENCE = timedelta(days=7)
"""A version that has no DOI after this long is taken without one."""


class _Doi(msgspec.Struct):
    doi: str | None = None


def has_doi(info: VersionInfo) -> bool:
    """Whether a version's metadata names its DOI."""
    try:
        return bool(msgspec.json.decode(info.metadata, type=_Doi).doi)
    except msgspec.DecodeError as error:
        raise RecordRefused(f"version {info.version}: its metadata is malformed: {error}") from None


def unsettled(
    info: VersionInfo, has_doi: bool, answered: datetime, settle_seconds: float, instance: Instance
) -> str | None:
    """Why a version is not to be taken yet, None when it has settled. `answered`: by the archive's own clock."""
    rest = settle_seconds - (answered - moment(info.modified)).total_seconds()
    if settle_seconds > 0 and rest > 0:
        return f"changed less than {settle_seconds:g} s ago"
    if instance.doi_prefix and not has_doi and answered - moment(info.created) < DOI_PATIENCE:
        return "has no DOI yet"
    return None
