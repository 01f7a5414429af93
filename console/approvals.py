"""`everfit approvals`, `everfit approve` and `everfit reject`: what waits for people, and their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError, RunFailed
from base.times import utc_now
from console.installation import open_registry, read_settings

if TYPE_CHECKING:
    from base.settings import Settings
    from console.output import Output
    from registry.approval_rule import Answer
    from registry.tables import Approval, ApprovalAnswer


def approvals_command(*, everything: bool, output: Output) -> None:
    """List approvals, newest first; those whose time is over are closed first."""
    from registry.approvals import close_expired, list_answers, list_approvals

    registry = open_registry(read_settings())
    with registry.database.write() as session:
        close_expired(session, utc_now())
    with registry.database.read() as session:
        found = list_approvals(session, waiting_only=not everything)
        answers = {each.run_id: list_answers(session, each.run_id) for each in found}
    if not found:
        output.say("Nothing waits for approval.")
    else:
        output.table(
            ["model", "version", "environment", "status", "asked by", "until (UTC)", "approved", "answers", "run"],
            [
                [
                    each.model,
                    each.number,
                    each.environment,
                    each.status,
                    each.requester,
                    f"{each.expires_at:%Y-%m-%d %H:%M}",
                    f"{sum(given.answer == 'approve' for given in answers[each.run_id])} of {each.needed}",
                    "; ".join(f"{given.actor}: {given.answer} ({given.reason})" for given in answers[each.run_id]),
                    each.run_id,
                ]
                for each in found
            ],
        )
    output.result([_document(each, answers[each.run_id]) for each in found])


def answer_command(run: str, *, answer: Answer, reason: str, output: Output) -> None:
    """Give one answer as the person at the keyboard.

    Raises
    ------
    ApprovalRefused
        If the answer does not count.
    RunFailed
        If the champion has changed since the verdict, so that nothing could be promoted.
    """
    from base.actors import name_person
    from registry.approvals import OVERTAKEN, WAITING, answer_approval, close_expired, find_approval, list_answers
    from registry.tables import Run

    if not reason.strip():
        raise ArgumentError("--reason: expected a few words; the ledger keeps them")
    settings = read_settings()
    registry = open_registry(settings)
    now, actor = utc_now(), name_person()
    with registry.database.write() as session:
        close_expired(session, now)
    with registry.database.write() as session:
        approval = answer_approval(
            session, find_approval(session, run).run_id, actor=actor, answer=answer, reason=reason, now=now
        )
        answers = list_answers(session, approval.run_id)
        prefect_run = session.get_one(Run, approval.run_id).prefect_run
    if approval.status != WAITING and prefect_run is not None:
        _resume(settings, prefect_run, actor, answer, reason)
    if approval.status == OVERTAKEN:
        raise RunFailed(
            f"{approval.model}@{approval.number} is approved, but the champion changed since it was judged; "
            "train again, and the challenger is judged against the new champion"
        )
    name = f"{approval.model} version {approval.number}"
    missing = approval.needed - sum(given.answer == "approve" for given in answers)
    told = {
        "waiting": f"{name}: approved by {actor}; {missing} more must",
        "approved": f"{name} is the champion now",
        "rejected": f"{name} is rejected; the champion stays",
    }
    output.say(told[approval.status])
    output.result(_document(approval, answers))


def _resume(settings: Settings, prefect_run: str, actor: str, answer: str, reason: str) -> None:
    """Let the flow run that waits in Prefect's UI go on, where one does; the promotion does not depend on it."""
    from deployments.prefect_server import running_server, use_client

    server = running_server(settings)
    if server is None:
        return
    with use_client(settings, server.api_url):
        from tasks.approval import resume_waiting_run

        resume_waiting_run(prefect_run, approver=actor, answer=answer, reason=reason)


def _document(approval: Approval, answers: list[ApprovalAnswer]) -> dict[str, Any]:
    return {
        **approval.model_dump(mode="json"),
        "answers": [given.model_dump(mode="json", exclude={"id", "run_id"}) for given in answers],
    }
