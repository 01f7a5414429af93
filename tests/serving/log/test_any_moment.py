"""Claims about any order of events: writes, kills, full disks, sealing, moves that die: each row is read once."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from base.artifacts import ArtifactStore
from base.settings import Settings
from base.times import utc_now
from registry.manifest import ModelManifest
from registry.store import Registry, open_registry
from registry.traffic import list_moved, record_segment
from serving.log.moving import move_segments
from serving.log.prediction_log import PredictionLog
from serving.log.retention import KeptTraffic, remove_traffic
from serving.log.status import read_status
from serving.log.upkeep import adopt_all, copy_accounts
from tests.serving.log.samples import make_batch, read_ids
from tests.serving.models import register_model


class _Killed(BaseException):
    pass


class LogMachine(RuleBasedStateMachine):
    """One machine's log over several processes, each of which may be killed at any point."""

    registry: Registry
    manifest: ModelManifest
    count = 0

    def __init__(self) -> None:
        super().__init__()
        LogMachine.count += 1
        self.model = f"trips_{LogMachine.count}"
        self.home = Path(tempfile.mkdtemp())
        self.version = self.manifest.model_copy(update={"model": self.model})
        self.acknowledged: list[str] = []
        self.log: PredictionLog | None = None

    @rule(n_rows=st.integers(1, 4), number=st.integers(1, 2))
    def append(self, n_rows: int, number: int) -> None:
        """Rows come in and are acknowledged."""
        log = self._open()
        batch = make_batch(*({"distance": 1.0} for _ in range(n_rows)))
        log.accounts.accept(self.model, n_rows)
        log.append(self.version, number, [batch])
        self.acknowledged += batch.ids

    @rule(n_written=st.integers(0, 60))
    def fill_the_disk(self, n_written: int) -> None:
        """A write is refused half-way."""
        log, write = self._open(), os.pwrite
        log.accounts.accept(self.model, 1)

        def refuse(descriptor: int, data: memoryview, offset: int) -> int:
            if n_written and len(data) > n_written:
                write(descriptor, data[:n_written], offset)
            raise OSError(errno.ENOSPC, "No space left on device")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "pwrite", refuse)
            with pytest.raises(OSError, match="No space"):
                log.append(self.version, 1, [make_batch({"distance": 1.0})])
        log.accounts.reject(self.model, "not_logged", 1)

    @precondition(lambda self: self.log is not None)
    @rule(torn=st.binary(max_size=20).filter(lambda torn: b"\n" not in torn and b"\0" not in torn))
    def kill(self, torn: bytes) -> None:
        """The process dies in the middle of a line that nobody was told of."""
        log = self._open()
        log._committer.close()
        log._sealer.shutdown(wait=True)
        for stream, _ in log._streams.values():
            segment = stream._segment
            if segment is not None:
                os.pwrite(segment._descriptor, torn, segment._size)
                os.close(segment._descriptor)
        accounts = log.accounts
        accounts._closing.set()
        if accounts._lock_file is not None:
            os.close(accounts._lock_file)
        self.log = None

    @precondition(lambda self: self.log is not None)
    @rule()
    def close(self) -> None:
        """The process ends in order."""
        self._open().close()
        self.log = None

    @precondition(lambda self: self.log is not None)
    @rule(number=st.integers(1, 2))
    def retire(self, number: int) -> None:
        """A version serves no more."""
        self._open().retire(self.model, number)

    @rule()
    def adopt(self) -> None:
        """Somebody seals what dead processes have left."""
        adopt_all(self.home)

    @rule()
    def move(self) -> None:
        """Somebody moves what is sealed."""
        assert move_segments(self.home, self.registry).failures == ()
        copy_accounts(self.home, self.registry)

    @rule(step=st.sampled_from(["store", "record", "remove"]))
    def die_while_moving(self, step: str) -> None:
        """Somebody who moves dies after a step."""
        put, record = ArtifactStore.put_file, record_segment

        def put_and_die(store: ArtifactStore, path: Path, **more: Any) -> Any:
            put(store, path, **more)
            raise _Killed

        def record_and_die(*arguments: Any) -> Any:
            record(*arguments)
            raise _Killed

        def die(*_: Any, **__: Any) -> Any:
            raise _Killed

        with pytest.MonkeyPatch.context() as patch:
            if step == "store":
                patch.setattr(ArtifactStore, "put_file", put_and_die)
            elif step == "record":
                patch.setattr("serving.log.moving.record_segment", record_and_die)
            else:
                patch.setattr(Path, "unlink", die)
            with suppress(_Killed):
                move_segments(self.home, self.registry)

    @rule()
    def remove_the_oldest(self) -> None:
        """Retention removes the oldest segment."""
        with self.registry.database.read() as session:
            moved = list_moved(session, self.model)
        size = sum(one.size_bytes for one in moved)
        before = read_ids(self.home, self.registry, self.model)
        removed = remove_traffic(self.registry, self.model, KeptTraffic(keep_bytes=size - 1), now=utc_now(), actor="me")
        gone = set(before) - set(read_ids(self.home, self.registry, self.model))
        assert len(gone) == removed.n_rows
        self.acknowledged = [name for name in self.acknowledged if name not in gone]

    @invariant()
    def each_row_is_read_once(self) -> None:
        """The claim."""
        assert read_ids(self.home, self.registry, self.model) == sorted(self.acknowledged)

    @invariant()
    def nothing_is_missed(self) -> None:
        """The accounts add up, or what does not is explained."""
        for status in read_status(self.home, self.registry, [self.model]):
            assert status.gaps == ()

    def teardown(self) -> None:
        """Let go of the last process."""
        if self.log is not None:
            self.log.close()

    def _open(self) -> PredictionLog:
        if self.log is None:
            self.log = PredictionLog(self.home, segment_rows=5)
        return self.log


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[type[LogMachine]]:
    """The machine, with a registry and a version."""
    registry = open_registry(Settings(home=tmp_path_factory.mktemp("machine")))
    LogMachine.registry = registry
    LogMachine.manifest = ModelManifest.model_validate(register_model(registry).manifest)
    yield LogMachine
    registry.database.close()


def test_a_few_orders_of_events_lose_and_double_nothing(machine: type[LogMachine]) -> None:
    run_state_machine_as_test(machine, settings=hypothesis_settings(max_examples=4, stateful_step_count=15))


@pytest.mark.slow
def test_any_order_of_events_loses_and_doubles_nothing(machine: type[LogMachine]) -> None:
    run_state_machine_as_test(machine, settings=hypothesis_settings(max_examples=60, stateful_step_count=40))
