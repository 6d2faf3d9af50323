"""The life cycle of policy bundles: nothing rules that its author alone has seen, and one step leads back."""

import pytest
from policy_bundles import PERMIT, bundle, rule
from policy_world import activated, in_force, plan, retired, reviewed, shadowed, submitted, through
from scenario import Said, Scenario

from autopilot.agents.policy.catalogue import BUNDLE, BundleState, BundleTrigger
from autopilot.agents.policy.shadow import ShadowPolicy
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.governance import BundleActivated, BundleSubmitted, GovernanceRefused
from autopilot.schemas.events.policy import PlanAuthorized, PlanDenied

FIRST = bundle(PERMIT)
STRICT = bundle(rule("none", "deny", "true", message="nothing today"), version="2")
THIRD = bundle(PERMIT, rule("dear", "deny", "plan_cost > 100"), version="3")


def why(scenario: Scenario, said: Said) -> str:
    """Why it was refused."""
    return scenario.when(said).then(GovernanceRefused).only(GovernanceRefused).reason


def ruling(scenario: Scenario) -> str:
    """The bundles that rule."""
    (draft,) = scenario.when(plan(f"plan-{scenario.offset}")).drafts()
    assert isinstance(draft.payload, PlanAuthorized | PlanDenied)
    return draft.payload.decision.bundle


def test_a_bundle_is_drafted_reviewed_shadowed_and_then_rules_in_the_place_of_the_other() -> None:
    scenario = in_force(FIRST)
    for step in through(STRICT):
        assert ruling(scenario) == "mine@1"
        scenario.when(step).then_nothing()
    assert ruling(scenario) == "mine@2"
    states = {entry.title: entry.state for entry in scenario.state.catalogue.entries.values()}
    assert states == {"mine@1": BundleState.RETIRED, "mine@2": BundleState.ACTIVE}


def test_a_bundle_signed_by_its_author_alone_is_refused_with_a_reason() -> None:
    scenario = in_force(FIRST).events(submitted(STRICT))
    assert "`eve` wrote it: another person must review it" in why(scenario, reviewed(STRICT, by="eve"))
    assert "not been reviewed by another person than its author" in why(scenario, shadowed(STRICT))
    assert "not been reviewed by another person than its author" in why(scenario, activated(STRICT))
    assert ruling(scenario) == "mine@1"


def test_a_bundle_that_has_not_run_as_a_shadow_does_not_rule() -> None:
    scenario = in_force(FIRST).events(submitted(STRICT), reviewed(STRICT))
    assert "has not run as a shadow" in why(scenario, activated(STRICT))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (Said(submitted(STRICT).payload, signed_by=None), "no signature"),
        (Said(submitted(STRICT).payload, signed_by="bob"), "signed by `bob`, not by `eve`"),
        (submitted(STRICT, by="bob"), "needed is author or administrator"),
        (submitted(FIRST.model_copy(update={"description": "other"})), "give it a new version"),
        (submitted(bundle(rule("typo", "deny", "plan_csts > 1"), version="2")), "cannot be used"),
        (reviewed(STRICT), "there is no `mine@2`"),
    ],
)
def test_what_does_not_count_is_refused_with_a_reason(said: Said, reason: str) -> None:
    scenario = in_force(FIRST)
    assert reason in why(scenario, said)
    assert ruling(scenario) == "mine@1"


def test_a_document_that_is_not_what_it_says_is_refused() -> None:
    said = submitted(STRICT).payload
    assert isinstance(said, BundleSubmitted)
    other = said.model_copy(update={"version": "7"})
    assert "the document is `mine@2`" in why(in_force(FIRST), Said(other, signed_by="eve"))
    swapped = said.model_copy(update={"document": said.document.model_copy(update={"digest": "sha256:0"})})
    assert "of the digest that it names" in why(in_force(FIRST), Said(swapped, signed_by="eve"))


def test_a_review_of_other_content_is_refused() -> None:
    scenario = in_force(FIRST).events(submitted(STRICT))
    other = STRICT.model_copy(update={"description": "other"})
    assert "it is about other content" in why(scenario, reviewed(other))


def test_an_operator_rolls_back_in_one_step_and_only_to_what_ruled_before() -> None:
    scenario = in_force(FIRST).events(*through(STRICT))
    assert "`1` ruled before" in why(scenario, activated(STRICT, "2", by="cem", rollback=True))
    scenario.when(activated(FIRST, "2", by="cem", rollback=True)).then_nothing()
    assert ruling(scenario) == "mine@1"
    assert "nothing ruled before" in why(scenario, activated(FIRST, "1", by="cem", rollback=True))
    assert "is retired" in why(scenario, activated(STRICT, "1"))


def test_a_second_roll_back_goes_one_further() -> None:
    scenario = in_force(FIRST).events(*through(STRICT), *through(THIRD, "2"))
    scenario.events(activated(STRICT, "3", by="cem", rollback=True))
    assert ruling(scenario) == "mine@2"
    scenario.events(activated(FIRST, "2", by="cem", rollback=True))
    assert ruling(scenario) == "mine@1"


def test_an_activation_that_was_ordered_in_sight_of_another_version_is_refused() -> None:
    scenario = in_force(FIRST).events(*through(STRICT), submitted(THIRD), reviewed(THIRD), shadowed(THIRD))
    assert "`2` rules now, not `1`" in why(scenario, activated(THIRD, "1"))


def test_only_an_administrator_takes_a_ruling_bundle_away_and_then_all_is_denied() -> None:
    scenario = in_force(FIRST)
    assert "needed is administrator" in why(scenario, retired(FIRST, by="eve"))
    scenario.when(retired(FIRST)).then_nothing()
    denied = scenario.when(plan("last")).then(PlanDenied).only(PlanDenied)
    assert denied.reason.startswith("builtin:no-bundle")
    scenario.events(activated(FIRST, "", by="cem", rollback=True))
    assert ruling(scenario) == "mine@1"


def test_a_retired_draft_never_rules() -> None:
    scenario = in_force(FIRST).events(submitted(STRICT), retired(STRICT, by="eve"))
    assert "is retired" in why(scenario, reviewed(STRICT))
    assert scenario.state.catalogue.entries["mine@2"].content == ""


def test_a_refusal_of_a_broadcast_is_said_in_the_first_partition_alone() -> None:
    scenario = in_force(FIRST)
    said = activated(STRICT)
    (refused,) = scenario.when(said).drafts()
    assert isinstance(refused, Draft)
    assert isinstance(said.payload, BundleActivated)
    assert said.payload.broadcast


def test_the_table_ends_only_where_a_version_may_come_back_from() -> None:
    assert BUNDLE.ends() == []
    leaving_retirement = [t for t in BundleTrigger if BUNDLE.accepts(BundleState.RETIRED, t)]
    assert leaving_retirement == [BundleTrigger.ROLL_BACK]
    assert {BUNDLE.initial, *BUNDLE.table.values()} == set(BundleState)


# -- shadows -----------------------------------------------------------------------------------------------------------


def shadow_of(scenario: Scenario) -> Scenario:
    """The same world as a shadow of the strict bundle sees it."""
    scenario.agent = ShadowPolicy("mine@2")
    return scenario


def test_a_shadow_decides_as_if_the_candidate_ruled_and_only_while_it_is_one() -> None:
    scenario = shadow_of(in_force(FIRST).events(submitted(STRICT), reviewed(STRICT)))
    scenario.when(plan("early")).then_nothing()
    scenario.events(shadowed(STRICT)).when(plan("now")).then(PlanDenied)
    assert scenario.only(PlanDenied).decision.bundle == "mine@2"
    scenario.events(activated(STRICT)).when(plan("late")).then_nothing()


def test_a_shadow_refuses_and_rejects_nothing_aloud() -> None:
    scenario = shadow_of(in_force(FIRST).events(submitted(STRICT), reviewed(STRICT), shadowed(STRICT)))
    scenario.when(plan("same"), plan("same")).then(PlanDenied)
    scenario.when(reviewed(STRICT, by="eve")).then_nothing()
