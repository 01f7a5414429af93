"""`everfit data gc`: give back the space of data that nothing needs any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from base.actors import name_person
from base.errors import ArgumentError
from base.times import describe_duration, parse_duration, utc_now
from console.data_snapshots import show_bytes
from console.installation import is_registry_new, open_registry, read_settings
from console.snapshot_names import SHOWN_DIGITS

if TYPE_CHECKING:
    from datetime import timedelta

    from console.output import Output
    from registry.retention import Collected


def gc_command(*, keep: int, older_than: str, dry_run: bool, output: Output) -> None:
    """Delete what nothing needs, or say what would be deleted, and say what is kept and why.

    Raises
    ------
    ArgumentError
        If the duration is none.
    """
    age = read_age(older_than)
    settings = read_settings()
    if is_registry_new(settings):
        output.say(f"Nothing to delete: there is no registry in {settings.home.absolute()} yet.")
        output.result({"dry_run": dry_run, "freed_bytes": 0, "files": 0, "deleted": [], "kept": []})
        return
    from registry.retention import RetentionPolicy, collect_garbage, preview_garbage

    registry = open_registry(settings)
    policy = RetentionPolicy(keep=keep, older_than=age)
    if dry_run:
        collected = preview_garbage(registry, policy, now=utc_now())
    else:
        with output.progress("data gc") as advance:
            collected = collect_garbage(registry, policy, now=utc_now(), actor=name_person(), advance=advance)
    _say(collected, policy.keep, age, dry_run=dry_run, output=output)
    output.result(_as_json(collected, dry_run=dry_run))


def read_age(text: str) -> timedelta:
    """Read the duration of --older-than.

    Raises
    ------
    ArgumentError
        If it is none.
    """
    from datetime import timedelta

    try:
        age = parse_duration(text)
    except ValueError as error:
        raise ArgumentError(f"--older-than: {error}") from error
    if not isinstance(age, timedelta):
        raise ArgumentError(f"--older-than is {text!r}, expected a duration such as '30 days'")
    return age


def _say(collected: Collected, keep: int, age: timedelta, *, dry_run: bool, output: Output) -> None:
    snapshots = collected.plan.snapshots
    if snapshots:
        output.table(
            ["pipeline", "snapshot", "made (UTC)", "rows", "verdict", "why"],
            [
                [
                    snapshot.pipeline,
                    snapshot.digest[:SHOWN_DIGITS],
                    f"{snapshot.made:%Y-%m-%d %H:%M}",
                    f"{snapshot.n_rows:,}",
                    "deleted" if snapshot.kept_for is None else "kept",
                    snapshot.kept_for or "nothing needs it",
                ]
                for snapshot in snapshots
            ],
        )
    n_runs = len(collected.plan.forgotten_runs)
    if n_runs:
        output.say(f"{n_runs:,} old runs: their prepared data and pages go, their record stays")
    verb = "would free" if dry_run else "freed"
    output.say(
        f"{verb} {show_bytes(collected.freed_bytes)} in {len(collected.files):,} files; "
        f"{show_bytes(collected.left_bytes)} in {collected.n_left:,} files stay"
    )
    output.say(
        f"kept: the newest {keep} of each pipeline, what is younger than {describe_duration(age)}, and the above"
    )


def _as_json(collected: Collected, *, dry_run: bool) -> dict[str, Any]:
    listed = [
        {
            "pipeline": snapshot.pipeline,
            "digest": snapshot.digest,
            "made_at": snapshot.made.isoformat(),
            "rows": snapshot.n_rows,
            "reason": snapshot.kept_for,
        }
        for snapshot in collected.plan.snapshots
    ]
    return {
        "dry_run": dry_run,
        "freed_bytes": collected.freed_bytes,
        "files": len(collected.files),
        "left_bytes": collected.left_bytes,
        "left_files": collected.n_left,
        "old_runs": sorted(collected.plan.forgotten_runs),
        "deleted": [snapshot for snapshot in listed if snapshot["reason"] is None],
        "kept": [snapshot for snapshot in listed if snapshot["reason"] is not None],
    }
