"""How far a remedy may go on a service: what the catalogue declares, until a person changes it on evidence.

A remedy is never promoted by itself. To let it act without asking, a person cites outcomes that were verified on that
service; the fold of the outcomes seen here says whether they are. A change is bound to the remedy's definition. What
fails again and again is lowered without a person (`feedback.py`), which holds until a person changes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from autopilot.agents.authority import Authority
from autopilot.agents.policy.catalogue import RefusedError, check_claim
from autopilot.agents.policy.people import AGENTS
from autopilot.schemas.configuration import Autonomy, Remedy, Role
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events.governance import RemedyAutonomyChanged
from autopilot.schemas.events.planner import PlanProposed
from autopilot.schemas.events.verifier import Outcome

LEVELS: Final = (Autonomy.OBSERVE, Autonomy.RECOMMEND, Autonomy.APPROVE, Autonomy.ACT_AND_TELL, Autonomy.ACT)
"""Least first."""
VERIFIED_NEEDED: Final = 3
"""Verified outcomes that must be cited before a remedy may act without asking."""
FAILED_NEEDED: Final = 2
"""Failures in a row after which a remedy is lowered."""
KEPT_OUTCOMES: Final = 50
"""Outcomes remembered for each remedy and service, newest last."""


@dataclass(frozen=True)
class Grant:
    """What a person decided for a remedy on a service, or what the policy lowered it to."""

    autonomy: str
    remedy_digest: str
    changed_by: str


@dataclass(frozen=True)
class SeenOutcome:
    """An outcome of a remedy on a service."""

    outcome_id: str
    verified: bool
    remedy_digest: str


@dataclass(frozen=True)
class Streak:
    """What came of a remedy on a service in a row, since its autonomy was last changed: either list is empty."""

    remedy_digest: str
    verified: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    last_failed: str = ""
    """The execution that failed last: its rejection and its rollback are one failure."""
    proposed: bool = False
    """Whether a promotion was proposed; it is not proposed again before somebody decides or it fails."""


def key_of(remedy: str, service: str) -> str:
    """The key under which a remedy on a service is remembered."""
    return f"{remedy}@{service}"


@dataclass
class Autonomies:
    """Grants and outcomes by remedy and service."""

    grants: dict[str, Grant] = field(default_factory=dict)
    outcomes: dict[str, list[SeenOutcome]] = field(default_factory=dict)
    streaks: dict[str, Streak] = field(default_factory=dict)

    def seen(self, outcome: Outcome, plan: PlanProposed, service: str, *, verified: bool) -> None:
        """Notes an outcome of a plan."""
        key = key_of(plan.remedy, service)
        seen = SeenOutcome(outcome.outcome_id, verified, plan.remedy_digest)
        self.outcomes[key] = [*self.outcomes.get(key, []), seen][-KEPT_OUTCOMES:]

    def succeeded(self, key: str, remedy_digest: str, outcome_id: str) -> Streak:
        """The streak after one more success."""
        before = self._streak(key, remedy_digest)
        verified = (*before.verified, outcome_id)[-VERIFIED_NEEDED:]
        self.streaks[key] = replace(before, verified=verified, failed=())
        return self.streaks[key]

    def failed(self, key: str, remedy_digest: str, execution_id: str, evidence: str) -> Streak | None:
        """The streak after one more failure; None when the execution was counted already."""
        before = self._streak(key, remedy_digest)
        if execution_id == before.last_failed:
            return None
        failed = (*before.failed, evidence)[-FAILED_NEEDED:]
        self.streaks[key] = Streak(remedy_digest, failed=failed, last_failed=execution_id)
        return self.streaks[key]

    def lower(self, key: str, grant: Grant) -> None:
        """Puts a lower autonomy in force; what follows is counted anew."""
        self.grants[key] = grant
        self.streaks[key] = Streak(grant.remedy_digest, last_failed=self.streaks[key].last_failed)

    def proposed(self, key: str) -> None:
        """Remembers that a promotion was proposed."""
        self.streaks[key] = replace(self.streaks[key], proposed=True)

    def _streak(self, key: str, remedy_digest: str) -> Streak:
        known = self.streaks.get(key)
        return known if known is not None and known.remedy_digest == remedy_digest else Streak(remedy_digest)

    def of(self, plan: PlanProposed, service: str, remedy: Remedy | None) -> str:
        """The remedy's autonomy on the service, for a plan; `observe` when the catalogue has no such remedy."""
        if remedy is None:
            return Autonomy.OBSERVE.value
        grant = self.grants.get(key_of(plan.remedy, service))
        if grant is not None and grant.remedy_digest == plan.remedy_digest:
            return grant.autonomy
        return remedy.autonomy.value

    def change(
        self,
        recorded: Recorded[RemedyAutonomyChanged],
        authority: Authority,
        remedies: Mapping[str, tuple[Remedy, str]],
    ) -> None:
        """Takes a person's change. Raises `RefusedError`."""
        said = recorded.payload
        if said.changed_by in AGENTS or authority.has(said.changed_by, Role.POLICY):
            raise RefusedError(f"`{said.changed_by}` is no person: autonomy is never changed by an agent")
        if said.autonomy not in list(LEVELS):
            raise RefusedError(f"`{said.autonomy}` is none of {', '.join(LEVELS)}")
        remedy, digest = remedies.get(said.remedy, (None, ""))
        if remedy is None or digest != said.remedy_digest:
            raise RefusedError(f"the catalogue has no remedy `{said.remedy}` of the digest {said.remedy_digest}")
        now = self._now(said, remedy)
        raises = LEVELS.index(Autonomy(said.autonomy)) > LEVELS.index(Autonomy(now))
        roles = (Role.AUTHOR, Role.ADMINISTRATOR)
        check_claim(recorded.signed_by, said.changed_by, authority, roles if raises else (Role.OPERATOR, *roles))
        if raises and LEVELS.index(Autonomy(said.autonomy)) > LEVELS.index(Autonomy.APPROVE):
            self._check_evidence(said)
        key = key_of(said.remedy, said.service)
        self.grants[key] = Grant(said.autonomy, digest, said.changed_by)
        self.streaks.pop(key, None)

    def _now(self, said: RemedyAutonomyChanged, remedy: Remedy) -> str:
        grant = self.grants.get(key_of(said.remedy, said.service))
        return grant.autonomy if grant and grant.remedy_digest == said.remedy_digest else remedy.autonomy.value

    def _check_evidence(self, said: RemedyAutonomyChanged) -> None:
        known = self.outcomes.get(key_of(said.remedy, said.service), [])
        good = {seen.outcome_id for seen in known if seen.verified and seen.remedy_digest == said.remedy_digest}
        cited = len(good.intersection(said.evidence))
        if cited < VERIFIED_NEEDED:
            raise RefusedError(
                f"{cited} of the outcomes cited are verified ones of `{said.remedy}` on `{said.service}`:"
                f" at least {VERIFIED_NEEDED} are needed before it may act without asking"
            )
