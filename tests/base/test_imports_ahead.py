"""Imports beside other work: waited for by whoever needs them, undisturbed by the collector."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import pytest

from base.imports_ahead import import_ahead, undisturbed_imports


def test_who_imports_a_library_that_is_on_its_way_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_library.py").write_text("import time\ntime.sleep(0.2)\nready = True\n")
    monkeypatch.syspath_prepend(tmp_path)

    thread = import_ahead("slow_library")
    import slow_library  # type: ignore[import-not-found]

    assert slow_library.ready
    thread.join()
    del sys.modules["slow_library"]


def test_a_library_that_fails_is_left_to_who_needs_it_and_the_next_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_library.py").write_text("raise OSError('no such file')\n")
    (tmp_path / "sound_library.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)

    import_ahead("broken_library", "sound_library").join()

    assert sys.modules.pop("sound_library")
    with pytest.raises(OSError, match="no such file"):
        import broken_library  # type: ignore[import-not-found]  # noqa: F401


@pytest.mark.parametrize("was_enabled", [True, False])
def test_the_collector_is_as_before_after_undisturbed_imports(was_enabled: bool) -> None:
    before = gc.isenabled()
    (gc.enable if was_enabled else gc.disable)()
    try:
        with undisturbed_imports():
            assert not gc.isenabled()

        assert gc.isenabled() == was_enabled
    finally:
        (gc.enable if before else gc.disable)()
        gc.unfreeze()
