"""Snapshots with files behind them, versions made from them, and runs: what retention has to judge."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from base.artifacts import Artifact
from base.contract import ColumnRule
from base.references import Rows, Segment, Snapshot
from base.request_contract import RequestContract
from base.rows.reading import drop_positions
from base.settings import Settings
from base.signatures import signing_keys
from base.times import utc_now
from features.feature_plan import FeaturePlan
from registry.manifest import ModelManifest
from registry.models import NewVersion, find_alias, promote_version, register_version
from registry.proofs import record_proof
from registry.runs import StepKey, begin_run, finish_run, record_step, this_process
from registry.signed_versions import sign_manifest
from registry.snapshots import record_snapshot
from registry.store import Registry
from registry.tables import ModelVersion, Run, SnapshotRow
from tasks.frames import store_rows
from tests.registry.samples import LEASE, a_pipeline_in


class History:
    """A pipeline whose snapshots grow, lose rows and become models; every file is small and its own."""

    def __init__(self, registry: Registry, pipeline: str = "churn") -> None:
        self.registry = registry
        self.pipeline = pipeline
        with registry.database.write() as session:
            self.version = a_pipeline_in(session, pipeline, digest=(pipeline * 64)[:64])
        self.snapshots: list[Snapshot] = []
        self._n_files = 0

    def segment(self, n_rows: int = 4) -> Segment:
        """Store a segment that no other snapshot has."""
        self._n_files += 1
        numbers = [f"{self.pipeline}-{self._n_files}-{index}" for index in range(n_rows)]
        (segment,) = store_rows(self.registry.artifacts, pa.table({"id": numbers}), time=None).segments
        return segment

    def snapshot(self, *segments: Segment, made: datetime | None = None) -> Snapshot:
        """Record a snapshot of some segments."""
        parent = self.snapshots[-1].digest if self.snapshots else None
        snapshot = Snapshot(rows=Rows(segments=segments), columns={"id": "text"}, parent=parent)
        with self.registry.database.write() as session:
            row = record_snapshot(session, self.pipeline, snapshot, source="s", state={}, n_new=segments[-1].n_stored)
            row.created_at = made or utc_now()
        self.snapshots.append(snapshot)
        return snapshot

    def grow(self, *, made: datetime | None = None) -> Snapshot:
        """Record a snapshot that is the newest one and a segment more."""
        before = self.snapshots[-1].rows.segments if self.snapshots else ()
        return self.snapshot(*before, self.segment(), made=made)

    def lose_rows(self, *, made: datetime | None = None) -> Snapshot:
        """Record a snapshot that is the newest one without a row of its last segment."""
        *before, last = self.snapshots[-1].rows.segments
        if last.n_dropped == last.n_stored:
            return self.grow(made=made)
        return self.snapshot(*before, drop_positions(self.registry.artifacts, last, [last.n_dropped]), made=made)

    def run(self, snapshot: Snapshot, *, started: datetime | None = None, is_under_way: bool = False) -> Run:
        """Record a run with its steps, whose results are files of their own."""
        self._n_files += 1
        with self.registry.database.write() as session:
            parameters = {"number": self._n_files}
            run, _ = begin_run(
                session, self.version, parameters=parameters, trigger="test", owner=this_process(), lease=LEASE
            )
            run.started_at = started or utc_now()
            for step, output in {
                "extract": snapshot.model_dump(mode="json"),
                "prepare": {"artifact": self.file(f"prepared {run.id}").model_dump()},
            }.items():
                key = StepKey(code="c", parameters=run.id, inputs={}, environment="e")
                record_step(session, run=run, step=step, key=key, output=output, seconds=0)
            if not is_under_way:
                finish_run(session, run, status="kept", reason="test")
        return run

    def train(self, snapshot: Snapshot, *, started: datetime | None = None) -> ModelVersion:
        """Register a version that was made from a snapshot."""
        run = self.run(snapshot, started=started)
        names = ("model_file", "reference", "examples", "report")
        files = {name: self.file(f"{name} {run.id}") for name in names}
        manifest = a_manifest(self.registry, self.pipeline, run=run.id, snapshot=snapshot.digest, **files)
        new = NewVersion(
            model=self.pipeline,
            run_id=run.id,
            pipeline_version=self.version.digest,
            manifest=manifest.model_dump(mode="json"),
            metrics={"log_loss": 0.5},
            verdict={"outcome": "first", "promote": True, "reason": "first model"},
        )
        with self.registry.database.write() as session:
            # As the promote step leaves it: these files are no models, and are never loaded.
            record_proof(session, manifest, {"agrees": True})
            return register_version(session, new)

    def promote(self, version: ModelVersion, *, environment: str = "prod") -> None:
        """Make a version champion."""
        with self.registry.database.write() as session:
            current = find_alias(session, environment, self.pipeline)
            promote_version(
                session,
                environment,
                version,
                expected_revision=0 if current is None else current.revision,
                actor="test",
                reason="test",
            )

    def file(self, content: str) -> Artifact:
        """Store a small file."""
        return self.registry.artifacts.put_bytes(content.encode(), suffix=".txt")

    def rows(self) -> dict[str, SnapshotRow]:
        """The recorded snapshots by digest."""
        from registry.snapshots import list_snapshots

        with self.registry.database.read() as session:
            return {row.digest: row for row in list_snapshots(session, self.pipeline)}


def a_manifest(registry: Registry, model: str, *, run: str, snapshot: str, **files: Artifact) -> ModelManifest:
    """Make the signed manifest of a model that nobody asks for a prediction."""
    manifest = ModelManifest(
        model=model,
        task="classification",
        target="left",
        time=None,
        classes=(False, True),
        estimator="none",
        parameters={},
        seed=0,
        plan=FeaturePlan(inputs={}, numeric=(), categorical=()),
        contract=RequestContract(columns={"age": ColumnRule(type="integer")}),
        code={},
        threshold=0.5,
        metrics={"log_loss": 0.5},
        snapshot=snapshot,
        first=None,
        watermark=None,
        libraries={},
        environment="none",
        run=run,
        **files,
    )
    return sign_manifest(manifest, signing_keys(Settings(home=Path(registry.artifacts.url).parent)))


def files_of(document: Any) -> list[Artifact]:
    """Find every file that a document names."""
    if isinstance(document, dict):
        if document.keys() == {"digest", "size_bytes", "suffix"}:
            return [Artifact.model_validate(document)]
        return [file for value in document.values() for file in files_of(value)]
    if isinstance(document, list | tuple):
        return [file for value in document for file in files_of(value)]
    return []
