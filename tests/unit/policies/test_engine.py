"""What bundles mean: default deny, deny overrides, errors deny, obligations, and recomputing a decision."""

import pytest
from policy_bundles import PERMIT, approval, bundle, rule

from autopilot.policies.bundle import Param, PolicyBundle, Rule, Ruling
from autopilot.policies.engine import DigestMismatchError, PolicySet, Verdict, policy_set, recompute
from autopilot.policies.facts import BASELINE, FactError, FactSet, Value
from autopilot.schemas.events.policy import Decision


def judge(*bundles: PolicyBundle, **facts: Value) -> Verdict:
    return policy_set([each.source for each in bundles]).judge(FactSet.of({**BASELINE, **facts}))


def test_without_a_bundle_everything_is_denied() -> None:
    verdict = judge()
    assert (verdict.ruling, verdict.decisive) == (Ruling.DENY, ("builtin:no-bundle",))
    assert "no policy bundle is in force" in verdict.reason


def test_without_a_permit_it_is_denied() -> None:
    verdict = judge(bundle(rule("never", "permit", "plan_cost > 100")))
    assert (verdict.ruling, verdict.decisive) == (Ruling.DENY, ("builtin:no-permit",))


def test_a_permit_allows() -> None:
    verdict = judge(bundle(PERMIT))
    assert (verdict.ruling, verdict.decisive, verdict.obligations) == (Ruling.ALLOW, ("permit",), ())


def test_any_deny_overrides_any_permit() -> None:
    verdict = judge(bundle(PERMIT, rule("no", "deny", "plan_cost == 1"), rule("nor", "deny", "plan_cost == 2")))
    assert (verdict.ruling, verdict.decisive) == (Ruling.DENY, ("no",))
    assert [outcome.rule for outcome in verdict.fired] == ["permit", "no"]


def test_an_error_denies_and_names_its_rule_and_the_others_are_still_seen() -> None:
    verdict = judge(bundle(PERMIT, rule("broken", "deny", "10 / plan_cost > 1")), plan_cost=0)
    assert (verdict.ruling, verdict.decisive) == (Ruling.DENY, ("error:broken",))
    assert [(o.rule, o.effect) for o in verdict.fired] == [("permit", "permit"), ("error:broken", "error")]
    assert "divide by zero" in verdict.reason


def test_an_error_in_a_permit_or_obligation_denies_as_well() -> None:
    for erring in (rule("r", "permit", "10 / plan_cost > 1"), approval("r", "plan_cost % plan_cost == 0")):
        assert judge(bundle(PERMIT, erring), plan_cost=0).decisive == ("error:r",)


def test_an_overflow_and_a_pattern_that_is_none_are_errors() -> None:
    overflow = "plan_cost * 9000000000000000000 > 0"
    assert judge(bundle(PERMIT, rule("o", "deny", overflow)), plan_cost=9).decisive == ("error:o",)
    params = {"p": Param(value="(", description="d")}
    broken = bundle(PERMIT, rule("m", "deny", "plan_remedy.matches(params.p)"), params=params)
    assert judge(broken).decisive == ("error:m",)


def test_messages_are_filled_in_with_facts_and_params() -> None:
    message = "{plan_cost} of {params.most}, lost {telemetry_lost}, {{braces}}"
    params = {"most": Param(value=0, description="d")}
    dear = rule("dear", "deny", "plan_cost > params.most", message=message)
    assert judge(bundle(PERMIT, dear, params=params)).reason == "dear: 1 of 0, lost false, {braces}"


def test_an_approval_holds_until_enough_have_approved() -> None:
    two = bundle(PERMIT, approval("two", "true", needed=2))
    held = judge(two, approvals_granted=1)
    assert (held.ruling, held.decisive) == (Ruling.NEEDS_APPROVAL, ("two",))
    assert held.approval is not None
    assert (held.approval.group, held.approval.needed, held.approval.expires_ms) == ("approver", 2, 60_000)
    assert judge(two, approvals_granted=2).ruling is Ruling.ALLOW


def test_several_approvals_come_to_the_strictest() -> None:
    verdict = judge(bundle(PERMIT, approval("a", "true", expires_ms=5), approval("b", "true", needed=3)))
    assert verdict.approval is not None
    assert (verdict.approval.needed, verdict.approval.expires_ms) == (3, 5)
    assert verdict.decisive == ("a", "b")


def per_step(identity: str, **parameters: object) -> Rule:
    """A rule that asks for the approval of each step."""
    stated = {"group": "approver", "needed": 1, "expires_ms": 60_000, "per": "step", **parameters}
    return rule(identity, "obligate", "true", obligation={"name": "approval", "parameters": stated})


@pytest.mark.parametrize(
    ("rules", "per", "reached"),
    [
        ([approval("a", "true")], "plan", False),
        ([per_step("a")], "step", True),
        ([per_step("a", ask="when_reached")], "step", True),
        ([per_step("a", ask="before_start")], "step", False),
        ([per_step("a", ask="before_start"), approval("b", "true")], "step", False),
        ([per_step("a", ask="before_start"), per_step("b")], "step", True),
        ([approval("a", "true"), per_step("b")], "step", True),
        ([per_step("a", per="plan")], "plan", False),
        ([per_step("a", per="stage")], "stage", True),
        ([per_step("a", per="stage", ask="before_start")], "stage", False),
        ([per_step("a", per="stage"), approval("b", "true")], "stage", True),
        ([per_step("a", per="stage"), per_step("b", ask="before_start")], "step", True),
        ([per_step("a"), per_step("b", per="stage", ask="before_start")], "step", True),
    ],
)
def test_of_several_rules_the_smallest_parts_are_asked_for_and_as_they_are_reached_where_one_wants_that(
    rules: list[Rule], per: str, reached: bool
) -> None:
    need = judge(bundle(PERMIT, *rules)).approval
    assert need is not None
    assert (need.per, need.when_reached) == (per, reached)


def test_approvals_of_two_groups_at_once_deny() -> None:
    verdict = judge(bundle(PERMIT, approval("a", "true"), approval("b", "true", group="sre")))
    assert (verdict.ruling, verdict.decisive) == (Ruling.DENY, ("builtin:approval-groups",))


def test_approval_does_not_overrule_a_denial() -> None:
    verdict = judge(bundle(PERMIT, approval("a", "true"), rule("no", "deny", "true")), approvals_granted=5)
    assert verdict.decisive == ("no",)


def test_obligations_come_with_an_allowance_and_their_texts_are_filled_in() -> None:
    tell = rule("tell", "obligate", "true", obligation={"name": "notify", "parameters": {"to": "{service_owner}"}})
    verdict = judge(bundle(PERMIT, tell, tell.model_copy(update={"id": "again"})))
    assert [(o.name, o.parameters) for o in verdict.obligations] == [("notify", {"to": "payments"})]
    assert judge(bundle(PERMIT, tell, rule("no", "deny", "true"))).obligations == ()


def test_several_bundles_must_all_allow() -> None:
    lax, strict = bundle(PERMIT, name="lax"), bundle(rule("cheap", "permit", "plan_cost < 5"), name="strict")
    assert judge(lax, strict).decisive == ("lax/permit", "strict/cheap")
    denied = judge(lax, strict, plan_cost=5)
    assert (denied.ruling, denied.decisive) == (Ruling.DENY, ("builtin:strict/no-permit",))


def test_the_order_in_which_bundles_are_given_changes_nothing() -> None:
    one, other = bundle(PERMIT, name="a"), bundle(PERMIT, name="b")
    assert policy_set([one.source, other.source]).digest == policy_set([other.source, one.source]).digest
    assert judge(one, other) == judge(other, one)


def test_a_bundle_that_cannot_be_used_denies_all() -> None:
    broken = bundle(rule("typo", "permit", "plan_costs > 1"), name="broken")
    for policies in (policy_set([broken.source]), policy_set([bundle(PERMIT).source, broken.source])):
        verdict = policies.judge(FactSet.of(BASELINE))
        assert (verdict.ruling, verdict.decisive) == (Ruling.DENY, ("builtin:broken-bundle",))
        assert "plan_costs" in verdict.reason


def test_no_bundle_allows_in_a_halted_domain_or_for_an_unknown_service() -> None:
    assert judge(bundle(PERMIT), halted=True).decisive == ("builtin:halted",)
    assert judge(bundle(PERMIT), service_known=False).decisive == ("builtin:unknown-service",)


def test_the_digest_covers_rules_params_and_engine() -> None:
    def digest(value: int, when: str) -> str:
        params = {"p": Param(value=value, description="d")}
        return policy_set([bundle(rule("r", "permit", when), params=params).source]).digest

    assert len({digest(1, "plan_cost > 1"), digest(2, "plan_cost > 1"), digest(1, "plan_cost >  1")}) == 3
    assert digest(1, "plan_cost > 1") == digest(1, "plan_cost > 1")


def decision(policies: PolicySet, facts: FactSet) -> Decision:
    return Decision(
        decision_id="d",
        plan_id="p",
        incident_id="i",
        plan_hash="h",
        bundle=policies.title,
        bundle_digest=policies.digest,
        rules=list(policies.judge(facts).fired),
        facts=facts.recorded(),
        facts_digest=facts.digest,
    )


@pytest.mark.parametrize("cost", [0, 1, 7])
def test_a_decision_is_recomputed_from_the_event_and_the_bundle(cost: int) -> None:
    bundles = [bundle(PERMIT, rule("dear", "deny", "plan_cost > 5"), rule("odd", "deny", "1 / plan_cost > 1"))]
    policies = policy_set([each.source for each in bundles])
    facts = FactSet.of({**BASELINE, "plan_cost": cost})
    recorded = Decision.model_validate_json(decision(policies, facts).model_dump_json())
    verdict = recompute(recorded, bundles)
    assert verdict == policies.judge(facts)
    assert list(verdict.fired) == recorded.rules


def test_a_decision_without_a_bundle_or_under_a_broken_one_is_recomputed_too() -> None:
    facts = FactSet.of(BASELINE)
    assert recompute(decision(policy_set([]), facts), []).decisive == ("builtin:no-bundle",)
    assert recompute(decision(policy_set(["{}"]), facts), ["{}"]).decisive == ("builtin:broken-bundle",)


def test_recomputing_under_another_bundle_or_with_broken_facts_is_refused() -> None:
    mine = bundle(PERMIT)
    recorded = decision(policy_set([mine.source]), FactSet.of(BASELINE))
    with pytest.raises(DigestMismatchError):
        recompute(recorded, [bundle(PERMIT, rule("no", "deny", "true"))])
    with pytest.raises(FactError):
        recompute(recorded.model_copy(update={"facts": recorded.facts[1:]}), [mine])
