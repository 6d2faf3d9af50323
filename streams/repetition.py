"""What was said before, or belongs elsewhere, does not count, though its signature holds.

A signature says who, not when or where, and whoever may write to the log could write a signed record once more. What
the log caused counts only in the partition of its cause. Beyond that it matters who speaks:

- People, and what the effector sees unasked, speak from outside the log. Their words count once and while they are
  fresh: one that was heard already does not, nor one that is a day old.
- Planner, policy, executor and verifier answer one record of the partition after another, so that what each of them
  says stands in the order of its causes, however late it comes: an agent that was away for a week says what it has to
  say then. What would go back behind what the same process said last is a repetition. A process is known by its
  signer and by the producer in the signed envelope, since one principal may have the roles, and hold the key, of
  several.
- The effector answers in the order in which targets are done. Its answers are known again for a day; after that they
  are about an attempt that has long been answered, which is how their readers know them.

An activation that is older than the one in force does not count either (`streams/trust.py`).
"""

from dataclasses import dataclass, field
from typing import Any, Final

from autopilot.schemas.envelope import Event, Recorded, Rejection
from autopilot.schemas.events.effector import TargetObserved
from autopilot.schemas.events.people import ApprovalGranted, ApprovalRejected, ConfigurationActivated
from autopilot.schemas.events.policy import AuthorizationRevoked, PlanAuthorized
from autopilot.streams.record import Record
from autopilot.streams.trust import SIGNS

HEARD_US: Final = 86_400_000_000
"""How long words from outside the log are remembered, and how old they may be: a day."""
_SWEEP_US: Final = 3_600_000_000
_IN_ORDER: Final = SIGNS["planner"] | SIGNS["policy"] | SIGNS["executor"] | SIGNS["verifier"]
_ANSWERS: Final = SIGNS["effector"] - {TargetObserved.event_type()}
"""What the effector says because it was asked. What it saw is news only while it is fresh, asked for or not."""
_BOUND: Final = frozenset(
    model.event_type()
    for model in (PlanAuthorized, AuthorizationRevoked, ApprovalGranted, ApprovalRejected, ConfigurationActivated)
)
"""Words whose readers know a repetition by the decision, the request or the configuration that they are about."""


@dataclass
class LastWords:
    """How far a process has come with its answers: the last cause's offset, and the ids of what it said about it."""

    cause_offset: int
    event_ids: list[str]


@dataclass
class Heard:
    """What one reader has heard of signed words in one partition."""

    until_us: dict[str, int] = field(default_factory=dict)
    """Event id -> until when it is remembered."""
    answers: dict[str, LastWords] = field(default_factory=dict)
    """`producer/signer` -> its last answers."""
    swept_us: int = 0


def check_repetition(
    record: Record | Recorded[Any], event: Event[Any], signed_by: str, heard: Heard, now_us: int
) -> Rejection | None:
    """Why signed words do not count where they stand, or now; what counts is noted in `heard`.

    `now_us` is the last tick's time.
    """
    refused = check_place(record, event)
    if refused is not None:
        return refused
    if event.envelope.cause_topic == record.position.topic:
        if event.type in _IN_ORDER:
            return _check_order(event, signed_by, heard)
        if event.type in _ANSWERS:
            return _check_once(event, heard, now_us, now_us + HEARD_US)
    if event.type in _BOUND:
        return None
    said_at_us = event.envelope.occurred_at_us
    if said_at_us < now_us - HEARD_US:
        return Rejection("occurred_at_us", str(said_at_us), f"at most a day before {now_us}: it must be said again")
    return _check_once(event, heard, now_us, said_at_us + HEARD_US)


def check_place(record: Record | Recorded[Any], event: Event[Any]) -> Rejection | None:
    """Why a record does not count where it stands: what the log caused stands in the partition of its cause."""
    envelope, here = event.envelope, record.position
    if envelope.cause_topic != here.topic or envelope.cause_partition == here.partition:
        return None
    return Rejection("cause_partition", str(envelope.cause_partition), f"the partition it stands in, {here.partition}")


def _check_order(event: Event[Any], signed_by: str, heard: Heard) -> Rejection | None:
    cause_offset, event_id = event.envelope.cause_offset, event.envelope.event_id
    process = f"{event.envelope.producer}/{signed_by}"
    last = heard.answers.get(process)
    if last is None or cause_offset > last.cause_offset:
        heard.answers[process] = LastWords(cause_offset, [event_id])
        return None
    if cause_offset < last.cause_offset:
        expected = f"none before {last.cause_offset}, about which `{process}` has spoken since"
        return Rejection("cause_offset", str(cause_offset), expected)
    if event_id in last.event_ids:
        return _again(event_id)
    last.event_ids.append(event_id)
    return None


def _check_once(event: Event[Any], heard: Heard, now_us: int, until_us: int) -> Rejection | None:
    event_id = event.envelope.event_id
    if event_id in heard.until_us:
        return _again(event_id)
    if now_us >= heard.swept_us + _SWEEP_US:
        heard.until_us = {known: at_us for known, at_us in heard.until_us.items() if at_us >= now_us}
        heard.swept_us = now_us
    heard.until_us[event_id] = until_us
    return None


def _again(event_id: str) -> Rejection:
    return Rejection("event_id", f"`{event_id}` for a second time", "words that were not heard before")
