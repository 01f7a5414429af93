"""What a benchmark found: figures with what each was measured against, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figure:
    """One measured number, its unit, and what it stands beside: a floor, a peer, a target."""

    name: str
    value: float
    unit: str
    against: str


def print_table(figures: Sequence[Figure]) -> None:
    """Print figures, one line each."""
    rows = [("figure", "value", "unit", "against")]
    rows += [(figure.name, f"{figure.value:.3g}", figure.unit, figure.against) for figure in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for name, value, unit, against in rows:
        print(f"{name:<{widths[0]}}  {value:>{widths[1]}}  {unit:<{widths[2]}}  {against}")


def write_results(name: str, figures: Sequence[Figure]) -> Path:
    """Write figures to ``benchmarks/results/NAME.json``."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    rounded = [asdict(figure) | {"value": round(figure.value, 4)} for figure in figures]
    file.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
    return file
