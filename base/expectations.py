"""Run a contract as a Great Expectations suite over a Parquet file, apart from the process that asks.

Great Expectations takes seconds and 200 MB to import. As a process of its own (``python -m base.expectations``)
it loads on the second core while rows are still being extracted, and has given its memory back before a model
is fitted. docs/decisions/0004-great-expectations-apart.md has the figures.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from base.contract import DataContract
from base.errors import EverfitError

if TYPE_CHECKING:
    import pandas as pd


class ExpectationResult(BaseModel):
    """What one expectation found: its type and arguments, and over how many rows it did not hold."""

    model_config = ConfigDict(frozen=True)

    type: str
    arguments: dict[str, Any]
    success: bool
    n_unexpected: int = 0
    examples: tuple[Any, ...] = ()
    error: str | None = None


class ExpectationsFailed(EverfitError):
    """Great Expectations could not judge the data: not a verdict on the data, but the lack of one."""


def compile_suite(contract: DataContract, *, name: str, min_rows: int) -> dict[str, Any]:
    """Write a contract as a Great Expectations suite, in its JSON form.

    Types are not in it: they are judged on the Arrow schema, before a frame is made.

    Examples
    --------
    >>> from base.contract import ColumnRule
    >>> contract = DataContract(columns={"age": ColumnRule(type="number", nullable=False, minimum=0)})
    >>> suite = compile_suite(contract, name="people", min_rows=1)
    >>> [expectation["type"].removeprefix("expect_") for expectation in suite["expectations"]]
    ['table_row_count_to_be_between', 'column_values_to_not_be_null', 'column_values_to_be_between']
    """
    expectations = [_expect("table_row_count_to_be_between", min_value=min_rows)]
    for column, rule in contract.columns.items():
        if not rule.nullable:
            expectations.append(_expect("column_values_to_not_be_null", column=column))
        if rule.minimum is not None or rule.maximum is not None:
            bounds = {"min_value": rule.minimum, "max_value": rule.maximum}
            expectations.append(_expect("column_values_to_be_between", column=column, **bounds))
        if rule.categories is not None:
            expectations.append(_expect("column_values_to_be_in_set", column=column, value_set=list(rule.categories)))
    expectations += [_expect("column_values_to_be_unique", column=column) for column in contract.unique]
    return {"name": name, "expectations": expectations}


def run_suite(suite: dict[str, Any], file: Path) -> list[ExpectationResult]:
    """Run a suite over a Parquet file in this process.

    Raises
    ------
    ExpectationsFailed
        If the suite holds an expectation that this Great Expectations does not know: it would drop it with
        a line in its log, and the suite would pass.
    """
    from great_expectations.core.expectation_suite import ExpectationSuite
    from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine
    from great_expectations.validator.validator import Validator

    loaded = ExpectationSuite(**suite)
    if len(loaded.expectations) != len(suite["expectations"]):
        known = {expectation.configuration.type for expectation in loaded.expectations}
        lost = sorted({expectation["type"] for expectation in suite["expectations"]} - known)
        raise ExpectationsFailed(f"Great Expectations does not know {', '.join(lost)}; correct the name")
    columns = sorted({kwargs["column"] for item in suite["expectations"] if "column" in (kwargs := item["kwargs"])})
    frame = _read_columns(file, columns)
    validator = Validator(execution_engine=PandasExecutionEngine(batch_data_dict={"rows": frame}))
    validator.metrics_calculator.show_progress_bars = False
    results = validator.graph_validate(
        configurations=loaded.expectation_configurations,
        runtime_configuration={"result_format": {"result_format": "SUMMARY", "partial_unexpected_count": 5}},
    )
    return [_read_result(result.to_json_dict()) for result in results]


class ExpectationsProcess:
    """A child process in which Great Expectations loads while the parent does something else.

    Examples
    --------
    ``with ExpectationsProcess() as process: … process.run(suite, file)``. Where Great Expectations is
    imported already, as in a warm worker, no child is started and the suite runs here.
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Let the child load; nothing to do where it loads already, or need not."""
        if self._child is None and "great_expectations" not in sys.modules:
            self._child = subprocess.Popen(
                # -P: the working directory may hold a base.py, which must not hide the package of that name.
                [sys.executable, "-P", "-m", "base.expectations"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

    def close(self) -> None:
        """End a child that was never asked; it only reads, so killing it loses nothing."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def __enter__(self) -> ExpectationsProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_apart(self) -> bool:
        """Tell whether a child judges, while this process can do something else."""
        return self._child is not None

    def run(self, suite: dict[str, Any], file: Path) -> list[ExpectationResult]:
        """Run a suite over a Parquet file; once for each process.

        Raises
        ------
        ExpectationsFailed
            If the child ends without an answer.
        """
        if self._child is None:
            return run_suite(suite, file)
        answer, complaints = self._child.communicate(json.dumps({"suite": suite, "file": str(file)}))
        code, self._child = self._child.returncode, None
        if code != 0:
            last = complaints.strip().splitlines()[-1:] or ["no message"]
            raise ExpectationsFailed(f"Great Expectations ended with code {code}: {last[0]}")
        return [ExpectationResult.model_validate(result) for result in json.loads(answer)]


_ahead = ExpectationsProcess()


def load_expectations_ahead() -> None:
    """Let Great Expectations load in a process of its own now, since rows to judge are on their way."""
    _ahead.start()


def take_expectations() -> ExpectationsProcess:
    """Return the process that was started ahead, or one that is yet to start."""
    return _ahead


def _read_columns(file: Path, columns: list[str]) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(file, columns=columns)
    frame: pd.DataFrame = table.to_pandas()
    for name in columns:
        # With gaps, integers would become doubles, and two long identifiers one.
        if pa.types.is_integer(table[name].type) and table[name].null_count:
            frame[name] = table[name].to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    return frame


def _expect(kind: str, **arguments: Any) -> dict[str, Any]:
    return {"type": f"expect_{kind}", "kwargs": {key: value for key, value in arguments.items() if value is not None}}


def _read_result(result: dict[str, Any]) -> ExpectationResult:
    config, found = result["expectation_config"], result.get("result") or {}
    info = result.get("exception_info") or {}
    # The information about exceptions has two shapes: flat, or one entry for each metric.
    faults = [info] if "raised_exception" in info else list(info.values())
    error = next((fault["exception_message"] for fault in faults if fault.get("raised_exception")), None)
    kwargs = {key: value for key, value in config["kwargs"].items() if key != "batch_id"}
    examples: Sequence[Any] = found.get("partial_unexpected_list") or []
    return ExpectationResult(
        type=config["type"],
        arguments=kwargs,
        success=bool(result["success"]),
        n_unexpected=int(found.get("unexpected_count") or 0),
        examples=tuple(value if isinstance(value, str | int | float | bool) else str(value) for value in examples),
        error=error,
    )


def _answer() -> None:
    # Thousands of classes are made by the import and none is thrown away: the collector would look for nothing.
    gc.disable()
    # Great Expectations does without SQLAlchemy, which frames do not need, and is ready a tenth sooner.
    sys.modules["sqlalchemy"] = None  # type: ignore[assignment]
    import great_expectations  # noqa: F401  (this is what takes the time; the question comes later)

    question = json.load(sys.stdin)
    results = run_suite(question["suite"], Path(question["file"]))
    json.dump([result.model_dump(mode="json") for result in results], sys.stdout)


if __name__ == "__main__":
    _answer()
