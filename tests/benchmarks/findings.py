"""What the benchmarks found: a line for each question, and the table and the document of all."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from .timing import print_table

HEADER = ("question", "floor", "ntrader", "x floor", "aim", "met", "growth", "MLflow")


@dataclass(frozen=True, slots=True)
class Finding:
    """One question, answered by hand and by ntrader, both in `unit`.

    `ratio` is how many times the floor's work ntrader's is, also where more is better. `aim` is
    the most that the ratio may be, or, where there is no floor to be a multiple of, or `absolute`
    is set, that the value of ntrader may be. `growth` is from the smallest store to the largest.
    """

    part: str
    question: str
    unit: str
    ours: float
    floor: float | None = None
    ratio: float | None = None
    aim: float | None = None
    absolute: bool = False
    growth: float | None = None
    peer: float | None = None

    @classmethod
    def timed(
        cls, part: str, question: str, floor: float, ours: float, unit: str = "ms", **more: Any
    ) -> Self:
        """Return a finding of two durations."""
        return cls(part, question, unit, ours, floor, ours / floor, **more)

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None where there is none."""
        if self.aim is None:
            return None
        judged = self.ours if self.absolute or self.ratio is None else self.ratio
        return judged <= self.aim

    @property
    def cells(self) -> tuple[str, ...]:
        """The finding as a line of the table, below `HEADER`."""
        aim = "" if self.aim is None else f"{self.aim:,g}"
        return (
            self.question,
            quantity(self.floor, self.unit),
            quantity(self.ours, self.unit),
            _rounded(self.ratio),
            f"{aim} {self.unit}".rstrip() if self.absolute and aim else aim,
            {None: "", True: "yes", False: "no"}[self.met],
            _rounded(self.growth),
            quantity(self.peer, self.unit),
        )


@dataclass(slots=True)
class Findings:
    """What one part found: `details` go into the document only, `peer` is in each line's unit."""

    lines: list[Finding] = field(default_factory=list)
    peer: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def add(self, other: Self) -> None:
        """Take over what another part found."""
        self.lines += other.lines
        self.peer |= other.peer
        self.notes += other.notes
        self.details |= other.details

    def beside_peer(self) -> list[Finding]:
        """Return all lines, with the peer's values where it answered the same question."""
        return [replace(line, peer=self.peer.get(line.question)) for line in self.lines]


def print_findings(lines: Sequence[Finding]) -> None:
    """Print the one table, a section for each part."""
    rows: list[tuple[str, ...]] = []
    for part in dict.fromkeys(line.part for line in lines):
        rows.append((part.upper(), *[""] * (len(HEADER) - 1)))
        rows += [line.cells for line in lines if line.part == part]
    print_table(HEADER, rows)


def to_json(lines: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return lines as the document has them: also whether each aim is met."""
    return [{**asdict(line), "met": line.met} for line in lines]


def from_json(document: Mapping[str, Any]) -> list[Finding]:
    """Return the lines of a document."""
    return [
        Finding(**{name: value for name, value in line.items() if name != "met"})
        for line in document["lines"]
    ]


def quantity(value: float | None, unit: str) -> str:
    """Return a value with its unit, as precise as it is large."""
    if value is None:
        return ""
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def _rounded(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio:.2f}" if ratio < 2 else f"{ratio:,.1f}"
