"""Run the benchmarks: ``python -m benchmarks [NAME] [--rounds N]``."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from benchmarks.figures import print_table, write_results

BENCHMARKS = ("loop", "data", "evaluation", "gate", "serving", "monitoring", "backtest")


def main() -> None:
    """Run one benchmark or all; print each one's table and write its file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Everfit beside floor and peers.")
    parser.add_argument("name", nargs="?", choices=BENCHMARKS, help="which one; default: all")
    parser.add_argument("--rounds", type=int, default=5, help="how often each command runs; the median counts")
    asked = parser.parse_args()
    if asked.rounds < 1:
        parser.error("--rounds must be at least 1")
    for name in [asked.name] if asked.name else BENCHMARKS:
        figures = import_module(f"benchmarks.{name}").measure(asked.rounds)
        print_table(figures)
        print(f"written to {write_results(name, figures)}", file=sys.stderr)


if __name__ == "__main__":
    main()
