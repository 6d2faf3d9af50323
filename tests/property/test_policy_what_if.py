"""The sequential backtest against an oracle that keeps its own books, and the law that nothing changes nothing."""

from collections import defaultdict
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st
from loop import ADMINISTRATOR, EXECUTOR, PLANNER, POLICY, START_US, Loop, bundle, fleet_documents, signers
from policy_bundles import PERMIT, rule
from policy_bundles import bundle as bundle_of
from policy_world import plan

from autopilot.agents.policy import PolicyAgent
from autopilot.policies.bundle import PolicyBundle
from autopilot.policies.engine import policy_set
from autopilot.schemas.configuration import document
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events.executor import ExecutionFailed, ExecutionStarted
from autopilot.schemas.events.planner import PlanProposed
from autopilot.schemas.events.policy import PlanAuthorized, PlanDenied
from autopilot.schemas.events.runtime import Tick
from autopilot.streams.in_process import InProcess
from autopilot.streams.what_if import what_if

HOUR_US: Final = 3_600_000_000
SERVICES: Final = ("svc-000", "svc-001")
STEPS: Final = st.lists(
    st.one_of(
        st.tuples(st.just("propose"), st.integers(0, 1), st.integers(1, 3)),
        st.tuples(st.just("start"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("fail"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("wait"), st.sampled_from((60, 1_900, 3_700, 50_000)), st.just(0)),
    ),
    min_size=5,
    max_size=25,
)


def limited(budget: int, attempts: int, failures: int) -> PolicyBundle:
    return bundle_of(
        PERMIT,
        rule("budget", "deny", f"budget_actions_last_hour >= {budget}"),
        rule("attempts", "deny", f"history_attempts >= {attempts}"),
        rule("failures", "deny", f"history_failures >= {failures}"),
        name="loop",
    )


def recorded_log(steps: list[tuple[str, int, int]], ruling: PolicyBundle, run: str = "live") -> InProcess:
    """A log as the policy would make it of those steps; only what it authorised is started."""
    runner = InProcess([PolicyAgent()], start_us=START_US, keys=[POLICY], run=run)
    in_force = document(ruling.model_dump(mode="json"))
    runner.configure([*fleet_documents(list(SERVICES), 1), signers(), in_force], ADMINISTRATOR)
    runner.advance(seconds=1)
    attempts: dict[str, int] = {}
    for number, (what, which, incident) in enumerate(steps):
        if what == "wait":
            runner.tick(runner.now_us + which * 1_000_000)
            runner.settle()
        elif what == "propose":
            name = f"inc-{which}-{incident}"
            attempts[name] = attempts.get(name, 0) + 1
            proposed = plan(f"plan-{number}", incident_id=name, attempt=attempts[name], remedy="roll-back")
            at = {"domain": "domain-0", "service": SERVICES[which], "correlation_id": name}
            runner.pipe(proposed, producer="planner", key=PLANNER, **at)
        else:
            _executed(runner, what, which)
    return runner


def _executed(runner: InProcess, what: str, which: int) -> None:
    authorised = runner.read(Topic.LOG, PlanAuthorized)
    if not authorised:
        return
    chosen = authorised[which % len(authorised)]
    plan_id, incident_id = chosen.payload.decision.plan_id, chosen.payload.decision.incident_id
    started = {r.payload.plan_id for r in runner.read(Topic.LOG, ExecutionStarted)}
    common: dict[str, Any] = {"execution_id": f"exe-{plan_id}", "plan_id": plan_id, "incident_id": incident_id}
    event: ExecutionStarted | ExecutionFailed | None = None
    if what == "start" and plan_id not in started:
        event = ExecutionStarted(**common, decision_id=chosen.payload.decision.decision_id, steps=1)
    if what == "fail" and plan_id in started:
        event = ExecutionFailed(**common, reason="r", needs_person=False)
    if event is not None:
        runner.pipe(event, domain="domain-0", service=chosen.envelope.service, producer="executor", key=EXECUTOR)


class Books:
    """The oracle: what a clerk with three lists and a clock would decide."""

    def __init__(self, budget: int, attempts: int, failures: int) -> None:
        self.limits = (budget, attempts, failures)
        self.now = 0
        self.spent: list[int] = []
        self.began: dict[str, list[int]] = defaultdict(list)
        self.failed: dict[str, dict[str, int]] = defaultdict(dict)
        self.then: dict[str, str] = {}
        self.here: dict[str, str] = {}
        self.incident_of: dict[str, tuple[str, int]] = {}
        self.split: dict[str, int] = {}

    def read(self, events: list[Recorded[Any]]) -> dict[str, tuple[str, str]]:
        """Plans that fare otherwise: how then, how now."""
        for event in events:
            payload, service = event.payload, event.envelope.service
            if isinstance(payload, Tick):
                self.now = payload.at_us
            elif isinstance(payload, PlanProposed):
                self.propose(payload, service)
            elif isinstance(payload, PlanAuthorized | PlanDenied):
                self.settle(payload.decision.plan_id, isinstance(payload, PlanAuthorized))
            elif isinstance(payload, ExecutionStarted) and self.here[payload.plan_id] == "authorised":
                self.began[service].append(self.now)
            elif isinstance(payload, ExecutionFailed) and self.here[payload.plan_id] == "authorised":
                self.failed[service].setdefault(payload.execution_id, self.now)
        return {p: (self.then[p], self.here[p]) for p in self.here if self.then[p] != self.here[p]}

    def propose(self, proposed: PlanProposed, service: str) -> None:
        incident, attempt = proposed.incident_id, proposed.attempt
        self.incident_of[proposed.plan_id] = (incident, attempt)
        if incident in self.split and attempt > self.split[incident]:
            self.here[proposed.plan_id] = "not proposed"
            return
        budget, attempts, failures = self.limits
        day = self.now - 24 * HOUR_US
        within = (
            sum(at > self.now - HOUR_US for at in self.spent) < budget
            and sum(at > day for at in self.began[service]) < attempts
            and sum(at > day for at in self.failed[service].values()) < failures
        )
        self.here[proposed.plan_id] = "authorised" if within else "denied"
        if within:
            self.spent.append(self.now)

    def settle(self, plan_id: str, authorised: bool) -> None:
        self.then[plan_id] = "authorised" if authorised else "denied"
        incident, attempt = self.incident_of[plan_id]
        if self.here[plan_id] not in ("not proposed", self.then[plan_id]):
            self.split[incident] = min(attempt, self.split.get(incident, attempt))


@settings(max_examples=40, deadline=None)
@given(steps=STEPS, then=st.tuples(*[st.integers(1, 4)] * 3), now=st.tuples(*[st.integers(1, 4)] * 3))
def test_plans_fare_as_an_oracle_with_its_own_books_says(
    steps: list[tuple[str, int, int]], then: tuple[int, int, int], now: tuple[int, int, int]
) -> None:
    runner = recorded_log(steps, limited(*then))
    found = what_if(policy_set([limited(*now).source]), runner.codec, [runner.topics[str(Topic.LOG)]])
    expected = Books(*now).read(runner.read(Topic.LOG))
    assert {flip.plan_id: (flip.before, flip.after) for flip in found.flips} == expected
    if then == now:
        assert found.flips == ()


def test_the_bundle_that_ruled_changes_nothing_in_a_whole_loop_and_a_stricter_one_leaves_the_rest_out() -> None:
    loop = Loop()
    for seconds in (5, 25, 25):
        loop.run(seconds)
        loop.break_("svc-000")
    loop.run(20)
    log = [loop.runner.topics[str(Topic.LOG)][0]]
    plans = loop.runner.read(Topic.LOG, PlanAuthorized)
    assert len(plans) >= 2
    same = what_if(policy_set([bundle().content]), loop.runner.codec, [log])
    assert (same.flips, same.decisions) == ((), len(plans))
    strict = bundle_of(PERMIT, rule("once", "deny", "history_attempts >= 1"), name="loop")
    stricter = what_if(policy_set([strict.source]), loop.runner.codec, [log])
    assert [(flip.before, flip.after) for flip in stricter.flips] == [("authorised", "denied")] * (len(plans) - 1)
    assert all("events that followed are left out" in flip.note for flip in stricter.flips)


def test_the_log_of_a_simulation_is_read_under_its_own_run() -> None:
    runner = recorded_log([("propose", 0, 1)], limited(1, 1, 1), "simulation:july")
    log = [runner.topics[str(Topic.LOG)]]
    denying = bundle_of(PERMIT, rule("all", "deny", "plan_cost >= 0"), name="loop")
    found = what_if(policy_set([denying.source]), runner.codec, log, "simulation:july")
    assert [(flip.before, flip.after, flip.rules) for flip in found.flips] == [("authorised", "denied", ("all",))]
    assert what_if(policy_set([denying.source]), runner.codec, log).decisions == 0


def test_what_a_forger_says_of_a_plan_is_not_how_it_fared() -> None:
    runner = recorded_log([("propose", 0, 1)], limited(1, 1, 1))
    ((authorised, *_),) = (runner.read(Topic.LOG, PlanAuthorized),)
    at = {"domain": "domain-0", "service": SERVICES[0], "correlation_id": "inc-0-1"}
    forged = plan("plan-forged", incident_id="inc-0-1", attempt=2, remedy="roll-back")
    denied = PlanDenied(decision=authorised.payload.decision, reason="r")
    again = authorised.payload.model_copy(update={"held_steps": ["1"]})
    for key in (None, EXECUTOR):
        runner.pipe(forged, producer="planner", key=key, **at)
        runner.pipe(denied, producer="policy", key=key, **at)
        runner.pipe(again, producer="policy", key=key, **at)
    found = what_if(policy_set([limited(1, 1, 1).source]), runner.codec, [runner.topics[str(Topic.LOG)]])
    assert (found.decisions, found.flips) == (1, ())
