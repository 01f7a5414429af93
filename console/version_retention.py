"""`everfit gc`: delete old versions that nothing protects, or say which would be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from base.actors import name_person
from base.times import describe_duration, utc_now
from console.data_retention import read_age
from console.data_snapshots import show_bytes
from console.installation import is_registry_new, open_registry, read_settings
from console.promotion import tell_receivers

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlmodel import Session

    from console.output import Output
    from registry.ledger import Rule
    from registry.version_retention import JudgedVersion, VersionPolicy, VersionsDeleted


def gc_command(model: str | None, *, keep: int, older_than: str, is_agreed: bool, reason: str, output: Output) -> None:
    """Delete what the policy lets go where the person agrees, and say what is kept and why.

    Raises
    ------
    ArgumentError
        If the duration is none, or there is no such model.
    VersionProtected
        If one version is named that must not be deleted.
    """
    age = read_age(older_than)
    settings = read_settings()
    if is_registry_new(settings):
        output.say(f"Nothing to delete: there is no registry in {settings.home.absolute()} yet.")
        output.result({"dry_run": not is_agreed, "freed_bytes": 0, "files": 0, "deleted": [], "kept": []})
        return
    from registry.version_retention import VersionPolicy, delete_versions, preview_deletion

    policy = VersionPolicy(keep=keep, older_than=age)
    registry = open_registry(settings)
    plan, rule, why = _make_plan(model, policy, registry.environment)
    now = utc_now()
    if is_agreed:
        told = reason.strip() or why
        deleted = delete_versions(registry, plan, rule=rule, now=now, actor=name_person(), reason=told)
    else:
        deleted = preview_deletion(registry, plan, now=now)
    _say(deleted, why, is_agreed=is_agreed, output=output)
    output.result(_as_json(deleted, is_agreed=is_agreed))
    if is_agreed:
        tell_receivers(registry, settings, output)


def _make_plan(
    model: str | None, policy: VersionPolicy, environment: str
) -> tuple[Callable[[Session], tuple[JudgedVersion, ...]], Rule, str]:
    from registry.ledger import Rule
    from registry.models import check_model, resolve_version
    from registry.version_retention import plan_deletion, plan_version_retention

    if model is not None and "@" in model:
        rule = Rule("version deletion", 1, {"version": model})
        return (
            lambda session: plan_deletion(session, resolve_version(session, environment, model)),
            rule,
            "a person asked for it",
        )

    def plan(session: Session) -> tuple[JudgedVersion, ...]:
        if model is not None:
            check_model(session, model)
        return plan_version_retention(session, policy, utc_now(), model)

    days = round(policy.older_than.total_seconds() / 86400, 6)
    rule = Rule("version retention", 1, {"keep": policy.keep, "older_than_days": days})
    why = (
        f"older than {describe_duration(policy.older_than)}, not among the newest {policy.keep} of its model, "
        "and nothing protects it"
    )
    return plan, rule, why


def _say(deleted: VersionsDeleted, why: str, *, is_agreed: bool, output: Output) -> None:
    if deleted.versions:
        output.table(
            ["model", "version", "made (UTC)", "verdict", "why"],
            [
                [
                    version.model,
                    version.number,
                    f"{version.made:%Y-%m-%d %H:%M}",
                    "kept" if version.kept_for else "deleted" if is_agreed else "would be deleted",
                    version.kept_for or why,
                ]
                for version in deleted.versions
            ],
        )
    freed = f"{show_bytes(deleted.freed_bytes)} in {len(deleted.files):,} files"
    versions = "1 version" if len(deleted.deleted) == 1 else f"{len(deleted.deleted)} versions"
    if is_agreed:
        output.say(f"{versions} deleted, {freed} freed; their records stay")
    else:
        output.say(f"{versions} would be deleted, {freed} freed; --yes does it")
    if deleted.deleted:
        output.say("files that something else needs stay, and those younger than an hour until the next gc")


def _as_json(deleted: VersionsDeleted, *, is_agreed: bool) -> dict[str, Any]:
    listed = [
        {"model": each.model, "version": each.number, "made_at": each.made.isoformat(), "reason": each.kept_for}
        for each in deleted.versions
    ]
    return {
        "dry_run": not is_agreed,
        "freed_bytes": deleted.freed_bytes,
        "files": len(deleted.files),
        "deleted": [version for version in listed if version["reason"] is None],
        "kept": [version for version in listed if version["reason"] is not None],
    }
