"""Whether a hook is what its sender signed, and of now: Standard Webhooks 1.0, the receiving side.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from base.hook_sender import HookSender
from base.webhooks import sign_message
from serving.web.problems import BodyRefused

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE = timedelta(minutes=5)
"""How far a message's clock may be from this one, to either side."""

BAD, STALE = "bad_signature", "stale"

_LONGEST_ID = 200
_MOST_DIGITS = 12
_MOST_SIGNATURES = 20


@dataclass(frozen=True)
class Signed:
    """A message that is its sender's: who that is, the message's id, and when it was sent."""

    sender: str
    message_id: str
    sent_at: int


def check_signature(
    headers: Mapping[str, str], body: bytes, senders: Mapping[str, HookSender], *, now: datetime
) -> Signed:
    """Check a message against the secrets of all that may have sent it.

    Who cannot sign is never told whether the message would have been of now.

    Parameters
    ----------
    headers : mapping
        By lower-case name.
    senders : mapping of str to HookSender
        Each may have two secrets while one is changed, and the message several signatures.

    Raises
    ------
    BodyRefused
        401, because of the signature (``bad_signature``) or, where that is right, of the time (``stale``).
    """
    message_id, timestamp = headers.get(ID, ""), headers.get(TIMESTAMP, "")
    if not message_id or not timestamp:
        raise _refuse(f"a signed hook has the headers {ID}, {TIMESTAMP} and {SIGNATURE}; one is missing")
    # What is signed is joined by full stops: with one in the id, two messages could have one signature.
    if len(message_id) > _LONGEST_ID or "." in message_id or not message_id.isascii() or not message_id.isprintable():
        raise _refuse(f"the header {ID} is none: expected ASCII without a full stop, {_LONGEST_ID} characters at most")
    if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > _MOST_DIGITS:
        raise _refuse(f"the header {TIMESTAMP} is none: expected seconds since 1970")
    sender = _find_sender(senders, message_id, timestamp, body, _read_signatures(headers[SIGNATURE]))
    if sender is None:
        raise _refuse(
            "the signature fits no secret that is good here: sign the bytes that are sent, as "
            f"`{ID}.{TIMESTAMP}.body`, with the secret of `everfit hooks add`"
        )
    seconds = int(timestamp)
    skew = seconds - now.timestamp()
    if abs(skew) > TOLERANCE.total_seconds():
        how = "before" if skew < 0 else "after"
        raise BodyRefused(
            401,
            f"the message was signed {abs(skew):.0f} seconds {how} this service's present, expected at most "
            f"{TOLERANCE.total_seconds():.0f}; sign it anew for each try, and see whether both clocks are right",
            reason=STALE,
        )
    return Signed(sender, message_id, seconds)


def _find_sender(
    senders: Mapping[str, HookSender], message_id: str, timestamp: str, body: bytes, given: list[bytes]
) -> str | None:
    found = None
    # All are compared, whichever fits: the time tells nothing of which one nearly did.
    for name, sender in senders.items():
        for key in sender.keys:
            expected = sign_message(key, message_id, timestamp, body)
            for signature in given:
                if hmac.compare_digest(expected, signature):
                    found = found or name
    return found


def _read_signatures(header: str) -> list[bytes]:
    found = []
    # Of other versions, such as v1a, nothing is known: their keys are public, and were never asked for.
    for each in header.split(" ")[:_MOST_SIGNATURES]:
        version, _, text = each.partition(",")
        if version == "v1":
            try:
                found.append(base64.b64decode(text, validate=True))
            except (binascii.Error, ValueError):
                continue
    return found


def _refuse(detail: str) -> BodyRefused:
    return BodyRefused(401, detail, reason=BAD)
