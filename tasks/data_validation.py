"""Validate data: refuse what cannot be trained on, set bad rows aside with their reasons."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from sqlmodel import col, select

from base.artifacts import ArtifactStore
from base.contract import ColumnRule, DataContract, ExpectationRule
from base.documents import as_document
from base.errors import DataRefused, DefinitionError, Fault
from base.expectations.asking import ExpectationResult, ExpectationsFailed, ExpectationsProcess, take_expectations
from base.expectations.results import Answer, Question, RowsFile
from base.expectations.suites import compile_suite, count_for_suite, find_metric
from base.fingerprint import digest_document
from base.imports_ahead import import_ahead
from base.pipeline import Pipeline
from base.references import Snapshot, ValidatedData
from base.rows.duck import open_duckdb
from base.validation.duplicates import Duplicates
from base.validation.quarantine import REASON
from registry.feature_views import given_columns
from registry.runs import StepKey, record_step, renew_lease
from registry.tables import Run, StepExecution
from tasks.data_changes import tell_changes
from tasks.data_faults import (
    find_duplicate_faults,
    find_named_faults,
    find_quarantine_faults,
    find_refusals,
)
from tasks.execution import RunContext, RunReference, execute_step, open_context
from tasks.joined_views import without_view_columns
from tasks.judged_rows import JudgedRows, judge_rows
from tasks.refusal import ValidationRefused, refuse_columns, refuse_rows
from tasks.row_quarantine import list_extra, name_expectation, set_aside
from tasks.validation_page import list_rules, render_validation

__all__ = ["REASON", "validate_data", "validate_data_step"]

STEP = "validate_data"
REFUSED = "validate_data refused"
"""Under which name a run that was refused has its page and the rows at fault."""

# What the next steps need, in their order: this process has nothing to do while another one judges.
_NEEDED_NEXT = ("sklearn.ensemble", "sklearn.compose", "sklearn.preprocessing", "skops.io")


def validate_data(
    snapshot: Snapshot,
    pipeline: Pipeline,
    artifacts: ArtifactStore,
    expectations: ExpectationsProcess,
    *,
    previous: ValidatedData | None = None,
    given: Collection[str] = (),
) -> ValidatedData:
    """Judge a snapshot by the contract, and part the good rows from the bad.

    The columns and their types are judged first, on the schema. DuckDB then counts, segment by segment, the rows
    that break each rule; Great Expectations judges the contract's suite by those counts. What a broken rule does is
    its severity: the run stops, the rows are set aside, or they are only counted. A row without a target or a time
    is set aside in any case: it can teach nothing. Rows whose target is still to come are no fault, and do not
    count towards the limit. An infinite number counts as missing, here as in every feature. Rows that repeat
    another one are looked for among the good ones; the first of them stays.

    Parameters
    ----------
    previous : ValidatedData, optional
        What an earlier run made of this pipeline's rows: segments that it judged by the same contract are not
        judged again.
    given : collection of str
        Columns that feature views will give: what the contract says of them is held where they are joined.

    Raises
    ------
    ValidationRefused
        If a column is missing or of another type, the target is all null or has one class, a rule whose severity
        is ``refuse`` is broken, too few rows are left, or too large a share had to be set aside. The page and the rows
        at fault are stored all the same.
    DefinitionError
        If the contract names an expectation that there is not, or names it wrongly.
    """
    outcome = _judge(snapshot, without_view_columns(pipeline, given), artifacts, expectations, previous)
    # Raised here, where no frame of its traceback holds a connection until the process ends.
    if isinstance(outcome, ValidationRefused):
        raise outcome
    return outcome


def _judge(
    snapshot: Snapshot,
    pipeline: Pipeline,
    artifacts: ArtifactStore,
    expectations: ExpectationsProcess,
    previous: ValidatedData | None,
) -> ValidatedData | ValidationRefused:
    with open_duckdb() as connection:
        before = None if previous is None else previous.judgements
        try:
            judged = judge_rows(connection, snapshot, pipeline, artifacts, before=before)
        except DataRefused as error:
            good_before = None if previous is None else previous.good
            return refuse_columns(error, snapshot, pipeline, artifacts, good_before)
        if judged.unfit[0]:
            return refuse_rows(connection, snapshot, pipeline, artifacts, judged, (), *judged.unfit)
        answer = _ask(judged, pipeline, artifacts, expectations)
        contract = pipeline.contract
        pairs = list(zip(contract.expectations if contract else (), answer.named, strict=True))
        failed = [(rule, result) for rule, result in pairs if not result.success]
        extra = list_extra(artifacts, judged, [pair for pair in failed if pair[0].severity == "quarantine"])
        for faults, way_out in _find_faults(judged, failed, extra.reasons, pipeline):
            if faults:
                return refuse_rows(connection, snapshot, pipeline, artifacts, judged, pairs, faults, way_out)
        good, quarantined, judgements = set_aside(connection, artifacts, judged, extra)
    warnings = _count_warnings(judged)
    warnings |= {name_expectation(result): result.n_unexpected for rule, result in failed if rule.severity == "warn"}
    report = {
        "rows": judged.n_rows,
        "quarantined": extra.reasons,
        "warnings": warnings,
        "new_columns": [name for name in snapshot.columns if contract and name not in contract.columns],
        "expectations": [result.model_dump(mode="json", exclude={"rows"}) for result in answer.results],
        "named": [result.model_dump(mode="json", exclude={"rows"}) for result in answer.named],
    }
    rules = list_rules(judged, pairs)
    page = render_validation(pipeline, snapshot, judged, rules, extra.reasons, good)
    return ValidatedData(
        good=good,
        n_rows=good.n_rows,
        quarantined=quarantined,
        reasons=extra.reasons,
        report=artifacts.put_bytes(json.dumps(as_document(report)).encode(), suffix=".json"),
        warnings=warnings,
        page=artifacts.put_bytes(page.encode(), suffix=".html"),
        judgements=judgements,
    )


def _find_faults(
    judged: JudgedRows,
    failed: Sequence[tuple[ExpectationRule, ExpectationResult]],
    reasons: Mapping[str, int],
    pipeline: Pipeline,
) -> Iterator[tuple[list[Fault], str]]:
    """Find why the rows are refused, each kind with the way out."""
    yield (
        find_refusals(judged.checks, judged.broken, judged.examples)
        + find_named_faults([result for rule, result in failed if rule.severity == "refuse"]),
        "Correct the source, or the rule or its severity in the contract.",
    )
    yield find_duplicate_faults(judged.duplicates), "Remove the duplicates at the source, or the rule from 'unique'."
    yield (
        find_quarantine_faults(reasons, judged.n_rows, pipeline),
        "Correct those rows at the source; raise the limits only if such rows are meant.",
    )


def _ask(judged: JudgedRows, pipeline: Pipeline, artifacts: ArtifactStore, expectations: ExpectationsProcess) -> Answer:
    """Have Great Expectations judge the counts, and run the expectations that the contract names itself."""
    contract = pipeline.contract or DataContract(columns={pipeline.spec.target_column: ColumnRule(type="number")})
    min_rows = pipeline.spec.validate_data.min_rows
    counts = count_for_suite(
        judged.n_rows, judged.checks, judged.broken, judged.examples, judged.nulls, judged.duplicates
    )
    named = contract.expectations
    question = Question(
        suite=compile_suite(contract, name=pipeline.name, min_rows=min_rows, columns=judged.types),
        counts=counts,
        named=named,
        files=_files(judged, artifacts) if named else (),
        code={name: code.decode() for name, code in pipeline.code.items()} if named else {},
    )
    if expectations.is_apart:
        import_ahead(*_NEEDED_NEXT)
    try:
        answer = expectations.ask(question)
    except DefinitionError as error:
        file = pipeline.spec.validate_data.contract
        raise DefinitionError(str(error), file=None if file is None else str(pipeline.folder / file)) from error
    for result in answer.results:
        metric = find_metric(result)
        if metric is not None and result.success is not (counts.unexpected[metric] == 0):
            raise ExpectationsFailed(
                f"Great Expectations says {result.success} of {result.type} {result.arguments}, which "
                f"{counts.unexpected[metric]:,} rows break; this is a fault of Everfit, please report it"
            )
    return answer


def _files(judged: JudgedRows, artifacts: ArtifactStore) -> tuple[RowsFile, ...]:
    return tuple(
        RowsFile(
            path=artifacts.local_path(segment.artifact).absolute(),
            dropped=tuple(artifacts.local_path(dropped).absolute() for dropped in segment.dropped),
        )
        for segment in judged.rows.segments
    )


def _count_warnings(judged: JudgedRows) -> dict[str, int]:
    found = {
        check.reason: judged.broken[check.reason]
        for check in judged.checks
        if check.severity == "warn" and judged.broken[check.reason]
    }
    repeated: list[Duplicates] = [one for one in judged.duplicates if one.key.severity == "warn" and one.n_rows]
    return found | {one.key.reason: one.n_rows for one in repeated}


@task(name="validate data", cache_policy=NO_CACHE)
def validate_data_step(run: RunReference, snapshot: Snapshot) -> ValidatedData:
    """Judge a snapshot by its pipeline's contract, or reuse the judgement of the same rows."""
    context = open_context(run)
    spec, contract = context.pipeline.spec, context.pipeline.contract
    log = get_run_logger()
    given = given_columns(context.registry, context.pipeline)

    def work() -> ValidatedData:
        previous = _find_previous(context)
        # Before the judgement: what it refuses is often explained by what changed.
        changes = tell_changes(context, snapshot, log)
        with take_expectations() as expectations:
            validated = validate_data(
                snapshot, context.pipeline, context.registry.artifacts, expectations, previous=previous, given=given
            )
        return validated.model_copy(update={"changes": changes})

    try:
        validated = execute_step(
            context,
            STEP,
            work,
            output=ValidatedData,
            parameters={
                "validate_data": spec.validate_data.model_dump(mode="json"),
                "contract": None if contract is None else contract.model_dump(mode="json"),
                "task": spec.task,
                "target": spec.target_column,
                "code": context.code.digest if contract is not None and contract.expectations else None,
                "given": sorted(given),
            },
            inputs={"snapshot": snapshot.digest},
            log=log,
        )
    except ValidationRefused as refused:
        _record_refusal(context, snapshot, refused)
        raise
    finally:
        take_expectations().close()
    for reason, count in validated.warnings.items():
        log.warning("validate_data: %s in %s rows, which stay", reason, f"{count:,}")
    for name, count in snapshot.unmatched.items():
        log.warning("validate_data: source %r has no row for %s of the rows that were read", name, f"{count:,}")
    return validated


def _record_refusal(context: RunContext, snapshot: Snapshot, refused: ValidationRefused) -> None:
    """Write down what was kept of a refusal, under a name by which no run would take it for a result."""
    nothing = digest_document(None)
    key = StepKey(code=nothing, parameters=nothing, inputs={"snapshot": snapshot.digest}, environment=nothing)
    with context.registry.database.write() as session:
        lease = timedelta(seconds=context.settings.lease_seconds)
        renew_lease(session, context.run.id, owner=context.run.owner, lease=lease)
        run = session.get_one(Run, context.run.id)
        record_step(session, run=run, step=REFUSED, key=key, output=refused.kept.model_dump(mode="json"), seconds=0.0)


def _find_previous(context: RunContext) -> ValidatedData | None:
    query = (
        select(StepExecution)
        .where(StepExecution.pipeline == context.pipeline.name, StepExecution.step == STEP)
        .order_by(col(StepExecution.id).desc())
        .limit(1)
    )
    with context.registry.database.read() as session:
        found = session.exec(query).first()
        return None if found is None else ValidatedData.model_validate(found.output)
