"""The gate: whose word counts of what is on the log."""

import pytest
from gate_world import HELD, REVOKED, ROLLBACK, TWO, at_a_held_step, authorised, halt, why_not
from sagas import ADA, BOB, authorization, ok, plan, request, signed, signers, started, step, step_signed
from scenario import START_US, Said, given

from autopilot.infra.effector.gate import Gate
from autopilot.schemas.configuration import Signers, document
from autopilot.schemas.events.people import ConfigurationActivated, Halt, Resume
from autopilot.schemas.events.runtime import Tick


def test_nothing_is_let_through_without_a_decision_that_the_policy_signed() -> None:
    no_decision = "no decision of this id was signed by the policy"
    assert why_not(given(Gate(), [signers()], TWO)) == no_decision
    for signer in (None, "ada", "nobody"):
        scenario = given(Gate(), [signers()], TWO).when(Said(authorization(TWO), signed_by=signer))
        assert why_not(scenario.then_rejected("signature")) == no_decision


def test_a_decision_loses_its_force_with_its_signers_role() -> None:
    nobody = document(Signers(name="s", signers=[]).model_dump(mode="json"))
    scenario = authorised().events(ConfigurationActivated(revision="r", documents=[nobody], author="ada", comment=""))
    assert "no longer has the role" in (why_not(scenario) or "")


def test_a_plan_is_not_replaced_by_another_of_its_name() -> None:
    scenario = authorised().when(plan(step(3)))
    assert why_not(scenario.then_rejected("plan_id")) is None


def test_the_first_authorisation_of_a_step_counts_and_goes_with_its_signers_role() -> None:
    scenario = at_a_held_step().events(step_signed(HELD, seconds=100))
    scenario.when(step_signed(HELD, seconds=600)).then_rejected("step_id")
    assert "time" in (why_not(scenario, request(HELD, "s2"), seconds=101) or "")
    nobody = document(Signers(name="s", signers=[]).model_dump(mode="json"))
    scenario.events(ConfigurationActivated(revision="r", documents=[nobody], author="ada", comment=""))
    assert "no longer has the role" in (why_not(scenario, request(HELD, "s2")) or "")


def test_a_halt_holds_for_the_domain_that_was_signed_whatever_the_plan_is_said_to_belong_to() -> None:
    moved = authorised().events(Said(TWO, domain="elsewhere"))
    assert why_not(moved.events(halt("elsewhere"))) is None
    assert why_not(moved.events(halt())) == "the domain is halted"
    early = given(Gate(), [signers()], Tick(at_us=START_US), Said(TWO, domain="elsewhere"), signed(TWO), halt())
    assert why_not(early) == "the domain is halted"


def test_only_signed_revocations_and_halts_by_those_who_may_count() -> None:
    for said in (
        REVOKED.payload,
        Said(REVOKED.payload, signed_by="ada"),
        Halt(scope="*", ordered_by="bob", reason="r"),
        halt(by="policy"),
        Said(Halt(scope="*", ordered_by="ada", reason="r"), signed_by="bob"),
    ):
        assert why_not(authorised().events(said)) is None


def test_a_halt_elsewhere_does_not_matter_and_another_person_resumes() -> None:
    def resume(by: str) -> Said:
        return Said(Resume(scope="shop", ordered_by=by, reason="r"), signed_by=by)

    assert why_not(authorised().events(halt("other"))) is None
    assert why_not(authorised().events(halt(), resume("bob"))) == "the domain is halted"
    assert why_not(authorised().events(halt(), resume("ada"))) is None


@pytest.mark.parametrize(
    ("pinned", "refused"),
    [
        (frozenset({ADA.public_key}), False),
        (frozenset({ADA.public_key, "x"}), False),
        (frozenset({BOB.public_key}), True),
    ],
)
def test_with_pinned_administrators_another_one_is_refused(pinned: set[str], refused: bool) -> None:
    scenario = given(Gate(frozenset(pinned)), [signers()], TWO, signed(TWO))
    assert (why_not(scenario) is not None) is refused


def test_under_an_administrator_who_is_not_pinned_nothing_is_undone_either_and_the_reason_says_what_to_do() -> None:
    begun = [request(TWO), started(), ok(), ROLLBACK]
    undo = request(TWO, phase="compensation")
    for pinned, told in (
        (ADA, None),
        (BOB, f"`{ADA.public_key}`, is not a pinned one: nothing is done, and nothing un"),
    ):
        scenario = given(Gate(frozenset({pinned.public_key})), [signers()], TWO, signed(TWO), *begun)
        why = why_not(scenario, undo)
        assert (why is None) if told is None else (told in (why or ""))
