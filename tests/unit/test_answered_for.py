"""A verdict counts with the verifier's signature alone, wherever it is read, once the signer list has a verifier."""

from functools import cache

from loop import POLICY, VERIFIER, Loop, signers

from autopilot.agents.planner import Planner
from autopilot.infra.signers import ROLES_OF_NEW, rotated
from autopilot.projections.admission import Admission
from autopilot.schemas.codec import Codec
from autopilot.schemas.configuration import Configuration, Principal, Role
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Rejection
from autopilot.schemas.events import EVENT_TYPES, effector, executor, planner, policy, verifier
from autopilot.schemas.events.runtime import DeadLettered
from autopilot.schemas.events.verifier import OutcomeVerified
from autopilot.schemas.registry import BundledRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams.audit.evidence import Evidence
from autopilot.streams.audit.findings import Kind
from autopilot.streams.fold import PartitionFold
from autopilot.streams.mint import Mint
from autopilot.streams.record import EVENT_TYPE, SIGNATURE, Record
from autopilot.streams.trust import ANSWERED_FOR, SIGNS, check_signature

VERDICT = OutcomeVerified.event_type()
CODEC = Codec(BundledRegistry())
SIGNERS = [
    Principal(name="policy", public_key=POLICY.public_key, roles=[Role.POLICY]),
    Principal(name="verifier", public_key=VERIFIER.public_key, roles=[Role.VERIFIER]),
]


@cache
def course() -> tuple[Record, ...]:
    """The log of an incident that was mended and verified."""
    loop = Loop(services=1)
    loop.run(10)
    loop.break_(loop.names[0])
    loop.run(60)
    return tuple(loop.runner.topics[str(Topic.LOG)][0])


def is_verdict(record: Record) -> bool:
    return record.headers[EVENT_TYPE].decode() == VERDICT


def signed(record: Record, key: SigningKey | None) -> Record:
    """The record under another signature, or none."""
    headers = {name: value for name, value in record.headers.items() if name != SIGNATURE}
    if key is not None:
        headers[SIGNATURE] = key.sign(VERDICT, record.key, record.value)
    return record._replace(headers=headers)


def forged() -> list[Record]:
    """The same log, whose verdicts nobody has signed."""
    return [signed(record, None) if is_verdict(record) else record for record in course()]


def test_the_verifier_signs_its_verdicts_and_nobody_elses_signature_will_do() -> None:
    (verdict,) = filter(is_verdict, course())
    assert check_signature(verdict, VERDICT, SIGNERS) == "verifier"
    for key, given in ((None, "nobody known"), (POLICY, "policy"), (SigningKey.generate("verifier"), "nobody known")):
        refused = check_signature(signed(verdict, key), VERDICT, SIGNERS)
        assert isinstance(refused, Rejection)
        assert refused.value == f"of `{given}`"


def test_without_a_verifier_in_the_signer_list_no_signature_is_asked_for() -> None:
    (verdict,) = filter(is_verdict, course())
    assert check_signature(signed(verdict, None), VERDICT, SIGNERS[:1]) is None


def test_while_a_process_gets_a_new_key_both_count_and_then_the_new_one_alone() -> None:
    (verdict,) = filter(is_verdict, course())
    old, new = signed(verdict, VERIFIER), signed(verdict, fresh := SigningKey.generate("verifier"))
    in_force = Configuration().with_activated([signers()])
    for keep_old in (True, False):
        changed = rotated(in_force, "verifier", fresh.public_key, keep_old=keep_old)
        listed = Configuration().with_activated(changed).signers()
        assert check_signature(new, VERDICT, listed) == "verifier"
        assert (check_signature(old, VERDICT, listed) == "verifier") is keep_old


def test_every_word_of_these_is_answered_for_and_every_process_signs_with_its_role() -> None:
    families = {"planner": planner, "executor": executor, "effector": effector, "verifier": verifier}
    for name, family in families.items():
        said = {kind for kind, model in EVENT_TYPES.items() if model.__module__ == family.__name__}
        assert said == SIGNS[name]
        assert {ANSWERED_FOR[kind] for kind in said} == {Role(name)}
        assert ROLES_OF_NEW[name] == [Role(name)]


def test_all_that_the_policy_says_about_plans_is_signed_and_a_request_that_it_has_not_signed_is_refused() -> None:
    said = {kind for kind, model in EVENT_TYPES.items() if model.__module__ == policy.__name__}
    governing = {"RemedyAutonomyLowered", "RemedyPromotionProposed", "GovernanceRefused", "NoticeGiven"}
    assert said == SIGNS["policy"] - governing
    unsigned = {"ApprovalRequested", "ApprovalRefused", "PlanDenied", "PreviewRequested"}
    assert {kind for kind in said if ANSWERED_FOR.get(kind) is Role.POLICY} == unsigned


def tallies(records: list[Record]) -> tuple[int, list[str]]:
    """Verified outcomes that the planner counted, and the classes of what it refused."""
    planner = PartitionFold(Planner(), CODEC, Mint(CODEC, "planner", 1), reads_run="live")
    letters = [CODEC.decode(out.value).payload for out in planner.step(records) if out.topic == Topic.DEAD_LETTERS]
    refused = [letter.error_class for letter in letters if isinstance(letter, DeadLettered)]
    return sum(tally.verified for tally in planner.state.tallies.values()), refused


def test_a_forged_verdict_does_not_count_for_a_remedy_and_goes_to_the_dead_letters() -> None:
    assert tallies(list(course())) == (1, [])
    assert tallies(forged()) == (0, ["unauthorised"])


def test_a_forged_verdict_is_in_no_view() -> None:
    def shown(records: list[Record]) -> int:
        admission = Admission(CODEC, EVENT_TYPES.values(), {})
        return sum(1 for record in records if admission.admit(record) is not None and is_verdict(record))

    assert (shown(list(course())), shown(forged())) == (1, 0)


def test_the_audit_names_a_forged_verdict() -> None:
    def found(records: list[Record]) -> list[Kind]:
        evidence = Evidence(BundledRegistry())
        evidence.feed(records)
        return [finding.kind for finding in evidence.finish()]

    assert found(list(course())) == []
    assert Kind.SIGNATURE in found(forged())
