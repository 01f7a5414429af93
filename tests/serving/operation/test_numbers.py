"""Claims about metrics: workers' numbers add up, counters never fall, and Prometheus reads what is written."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from monitoring.drift import ColumnFinding, DriftReport
from registry.store import Registry
from registry.tables import WindowRow
from serving.operation.families import Family, merge_families, write_prometheus
from serving.operation.measures import Watched, measure_requests, measure_windows
from serving.operation.tallies import Tallies
from serving.operation.worker_numbers import WorkerNumbers


def _tallies(latencies_ms: list[int]) -> Tallies:
    tallies = Tallies()
    for latency in latencies_ms:
        tallies.tally("/v1/models/{name}/predict").add(200, "onnx", latency * 1_000_000)
    return tallies


@given(workers=st.lists(st.lists(st.integers(0, 20_000)), min_size=1, max_size=4))
def test_what_workers_count_adds_up_to_what_one_would_have_counted(workers: list[list[int]]) -> None:
    apart = merge_families([list(measure_requests(_tallies(one))) for one in workers])
    together = merge_families([list(measure_requests(_tallies([ms for one in workers for ms in one])))])

    for one, other in zip(apart, together, strict=True):
        assert one.samples.keys() == other.samples.keys()
        if one.kind == "counter":
            assert one.samples == other.samples


def test_what_is_written_is_read_by_prometheus_in_both_formats() -> None:
    families = list(measure_requests(_tallies([1, 3, 3, 700])))

    text, text_type = write_prometheus(families, accept="text/plain")
    modern, modern_type = write_prometheus(families, accept="application/openmetrics-text; version=1.0.0")

    assert (text_type.split(";")[0], modern_type.split(";")[0]) == ("text/plain", "application/openmetrics-text")
    for found in (read_text(text.decode()), read_openmetrics(modern.decode())):  # type: ignore[no-untyped-call]
        samples = {
            (sample.name, sample.labels.get("le")): sample.value for family in found for sample in family.samples
        }
        assert samples["everfit_requests_total", None] == 4
        assert samples["everfit_request_seconds_bucket", "0.004"] == 3
        assert samples["everfit_request_seconds_bucket", "+Inf"] == 4
        assert samples["everfit_request_seconds_sum", None] == 0.707


def test_a_worker_that_died_leaves_its_counters_and_takes_its_gauges(tmp_path: Path) -> None:
    def measure() -> list[Family]:
        return [
            Family("rows", "counter", "Rows.").set(3),
            Family("workers", "gauge", "Workers.").set(1),
        ]

    own = WorkerNumbers(measure, folder=tmp_path)
    own.leave()
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    (left,) = tmp_path.glob("*.json")
    (tmp_path / f"{int(child.stdout)}.json").write_bytes(left.read_bytes())
    (tmp_path / "1.json").write_bytes(left.read_bytes())
    (tmp_path / "2.json").write_text("[{")

    samples = {family.name: family.samples[()] for family in own.collect()}

    # This one, the dead one, and process 1, which lives.
    assert samples == {"rows": 9, "workers": 2}


def test_monitored_windows_are_measured_and_a_loss_is_kept_while_labels_are_waited_for(registry: Registry) -> None:
    moved = ColumnFinding(
        column="fare",
        kind="numeric",
        n_reference=900,
        n_current=900,
        statistic=0.4,
        p_value=1e-9,
        effect=0.7,
        effect_name="wasserstein",
    )
    report = DriftReport(columns=(moved,), not_measured={}, n_reference=900, n_current=900)
    start = datetime(2026, 5, 4, tzinfo=UTC)
    with registry.database.write() as session:
        for number, labelled in enumerate((start, None)):
            session.add(
                WindowRow(
                    model="churn",
                    start=start + timedelta(days=number),
                    stop=start + timedelta(days=number + 1),
                    n_rows=900,
                    n_labelled=0,
                    metrics={} if labelled is None else {"log_loss": 0.5},
                    drift=report.model_dump(mode="json"),
                    outcome="healthy",
                    reason="",
                    labels_checked_at=labelled,
                )
            )
    watched = Watched()
    watched.refresh(registry)

    found = {family.name: dict(family.samples) for family in measure_windows(watched)}

    assert watched.windows["churn"].start > watched.labelled["churn"].start
    assert found["everfit_drift"] == {("churn", "fare"): 0.7}
    assert found["everfit_monitored_metric"] == {("churn", "log_loss"): 0.5}
