"""`everfit up`: everything that continuous training needs, started and watched by one process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from base.definition import read_pipeline
from base.errors import ArgumentError
from console.installation import read_settings

if TYPE_CHECKING:
    from base.pipeline import Pipeline
    from console.output import Output


def up_command(pipelines: Sequence[str], *, output: Output) -> None:
    """Start Prefect's server, the worker and the prediction service, and stay until Ctrl-C or SIGTERM."""
    settings = read_settings()
    definitions = [_read(pipeline) for pipeline in pipelines]
    from deployments.embedded import up, wait_for_signal

    with up(settings, definitions, progress=output.say) as embedded:
        addresses = embedded.addresses
        output.table(
            ["what", "where"],
            [
                ["Prefect UI", addresses.prefect_ui],
                ["prediction service", addresses.service or ""],
                ["logs", embedded.logs],
                *[["deployment", name] for name in embedded.deployments],
            ],
        )
        if not embedded.deployments:
            output.say("no pipeline is registered yet: `everfit init`, then `everfit up NAME/pipeline.yaml`")
        output.say("Ctrl-C stops everything")
        output.result(
            {
                "prefect_ui": addresses.prefect_ui,
                "prefect_api": addresses.prefect_api,
                "service": addresses.service,
                "logs": str(embedded.logs),
                "deployments": embedded.deployments,
            }
        )
        wait_for_signal()
        output.say("stopping")


def _read(pipeline: str) -> Pipeline:
    if not Path(pipeline).exists():
        raise ArgumentError(
            f"there is no definition {pipeline!r}; expected a pipeline.yaml or its folder "
            "(registered pipelines are deployed by themselves)"
        )
    return read_pipeline(Path(pipeline))
