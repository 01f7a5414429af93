"""Leak suspects: what gives the target away is named, what is merely good is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.leaks import LeakSuspect, find_leak_suspects
from features.single_column import measure_power

N_ROWS = 2_000


def _frame(seed: int = 0) -> pd.DataFrame:
    """Honest rows: the target depends on the columns and on luck."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "at": pd.date_range("2024-01-01", periods=N_ROWS, freq="37min", tz="UTC"),
            "age": rng.integers(18, 90, N_ROWS),
            "income": rng.lognormal(8, 1, N_ROWS).round(2),
            "city": rng.choice(["Bonn", "Ulm", "Köln"], N_ROWS, p=[0.6, 0.3, 0.1]),
            "is_member": rng.random(N_ROWS) < 0.3,
            "month": 0,
        }
    )
    frame["month"] = frame["at"].dt.month
    chance = 1 / (1 + np.exp(-(frame["age"] - 50) / 15 - frame["is_member"]))
    frame["left"] = (rng.random(N_ROWS) < chance).astype(int)
    frame["spent"] = frame["income"] * 0.01 + frame["age"] + rng.normal(0, 20, N_ROWS)
    return frame


def _suspects(frame: pd.DataFrame, target: str = "left", **options: object) -> dict[str, LeakSuspect]:
    task = "regression" if target == "spent" else "classification"
    time = "at" if "at" in frame.columns else None
    found = find_leak_suspects(frame, target=target, time=time, task=task, **options)  # type: ignore[arg-type]
    return {suspect.column: suspect for suspect in found}


@pytest.mark.slow
@given(seed=st.integers(0, 10_000), target=st.sampled_from(["left", "spent"]))
def test_honest_columns_are_not_accused(seed: int, target: str) -> None:
    frame = _frame(seed).drop(columns="spent" if target == "left" else "left")

    assert _suspects(frame, target) == {}


@pytest.mark.parametrize(
    ("leak", "kind"),
    [
        (lambda frame: frame["left"] * 7 + 1, "leak"),
        (lambda frame: frame["left"].map({0: "stayed", 1: "gone"}), "leak"),
        (lambda frame: frame["left"].where(frame["left"] == 1), "leak"),
        (lambda frame: frame["at"] + pd.to_timedelta(frame["age"], unit="D"), "leak"),
        (lambda frame: (frame["at"] + pd.to_timedelta(frame["age"], unit="D")).dt.strftime("%Y-%m-%d"), "leak"),
        (lambda frame: frame["at"].dt.strftime("%Y-%m-%d"), "time"),
        (lambda frame: frame["at"].astype("int64") // 10**9, "time"),
        (lambda _: pd.Series(range(N_ROWS)), "time"),
        (lambda _: pd.Series(np.random.default_rng(1).permutation(N_ROWS)), "identifier"),
        (lambda _: pd.Series(np.random.default_rng(1).permutation(N_ROWS)).map("C{:05d}".format), "identifier"),
        (lambda _: pd.Series(range(N_ROWS)) // 3, "identifier"),
        (lambda _: pd.Series(np.arange(N_ROWS) * 1.7 + np.random.default_rng(1).random(N_ROWS)), "time"),
    ],
    ids=[
        "recoded",
        "outcome",
        "only the gone",
        "later moment",
        "later day as text",
        "day as text",
        "epoch",
        "row number",
        "shuffled key",
        "text key",
        "growing group",
        "odometer",
    ],
)
def test_a_column_that_must_stay_out_is_named_with_its_kind(leak: object, kind: str) -> None:
    frame = _frame().drop(columns="spent")
    frame["odd"] = leak(frame)  # type: ignore[operator]

    found = _suspects(frame)

    assert {name: suspect.kind for name, suspect in found.items()} == {"odd": kind}


def test_columns_that_add_up_to_the_target_are_named_together() -> None:
    rng = np.random.default_rng(3)
    frame = _frame().drop(columns="left")
    frame["spent_online"] = frame["spent"] * rng.random(N_ROWS)
    frame["spent_in_shops"] = frame["spent"] - frame["spent_online"]

    found = _suspects(frame, "spent")

    assert set(found) == {"spent_online", "spent_in_shops"}
    assert found["spent_online"].reason == "together with 'spent_in_shops' it adds up to 'spent'"


def test_columns_that_multiply_to_the_target_are_named_together() -> None:
    rng = np.random.default_rng(3)
    frame = _frame().drop(columns="left")
    frame["pieces"] = rng.integers(1, 30, N_ROWS)
    frame["price"] = rng.lognormal(2, 1, N_ROWS)
    frame["spent"] = (frame["pieces"] * frame["price"]).round(2)

    assert set(_suspects(frame, "spent")) == {"pieces", "price"}


def test_a_unit_conversion_of_a_growing_target_is_named() -> None:
    frame = _frame().drop(columns="left")
    frame["spent"] += np.arange(N_ROWS)
    frame["spent_in_cents"] = (frame["spent"] * 100).round()

    assert "spent_in_cents" in _suspects(frame, "spent")


def test_a_copy_that_was_corrected_by_the_outcome_is_named() -> None:
    rng = np.random.default_rng(5)
    frame = _frame().drop(columns="spent")
    frame["room_reserved"] = rng.choice(list("ABCDE"), N_ROWS)
    moved = (frame["left"] == 0) & (rng.random(N_ROWS) < 0.3)
    frame["room_given"] = frame["room_reserved"].where(~moved, pd.Series(rng.choice(list("FGH"), N_ROWS)))

    found = _suspects(frame)

    assert set(found) == {"room_given"}
    assert "it repeats 'room_reserved', except in" in found["room_given"].reason


def test_a_copy_whose_changes_say_little_is_not_accused() -> None:
    rng = np.random.default_rng(5)
    frame = _frame().drop(columns="spent")
    frame["home"] = rng.choice(list("ABCDE"), N_ROWS)
    frame["work"] = frame["home"].where(rng.random(N_ROWS) < 0.85, pd.Series(rng.choice(list("ABCDE"), N_ROWS)))

    assert _suspects(frame) == {}


def test_of_the_target_s_own_columns_the_strongest_is_named() -> None:
    rng = np.random.default_rng(7)
    frame = _frame().drop(columns=["spent", "left"])
    frame["tips"], frame["fare"] = rng.gamma(1, 2, N_ROWS), rng.gamma(3, 4, N_ROWS)
    frame["left"] = frame["tips"] > 0.2 * frame["fare"]

    assert _suspects(frame) == {}
    assert set(_suspects(frame, computed_from=["tips", "fare"])) == {"tips"}


def test_rows_without_a_target_or_a_time_do_not_hide_a_leak() -> None:
    frame = _frame().drop(columns="spent")
    frame["outcome"] = frame["left"].map({0: "stayed", 1: "gone"})
    frame["left"] = frame["left"].astype("Int64")
    frame.loc[::3, "left"] = pd.NA
    frame.loc[::5, "at"] = pd.NaT

    assert set(_suspects(frame)) == {"outcome"}


@pytest.mark.parametrize("n_rows", [0, 1, 2, 30])
def test_few_rows_accuse_nobody(n_rows: int) -> None:
    frame = _frame().head(n_rows)[["at", "age", "city", "left"]]

    assert _suspects(frame) == {}


def test_columns_without_values_are_passed_over() -> None:
    frame = _frame().drop(columns="spent").assign(gone=np.nan, lost=None)

    assert _suspects(frame) == {}


@given(seed=st.integers(0, 1_000))
def test_power_does_not_depend_on_a_column_s_unit(seed: int) -> None:
    frame = _frame(seed)

    power = measure_power(frame["age"], frame["left"], "classification")
    assert measure_power(frame["age"] * 1024 - 3, frame["left"], "classification") == power
    assert 0.6 < power < 0.95


def test_power_over_several_classes_is_weighted_by_their_rows() -> None:
    codes = pd.Series(np.random.default_rng(0).integers(0, 3, 600))

    assert measure_power(codes, codes.map({0: "a", 1: "b", 2: "c"}), "classification") == 1.0
    assert np.isnan(measure_power(codes.head(30), codes.head(30), "classification"))
