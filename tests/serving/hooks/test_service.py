"""Claims about hooks at a running service: the command line, two workers, and what the manual shows."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from base.settings import Settings
from registry.pipelines import register_pipeline
from registry.store import Registry
from registry.triggers import list_triggers
from tests.pipelines import define, make_pipeline
from tests.serving.conftest import wait_until
from tests.serving.hooks.senders import sign

pytestmark = pytest.mark.slow

_ROOT = Path(__file__).parents[3]
_WISH = json.dumps({"reason": "the prices have changed"}).encode()


def _everfit(home: Path, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", "from console.cli import main; main()", *arguments, "--json"],
        env=os.environ | {"EVERFIT_HOME": str(home)},
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


@contextmanager
def _serving(home: Path, *arguments: str, **environment: str) -> Iterator[str]:
    """`everfit serve`, as anybody starts it."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from console.cli import main; main()", "serve", "--port", "0", "--json", *arguments],
        env=os.environ | {"EVERFIT_HOME": str(home), "OMP_NUM_THREADS": "1"} | environment,
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["address"]
    finally:
        process.terminate()
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture
def bike(settings: Settings, registry: Registry, tmp_path: Path) -> Registry:
    """A registry that knows the pipeline ``bike``."""
    register_pipeline(registry, make_pipeline(tmp_path / "bike", None, define(name="bike")))
    return registry


def _post(address: str, message_id: str, secret: str) -> httpx.Response:
    signed = sign(_WISH, message_id=message_id, secret=secret, at=datetime.now(UTC))
    return httpx.post(f"{address}/v1/hooks/bike", content=_WISH, headers=signed)


def test_two_workers_are_one_address_and_follow_each_change_of_the_secrets(settings: Settings, bike: Registry) -> None:
    home = settings.home
    first = _everfit(home, "hooks", "add", "airflow", "--pipeline", "bike")["secret"]
    with _serving(home, "--workers", "2", EVERFIT_ACCESS="on") as address:
        # Each request has a connection of its own, and the kernel deals them out.
        same = [_post(address, "msg_1", first) for _ in range(12)]
        assert {answer.status_code for answer in same} == {202}
        assert len({answer.text for answer in same}) == 1

        second = _everfit(home, "hooks", "rotate", "airflow")["secret"]
        assert [_post(address, f"msg_{n}", key).status_code for n, key in enumerate([first, second], 2)] == [202, 202]
        assert httpx.post(f"{address}/v1/hooks/bike", content=_WISH).status_code == 401

        _everfit(home, "hooks", "remove", "airflow", "--reason", "a test")
        assert [_post(address, f"msg_{n}", key).status_code for n, key in enumerate([first, second], 4)] == [401, 401]

        token = _everfit(home, "tokens", "create", "prometheus", "--role", "operate", "--role", "view")["token"]
        shown = {"authorization": f"Bearer {token}"}

        def is_known() -> bool:
            return httpx.post(f"{address}/v1/hooks/bike", content=_WISH, headers=shown).status_code == 202

        wait_until(is_known, "the token")
        wait_until(
            lambda: (
                'everfit_hooks_total{outcome="bad_signature"} 2.0'
                in httpx.get(f"{address}/metrics", headers=shown).text
            ),
            "the count of both workers",
        )
    with bike.database.read() as session:
        actors = {row.actor for row in list_triggers(session, pipeline="bike")}
    assert actors == {"hook airflow", "token prometheus"}


def test_the_manuals_examples_do_what_they_say(settings: Settings, bike: Registry) -> None:
    manual = (_ROOT / "docs" / "webhooks-in.md").read_text()
    shell, python = (re.findall(rf"```{kind}\n(.*?)```", manual, re.S)[0] for kind in ("sh", "python"))
    secret = _everfit(settings.home, "hooks", "add", "airflow")["secret"]

    with _serving(settings.home) as address:
        done = subprocess.run(
            [sys.executable, "-c", python],
            env=os.environ | {"HOOK_SECRET": secret, "EVERFIT": address},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stdout.startswith("202 {'trigger': 't-")
        if shutil.which("curl") and shutil.which("openssl"):
            script = shell.replace("whsec_…", secret).replace("http://127.0.0.1:8400", address)
            shown = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=60).stdout
            assert json.loads(shown)["outcome"] == "merge"
