"""What the policy agent says: decisions with the facts that they were made on, and requests for people."""

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
    """The policy holds a plan until people approve it."""

    approval_id: str = described("Identity of the request; an approval names it.")
    decision: Decision = described("The verdict that asks for approval.")
    group: str = described("Who may approve: a role in the signer list.")
    needed: int = described("How many different people must approve.", ge=1)
    summary: str = described("What they are asked to approve, for people.")
    expires_at_us: TimestampUs = described("After this time the plan is denied.")
    step_id: str = optional("The one step that is to be approved; empty for the whole plan.", "")
    tolerances: dict[str, int] = optional(
        "Facts that the approval rests on, and how far each may move until the plan is decided; 0 for not at all.", {}
    )


class ApprovalUse(Contract):
    """One approval that counted towards an authorisation."""

    approver: str = described("Who gave it.")
    event_id: str = described("The approval's event id.")
    step_id: str = optional("The step that it approves; empty for the whole plan.", "")


class PlanAuthorized(Payload):
    """The plan may be executed. Signed by the policy's key; nothing acts without that signature."""

    decision: Decision = described("The verdict.")
    obligations: list[Obligation] = described("What must be done along with it.")
    approvals: list[ApprovalUse] = described("The approvals that it rests on; empty when none were needed.")
    not_after_us: TimestampUs = described("No step may begin after this time.")
    overruled_by: str = optional("Event id of the break-glass that overrules the decision; empty for none.", "")


class PlanDenied(Payload):
    """The plan may not be executed."""

    decision: Decision = described("The verdict.")
    reason: str = described("Why, for people: the messages of the rules that denied, or what was missing.")


class AuthorizationRevoked(Payload):
    """An authorisation no longer holds."""

    decision_id: str = described("The decision that is revoked.")
    plan_id: str = described("Its plan.")
    incident_id: str = described("Its incident.")
    reason: str = described("Why.")


class ApprovalRefused(Payload):
    """An approval or rejection that does not count: expired, self-given, replayed, unsigned or for another plan."""

    approval_id: str = described("The request that it named.")
    incident_id: str = described("The incident of that request; empty when unknown.")
    event_id: str = described("The refused approval's event id.")
    given_by: str = described("Who gave it, as it claims.")
    reason: str = described("Why it does not count.")
