"""`everfit traffic move` and `everfit traffic gc`: what the service does in the background, done now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from base.actors import name_person
from base.errors import ArgumentError, RunFailed
from base.times import utc_now
from console.data_snapshots import show_bytes
from console.installation import is_registry_new, open_registry, read_settings

if TYPE_CHECKING:
    from datetime import timedelta

    from console.output import Output


def move_command(*, output: Output) -> None:
    """Seal and move what can be moved.

    Raises
    ------
    RunFailed
        If a segment stays here; it is named, and tried again by the next call.
    """
    from serving.log.upkeep import move_all

    settings = read_settings()
    moved = move_all(settings.home.absolute(), open_registry(settings))
    output.say(f"moved {moved.n_segments:,} segments ({moved.n_rows:,} rows) to {settings.artifacts}")
    if moved.failures:
        listed = "".join(f"\n  - {failure}" for failure in moved.failures)
        raise RunFailed(f"{len(moved.failures)} segments stay here and are tried again by the next call:{listed}")
    output.result({"segments": moved.n_segments, "rows": moved.n_rows})


def gc_command(
    model: str | None, *, keep_for: str | None, keep_bytes: int | None, dry_run: bool, output: Output
) -> None:
    """Remove what is kept no longer, or say what would be removed."""
    from registry.traffic import list_traffic_models
    from serving.log.retention import KeptTraffic, find_policy, plan_removal, remove_traffic

    age = None if keep_for is None else _read_age(keep_for)
    settings = read_settings()
    if is_registry_new(settings):
        output.say("Nothing to remove: nothing was moved to the artifact store yet.")
        output.result({"dry_run": dry_run, "removed": []})
        return
    registry = open_registry(settings)
    with registry.database.read() as session:
        models = list_traffic_models(session)
        if model is not None and model not in models:
            raise ArgumentError(
                f"no segment of {model!r} was moved to the artifact store yet; see `everfit traffic status`"
            )
        chosen = models if model is None else [model]
        declared = {each: find_policy(session, each, registry.environment) for each in chosen}
    removed = []
    for each in chosen:
        policy = KeptTraffic(
            declared[each].keep_for if age is None else age,
            declared[each].keep_bytes if keep_bytes is None else keep_bytes,
        )
        if dry_run:
            with registry.database.read() as session:
                removed.append(plan_removal(session, each, policy, utc_now()))
        else:
            removed.append(remove_traffic(registry, each, policy, now=utc_now(), actor=name_person()))
    verb = "would remove" if dry_run else "removed"
    for one in removed:
        output.say(
            f"{one.model}: {verb} {one.n_rows:,} rows in {len(one.segments):,} segments, "
            f"{show_bytes(one.size_bytes)} ({one.reason})"
        )
    output.result(
        {
            "dry_run": dry_run,
            "removed": [
                {
                    "model": one.model,
                    "segments": [segment.id for segment in one.segments],
                    "rows": one.n_rows,
                    "bytes": one.size_bytes,
                    "reason": one.reason,
                }
                for one in removed
            ],
        }
    )


def _read_age(text: str) -> timedelta:
    from datetime import timedelta

    from base.times import parse_duration

    try:
        age = parse_duration(text)
    except ValueError as error:
        raise ArgumentError(f"--keep-for: {error}") from error
    assert isinstance(age, timedelta)
    return age
