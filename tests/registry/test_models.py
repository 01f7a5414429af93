"""Claims about versions, aliases, promotions and rollbacks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings as cases
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy.exc import IntegrityError

from base.errors import ArgumentError
from base.settings import Settings
from registry.ledger import first_broken_link, list_decisions
from registry.models import (
    AliasMoved,
    VersionNotFound,
    alias_history,
    find_alias,
    list_models,
    list_versions,
    previous_champion,
    promote_version,
    register_version,
    resolve_version,
    roll_back,
)
from registry.store import Registry, open_registry
from registry.tables import ModelVersion, PipelineVersion
from tests.processes import run_at_once
from tests.registry.samples import a_finished_run, a_pipeline, a_version, new_version


def _register(registry: Registry, count: int, pipeline: PipelineVersion | None = None) -> list[ModelVersion]:
    pipeline = pipeline or a_pipeline(registry)
    with registry.database.write() as session:
        return [a_version(session, pipeline) for _ in range(count)]


def _promote(registry: Registry, version: ModelVersion, revision: int, **options: Any) -> int:
    with registry.database.write() as session:
        options = {"actor": "test", "reason": "better"} | options
        return promote_version(session, "prod", version, expected_revision=revision, **options).revision


def _champion(registry: Registry, environment: str = "prod", model: str = "churn") -> int | None:
    with registry.database.read() as session:
        alias = find_alias(session, environment, model)
        return None if alias is None else alias.number


def test_numbers_have_no_gaps_when_processes_register_at_once(any_registry: Registry) -> None:
    pipeline = a_pipeline(any_registry)
    with any_registry.database.write() as session:
        runs = [a_finished_run(session, pipeline).id for _ in range(32)]

    def register(number: int) -> list[int]:
        numbers = []
        for run in runs[number::8]:
            with any_registry.database.write() as session:
                numbers.append(register_version(session, new_version(pipeline, run)).number)
        return numbers

    numbers = [number for found in run_at_once(8, register) for number in found]
    assert sorted(numbers) == list(range(1, 33))


def test_each_model_counts_for_itself(registry: Registry) -> None:
    first, second = (_register(registry, 2, a_pipeline(registry, name, name)) for name in ("churn", "fares"))

    assert [version.number for version in (*first, *second)] == [1, 2, 1, 2]


def test_a_run_that_registers_again_gets_its_version(any_registry: Registry) -> None:
    pipeline = a_pipeline(any_registry)
    with any_registry.database.write() as session:
        run = a_finished_run(session, pipeline)
        first = register_version(session, new_version(pipeline, run.id))
    with any_registry.database.write() as session:
        again = register_version(session, new_version(pipeline, run.id))

        assert (again.id, again.number) == (first.id, 1)
        assert len(list_versions(session, "churn")) == 1


def test_what_was_not_measurable_is_registered_as_null(any_registry: Registry) -> None:
    pipeline = a_pipeline(any_registry)
    with any_registry.database.write() as session:
        new = new_version(pipeline, a_finished_run(session, pipeline).id)
        new.metrics["roc_auc"] = float("nan")
        register_version(session, new)
    with any_registry.database.read() as session:
        assert list_versions(session)[0].metrics == {"log_loss": 0.5, "roc_auc": None}


def test_of_processes_that_promote_at_once_one_wins_and_each_other_is_told(any_registry: Registry) -> None:
    versions = _register(any_registry, 16)

    answers = run_at_once(16, lambda number: _promote(any_registry, versions[number], 0))
    losers = [answer for answer in answers if isinstance(answer, AliasMoved)]
    assert [answer for answer in answers if answer == 1] == [1]
    assert [(loser.expected, loser.found) for loser in losers] == [(0, 1)] * 15
    with any_registry.database.read() as session:
        assert len(alias_history(session, "prod", "churn")) == len(list_decisions(session)) == 1


@pytest.mark.slow
def test_promotions_that_try_again_give_one_linear_history(any_registry: Registry) -> None:
    versions = _register(any_registry, 16)

    def promote_until_won(number: int) -> int:
        revision = 0
        while True:
            try:
                return _promote(any_registry, versions[number], revision)
            except AliasMoved as moved:
                revision = moved.found

    assert sorted(run_at_once(16, promote_until_won)) == list(range(1, 17))
    with any_registry.database.read() as session:
        moves = alias_history(session, "prod", "churn")[::-1]
        assert [move.revision for move in moves] == list(range(1, 17))
        assert [move.previous for move in moves] == [None, *(move.number for move in moves[:-1])]
        assert moves[-1].number == resolve_version(session, "prod", "churn").number
        assert first_broken_link(session) is None


def test_a_run_that_promotes_again_moves_nothing(any_registry: Registry) -> None:
    first, second = _register(any_registry, 2)
    _promote(any_registry, first, 0, run_id=first.run_id)
    _promote(any_registry, second, 1, run_id=second.run_id)

    assert _promote(any_registry, first, 0, run_id=first.run_id) == 2
    assert _champion(any_registry) == 2
    with any_registry.database.read() as session:
        assert len(alias_history(session, "prod", "churn")) == 2


def test_a_run_promotes_once_in_each_environment(registry: Registry) -> None:
    old, new = _register(registry, 2)
    for environment in ("staging", "prod"):
        for revision, version in enumerate((old, new)):
            with registry.database.write() as session:
                promote_version(
                    session,
                    environment,
                    version,
                    expected_revision=revision,
                    actor="a",
                    reason="r",
                    run_id=version.run_id,
                )

    assert (_champion(registry, "staging"), _champion(registry, "prod")) == (2, 2)


def test_a_promotion_that_is_not_committed_leaves_no_trace(any_registry: Registry) -> None:
    (version,) = _register(any_registry, 1)

    def promote_and_fail() -> None:
        with any_registry.database.write() as session:
            promote_version(session, "prod", version, expected_revision=0, actor="a", reason="r")
            raise ArgumentError("power cut")

    with pytest.raises(ArgumentError):
        promote_and_fail()
    assert _champion(any_registry) is None
    with any_registry.database.read() as session:
        assert not alias_history(session, "prod", "churn")
        assert not list_decisions(session)


def test_the_database_refuses_an_alias_of_a_version_that_is_not_registered(any_registry: Registry) -> None:
    (version,) = _register(any_registry, 1)
    ghost = ModelVersion.model_validate(version.model_dump() | {"number": 7})

    with pytest.raises(IntegrityError):
        _promote(any_registry, ghost, 0)
    assert _champion(any_registry) is None


@pytest.mark.parametrize("name", ["churn", "churn@", "churn@champion", "churn@2"])
def test_a_name_means_a_version(registry: Registry, name: str) -> None:
    versions = _register(registry, 2)
    _promote(registry, versions[1], 0)

    with registry.database.read() as session:
        assert resolve_version(session, "prod", name).number == 2


@pytest.mark.parametrize(
    ("environment", "name", "message"),
    [
        ("prod", "chrun", r"there is no model 'chrun'; registered are churn; did you mean 'churn'\?"),
        ("prod", "churn@9", r"model 'churn' has no version 9; its versions are 2, 1"),
        ("prod", "churn@0", r"model 'churn' has no version 0"),
        ("prod", "churn@99999999999999999999999", r"has no version 9+; its versions are 2, 1"),
        ("dev", "churn", r"model 'churn' has no 'champion' in environment 'dev'; its versions are 2, 1"),
        ("prod", "churn@canary", r"model 'churn' has no 'canary' in environment 'prod'"),
        ("prod", "@1", r"there is no model ''"),
    ],
)
def test_a_name_that_means_nothing_is_told_what_there_is(
    any_registry: Registry, environment: str, name: str, message: str
) -> None:
    versions = _register(any_registry, 2)
    _promote(any_registry, versions[0], 0)

    with any_registry.database.read() as session, pytest.raises(VersionNotFound, match=message):
        resolve_version(session, environment, name)


def test_an_empty_registry_says_so(registry: Registry) -> None:
    with registry.database.read() as session:
        assert list_models(session) == []
        with pytest.raises(VersionNotFound, match="registered are none"):
            resolve_version(session, "prod", "churn")


def test_a_rollback_is_told_why_it_cannot_be(registry: Registry) -> None:
    versions = _register(registry, 2)
    cases_: list[tuple[int | None, str]] = [
        (None, "version 1 is the first champion of 'churn'; there is none to go back to"),
        (1, "version 1 is the champion of 'churn' already"),
        (9, "model 'churn' has no version 9"),
    ]

    with registry.database.write() as session:
        with pytest.raises(VersionNotFound, match="has no champion in environment 'prod' to roll back from"):
            roll_back(session, "prod", "churn", actor="a", reason="r")
        promote_version(session, "prod", versions[0], expected_revision=0, actor="a", reason="r")
        for to, message in cases_:
            with pytest.raises(ArgumentError, match=message):
                roll_back(session, "prod", "churn", actor="a", reason="r", to=to)


class ChampionsMachine(RuleBasedStateMachine):
    """Promotions and rollbacks in any order, against a list with the champions that can be gone back to."""

    registry: Registry

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[int] = []
        self.revision = 0
        self.moves: list[int] = []
        self.model = f"model_{next(_counter)}"

    @initialize(count=st.integers(1, 4))
    def register(self, count: int) -> None:
        self.versions = _register(self.registry, count, a_pipeline(self.registry, self.model, self.model))

    @rule(data=st.data())
    def promote(self, data: st.DataObject) -> None:
        version = data.draw(st.sampled_from(self.versions))
        self._moved(_promote(self.registry, version, self.revision), version.number)
        if self.stack[-1:] != [version.number]:
            self.stack.append(version.number)

    @rule(behind=st.integers(1, 3), data=st.data())
    def promote_on_an_old_judgement(self, behind: int, data: st.DataObject) -> None:
        version = data.draw(st.sampled_from(self.versions))
        with pytest.raises(AliasMoved):
            _promote(self.registry, version, self.revision + behind)

    @precondition(lambda self: len(self.stack) > 1)
    @rule()
    def roll_back(self) -> None:
        self._moved(self._roll_back(None), self.stack[-2])
        self.stack.pop()

    @precondition(lambda self: len(self.stack) == 1)
    @rule()
    def roll_back_from_the_first(self) -> None:
        with pytest.raises(VersionNotFound):
            self._roll_back(None)

    @precondition(lambda self: bool(self.stack))
    @rule(data=st.data())
    def roll_back_to(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from([version.number for version in self.versions]))
        if number == self.stack[-1]:
            with pytest.raises(ArgumentError, match="already"):
                self._roll_back(number)
            return
        if number not in self.moves:
            with pytest.raises(ArgumentError, match="was never champion"):
                self._roll_back(number)
            return
        self._moved(self._roll_back(number), number)
        if number in self.stack:
            while self.stack[-1] != number:
                self.stack.pop()
        else:
            self.stack.pop()
            if self.stack[-1:] != [number]:
                self.stack.append(number)

    @invariant()
    def the_registry_agrees(self) -> None:
        with self.registry.database.read() as session:
            alias = find_alias(session, "prod", self.model)
            assert (None if alias is None else alias.number) == (self.stack[-1] if self.stack else None)
            assert previous_champion(session, "prod", self.model) == (self.stack[-2] if len(self.stack) > 1 else None)
            assert [move.number for move in alias_history(session, "prod", self.model)] == self.moves[::-1]

    def teardown(self) -> None:
        with self.registry.database.read() as session:
            assert first_broken_link(session) is None

    def _moved(self, revision: int, number: int) -> None:
        self.revision += 1
        self.moves.append(number)
        assert revision == self.revision

    def _roll_back(self, to: int | None) -> int:
        with self.registry.database.write() as session:
            return roll_back(session, "prod", self.model, actor="test", reason="worse", to=to).revision


_counter = iter(range(1_000_000))


@pytest.mark.slow
def test_champions_come_back_in_the_order_in_which_they_were_left(settings: Settings) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    ChampionsMachine.registry = open_registry(settings)

    run_state_machine_as_test(ChampionsMachine, settings=cases(max_examples=25, stateful_step_count=12, deadline=None))
