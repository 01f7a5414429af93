"""Fixtures of the flows' tests: trainings in processes of their own."""

from __future__ import annotations

from tests.trainings import training_server, trainings

__all__ = ["training_server", "trainings"]
