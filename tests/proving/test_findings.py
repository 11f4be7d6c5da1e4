"""What is found is counted, told of, and kept: all that matters, however much else there is."""

from __future__ import annotations

from mirror.proving.findings import MOST_TOLD, SubjectProved, Teller
from tests.proving.conftest import Told


def test_what_is_wrong_is_told_of_however_much_is_not_known() -> None:
    told, result = Told(), SubjectProved("000001", "urls", "")
    teller = Teller(result, told)
    for number in range(MOST_TOLD + 5):
        teller.find("unknown", f"{number}.nwb", "no answer")

    teller.find("gone", "lost.nwb", "the archive does not have it any more")

    assert told.where("gone") == ["lost.nwb"]
    assert [one.where for one in teller.kept if one.severe] == ["lost.nwb"]
    assert len(told.where("unknown")) == MOST_TOLD
    assert result.counts == {"unknown": MOST_TOLD + 5, "gone": 1}
