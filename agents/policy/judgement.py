"""One judgement: the facts as they are now, the verdict of the bundles in force, and the decision that bears both."""

from autopilot.agents.policy.budgets import budget_facts
from autopilot.agents.policy.holding import Holding, PolicyState
from autopilot.agents.policy.standing import Standing, calendar_facts, digests_of, standing_of
from autopilot.agents.policy.world import plan_facts
from autopilot.policies.engine import Verdict
from autopilot.policies.facts import FactSet, Value
from autopilot.schemas.configuration import Autonomy, Configuration, Service
from autopilot.schemas.events.policy import Decision
from autopilot.schemas.identity import derived_id

_LOWEST_TIER = 4
_MOST_STANDINGS = 16


class Judge:
    """Judges plans. Holds only what follows from configurations: parsed fleets and compiled bundles.

    With a `candidate` (`bundle@version` of the catalogue) it judges as if that version ruled under its name.
    """

    def __init__(self, candidate: str = "") -> None:
        self._candidate = candidate
        self._standings: dict[tuple[str, ...], Standing] = {}
        self._last: tuple[Configuration, Standing] | None = None
        """The configuration seen last, which is replaced whole when it changes, and what it comes to."""

    def of(self, state: PolicyState, holding: Holding, cause_id: str) -> tuple[Decision, Verdict]:
        """The decision on a plan on the facts of now. `cause_id` is the event that asks for it."""
        standing = self.standing(state)
        facts = FactSet.of(facts_of(state, holding, standing))
        verdict = standing.policies.judge(facts)
        plan = holding.plan
        decision = Decision(
            decision_id=derived_id("dec", plan.plan_id, cause_id),
            plan_id=plan.plan_id,
            incident_id=plan.incident_id,
            plan_hash=plan.plan_hash,
            bundle=standing.policies.title,
            bundle_digest=standing.policies.digest,
            rules=list(verdict.fired),
            facts=facts.recorded(),
            facts_digest=facts.digest,
        )
        return decision, verdict

    def standing(self, state: PolicyState) -> Standing:
        """What is in force now."""
        entry = state.catalogue.entries.get(self._candidate)
        configuration = state.configuration
        if entry is None and self._last is not None and self._last[0] is configuration:
            return self._last[1]
        if entry is not None and entry.content:
            bundles = {**configuration.documents.get("PolicyBundle", {}), entry.bundle: entry.document()}
            configuration = Configuration(documents={**configuration.documents, "PolicyBundle": bundles})
        key = digests_of(configuration)
        if key not in self._standings:
            if len(self._standings) >= _MOST_STANDINGS:
                self._standings.clear()
            self._standings[key] = standing_of(configuration)
        self._last = (configuration, self._standings[key])
        return self._standings[key]


def facts_of(state: PolicyState, holding: Holding, standing: Standing) -> dict[str, Value]:
    """Every fact of the facts schema for one plan, now. Of a plan that was begun, its own beginning is none."""
    ledger = state.ledger
    if holding.held_step:
        ledger = ledger.without(holding.decision_id, holding.execution_id)
    plan, domain, service = holding.plan, holding.domain, holding.service
    return {
        **plan_facts(plan),
        **state.world.incident_facts(plan.incident_id, state.now_us),
        **state.world.telemetry_facts(service),
        **_service_facts(standing.service(service, domain), service, domain),
        **calendar_facts(standing.calendar, domain, state.now_us),
        **ledger.facts(service, domain, state.now_us),
        **budget_facts(standing.budgets, ledger, domain, plan, state.now_us),
        "remedy_autonomy": state.autonomies.of(plan, service, standing.remedies.get(plan.remedy, (None, ""))[0]),
        "breaker_open": state.world.breaker_open(domain, plan, state.now_us),
        "halted": state.authority.halted(domain),
        "approvals_granted": holding.approved,
    }


def _service_facts(service: Service | None, name: str, domain: str) -> dict[str, Value]:
    return {
        "service_name": name,
        "service_known": service is not None,
        "service_tier": service.tier if service else _LOWEST_TIER,
        "service_owner": service.owner if service else "",
        "service_environment": service.environment if service else "",
        "service_autonomy": service.autonomy.value if service else Autonomy.OBSERVE.value,
        "service_domain": domain,
        "service_instances": service.instances if service else 0,
    }
