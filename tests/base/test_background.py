"""Claims about work in the background."""

from __future__ import annotations

import threading
import time

from base.background import Background


def test_a_sleeper_that_is_told_to_stop_wakes_up_at_once() -> None:
    woken: list[bool] = []
    background = Background(lambda: woken.append(background.sleep(60)), name="sleeper")
    background.start()

    began = time.monotonic()

    assert background.stop()
    assert (woken, background.is_stopping) == ([True], True)
    assert time.monotonic() - began < 30


def test_work_that_hangs_is_left_behind_and_named() -> None:
    let_go = threading.Event()

    def hang() -> None:
        let_go.wait(60)

    background = Background(hang, name="hanging")
    background.start()

    assert not background.stop(patience=0.05)

    let_go.set()
    assert background.stop()


def test_what_was_never_begun_has_ended() -> None:
    assert Background(lambda: None, name="idle").stop()
