"""What people say about what rules, as the policy takes it: bundles, autonomy, configuration, and broken glasses."""

from collections.abc import Mapping
from typing import Any, Final

from autopilot.agents.policy.catalogue import TAKERS, RefusedError, check_claim
from autopilot.agents.policy.holding import Glass, Holding, PolicyState
from autopilot.agents.policy.people import AGENTS
from autopilot.agents.policy.standing import KINDS, remedies_of
from autopilot.agents.policy.states import HoldingState
from autopilot.policies.engine import BUILT_IN, Verdict
from autopilot.schemas.configuration import Configuration, Role
from autopilot.schemas.envelope import Draft, Output, Recorded
from autopilot.schemas.events.governance import (
    BreakGlass,
    GovernanceRefused,
    NoticeGiven,
    RemedyAutonomyChanged,
)
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.identity import derived_id

GLASS_US: Final = 3_600_000_000
"""Longest time for which a glass may be broken."""
NEVER_OVERRULED: Final = frozenset({f"{BUILT_IN}:halted", f"{BUILT_IN}:unknown-service"})
"""What even a broken glass does not overrule."""
WAITING: Final = (HoldingState.PREVIEWING, HoldingState.AWAITING, HoldingState.HELD)


def activate(state: PolicyState, recorded: Recorded[ConfigurationActivated]) -> None:
    """Takes what an activation says about services, remedies, budgets and the calendar, and the first bundles."""
    kept = [document for document in recorded.payload.documents if document.kind in KINDS]
    state.configuration = state.configuration.with_activated(kept)
    state.authority.activate(recorded.payload)
    state.catalogue.bootstrap(recorded.payload)
    _put_in_force(state)


def take_bundle_event(state: PolicyState, recorded: Recorded[Any]) -> list[Output]:
    """Moves a bundle through its life cycle, or says why that does not count."""
    said = recorded.payload
    try:
        TAKERS[type(said)](state.catalogue, recorded, state.authority)
    except RefusedError as why:
        return _refused(recorded, f"{said.bundle}@{said.version}", _speaker(said), str(why))
    _put_in_force(state)
    return []


def change_autonomy(state: PolicyState, recorded: Recorded[RemedyAutonomyChanged]) -> list[Output]:
    """Takes a change of a remedy's autonomy, or says why it does not count."""
    said = recorded.payload
    try:
        state.autonomies.change(recorded, state.authority, remedies_of(state.configuration.remedies()))
    except RefusedError as why:
        return _refused(recorded, f"{said.remedy} on {said.service}", said.changed_by, str(why))
    return []


def break_glass(state: PolicyState, recorded: Recorded[BreakGlass]) -> tuple[list[Holding], list[Output]]:
    """The waiting plans that the glass frees, and what is said about it: a notice, or why it does not count."""
    said, domain = recorded.payload, recorded.envelope.domain
    try:
        freed = _freed(state, recorded)
    except RefusedError as why:
        return [], _refused(recorded, said.plan_id or said.service, said.invoked_by, str(why))
    subject = said.plan_id or f"every plan of {said.service} until {said.until_us} us"
    text = f"{said.invoked_by} broke the glass for {subject}: {said.reason}"
    return freed, [notice(recorded.envelope.event_id, subject, text, domain, said.service)]


def notice(event_id: str, subject: str, text: str, domain: str, service: str, incident_id: str = "") -> Draft:
    """A notice to the administrators about an event."""
    given = NoticeGiven(
        notice_id=derived_id("notice", event_id, subject),
        severity="page",
        to=Role.ADMINISTRATOR,
        subject=subject,
        text=text,
        about_event_id=event_id,
    )
    return Draft(given, domain, service, incident_id)


def glass_for(state: PolicyState, service: str, verdict: Verdict) -> Glass | None:
    """The broken glass that overrules a verdict on a plan for the service now, or None."""
    glass = state.glasses.get(service)
    if glass is None or state.now_us >= glass.until_us or never_overruled(verdict):
        return None
    return glass


def never_overruled(verdict: Verdict) -> str:
    """The built-in rule among those that decided that even a broken glass does not overrule; empty for none."""
    return next((rule for rule in verdict.decisive if rule in NEVER_OVERRULED), "")


def _freed(state: PolicyState, recorded: Recorded[BreakGlass]) -> list[Holding]:
    said = recorded.payload
    if said.invoked_by in AGENTS or state.authority.has(said.invoked_by, Role.POLICY):
        raise RefusedError(f"`{said.invoked_by}` is no person")
    check_claim(recorded.signed_by, said.invoked_by, state.authority, (Role.BREAK_GLASS,))
    if not said.reason.strip():
        raise RefusedError("it gives no reason")
    if said.plan_id:
        return [_waiting(state, said)]
    if not state.now_us < said.until_us <= state.now_us + GLASS_US:
        raise RefusedError(f"until {said.until_us} us is not within an hour from now, {state.now_us} us")
    state.glasses[said.service] = Glass(said.until_us, recorded.envelope.event_id, said.invoked_by, said.reason)
    return [each for each in state.holdings.values() if each.service == said.service and each.state in WAITING]


def _waiting(state: PolicyState, said: BreakGlass) -> Holding:
    holding = state.holdings.get(said.plan_id)
    if holding is None or holding.state not in WAITING:
        raise RefusedError(f"the plan is {holding.state if holding else 'not known'}: only a waiting one is freed")
    if holding.state is HoldingState.HELD and state.authority.halted(holding.domain):
        raise RefusedError(f"the domain `{holding.domain}` is halted, which no broken glass overrules")
    if said.plan_hash != holding.plan.plan_hash:
        raise RefusedError(
            f"it is for another plan: hash {said.plan_hash}, that of the plan is {holding.plan.plan_hash}"
        )
    return holding


def _put_in_force(state: PolicyState) -> None:
    rest: Mapping[str, Any] = {k: docs for k, docs in state.configuration.documents.items() if k != "PolicyBundle"}
    active = {doc.name: doc for doc in state.catalogue.active()}
    state.configuration = Configuration(documents={**rest, **({"PolicyBundle": active} if active else {})})


def _speaker(said: Any) -> str:
    for name in ("author", "reviewer"):
        if hasattr(said, name):
            return str(getattr(said, name))
    return str(said.ordered_by)


def _refused(recorded: Recorded[Any], subject: str, given_by: str, reason: str) -> list[Output]:
    """The refusal; about a broadcast, which stands in every partition, it is said in partition 0 alone."""
    envelope, said = recorded.envelope, recorded.payload
    if said.broadcast and recorded.position.partition != 0:
        return []
    refused = GovernanceRefused(
        event_id=envelope.event_id,
        refused_type=said.event_type(),
        subject=subject,
        given_by=given_by,
        reason=reason,
    )
    return [Draft(refused, envelope.domain, envelope.service, envelope.correlation_id)]
