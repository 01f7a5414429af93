"""Backtest: a pipeline's history through its own retraining policy and others, to choose one with evidence."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from base.times import as_utc
from tasks.backtest.request import BacktestRequest
from tasks.backtest.step import backtest_step


@flow(name="backtest", flow_run_name="backtest {pipeline}", validate_parameters=True)
def backtest(
    pipeline: str,
    start: datetime | None = None,
    stop: datetime | None = None,
    policies: str | None = None,
    price: Annotated[float, Field(gt=0)] | None = None,
    budget: Annotated[float, Field(gt=0)] | None = None,
) -> dict[str, Any]:
    """Replay a pipeline's history through retraining policies, and say which one to take; nothing live is touched.

    Args:
        pipeline: The name of a registered pipeline, or the path of its definition.
        start: When the first served window begins; what lies before trains the first model. Empty: after a fifth.
        stop: Where the history ends; empty: with the newest rows.
        policies: A YAML file of policies on the worker's machine; empty: the usual ones and the pipeline's own.
        price: What a training costs, in windows of full loss; empty: as the definition says.
        budget: Seconds after which the best answer so far is given; empty: as long as it takes.
    """
    return backtest_step(
        pipeline,
        BacktestRequest(
            start=None if start is None else as_utc(start),
            stop=None if stop is None else as_utc(stop),
            policies=None if policies is None else Path(policies),
            price=price,
            budget=budget,
        ),
    )
