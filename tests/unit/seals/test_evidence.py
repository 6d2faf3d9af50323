"""The chain of evidence: steps need decisions, decisions need signatures, executions need verdicts, events causes."""

import pytest
from outcomes import outcome
from sagas import ADA, BOB, EXECUTION, POLICY, SECOND_US, authorization, ok, plan, request, signers, started
from scenario import START_US

from autopilot.projections.compliance import report_of
from autopilot.projections.compliance_page import as_html, as_markdown
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Draft, Event, Position, Recorded
from autopilot.schemas.events.executor import ExecutionCompleted, ExecutionStarted
from autopilot.schemas.events.people import ConfigurationActivated, Halt
from autopilot.schemas.events.policy import AuthorizationRevoked
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.events.verifier import OutcomeVerified
from autopilot.schemas.registry import BundledRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams.audit.evidence import GRACE_MS, Evidence
from autopilot.streams.audit.findings import Finding, Kind
from autopilot.streams.audit.links import Links
from autopilot.streams.mint import Mint
from autopilot.streams.record import Record
from autopilot.streams.seals import Partition

REGISTRY = BundledRegistry()
CODEC = Codec(REGISTRY)
LOG = Partition("autopilot.log", 0)
PLAN = plan()
MALLORY = SigningKey.generate("policy")
BEGUN = ExecutionStarted(execution_id=EXECUTION, plan_id="plan-1", incident_id="inc-1", decision_id="dec-1", steps=2)
DONE = ExecutionCompleted(execution_id=EXECUTION, plan_id="plan-1", incident_id="inc-1")
CONFIGURATION = ConfigurationActivated(revision="r", documents=[signers()], author="ada", comment="first")
REVOKED = AuthorizationRevoked(decision_id="dec-1", plan_id="plan-1", incident_id="inc-1", reason="evidence moved")
AUTHORISED = (authorization(PLAN), POLICY)
Saying = Payload | tuple[Payload, SigningKey]


def log(*sayings: Saying, at_us: int = START_US) -> list[Record]:
    """One partition of the log, each event caused by the one before it; the configuration is the first."""
    records: list[Record] = []
    for offset, saying in enumerate([(CONFIGURATION, ADA), *sayings]):
        payload, key = saying if isinstance(saying, tuple) else (saying, None)
        mint = Mint(CODEC, "test", 1, key=key, signs=frozenset({payload.event_type()}))
        envelope = mint.outside_event(Draft(payload, "shop"), at_us + offset).envelope
        if records:
            cause = records[-1]
            envelope = envelope.model_copy(
                update={
                    "causation_id": CODEC.decode(cause.value).envelope.event_id,
                    "cause_topic": LOG.topic,
                    "cause_partition": 0,
                    "cause_offset": offset - 1,
                }
            )
        out = mint.record(Event(envelope, payload), 0)
        records.append(Record(Position(*LOG, offset), 1_000 + offset, out.key, out.value, out.headers))
    return records


def judged(records: list[Record]) -> list[tuple[Kind, int]]:
    evidence = Evidence(REGISTRY)
    evidence.feed(records)
    return [(finding.kind, finding.position.offset) for finding in evidence.finish()]


def linked(records: list[Record]) -> list[Finding]:
    links = Links(REGISTRY)
    links.cover(LOG, 0, 100)
    for record in records:
        links.add(record)
    return links.findings()


WHOLE: tuple[Saying, ...] = (
    PLAN, AUTHORISED, BEGUN, request(PLAN), started(), ok(), DONE, OutcomeVerified(outcome=outcome()),
)  # fmt: skip


def test_a_whole_chain_has_no_finding() -> None:
    assert judged(log(*WHOLE)) == []
    assert linked(log(*WHOLE)) == []


@pytest.mark.parametrize(
    ("sayings", "expected"),
    [
        pytest.param((PLAN, started()), [(Kind.NO_DECISION, 2)], id="no decision at all"),
        pytest.param((PLAN, started(), AUTHORISED), [(Kind.NO_DECISION, 2)], id="a decision that comes later"),
        pytest.param((AUTHORISED,), [(Kind.NO_DECISION, 1)], id="a decision about no plan"),
        pytest.param(
            (PLAN, (authorization(PLAN), MALLORY), started()),
            [(Kind.SIGNATURE, 2), (Kind.NOT_AUTHORISED, 3)],
            id="signed by an unknown key",
        ),
        pytest.param(
            (PLAN, (authorization(PLAN), BOB), started()), [(Kind.NOT_AUTHORISED, 3)], id="signed by another role"
        ),
        pytest.param(
            (PLAN, authorization(PLAN), started()), [(Kind.SIGNATURE, 2), (Kind.NOT_AUTHORISED, 3)], id="not signed"
        ),
        pytest.param(
            (PLAN, AUTHORISED, (REVOKED, POLICY), Tick(at_us=START_US), started()),
            [(Kind.NOT_AUTHORISED, 5)],
            id="revoked before",
        ),
        pytest.param(
            (PLAN, AUTHORISED, REVOKED, Tick(at_us=START_US), started()),
            [(Kind.SIGNATURE, 3)],
            id="a revocation without signature is refused and does not count",
        ),
        pytest.param(
            (PLAN, AUTHORISED, (REVOKED, MALLORY), Tick(at_us=START_US), started()),
            [(Kind.SIGNATURE, 3)],
            id="a revocation by an unknown key does not count",
        ),
        pytest.param(
            (PLAN, AUTHORISED, (REVOKED, BOB), Tick(at_us=START_US), started()),
            [(Kind.SIGNATURE, 3)],
            id="a revocation by another role does not count",
        ),
        pytest.param(
            (PLAN, AUTHORISED, authorization(PLAN), started()),
            [(Kind.SIGNATURE, 3)],
            id="an unsigned authorisation takes nothing from a signed one",
        ),
        pytest.param((PLAN, AUTHORISED, ok()), [(Kind.NOT_STARTED, 3)], id="a result without a beginning"),
        pytest.param(
            (PLAN, AUTHORISED, ok().model_copy(update={"changed": False})), [], id="what changed nothing begins nothing"
        ),
        pytest.param((PLAN, AUTHORISED, DONE), [(Kind.NO_DECISION, 3)], id="an end without a beginning"),
        pytest.param((PLAN, AUTHORISED, BEGUN, DONE), [(Kind.PENDING, 4)], id="a verdict that is still due"),
        pytest.param(
            (PLAN, AUTHORISED, BEGUN, DONE, Tick(at_us=START_US + (GRACE_MS + 1_000) * 1_000)),
            [(Kind.NOT_VERIFIED, 4)],
            id="a verdict that never came",
        ),
        pytest.param(
            (Halt(scope="*", ordered_by="bob", reason="drill"),), [(Kind.SIGNATURE, 1)], id="a halt without signature"
        ),
        pytest.param(((CONFIGURATION, BOB),), [(Kind.SIGNATURE, 1)], id="configuration by who may not"),
    ],
)
def test_a_broken_chain_is_located(sayings: tuple[Saying, ...], expected: list[tuple[Kind, int]]) -> None:
    assert judged(log(*sayings)) == expected


def test_a_step_after_the_decision_has_ended_is_not_authorised_but_undoing_it_is() -> None:
    late = log(PLAN, AUTHORISED, started(), started(phase="compensation"), at_us=START_US + 700 * SECOND_US)
    assert judged(late) == [(Kind.NOT_AUTHORISED, 3)]


def test_an_event_whose_cause_does_not_stand_there_is_an_orphan() -> None:
    records = log(*WHOLE)
    (orphan,) = linked([*records[:3], *records[4:]])
    assert (orphan.kind, orphan.position.offset) == (Kind.ORPHAN, 4)


def test_the_same_event_twice_is_a_duplicate_and_a_broken_one_undecodable() -> None:
    records = log(*WHOLE)
    again = records[-1]._replace(position=Position(*LOG, 50))
    broken = records[-1]._replace(position=Position(*LOG, 51), value=b"\0\0\0\0\1\xff")
    assert [(f.kind, f.position.offset) for f in linked([*records, again, broken])] == [
        (Kind.DUPLICATE, 50),
        (Kind.UNDECODABLE, 51),
    ]


def test_the_compliance_report_cites_every_decision_and_escapes_what_people_wrote() -> None:
    halt = Halt(scope="*", ordered_by="bob", reason="a | drill <b>now</b>")
    events = [
        Recorded(record.position, CODEC.decode(record.value), None, record.timestamp_ms)
        for record in log(*WHOLE, (REVOKED, POLICY), (halt, BOB))
    ]
    report = report_of([*events, *(Recorded(Position(LOG.topic, 1, 9), events[-1].event, None, 1_010),)])
    (version,) = report.policies
    assert (version.bundle, version.authorised, version.denied) == ("b@1", 1, 0)
    assert version.positions == ["autopilot.log[0]@2"]
    assert [entry.positions for entry in report.sections["halts"]] == [["autopilot.log[0]@10", "autopilot.log[1]@9"]]
    assert [entry.what for entry in report.sections["overrides"]] == ["authorisation revoked"]
    assert "a \\| drill &lt;b&gt;now&lt;/b&gt;" in as_markdown(report)
    assert "<b>now</b>" not in as_html(report)
    assert "autopilot.log[0]@2" in as_html(report)
    assert '"bundle": "b@1"' in report.as_json()
    assert report_of(events, from_ms=2_000).events == 0
