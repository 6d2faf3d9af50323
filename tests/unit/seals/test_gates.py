"""Past a gate only with a verdict: the audit reads it from the log."""

from outcomes import outcome
from sagas import POLICY, authorization, gate, ok, plan, request, started, step
from seals.test_evidence import BEGUN, judged, log

from autopilot.schemas.contract import Payload
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeVerified
from autopilot.streams.audit.findings import Kind

STAGED = plan(step(1, gate=gate()), step(2))
FIRST: tuple[Payload, ...] = (BEGUN, request(STAGED), started(), ok())
SECOND: tuple[Payload, ...] = (request(STAGED, "s2"), started("s2"), ok("s2"))
AUTHORISED = (authorization(STAGED), POLICY)


def test_a_step_past_a_gate_needs_a_verified_stage_before_it() -> None:
    verified = OutcomeVerified(outcome=outcome("stage", "s1"))
    assert judged(log(STAGED, AUTHORISED, *FIRST, verified, *SECOND)) == []
    found = judged(log(STAGED, AUTHORISED, *FIRST, *SECOND, verified))
    assert [kind for kind, _ in found] == [Kind.NOT_VERIFIED, Kind.NOT_VERIFIED]


def test_a_verdict_of_another_kind_or_on_another_stage_opens_no_gate() -> None:
    for other in (
        OutcomeInconclusive(outcome=outcome("stage", "s1")),
        OutcomeVerified(outcome=outcome("stage", "s2")),
        OutcomeVerified(outcome=outcome()),
    ):
        found = judged(log(STAGED, AUTHORISED, *FIRST, other, request(STAGED, "s2")))
        assert found == [(Kind.NOT_VERIFIED, 8)]


def test_undoing_passes_no_gate() -> None:
    undo = request(STAGED, "s1", "compensation")
    assert judged(log(STAGED, AUTHORISED, *FIRST, undo, started("s1", "compensation"))) == []
