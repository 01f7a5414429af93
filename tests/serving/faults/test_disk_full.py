"""Claims about a disk that fills up under a serving process, on a real small disk."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from base.settings import Settings
from registry.store import Registry
from serving.log.status import read_status
from serving.log.upkeep import move_all
from tests.serving.conftest import wait_until
from tests.serving.faults.running import Load, run_service
from tests.serving.log.samples import assert_once, folder_of, read_ids
from tests.serving.models import promote, register_model

pytestmark = pytest.mark.slow

_SIZE = "4m"


@pytest.fixture
def disk(settings: Settings) -> Iterator[Path]:
    """The folder of the prediction log, on a disk of its own with room for little."""
    folder = settings.home.absolute() / "traffic"
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "everfit-test", str(folder)]
    if subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("nothing can be mounted here (it takes root and CAP_SYS_ADMIN), so no disk can be filled")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def _filled(disk: Path) -> Iterator[None]:
    """Leave no room on a disk for a while: whatever is given back, somebody else takes."""
    is_over = threading.Event()

    def fill() -> None:
        with (disk / "somebody-elses").open("wb", buffering=0) as stream:
            while not is_over.wait(0.005):
                for size in (1 << 16, 1 << 12, 1):
                    with suppress(OSError):
                        while stream.write(b"0" * size):
                            pass

    thread = threading.Thread(target=fill)
    thread.start()
    yield
    is_over.set()
    thread.join()
    (disk / "somebody-elses").unlink()


@pytest.mark.parametrize("on_full", ["refuse", "go_on"])
def test_a_full_disk_is_answered_as_the_setting_says_and_the_log_goes_on_when_there_is_room_again(
    settings: Settings, registry: Registry, disk: Path, on_full: str
) -> None:
    promote(registry, register_model(registry))

    with (
        run_service(settings.home, log_on_full=on_full, segment_rows=300, log_upkeep_seconds=1) as service,
        Load(service, n_clients=3, pause_seconds=0.01) as load,
    ):
        load.wait_for_answers(100)
        assert not load.others
        with _filled(disk):
            wait_until(lambda: "No space left" in service.readiness()[1].get("log", ""), "the word of it")
            n_asked = sum(load.statuses.values())
            wait_until(lambda: sum(load.statuses.values()) >= n_asked + 200, "requests on a full disk")
            status, document = service.readiness()
            # An empty file for each refused request would be the next disaster.
            n_files = len(list(folder_of(settings.home).iterdir()))
        wait_until(lambda: service.readiness()[1]["status"] == "ready", "recovery")
        load.wait_for_answers(100)
        assert service.stop() == 0

    (found,) = read_status(settings.home, registry)
    totals = found.totals
    assert (status, found.gaps, n_files < 10) == (200, (), True)
    assert document["status"] == "degraded"
    assert totals.accepted == totals.stored + totals.rejected["not_logged"]
    assert totals.rejected["not_logged"] > 3 * 100
    assert service.log.read_text().count("Traceback") == 0
    # Said when it began, and when it ended; not for each request.
    told = [line for line in service.log.read_text().splitlines() if "everfit.access" not in line]
    assert len(told) < 60
    if on_full == "refuse":
        assert set(load.statuses) == {200, 503}
        assert all(headers["retry-after"] == "1" for _, headers, _ in load.others)
        assert all("free the disk" in problem["detail"] for _, _, problem in load.others)
        assert_once(read_ids(settings.home, registry), load.ids)
    else:
        assert set(load.statuses) == {200}
        ids = read_ids(settings.home, registry)
        assert len(ids) == len(set(ids)) == totals.stored < len(load.ids)
    move_all(settings.home, registry)
    assert read_status(settings.home, registry)[0].gaps == ()
