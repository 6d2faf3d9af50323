"""Who ends a halt: another person than who gave it, one halt at a time, and never one that was not meant."""

from hypothesis import given
from hypothesis import strategies as st
from scenario import START_US, Said, recorded

from autopilot.agents.authority import EVERYWHERE, Authority
from autopilot.schemas.configuration import Principal, Role, Signers, document
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Rejection
from autopilot.schemas.events.people import ConfigurationActivated, Halt, Resume

ABLE = ("ada", "bob", "cem")
PEOPLE = {"ada": Role.ADMINISTRATOR, "bob": Role.OPERATOR, "cem": Role.OPERATOR, "dee": Role.AUTHOR}


class Desk:
    """An authority to which people speak; the n-th thing that is said is `event-n`."""

    def __init__(self, people: dict[str, Role] = PEOPLE) -> None:
        self.authority = Authority()
        self.said = 0
        signers = [Principal(name=name, public_key="A" * 43 + "=", roles=[role]) for name, role in people.items()]
        listed = document(Signers(name="s", signers=signers).model_dump(mode="json"))
        self.authority.activate(ConfigurationActivated(revision="r", documents=[listed], author="ada", comment=""))

    def halt(self, by: str, scope: str = "shop") -> str:
        return self._say(Halt(scope=scope, ordered_by=by, reason=f"{by}'s"), by, self.authority.halt)[0]

    def resume(self, by: str, *halts: str, scope: str = "shop") -> str:
        """The field for which it is refused, or nothing."""
        order = Resume(scope=scope, ordered_by=by, reason="r", halts=list(halts))
        rejection = self._say(order, by, self.authority.resume)[1]
        return rejection.field if rejection else ""

    def _say(self, order: Payload, by: str, take: object) -> tuple[str, Rejection | None]:
        assert callable(take)
        one = recorded(Said(order, signed_by=by), self.said, now_us=START_US, domain="", service="", topic="t")
        self.said += 1
        return one.envelope.event_id, take(one)

    @property
    def halted_by(self) -> list[str]:
        return list(self.authority.halts.get("shop", ()))


def test_two_who_both_halted_end_each_others_halt() -> None:
    desk = Desk({"ada": Role.ADMINISTRATOR, "bob": Role.OPERATOR})
    desk.halt("ada")
    desk.halt("bob")
    assert desk.authority.may_resume("shop") == ["ada", "bob"]
    assert desk.resume("ada") == ""
    assert desk.halted_by == ["ada"]
    assert desk.resume("ada") == "ordered_by"
    assert desk.authority.may_resume("shop") == ["bob"]
    assert desk.resume("bob") == ""
    assert not desk.authority.halted("shop")


def test_a_resume_ends_the_halts_that_it_names_and_no_later_one() -> None:
    desk = Desk()
    seen = desk.halt("ada")
    desk.halt("bob")
    assert desk.resume("cem", seen) == ""
    assert desk.halted_by == ["bob"]
    assert desk.resume("cem", seen) == "halts"
    again = desk.halt("bob")
    assert desk.authority.halts["shop"]["bob"].event_id == again
    assert desk.resume("cem", again) == ""
    assert not desk.authority.halted("shop")


def test_nobody_ends_their_own_halt_by_naming_it() -> None:
    desk = Desk()
    mine, other = desk.halt("ada"), desk.halt("bob")
    assert desk.resume("ada", mine, other) == ""
    assert desk.halted_by == ["ada"]


def test_a_halt_elsewhere_is_another_one() -> None:
    desk = Desk()
    desk.halt("ada", EVERYWHERE)
    desk.halt("ada")
    assert desk.resume("bob") == ""
    assert desk.authority.halted("shop")
    assert desk.resume("bob", scope=EVERYWHERE) == ""
    assert not desk.authority.halted("shop")


def test_the_halt_of_somebody_who_has_lost_the_role_is_ended_by_who_halted_too_and_theirs_by_nobody() -> None:
    desk = Desk({"ada": Role.ADMINISTRATOR, "bob": Role.OPERATOR})
    desk.halt("ada")
    desk.halt("bob")
    del desk.authority.roles["bob"]
    assert desk.authority.may_resume("shop") == ["ada"]
    assert desk.resume("ada") == ""
    assert desk.halted_by == ["ada"]
    assert desk.authority.may_resume("shop") == []


def test_a_lone_operator_is_told_that_nobody_can_end_it() -> None:
    desk = Desk({"ada": Role.ADMINISTRATOR})
    desk.halt("ada")
    assert desk.authority.may_resume("shop") == []
    assert desk.resume("ada") == "ordered_by"


@given(st.lists(st.tuples(st.sampled_from(["halt", "resume"]), st.sampled_from([*PEOPLE])), max_size=30))
def test_each_halt_is_ended_by_another_and_any_two_can_end_all_of_them(story: list[tuple[str, str]]) -> None:
    desk = Desk()
    for what, by in story:
        before = desk.halted_by
        desk.halt(by) if what == "halt" else desk.resume(by)
        gone = set(before) - set(desk.halted_by)
        assert by not in gone
        assert not gone or (what == "resume" and by in ABLE)
    for by in ("ada", "bob"):
        desk.resume(by)
    assert not desk.authority.halted("shop")
