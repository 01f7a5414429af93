"""Claims about accounts: exact whoever counts at once, whole on disk, and never ahead of the segments."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.manifest import ModelManifest
from serving.log.accounts import Accounts, AccountTotals
from serving.log.prediction_log import PredictionLog
from serving.log.status import read_accounts
from tests.serving.conftest import wait_until
from tests.serving.log.samples import make_batch

_events = st.lists(
    st.tuples(st.sampled_from(["stored", "invalid", "failed", "under way"]), st.integers(0, 50)), max_size=30
)


@given(_events)
def test_accepted_is_stored_rejected_and_in_flight(events: list[tuple[str, int]]) -> None:
    accounts = Accounts()
    for outcome, n_rows in events:
        accounts.accept("trips", n_rows)
        if outcome == "stored":
            accounts.store("trips", n_rows)
        elif outcome != "under way":
            accounts.reject("trips", outcome, n_rows)

    totals = accounts.snapshot().get("trips", AccountTotals())

    def total(*outcomes: str) -> int:
        return sum(n_rows for outcome, n_rows in events if outcome in outcomes)

    assert totals.accepted == total("stored", "invalid", "failed", "under way")
    assert (totals.stored, sum(totals.rejected.values())) == (total("stored"), total("invalid", "failed"))
    assert totals.in_flight == total("under way")


def test_no_count_is_lost_between_threads() -> None:
    accounts = Accounts()
    interval = sys.getswitchinterval()

    def count() -> None:
        for _ in range(2000):
            accounts.accept("trips", 3)
            accounts.store("trips", 2)
            accounts.reject("trips", "invalid", 1)

    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=count) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)

    assert accounts.snapshot() == {"trips": AccountTotals(48_000, 32_000, {"invalid": 16_000})}


def test_counters_are_written_while_they_change_and_say_when_their_process_has_ended(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "traffic" / "accounts")
    accounts.accept("trips", 5)

    wait_until(lambda: read_accounts(tmp_path), "writing")
    (alive,) = read_accounts(tmp_path)["trips"]
    assert (alive.life, alive.totals.accepted, alive.pid) == ("alive", 5, accounts.writer.pid)
    accounts.store("trips", 5)
    accounts.close()
    (closed,) = read_accounts(tmp_path)["trips"]
    assert (closed.life, closed.totals.stored) == ("closed", 5)


def test_accounts_that_cannot_be_written_are_kept_and_written_later(tmp_path: Path) -> None:
    folder = tmp_path / "traffic" / "accounts"
    folder.parent.mkdir()
    folder.write_text("a file where the folder should be")
    accounts = Accounts(folder)
    accounts.accept("trips", 5)

    with pytest.raises(OSError, match="exists"):
        accounts.save()
    folder.unlink()
    accounts.save()

    (written,) = folder.glob("*.json")
    assert orjson.loads(written.read_bytes())["models"]["trips"]["accepted"] == 5
    accounts.close()


def test_the_log_counts_what_it_stores_and_shadows_apart(log: PredictionLog, manifest: ModelManifest) -> None:
    log.accounts.accept("trips", 2)
    log.append(manifest, 1, [make_batch({"distance": 1.0}, {"distance": 2.0})])
    log.append(manifest, 2, [make_batch({"distance": 1.0}, arm="shadow")])

    assert log.accounts.snapshot() == {"trips": AccountTotals(accepted=2, stored=2, shadow=1)}
