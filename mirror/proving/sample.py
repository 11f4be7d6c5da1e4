"""A part of all, chosen by chance."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil

from mirror.errors import UsageError

_SAMPLE = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<percent>%?)").fullmatch


@dataclass(frozen=True)
class Sample:
    """So many of each dataset's contents, or so many in a hundred."""

    number: float
    percent: bool

    @classmethod
    def parse(cls, text: str) -> Sample:
        found = _SAMPLE(text.strip())
        number = float(found["number"]) if found else 0.0
        percent = bool(found and found["percent"])
        if number <= 0 or (percent and number > 100) or (not percent and number != int(number)):
            raise UsageError(f"{text!r} is no sample", hint="it is a number of contents, such as 100, or a share: 5%")
        return cls(number, percent)

    def of(self, total: int) -> int:
        """How many that is of so many; of what is not empty, one at least."""
        return min(total, ceil(total * self.number / 100) if self.percent else int(self.number))
