"""Claims about the account of a live pipeline: gains come from the rows that a version served, and nowhere else."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from base.errors import ArgumentError
from base.times import utc_now
from monitoring.pnl.live import LiveAccount, keep_account
from registry.pipelines import register_pipeline
from registry.store import open_registry
from tests.monitoring.pnl.histories import PRICE, PlayedPipeline
from tests.pipelines import Trained, make_pipeline


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> PlayedPipeline:
    """A first training, one that follows a turned world, one in vain, and one for the wrong world, rolled back."""
    pipeline = PlayedPipeline(tmp_path_factory.mktemp("pnl"))
    first = pipeline.train("2013-01-01")
    pipeline.serve(first, "2013-02-01", 24 * 7)
    turned = pipeline.train("2013-02-01", turned=True, trigger="performance")
    pipeline.serve(turned, "2013-03-01", 24 * 28, turned=True)
    vain = pipeline.train("2013-03-01", turned=True, trigger="schedule")
    assert not vain.promotion.promoted
    wrong = pipeline.train("2013-03-20", trigger="drift")
    assert turned.promotion.promoted
    assert wrong.promotion.promoted
    pipeline.serve(wrong, "2013-03-29", 24 * 14, turned=True)
    pipeline.roll_back()
    pipeline.serve(turned, "2013-04-12", 24 * 14, turned=True)
    return pipeline


def _account(pipeline: PlayedPipeline, **more: object) -> LiveAccount:
    registry = open_registry(pipeline.settings)
    try:
        return keep_account(registry, pipeline.settings, "trips", **({"now": utc_now()} | more))  # type: ignore[arg-type]
    finally:
        registry.database.close()


def test_each_training_gets_its_class(played: PlayedPipeline) -> None:
    account = _account(played).account

    assert [(one.trigger, one.status, one.klass) for one in account.trainings] == [
        ("person", "promoted", "cannot be told"),
        ("performance", "promoted", "paid off"),
        ("schedule", "kept", "changed nothing"),
        ("drift", "promoted", "did harm"),
    ]
    assert account.headline == "1 of 4 trainings changed nothing; 1 paid off, 1 did harm, 1 cannot be told"
    assert "it was the first" in account.trainings[0].why


def test_a_version_brings_per_window_what_the_one_before_would_have_lost_more(played: PlayedPipeline) -> None:
    _, turned, vain, wrong = _account(played).account.trainings

    # One row in ten is as chance has it, and each model errs on these alone in its own world: 0.9 - 0.1 a window.
    assert turned.gain is not None
    assert turned.gain.value == pytest.approx(4 * 0.8, abs=0.4)
    assert turned.gain.n_windows == 4
    assert wrong.gain is not None
    assert wrong.gain.value == pytest.approx(-2 * 0.8, abs=0.3)
    assert (vain.gain, vain.price, vain.net) == (vain.gain, PRICE, -PRICE)


def test_the_gain_counts_only_until_the_next_promotion(played: PlayedPipeline) -> None:
    account = _account(played).account
    turned = account.trainings[1]

    assert turned.n_rows == 24 * 28
    assert not turned.is_open
    (rollback,) = account.rollbacks
    assert (rollback.left, rollback.returned_to, rollback.reason) == (4, 2, "complaints from Newark")
    assert rollback.prevented is not None
    assert rollback.prevented.value == pytest.approx(2 * 0.8, abs=0.3)
    assert account.prevented == rollback.prevented.value
    assert account.trainings[3].rolled_back == rollback


def test_totals_are_sums_of_what_can_be_told_by_what_had_asked(played: PlayedPipeline) -> None:
    account = _account(played).account
    totals, by_trigger = account.totals, account.by_trigger

    assert (totals.n_trainings, totals.n_counted) == (4, 3)
    assert totals.net == pytest.approx(sum(one.net for one in account.trainings if one.net is not None))
    assert totals.spent == pytest.approx(3 * PRICE)
    assert totals.spent_uncounted == pytest.approx(PRICE)
    assert by_trigger["performance"].net > 0 > by_trigger["drift"].net
    assert by_trigger["schedule"].net == pytest.approx(-PRICE)


def test_a_training_before_since_is_left_out_and_its_rows_with_it(played: PlayedPipeline) -> None:
    everything = _account(played).account
    later = _account(played, since=everything.trainings[2].at).account

    assert later.trainings == everything.trainings[2:]
    assert later.rollbacks == everything.rollbacks


def test_the_same_rows_give_the_same_account_from_a_selection_of_them(played: PlayedPipeline) -> None:
    whole, thinned = _account(played).account, _account(played, most_rows=200).account

    for one, other in zip(whole.trainings, thinned.trainings, strict=True):
        assert (other.klass, other.n_rows) == (one.klass, one.n_rows)
        assert other.n_compared <= 200
        if one.gain is not None and other.gain is not None:
            assert other.gain.value == pytest.approx(one.gain.value, abs=0.5)


def test_before_its_labels_have_matured_nothing_is_told_but_when(tmp_path: Path) -> None:
    pipeline = PlayedPipeline(tmp_path, extract={"source": "data.parquet", "label_delay": "3 days"})
    first = pipeline.train("2013-01-01", n_rows=1200)
    turned = pipeline.train("2013-01-10", turned=True, n_rows=1200)
    pipeline.serve(turned, "2013-03-04", 24 * 14, turned=True)

    # The windows begin with the first row's midnight; the label of the first one is three days more away.
    nothing = _account(pipeline, now=datetime(2013, 3, 13, tzinfo=UTC)).account.trainings[1]
    one = _account(pipeline, now=datetime(2013, 3, 14, tzinfo=UTC)).account.trainings[1]
    both = _account(pipeline, now=datetime(2013, 3, 21, tzinfo=UTC)).account.trainings[1]

    assert first.promotion.promoted
    assert (nothing.klass, nothing.gain, nothing.net) == ("too early to tell", None, None)
    assert nothing.matures_at == datetime(2013, 3, 21, tzinfo=UTC)
    assert (one.n_rows, one.is_open) == (24 * 7, True)
    assert (both.n_rows, both.matures_at, both.klass) == (24 * 14, None, "paid off")


def test_what_a_shadow_answered_counts_and_the_rest_is_asked_again(tmp_path: Path) -> None:
    pipeline = PlayedPipeline(tmp_path)
    first = pipeline.train("2013-01-01")
    turned = pipeline.train("2013-02-01", turned=True)
    pipeline.serve(turned, "2013-03-04", 24 * 14, turned=True)
    asked = _account(pipeline).account.trainings[1]

    _shadow(pipeline, first, n_rows=100)
    partly = _account(pipeline).account.trainings[1]
    _shadow(pipeline, first, n_rows=24 * 14)
    told = _account(pipeline).account.trainings[1]

    assert (asked.n_answered, partly.n_answered, told.n_answered) == (24 * 14, 24 * 14 - 100, 0)
    assert asked.gain == partly.gain == told.gain


def test_a_version_before_whose_files_are_gone_is_named_and_spoils_nothing_else(tmp_path: Path) -> None:
    pipeline = PlayedPipeline(tmp_path)
    first = pipeline.train("2013-01-01")
    turned = pipeline.train("2013-02-01", turned=True)
    pipeline.serve(turned, "2013-03-04", 24 * 14, turned=True)
    registry = open_registry(pipeline.settings)
    registry.artifacts.local_path(first.manifest.model_file).unlink()
    registry.database.close()

    _, told = _account(pipeline).account.trainings

    assert told.klass == "cannot be told"
    assert first.manifest.model_file.digest[:12] in told.why


def test_windows_of_rows_count_by_their_rows(tmp_path: Path) -> None:
    pipeline = PlayedPipeline(tmp_path, monitor={"window": "100 rows"})
    pipeline.train("2013-01-01")
    turned = pipeline.train("2013-02-01", turned=True)
    pipeline.serve(turned, "2013-03-01", 450, turned=True)

    told = _account(pipeline).account.trainings[1]

    assert told.gain is not None
    assert (told.gain.n_windows, told.n_rows) == (4, 400)
    assert told.gain.value == pytest.approx(4 * 0.8, abs=0.4)
    assert told.matures_at is None


def test_a_pipeline_that_never_trained_has_an_empty_account(tmp_path: Path) -> None:
    pipeline = PlayedPipeline(tmp_path)
    registry = open_registry(pipeline.settings)
    register_pipeline(registry, make_pipeline(tmp_path / "trips", None))
    registry.database.close()

    assert _account(pipeline).account.headline == "no training yet"
    with pytest.raises(ArgumentError, match="there is no pipeline 'trip'"):
        keep_account(open_registry(pipeline.settings), pipeline.settings, "trip", now=utc_now())


def _shadow(pipeline: PlayedPipeline, trained: Trained, *, n_rows: int) -> None:
    pipeline.shadow(trained, "2013-03-04", n_rows, of_version=2)
