"""What the benchmarks found, each figure next to its limit where it has one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Figure:
    """One thing measured. `limit` is what it must not be above, or below where `least` is set."""

    name: str
    value: float
    unit: str = ""
    limit: float | None = None
    least: bool = False

    @property
    def kept(self) -> bool:
        if self.limit is None:
            return True
        return self.value >= self.limit if self.least else self.value <= self.limit

    def line(self) -> str:
        value = f"{self.value:,.0f}" if self.value >= 1000 else f"{self.value:.3g}"
        text = f"  {self.name:<68} {value:>12} {self.unit:<8}"
        if self.limit is None:
            return text.rstrip()
        bound = f"{'at least' if self.least else 'at most'} {self.limit:g}"
        return f"{text} {bound:<14} {'ok' if self.kept else 'MISSED'}"


@dataclass
class Results:
    """The figures of one benchmark."""

    title: str
    figures: list[Figure] = field(default_factory=list)

    def add(self, name: str, value: float, unit: str = "", *, limit: float | None = None, least: bool = False) -> None:
        self.figures.append(Figure(name, value, unit, limit, least))

    def check(self, name: str, holds: bool) -> None:
        """Something that must be so."""
        self.add(name, float(holds), limit=1, least=True)

    @property
    def kept(self) -> bool:
        return all(figure.kept for figure in self.figures)

    def text(self) -> str:
        return "\n".join([self.title, *(figure.line() for figure in self.figures)])

    def as_json(self) -> str:
        figures = [{**asdict(figure), "kept": figure.kept} for figure in self.figures]
        return json.dumps({"benchmark": self.title, "kept": self.kept, "figures": figures})
