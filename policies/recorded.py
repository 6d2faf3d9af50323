"""Recorded decisions: what tools judge again. From the log's events, and from files of one JSON object a line.

The ruling is the bundles' own: a plan that people refused was one that needed approval. A decision recorded before a
fact was in the schema is completed with the fact's example; `completed` names what was added.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from autopilot.policies.bundle import Ruling
from autopilot.policies.facts import BASELINE, SPECS, FactError, Value
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Event
from autopilot.schemas.events.policy import (
    ApprovalRequested,
    AuthorizationRevoked,
    Decision,
    PlanAuthorized,
    PlanDenied,
    StepAuthorized,
)

DECIDING: Final = (PlanAuthorized, PlanDenied, ApprovalRequested, StepAuthorized, AuthorizationRevoked)
"""The event types that bear a decision; a revocation does when the plan was judged anew at a held step."""


class RecordedError(ValueError):
    """A line of a file holds no recorded decision."""


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """A decision as it was made, with every fact that it saw."""

    decision_id: str
    plan_id: str
    incident_id: str
    domain: str
    service: str
    at_us: int
    bundle: str
    ruling: Ruling
    rules: tuple[str, ...]
    """The rules that held."""
    facts: Mapping[str, Value]
    completed: tuple[str, ...] = ()

    def line(self) -> str:
        """The decision as a line of a file."""
        plain = {name: getattr(self, name) for name in _PLAIN} | {"rules": list(self.rules), "facts": {**self.facts}}
        return json.dumps(plain, ensure_ascii=False, sort_keys=True)


_PLAIN: Final = (
    "decision_id", "plan_id", "incident_id", "domain", "service", "at_us", "bundle", "ruling"
)  # fmt: skip


def decision_of(event: Event[Payload]) -> RecordedDecision | None:
    """The decision that an event bears, or None. Raises `FactError` when a fact is none of the schema."""
    payload = event.payload
    if not isinstance(payload, DECIDING):
        return None
    decision = payload.verdict if isinstance(payload, AuthorizationRevoked) else payload.decision
    if decision is None:
        return None
    envelope = event.envelope
    facts, completed = completed_facts({fact.name: fact.value for fact in decision.facts})
    return RecordedDecision(
        decision.decision_id,
        decision.plan_id,
        decision.incident_id,
        envelope.domain,
        envelope.service,
        envelope.occurred_at_us,
        decision.bundle,
        ruling_of(decision, payload),
        tuple(outcome.rule for outcome in decision.rules),
        facts,
        completed,
    )


def ruling_of(decision: Decision, payload: Payload) -> Ruling:
    """What the bundles said, whatever people did about it."""
    if any(outcome.effect in ("deny", "error") for outcome in decision.rules):
        return Ruling.DENY
    return Ruling.ALLOW if isinstance(payload, PlanAuthorized | StepAuthorized) else Ruling.NEEDS_APPROVAL


def decisions_in(events: Iterable[Event[Payload]]) -> Iterator[RecordedDecision]:
    """The decisions that events bear, each once: a request that people refuse is not decided anew."""
    seen: set[str] = set()
    for event in events:
        decision = decision_of(event)
        if decision is not None and decision.decision_id not in seen:
            seen.add(decision.decision_id)
            yield decision


def completed_facts(seen: Mapping[str, object]) -> tuple[dict[str, Value], tuple[str, ...]]:
    """Checked facts in canonical order, and the names of those that had to be added. Raises `FactError`."""
    for name in seen:
        if name not in SPECS:
            raise FactError(name, "unknown", "a fact of the facts schema")
    facts = {name: spec.check(seen[name]) if name in seen else BASELINE[name] for name, spec in SPECS.items()}
    return facts, tuple(name for name in SPECS if name not in seen)


def decisions_of_lines(lines: Iterable[str]) -> Iterator[RecordedDecision]:
    """The decisions of a file. Raises `RecordedError`, which names the line."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield _of_line(json.loads(line))
            except (KeyError, TypeError, ValueError) as error:
                raise RecordedError(f"line {number}: {type(error).__name__}: {error}") from None


def _of_line(plain: Mapping[str, object]) -> RecordedDecision:
    seen = plain["facts"]
    if not isinstance(seen, dict):
        raise TypeError("`facts` is no object")
    facts, completed = completed_facts(seen)
    texts = {name: str(plain.get(name, "")) for name in _PLAIN if name not in ("at_us", "ruling")}
    rules = plain.get("rules", [])
    named = tuple(str(rule) for rule in rules) if isinstance(rules, list) else ()
    return RecordedDecision(
        **texts,
        at_us=int(str(plain.get("at_us", 0))),
        ruling=Ruling(str(plain["ruling"])),
        rules=named,
        facts=facts,
        completed=completed,
    )
