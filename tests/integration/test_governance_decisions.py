"""Approvals, bundles and budgets on a real Kafka, with the policy agent killed between one word and the next."""

from collections.abc import Iterator
from typing import Any

import pytest
from governed import HOME, KEYS, PARTITIONS, REGISTRY, Log, Mortal, await_, cluster_of, configuration, mortal, signers
from held_plan import STARTED, WHOLE, ask, held, stage_verified
from policy_bundles import PERMIT, approval, bundle, rule
from policy_world import activated, granted, preview, reviewed, shadowed, submitted

from autopilot.agents.policy.budgets import Balance
from autopilot.infra.cli.budgets import balances
from autopilot.infra.governance import broadcast, view_of
from autopilot.schemas.configuration import BudgetUnit, RiskBudget, Signers
from autopilot.schemas.contract import Topic
from autopilot.schemas.events.executor import ExecutionFailed, ExecutionStarted
from autopilot.schemas.events.governance import BundleActivated, GovernanceRefused
from autopilot.schemas.events.planner import PlanWithdrawn, RiskClass
from autopilot.schemas.events.policy import (
    ApprovalRefused,
    ApprovalRequested,
    AuthorizationRevoked,
    PlanAuthorized,
    PlanDenied,
    PreviewRequested,
    StepAuthorized,
)
from autopilot.schemas.events.runtime import DeadLettered
from autopilot.schemas.signing import SigningKey
from autopilot.streams.reader import read, read_raw
from autopilot.streams.shadow import PolicyView
from autopilot.streams.trust import signer_of

pytestmark = pytest.mark.kafka

ASKS = bundle(
    PERMIT,
    approval("ask", 'plan_risk_class == "high"', expires_ms=600_000),
    approval("soon", "!plan_reversible", expires_ms=20_000),
    ask("plan_steps > 1", expires_ms=20_000),
)
STRICT = bundle(rule("none", "deny", "true", message="nothing today"), version="2")
PRINCIPALS = Signers.model_validate_json(signers().content).signers
BUDGETS = [
    RiskBudget(name="actions", limit=50, window_ms=3_600_000),
    RiskBudget(name="points", limit=100, unit=BudgetUnit.COST, window_ms=600_000),
    RiskBudget(name="failures", limit=5, unit=BudgetUnit.FAILURES, window_ms=86_400_000),
]


@pytest.fixture
def log(cluster: dict[str, str]) -> Iterator[Log]:
    it = Log(cluster)
    yield it
    it.close()


@pytest.fixture
def policy(cluster: dict[str, str], log: Log) -> Iterator[Mortal]:
    log.configure(configuration(ASKS, budgets=BUDGETS))
    log.tick()
    log.troubled()
    with mortal("policy", cluster) as process:
        yield process


def test_approvals_survive_kills_and_only_the_right_one_counts(log: Log, policy: Mortal) -> None:
    log.propose("plan", risk=RiskClass.HIGH)
    log.await_(PreviewRequested)
    policy.kill()
    log.previewed("plan")
    (request,) = log.await_(ApprovalRequested)
    asked = request.payload
    policy.kill()
    wrong: dict[str, tuple[Any, str]] = {
        "by the proposer": (granted(asked, "planner"), "proposes or decides plans"),
        "by the policy": (granted(asked, "policy"), "proposes or decides plans"),
        "for another plan": (granted(asked, plan_hash="sha256:0"), "it is for another plan"),
        "on other facts": (granted(asked, facts_digest="sha256:0"), "it is for other facts"),
        "in another's name": (granted(asked, "bob", signed_by="dee"), "it was signed by `dee`, not by `bob`"),
        "outside the group": (granted(asked, "cem"), "is not of the group"),
        "without a signature": (granted(asked).payload, "it bears no signature"),
    }
    for said, _ in wrong.values():
        log.say(said)
    refused = log.await_(ApprovalRefused, len(wrong))
    for (name, (_, reason)), recorded in zip(wrong.items(), refused, strict=True):
        assert reason in recorded.payload.reason, name
    policy.kill()
    good = granted(asked)
    log.say(good)
    log.await_(PlanAuthorized)
    policy.kill()
    log.say(good)
    late = log.await_(ApprovalRefused, len(wrong) + 1)[-1]
    assert late.payload.reason == "the request is closed: the plan is authorized"
    (authorized,) = log.events(PlanAuthorized)
    assert [use.approver for use in authorized.payload.approvals] == ["bob"]
    raw = [r for r in read_raw(log.kafka, Topic.LOG, partitions=[HOME]) if r.headers["event-type"] == b"PlanAuthorized"]
    assert [signer_of(record, "PlanAuthorized", PRINCIPALS) for record in raw] == ["policy"]
    assert view_of(cluster_of(log.kafka), HOME).state.holdings["plan"].state == "authorized"


def test_held_steps_are_asked_for_and_decided_one_by_one_through_kills(log: Log, policy: Mortal) -> None:
    log.say(WHOLE)
    log.await_(PreviewRequested)
    log.say(preview().model_copy(update={"plan_hash": WHOLE.plan_hash}))
    (first,) = log.await_(ApprovalRequested)
    log.say(granted(first.payload))
    (whole,) = log.await_(PlanAuthorized)
    assert whole.payload.held_steps == ["2", "3"]
    policy.kill()
    for said in (STARTED, stage_verified(), held("2")):
        log.say(said)
    second = log.await_(ApprovalRequested, 2)[-1].payload
    assert (second.step_id, second.execution_id, second.outcome_id) == ("2", "exe", "out-1")
    assert "its stage verified with 99 %" in second.summary
    policy.kill()
    log.say(granted(second, "cem"))
    assert "is not of the group" in log.await_(ApprovalRefused)[-1].payload.reason
    log.say(granted(second, "dee"))
    (authorized,) = log.await_(StepAuthorized)
    assert authorized.payload.plan_decision_id == whole.payload.decision.decision_id
    assert [(use.approver, use.step_id) for use in authorized.payload.approvals] == [("dee", "2")]
    policy.kill()
    log.say(held("3"))
    third = log.await_(ApprovalRequested, 3)[-1].payload
    policy.kill()
    log.tick(seconds=20)
    (revoked,) = log.await_(AuthorizationRevoked)
    assert (revoked.payload.step_id, revoked.payload.decision_id) == ("3", whole.payload.decision.decision_id)
    assert revoked.payload.reason == "step `3`: the request expired with 0 of 1 approvals"
    log.say(granted(third))
    assert log.await_(ApprovalRefused, 2)[-1].payload.reason == "the request is closed: the plan is revoked"
    signed = (b"PlanAuthorized", b"StepAuthorized", b"AuthorizationRevoked")
    raw = [one for one in read_raw(log.kafka, Topic.LOG, partitions=[HOME]) if one.headers["event-type"] in signed]
    assert [signer_of(one, one.headers["event-type"].decode(), PRINCIPALS) for one in raw] == ["policy"] * 3


def test_a_stale_approval_is_refused_after_a_kill(log: Log, policy: Mortal) -> None:
    log.propose("plan", risk=RiskClass.HIGH, reversible=False)
    log.await_(PreviewRequested)
    log.previewed("plan")
    (request,) = log.await_(ApprovalRequested)
    policy.kill()
    log.tick(seconds=20)
    (denied,) = log.await_(PlanDenied)
    assert denied.payload.reason == "the request expired with 0 of 1 approvals"
    log.say(granted(request.payload))
    (refused,) = log.await_(ApprovalRefused)
    assert refused.payload.reason == "the request is closed: the plan is denied"


def test_a_bundle_goes_its_way_through_kills_and_rules_from_one_offset_of_each_partition(
    log: Log, policy: Mortal
) -> None:
    cluster = cluster_of(log.kafka)
    words = [submitted(STRICT), reviewed(STRICT), shadowed(STRICT), activated(STRICT)]
    assert not broadcast(cluster, KEYS["eve"], words[0].payload).refused
    alone = reviewed(STRICT, by="eve")
    assert "`eve` wrote it" in broadcast(cluster, KEYS["eve"], alone.payload).refused
    assert "not been reviewed" in broadcast(cluster, KEYS["eve"], words[3].payload).refused
    policy.kill()
    log.configure([doc for doc in configuration(STRICT) if doc.kind == "PolicyBundle"])
    for said in words[1:3]:
        assert said.signed_by is not None
        assert not broadcast(cluster, KEYS[said.signed_by], said.payload).refused
        policy.kill()
    log.propose("before")
    (before,) = log.await_(PlanAuthorized)
    assert before.payload.decision.bundle == "mine@1"
    done = broadcast(cluster, KEYS["eve"], words[3].payload)
    assert not done.refused
    policy.kill()
    log.propose("after")
    (after,) = log.await_(PlanDenied)
    assert (after.payload.decision.bundle, after.payload.reason) == (
        "mine@2", "none: nothing today; builtin:no-permit: no rule of mine@2 permits this",
    )  # fmt: skip
    stands = {r.position.partition: r.position.offset for r in log.events(BundleActivated, partition=None)}
    assert {p: max(stands[p], done.offsets[p]) for p in range(PARTITIONS)} == done.offsets
    back = activated(ASKS, "2", by="cem", rollback=True)
    assert not broadcast(cluster, KEYS["cem"], back.payload).refused
    log.propose("again")
    assert log.await_(PlanAuthorized, 2)[-1].payload.decision.bundle == "mine@1"
    reasons = [r.payload.reason for r in log.await_(GovernanceRefused, 2, partition=0)]
    assert len(reasons) == 2
    assert log.events(GovernanceRefused) == []
    letters = [r.payload for r in _dead_letters(log)]
    assert {letter.error_class for letter in letters} == {"unauthorised"}
    assert all("life cycle" in letter.expected for letter in letters)


def _dead_letters(log: Log) -> list[Any]:
    return list(read(log.kafka, REGISTRY, Topic.DEAD_LETTERS, types=[DeadLettered]))


def test_budgets_after_a_kill_and_after_a_rebuild_are_those_before_to_the_unit(log: Log, policy: Mortal) -> None:
    cluster = cluster_of(log.kafka)
    for number in range(12):
        log.propose(f"plan-{number}", cost=number % 4)
        log.tick()
    authorized = log.await_(PlanAuthorized, 12)
    log.say(PlanWithdrawn(plan_id="plan-3", incident_id="inc", reason="r"))
    for number in (0, 5):
        decision = authorized[number].payload.decision
        names = {"execution_id": f"exe-{number}", "plan_id": decision.plan_id, "incident_id": "inc"}
        log.say(ExecutionStarted(**names, decision_id=decision.decision_id, steps=1))
        log.say(ExecutionFailed(**names, reason="r", needs_person=False))
    log.tick()
    before = settled(log, 12)
    policy.kill()
    assert balances(cluster) == before
    log.propose("after the kill")
    log.await_(PlanAuthorized, 13)
    assert {row.budget: row.spent for row in settled(log, 13)} == {"actions": 12, "points": 19, "failures": 2}
    assert {row.budget: row.spent for row in before} == {"actions": 11, "points": 18, "failures": 2}
    rebuilt = PolicyView(log.kafka, cluster.registry, HOME, PARTITIONS)
    rebuilt.advance()
    await_(lambda: view_of(cluster, HOME).dump() == rebuilt.dump(), "the snapshot's fold is that from the beginning")


def settled(log: Log, authorized: int) -> list[Balance]:
    """The balances once everything that was proposed has been decided."""
    log.await_(PlanAuthorized, authorized)
    return balances(cluster_of(log.kafka))


def test_after_a_rotation_old_signatures_hold_where_they_stand_and_the_old_key_signs_nothing_more(
    log: Log, policy: Mortal
) -> None:
    log.propose("plan", risk=RiskClass.HIGH)
    log.await_(PreviewRequested)
    log.previewed("plan")
    (request,) = log.await_(ApprovalRequested)
    fresh = SigningKey.from_bytes("bob", b"n" * 32)
    log.configure([signers({**KEYS, "bob": fresh})])
    policy.kill()
    log.say(granted(request.payload), key=KEYS["bob"])
    (refused,) = log.await_(ApprovalRefused)
    assert refused.payload.reason == "it bears no signature of a principal in force"
    log.say(granted(request.payload), key=fresh)
    log.await_(PlanAuthorized)
    rebuilt = PolicyView(log.kafka, cluster_of(log.kafka).registry, HOME, PARTITIONS)
    rebuilt.advance()
    assert rebuilt.state.holdings["plan"].state == "authorized"
    activation = next(
        r
        for r in read_raw(log.kafka, Topic.LOG, partitions=[HOME])
        if r.headers["event-type"] == b"ConfigurationActivated"
    )
    assert signer_of(activation, "ConfigurationActivated", rebuilt.state.configuration.signers()) is None
