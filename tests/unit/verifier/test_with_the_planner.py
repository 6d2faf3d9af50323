"""Planner and verifier in the in-process runner: from a signal to its verified end, through codec and signatures."""

from collections.abc import Iterator

from planner import shop
from scenario import START_US, Said

from autopilot.agents.planner import Planner
from autopilot.agents.verifier import Verifier
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft, Recorded
from autopilot.schemas.events.executor import ExecutionCompleted, ExecutionRolledBack, ExecutionStarted
from autopilot.schemas.events.observer import MeasurementTaken, Samples
from autopilot.schemas.events.planner import IncidentClosed, PlanProposed
from autopilot.schemas.events.policy import PlanAuthorized
from autopilot.schemas.events.telemetry import MeasurementRequested
from autopilot.schemas.events.verifier import OutcomeRejected, OutcomeVerified
from autopilot.streams.in_process import InProcess


def executor(recorded: Recorded[Payload]) -> Iterator[Draft]:
    """A stand-in that carries out at once whatever is authorised, and undoes whatever is rejected."""
    payload, envelope = recorded.payload, recorded.envelope
    said: list[Payload] = []
    if isinstance(payload, PlanAuthorized):
        decision = payload.decision
        names = {"execution_id": "exe", "plan_id": decision.plan_id, "incident_id": decision.incident_id}
        said = [ExecutionStarted(**names, decision_id="dec", steps=1), ExecutionCompleted(**names)]
    if isinstance(payload, OutcomeRejected):
        outcome = payload.outcome
        names = {"execution_id": "exe", "plan_id": outcome.plan_id, "incident_id": outcome.incident_id}
        said = [ExecutionRolledBack(**names, reason=outcome.reason)]
    for one in said:
        yield Draft(one, envelope.domain, envelope.service, envelope.correlation_id)


class Shop:
    def __init__(self, *, began_s: float = 0) -> None:
        self.runner = InProcess([Planner(), Verifier()], start_us=START_US, responders=[executor])
        self.runner.configure(shop.documents(), shop.ADA)
        self.runner.advance(seconds=1)
        self.tell(shop.observed("cart"), shop.raised("cart", at=began_s))
        self.answered = 0

    def tell(self, *told: Said) -> None:
        for one in told:
            self.runner.pipe(one.payload, domain=one.domain or "shop", service=one.service or "")

    def authorise(self) -> None:
        plan = self.runner.read(Topic.LOG, PlanProposed)[-1].payload
        self.runner.pipe(shop.authorized(plan).payload, domain="shop", service="cart", key=shop.POLICY)

    def measure(self, before: float, after: float) -> None:
        """Answers each measurement that was asked for since the last time."""
        asked = self.runner.read(Topic.TELEMETRY, MeasurementRequested)[self.answered :]
        self.answered += len(asked)
        for one in asked:
            bad = before if one.payload.purpose == "before" else after
            self.runner.pipe(answer(one.payload, bad), domain=one.envelope.domain, service=one.envelope.service)


def answer(request: MeasurementRequested, bad: float) -> MeasurementTaken:
    starts = list(range(request.from_us, request.until_us, request.bucket_ms * 1000))
    values, weights = [bad] * len(starts), [20.0] * len(starts)
    column = Samples(name="slo:cart-errors", unit="1", bucket_starts_us=starts, values=values, weights=weights)
    return MeasurementTaken(
        measurement_id=request.measurement_id,
        purpose=request.purpose,
        from_us=request.from_us,
        until_us=request.until_us,
        bucket_ms=request.bucket_ms,
        samples=[column],
        quality=shop.GOOD,
        evidence=[],
    )


def test_an_incident_is_remedied_and_verified() -> None:
    fleet = Shop()
    fleet.authorise()
    fleet.measure(before=0.3, after=0.0)
    (verdict,) = fleet.runner.read(Topic.LOG, OutcomeVerified)
    (plan,) = fleet.runner.read(Topic.LOG, PlanProposed)
    assert verdict.envelope.correlation_id == plan.envelope.correlation_id == plan.payload.incident_id
    assert verdict.payload.outcome.context == plan.payload.basis.context == "cart/errors"
    fleet.tell(shop.cleared("cart"))
    (closed,) = fleet.runner.read(Topic.LOG, IncidentClosed)
    assert closed.payload.resolution == "remediated"


def test_what_was_before_the_trouble_began_is_not_compared_with() -> None:
    fleet = Shop(began_s=-45)
    fleet.authorise()
    fleet.measure(before=0.3, after=0.0)
    (plan,) = fleet.runner.read(Topic.LOG, PlanProposed)
    (verdict,) = fleet.runner.read(Topic.LOG, OutcomeVerified)
    since_us, check = plan.payload.verification.trouble_since_us, verdict.payload.outcome.checks[0]
    assert since_us == START_US - 45_000_000
    assert (check.before_from_us - since_us) // 10_000_000 == 0
    assert check.before_samples == 4


def test_a_rejected_remedy_is_followed_by_the_next_one_and_counted() -> None:
    fleet = Shop()
    fleet.authorise()
    fleet.measure(before=0.3, after=0.3)
    assert len(fleet.runner.read(Topic.LOG, OutcomeRejected)) == 1
    fleet.measure(before=0.3, after=0.3)
    (restored,) = fleet.runner.read(Topic.LOG, OutcomeVerified)
    assert restored.payload.outcome.phase == "rollback"
    first, second = (one.payload for one in fleet.runner.read(Topic.LOG, PlanProposed))
    assert (first.remedy, second.remedy) == ("switch-release", "restart")
    fleet.tell(shop.cleared("cart"), shop.raised("cart", signal_id="again"))
    third = fleet.runner.read(Topic.LOG, PlanProposed)[-1].payload
    considered = {one.remedy: one.why_not for one in third.alternatives}
    assert considered["switch-release"].startswith("used on `cart` before, cooling down until")


def test_the_same_story_leaves_the_same_bytes_and_states() -> None:
    stories = []
    for _ in range(2):
        fleet = Shop()
        fleet.authorise()
        fleet.measure(before=0.3, after=0.0)
        fleet.tell(shop.cleared("cart"))
        fleet.runner.advance(seconds=5)
        stories.append((fleet.runner.topics, fleet.runner.states()))
    assert stories[0] == stories[1]


def test_an_authorisation_signed_by_another_key_starts_nothing_in_the_planner() -> None:
    fleet = Shop()
    plan = fleet.runner.read(Topic.LOG, PlanProposed)[-1].payload
    fleet.runner.pipe(shop.authorized(plan).payload, domain="shop", service="cart", key=shop.ADA)
    fleet.tell(shop.cleared("cart"))
    (closed,) = fleet.runner.read(Topic.LOG, IncidentClosed)
    assert closed.payload.resolution == "recovered"
