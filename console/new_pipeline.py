"""`everfit init`: from data to a folder that `everfit train` takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from console.draft_files import check_folder, write_draft
from console.drafting import Draft, draft_pipeline

if TYPE_CHECKING:
    from console.output import Output


def init_command(
    name: str, *, data: str, target: str, time: str | None, task: str | None, force: bool, output: Output
) -> None:
    """Draft a pipeline and write its folder; nothing is written where the data or an argument is refused."""
    folder = Path(name)
    check_folder(folder, force=force)
    with output.progress("looking at the data", total=3) as advance:
        draft = draft_pipeline(folder, data=data, target=target, time=time, task=task, advance=advance)
    kept = write_draft(draft, force=force)
    _describe(draft, kept, output)


def _describe(draft: Draft, kept: Path | None, output: Output) -> None:
    output.say(f"{draft.folder}/ holds pipeline.yaml, contract.yaml, features.py and card.md")
    if kept is not None:
        output.say(f"  what was there before is in {kept}")
    output.say(f"  predicts  {draft.target_column}: {draft.task} ({draft.target_summary})")
    span = "" if draft.first is None else f", {draft.first:%Y-%m-%d} to {draft.last:%Y-%m-%d}"
    output.say(f"  from      {draft.n_rows:,} rows{span}; {len(draft.features)} features: {', '.join(draft.features)}")
    if draft.time is None:
        output.warn("without --time the rows' order stands for time; is the newest row the last one?")
    suspects = [item for item in draft.exclusions if item.kind == "leak"]
    if suspects:
        names = ", ".join(item.column for item in suspects)
        output.warn(f"{names}: known only after {draft.target_column}, by the look of it; a model would cheat")
    for part in draft.parts_of_target:
        output.warn(
            f"{part}: {draft.target_column} is computed from it, and it stays a feature; write it under "
            "prepare.exclude unless it is known beforehand"
        )
    if draft.exclusions:
        output.say()
        output.table(
            ["left out", "as", "because"],
            [[item.column, item.kind, item.reason] for item in draft.exclusions],
        )
        output.say(f"If that is wrong, take the column out of prepare.exclude in {draft.folder}/pipeline.yaml.")
    output.say()
    output.say(f"Next: everfit train {draft.folder}/pipeline.yaml")
    output.result(
        {
            "name": draft.name,
            "definition": str(draft.folder / "pipeline.yaml"),
            "task": draft.task,
            "target": draft.target if isinstance(draft.target, str) else draft.target.model_dump(),
            "time": draft.time,
            "source": draft.source,
            "n_rows": draft.n_rows,
            "first": draft.first,
            "last": draft.last,
            "features": list(draft.features),
            "parts_of_target": list(draft.parts_of_target),
            "excluded": [vars(item) for item in draft.exclusions],
            "replaced": None if kept is None else str(kept),
        }
    )
