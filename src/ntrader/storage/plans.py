"""What PostgreSQL's planner expects of a query."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Expected:
    """How many rows a query should have, and what it should cost in the planner's own unit.

    `startup` is the part of the `cost` that comes before the first row.
    """

    rows: float
    cost: float
    startup: float = 0.0


def expected_of_parts(plan: Mapping[str, Any]) -> tuple[Expected, ...]:
    """Return what is expected of each part of a UNION ALL, whose plan without workers this is."""
    # Where one part is left, there is no union any more.
    parts = plan["Plans"] if plan["Node Type"] == "Append" else [plan]
    return tuple(
        Expected(part["Plan Rows"], part["Total Cost"], part["Startup Cost"])
        for part in parts
        if part.get("Parent Relationship") != "InitPlan"
    )
