"""`everfit rollout start`, `check`, `promote`, `stop` and `history`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from base.actors import name_person
from base.errors import ArgumentError, nearest
from base.times import utc_now
from console.installation import open_registry, read_settings
from console.rollout_status import describe_rollout, rollout_document, show_rollout

if TYPE_CHECKING:
    from sqlmodel import Session

    from base.rollout_spec import RolloutSpec
    from base.settings import Settings
    from console.output import Output
    from registry.store import Registry
    from registry.tables import ModelVersion, Rollout
    from serving.scoring.scorer import Scorer

_SHORT = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def start_command(
    model: str, versions: Sequence[int], *, kind: str, given: Mapping[str, Any], reason: str, output: Output
) -> None:
    """Start a rollout with what the definition says, and what the command says over it.

    Raises
    ------
    ArgumentError
        If an option is wrong, or the versions cannot be rolled out.
    """
    from base.rollout_spec import RolloutKind
    from registry.rollouts import start_rollout
    from registry.versions import find_version

    _check_reason(reason)
    kinds: tuple[RolloutKind, ...] = get_args(RolloutKind)
    chosen = next((each for each in kinds if each == kind), None)
    if chosen is None:
        raise ArgumentError(f"--kind is {kind!r}, expected {', '.join(kinds)}{nearest(kind, kinds)}")
    settings = read_settings()
    registry = open_registry(settings)
    with registry.database.write() as session:
        spec = _read_spec(session, find_version(session, model, versions[0]), given)
        rollout = start_rollout(
            session,
            registry.environment,
            model,
            kind=chosen,
            challengers=versions,
            spec=spec,
            actor=name_person(),
            reason=reason,
        )
    shares = ", ".join(f"version {number}: {share:.1%}" for number, share in rollout.shares.items())
    output.say(f"{kind} of {model} runs in {rollout.environment}: {shares}")
    output.say("A running prediction service follows by itself; `everfit rollout status` shows how it goes.")
    output.result(rollout_document(rollout))
    _tell(registry, settings, output)


def check_command(model: str, *, output: Output) -> None:
    """Look once at the evidence of a running rollout, and act on it."""
    from registry.tables import Rollout
    from serving.rollout.looking import look_at_rollout

    settings = read_settings()
    registry = open_registry(settings)
    rollout = _find_running(registry, model)
    look = look_at_rollout(
        registry,
        settings.home.absolute(),
        rollout.id,
        _load_scorers(registry, settings, rollout, output),
        now=utc_now(),
        actor=name_person(),
    )
    with registry.database.read() as session:
        document = describe_rollout(session, session.get_one(Rollout, rollout.id))
    if look is not None:
        document["next"] = look.decision.reason
    show_rollout(document, output)
    output.result(document)
    _tell(registry, settings, output)


def end_command(model: str, *, promote: bool, version: int | None, reason: str, output: Output) -> None:
    """End a rollout by hand, and promote a challenger where that is asked for.

    Raises
    ------
    ArgumentError
        If no rollout runs, or it is not clear which challenger is meant.
    RolloutMoved
        If it was changed in this moment.
    """
    from registry.rollouts import PROMOTED, STOPPED, close_rollout
    from serving.rollout.evidence import as_document
    from serving.rollout.looking import read_evidence

    _check_reason(reason)
    settings = read_settings()
    registry = open_registry(settings)
    rollout = _find_running(registry, model)
    chosen = _choose(rollout, version) if promote else None
    with registry.database.write() as session:
        _, evidence = read_evidence(session, rollout, now=utc_now())
        closed = close_rollout(
            session,
            rollout,
            status=PROMOTED if promote else STOPPED,
            actor=name_person(),
            reason=reason,
            evidence={"evidence": as_document(evidence)},
            promote=chosen,
            now=utc_now(),
        )
    now_is = f"version {rollout.champion} stays champion" if chosen is None else f"version {chosen} is champion now"
    output.say(f"the {closed.kind} of {model} has ended: {now_is}")
    output.result(rollout_document(closed))
    _tell(registry, settings, output)


def history_command(model: str, *, output: Output) -> None:
    """List the rollouts of a model, newest first."""
    from registry.rollouts import list_rollouts
    from registry.versions import check_model

    registry = open_registry(read_settings())
    with registry.database.read() as session:
        check_model(session, model)
        found = list_rollouts(session, registry.environment, model=model)
    if not found:
        output.say(f"Nothing of {model} was ever rolled out in {registry.environment}.")
    else:
        output.table(
            ["started (UTC)", "kind", "champion", "challengers", "status", "by", "reason"],
            [
                [
                    f"{each.started_at:%Y-%m-%d %H:%M}",
                    each.kind,
                    each.champion,
                    ", ".join(map(str, each.challengers)),
                    each.status,
                    each.started_by,
                    each.reason,
                ]
                for each in found
            ],
        )
    output.result([rollout_document(each) for each in found])


def _read_spec(session: Session, version: ModelVersion | None, given: Mapping[str, Any]) -> RolloutSpec:
    from pydantic import ValidationError

    from base.rollout_spec import RolloutSpec
    from registry.tables import PipelineVersion

    declared: dict[str, Any] = {}
    if version is not None and (package := session.get(PipelineVersion, version.pipeline_version)) is not None:
        declared = dict(package.package.get("spec", {}).get("serve", {}).get("rollout", {}))
    values = {name: value for name, value in given.items() if value is not None}
    for name in ("bake", "until"):
        if name in values:
            values[name] = _lengthen(values[name])
    if "steps" in values:
        values["steps"] = _read_steps(values["steps"])
    try:
        return RolloutSpec.model_validate(declared | values)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = str(fault["loc"][0])
        where = f"--{name.replace('_', '-')}" if name in values else f"serve.rollout.{name}"
        told = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        raise ArgumentError(f"{where} is {given.get(name, declared.get(name))!r}: {told}") from error


def _lengthen(text: str) -> str:
    """Write out a short duration.

    Examples
    --------
    >>> _lengthen("10m"), _lengthen("2 hours")
    ('10 minutes', '2 hours')
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip())
    return text if found is None else f"{found[1]} {_SHORT[found[2]]}"


def _read_steps(text: str) -> list[float]:
    try:
        return [float(each) for each in text.split(",")]
    except ValueError:
        raise ArgumentError(f"--steps is {text!r}, expected percentages such as 1,5,25,100") from None


def _find_running(registry: Registry, model: str) -> Rollout:
    from registry.rollouts import find_running

    with registry.database.read() as session:
        rollout = find_running(session, registry.environment, model)
    if rollout is None:
        raise ArgumentError(
            f"no rollout of {model!r} runs in environment {registry.environment!r}; "
            f"`everfit rollout history {model}` lists those that did"
        )
    return rollout


def _choose(rollout: Rollout, version: int | None) -> int:
    if version is None and len(rollout.challengers) == 1:
        return rollout.challengers[0]
    if version not in rollout.challengers:
        told = "is missing" if version is None else f"is {version}"
        raise ArgumentError(f"--version {told}; the challengers are {', '.join(map(str, rollout.challengers))}")
    return version


def _load_scorers(registry: Registry, settings: Settings, rollout: Rollout, output: Output) -> dict[int, Scorer]:
    from base.errors import EverfitError
    from registry.versions import find_version
    from serving.loading.servability import Admission
    from serving.scoring.loaded import load_scorer

    admission = Admission(registry, settings)
    scorers = {}
    for number in (rollout.champion, *rollout.challengers):
        with registry.database.read() as session:
            version = find_version(session, rollout.model, number)
        if version is None:
            continue
        try:
            manifest = admission.admit(version)
            scorers[number] = load_scorer(registry.artifacts, manifest, trusted=settings.trusted_types)
        except EverfitError as error:
            output.warn(f"version {number} cannot be loaded here: {error}")
    return scorers


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise ArgumentError("--reason is empty; say in a few words why, for whoever reads the ledger later")


def _tell(registry: Registry, settings: Settings, output: Output) -> None:
    from console.promotion import tell_receivers

    tell_receivers(registry, settings, output)
