"""`everfit pnl`: what each training brought against what it cost, and what asked for those that paid off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from base.errors import ArgumentError
from console.installation import open_registry, read_settings
from console.wording import as_sentence, tell_moment

if TYPE_CHECKING:
    from datetime import datetime

    from console.output import Output
    from monitoring.pnl import AssessedTraining, Gain, Rollback, Totals
    from monitoring.pnl.live import LiveAccount


def pnl_command(pipeline: str, *, since: str | None, output: Output) -> None:
    """Tell a pipeline's account.

    Raises
    ------
    ArgumentError
        If there is no such pipeline, or *since* is no moment.
    """
    from base.times import utc_now

    first = None if since is None else _read_moment(since)
    settings = read_settings()
    registry = open_registry(settings)
    from console.triggers import check_pipeline
    from monitoring.pnl.live import keep_account

    with registry.database.read() as session:
        check_pipeline(session, pipeline)
    with output.progress("account") as advance:
        found = keep_account(registry, settings, pipeline, now=utc_now(), since=first, tell=advance)
    _tell(found, output)
    output.result(found.model_dump(mode="json") | {"headline": found.account.headline})


def _tell(found: LiveAccount, output: Output) -> None:
    from base.times import describe_duration

    account = found.account
    if not account.trainings:
        output.say(f"{found.pipeline}: no training to tell of.")
        return
    output.table(
        ["began (UTC)", "asked", "ended", "version", "price", "brought (95 %)", "net", "it", "why"],
        [_row(one) for one in account.trainings],
    )
    output.say()
    output.table(
        ["asked by", "trainings", "changed nothing", "paid off", "did harm", "gained", "spent", "net"],
        [_total_row(kind, totals) for kind, totals in [*account.by_trigger.items(), ("all", account.totals)]],
    )
    output.say()
    output.say(f"{found.pipeline}: {account.headline}.")
    totals = account.totals
    if totals.n_counted:
        output.say(
            f"The {totals.n_counted} that can be told gained {_figure(totals.gained)} "
            f"({_figure(totals.low)} to {_figure(totals.high)}) and cost {totals.spent:.3f}: net {_figure(totals.net)}."
        )
    if totals.n_counted < totals.n_trainings:
        output.say(f"Not counted: {totals.n_trainings - totals.n_counted}, which cost {totals.spent_uncounted:.3f}.")
    for rollback in account.rollbacks:
        output.say(_tell_rollback(rollback))
    window = found.model_dump(mode="json")["window"]
    unit = "every answer wrong" if found.full == 1.0 else f"off by {found.full:.4g}"
    delay = f", judged {describe_duration(found.label_delay)} after it" if found.label_delay else ""
    output.say(f"Figures are in windows of full loss: {window}{delay}, with {unit}.")
    if any(one.n_compared < one.n_rows for one in account.trainings):
        output.say(f"Of a version with more than {found.most_rows:,} labelled rows, so many were compared.")


def _row(one: AssessedTraining) -> list[str]:
    moment = "" if one.matures_at is None else f"; the labels will have come on {tell_moment(one.matures_at)}"
    wishes = f" (+{one.n_merged})" if one.n_merged else ""
    told = f"{one.why}{moment}" if one.klass == "too early to tell" or one.why == "so far" else one.why
    if one.rolled_back is not None:
        told = "; ".join(part for part in (told, f"rolled back on {tell_moment(one.rolled_back.at)}") if part)
    version = "" if one.version is None else str(one.version)
    return [
        f"{one.at:%Y-%m-%d %H:%M}",
        f"{one.trigger}{wishes}" + (f": {one.reason}" if one.reason else ""),
        one.status,
        version if one.previous is None else f"{version} after {one.previous}",
        f"{one.price:.3f}",
        _tell_gain(one.gain),
        "" if one.net is None else _figure(one.net),
        one.klass,
        told,
    ]


def _total_row(kind: str, totals: Totals) -> list[str]:
    classes = totals.classes
    return [
        kind,
        str(totals.n_trainings),
        str(classes.get("changed nothing", 0)),
        str(classes.get("paid off", 0)),
        str(classes.get("did harm", 0)),
        _figure(totals.gained),
        f"{totals.spent:.3f}",
        _figure(totals.net),
    ]


def _tell_rollback(rollback: Rollback) -> str:
    what = f"On {tell_moment(rollback.at)} version {rollback.left} was left for version {rollback.returned_to}"
    if rollback.prevented is None:
        return f"{what}; what that has spared cannot be told: {rollback.why}."
    return f"{what}, which has spared {_tell_gain(rollback.prevented)} since. {as_sentence(rollback.reason)}".rstrip()


def _tell_gain(gain: Gain | None) -> str:
    if gain is None:
        return ""
    if gain.low is None or gain.high is None or gain.n_blocks == 0:
        return _figure(gain.value)
    return f"{_figure(gain.value)} ({_figure(gain.low)} to {_figure(gain.high)})"


def _figure(value: float) -> str:
    # What rounds to nothing has no sign.
    return f"{round(value, 3) + 0.0:+.3f}" if round(value, 3) else "0"


def _read_moment(since: str) -> datetime:
    from base.times import parse_moment

    try:
        return parse_moment(since)
    except ValueError as error:
        raise ArgumentError(f"--since: {error}") from None
