"""What the policy agent says: decisions with the facts that they were made on, and requests for people."""

from collections.abc import Sequence

from autopilot.schemas.contract import Contract, Payload, TimestampUs, described, optional


class Fact(Contract):
    """One fact that a decision saw. Exactly one of the values is set, as the facts schema types it."""

    name: str = described("Name of the fact in the facts schema.")
    int_value: int | None = optional("Value of an integer fact.", None)
    bool_value: bool | None = optional("Value of a boolean fact.", None)
    text_value: str | None = optional("Value of a text fact.", None)

    @property
    def value(self) -> int | bool | str | None:
        """The value, whichever it is."""
        for value in (self.int_value, self.bool_value):
            if value is not None:
                return value
        return self.text_value


class RuleOutcome(Contract):
    """One rule that mattered to a decision."""

    rule: str = described("Id of the rule in the bundle.")
    effect: str = described("`permit`, `deny`, `obligate` or `error`.")
    message: str = described("The rule's message with the values filled in.")


class Obligation(Contract):
    """Something that must be done along with the execution; an executor refuses one that it does not know."""

    name: str = described("Name of the obligation, such as `notify`.")
    parameters: dict[str, str] = described("Its parameters.")


class Decision(Contract):
    """A verdict on one plan: what ruled, on which facts. Recomputable from this and the bundle alone."""

    decision_id: str = described("Identity of the decision.")
    plan_id: str = described("The plan.")
    incident_id: str = described("Its incident.")
    plan_hash: str = described("Hash of the plan that was judged.")
    bundle: str = described("Name and version of the bundle, as `name@version`; empty when none was active.")
    bundle_digest: str = described("Digest of the bundle's canonical source and engine; empty when none was active.")
    rules: list[RuleOutcome] = described("The rules that fired, in the bundle's order.")
    facts: list[Fact] = described("Every fact that was seen, in the facts schema's order.")
    facts_digest: str = described("Digest of the facts.")


class PreviewRequested(Payload):
    """The effector is asked to say what the plan would change, without changing it."""

    plan_id: str = described("The plan.")
    incident_id: str = described("Its incident.")
    plan_hash: str = described("Hash of the plan.")


class ApprovalRequested(Payload):
    """The policy holds a plan, or a step that its execution has reached, until people approve it."""

    approval_id: str = described("Identity of the request; an approval names it.")
    decision: Decision = described("The verdict that asks for approval.")
    group: str = described("Who may approve: a role in the signer list.")
    needed: int = described("How many different people must approve.", ge=1)
    summary: str = described("What they are asked to approve, for people.")
    expires_at_us: TimestampUs = described("After this time the plan is denied; a plan that was begun is undone.")
    step_id: str = optional("The first step that is to be approved; empty for the whole plan.", "")
    tolerances: dict[str, int] = optional(
        "Facts that the approval rests on, and how far each may move until the plan is decided; 0 for not at all.", {}
    )
    execution_id: str = optional("The execution that holds the step; empty when nothing was begun.", "")
    outcome_id: str = optional("Outcome of the stage before the held step; empty when there was no gate.", "")
    step_ids: list[str] = optional("The steps that are to be approved, in order; empty for the whole plan.", [])

    @property
    def of_whole_plan(self) -> bool:
        """Whether the plan as a whole is to be approved, and not some of its steps: `step_ids` alone says so."""
        return not self.step_ids

    @property
    def subject(self) -> str:
        """What is to be approved, for people."""
        return subject_of(self.step_ids)


def subject_of(step_ids: Sequence[str]) -> str:
    """What an approval is about, for people: `the plan`, which is no steps, or these steps of it."""
    steps = ", ".join(f"`{step_id}`" for step_id in step_ids)
    return f"step{'s' if len(step_ids) > 1 else ''} {steps}" if steps else "the plan"


class ApprovalUse(Contract):
    """One approval that counted towards an authorisation."""

    approver: str = described("Who gave it.")
    event_id: str = described("The approval's event id.")
    step_id: str = optional("The first step that it approves; empty for the whole plan.", "")


class PlanAuthorized(Payload):
    """The plan may be executed. Signed by the policy's key; nothing acts without that signature."""

    decision: Decision = described("The verdict.")
    obligations: list[Obligation] = described("What must be done along with it.")
    approvals: list[ApprovalUse] = described("The approvals that it rests on; empty when none were needed.")
    not_after_us: TimestampUs = described("No step may begin after this time; a held one has a time of its own.")
    overruled_by: str = optional("Event id of the break-glass that overrules the decision; empty for none.", "")
    held_steps: list[str] = optional(
        "Steps that the execution stops before until a `StepAuthorized` for each, in the plan's order.", []
    )

    def held_step_over(self, steps: Sequence[str], step_id: str) -> str:
        """The held step whose authorisation a step needs: itself or the last held one before it; empty for none.

        `steps` are the ids of the plan's steps in order. Raises ValueError when `step_id` is none of them.
        """
        reached = steps[: steps.index(step_id) + 1]
        return next((step for step in reversed(reached) if step in self.held_steps), "")


class StepAuthorized(Payload):
    """A held step, and what follows it up to the next held one, may begin. Signed by the policy's key."""

    decision: Decision = described("The verdict on the plan, on the facts of this moment.")
    plan_decision_id: str = described("The authorisation of the plan that this is a part of.")
    execution_id: str = described("The execution that holds the step.")
    step_id: str = described("The held step.")
    obligations: list[Obligation] = described("What must be done along with it.")
    approvals: list[ApprovalUse] = described("The approvals of this step; empty when none were needed any more.")
    not_after_us: TimestampUs = described("No step may begin under it after this time.")
    overruled_by: str = optional("Event id of the break-glass that overrules the decision; empty for none.", "")


class PlanDenied(Payload):
    """The plan may not be executed."""

    decision: Decision = described("The verdict.")
    reason: str = described("Why, for people: the messages of the rules that denied, or what was missing.")


class AuthorizationRevoked(Payload):
    """An authorisation no longer holds: nothing is begun under it, and what was begun is undone."""

    decision_id: str = described("The decision that is revoked.")
    plan_id: str = described("Its plan.")
    incident_id: str = described("Its incident.")
    reason: str = described("Why.")
    step_id: str = optional("The held step that may not begin; empty when the execution had not begun.", "")
    verdict: Decision | None = optional(
        "The judgement because of which, when the facts by then denied or had strayed; null for any other reason.", None
    )


class ApprovalRefused(Payload):
    """An approval or rejection that does not count: expired, self-given, replayed, unsigned or for another plan."""

    approval_id: str = described("The request that it named.")
    incident_id: str = described("The incident of that request; empty when unknown.")
    event_id: str = described("The refused approval's event id.")
    given_by: str = described("Who gave it, as it claims.")
    reason: str = described("Why it does not count.")
