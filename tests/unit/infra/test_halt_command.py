"""`autopilot halt` and `resume` at a domain that there is not: what is not halted is never said to be."""

from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from autopilot.agents.authority import Authority, OpenHalt
from autopilot.infra.cli import halts
from autopilot.infra.cli.main import application
from autopilot.infra.governance import FEW
from autopilot.schemas.configuration import Configuration, Domain, Fleet, document
from autopilot.schemas.events.people import Halt, Resume

APP = application()
RUNNER = CliRunner()
FLEET = document(
    Fleet(name="f", domains=[Domain(name="shop"), Domain(name="bank")], services=[]).model_dump(mode="json")
)


class View:
    """A view of the log that ends at what was said through it."""

    def __init__(self, behind: int) -> None:
        self.behind = behind
        authority = Authority(roles={"ada": ["operator"], "bob": ["operator"]})
        self.state = SimpleNamespace(authority=authority, configuration=Configuration())
        self.said: list[Halt | Resume] = []

    def advance(self) -> None:
        """Before that it knows nothing of the fleet."""
        self.state.configuration = Configuration().with_activated([FLEET])

    def broadcast(self, _cluster: object, _key: object, order: Halt | Resume, _view: object) -> SimpleNamespace:
        """Says and folds it."""
        self.advance()
        self.said.append(order)
        held = self.state.authority.halts
        if isinstance(order, Halt):
            held.setdefault(order.scope, {})[order.ordered_by] = OpenHalt("event", order.reason, 0)
        else:
            held[order.scope] = {by: one for by, one in held[order.scope].items() if one.event_id not in order.halts}
        return SimpleNamespace(event_id="event")


def view_at(behind: int, monkeypatch: pytest.MonkeyPatch) -> View:
    view = View(behind)
    monkeypatch.setattr(halts, "_order", lambda _: (None, None, view))
    monkeypatch.setattr(halts, "broadcast", view.broadcast)
    return view


def order(command: str, domain: str, person: str) -> tuple[int, str]:
    result = RUNNER.invoke(APP, [command, "--domain", domain, "--reason", "r", "--as", person])
    return result.exit_code, result.output


@pytest.mark.parametrize(("behind", "code", "said"), [(FEW, 2, 0), (FEW + 1, 1, 1)])
def test_a_mistyped_domain_is_told_near_the_logs_end_and_far_from_it(
    behind: int, code: int, said: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = view_at(behind, monkeypatch)
    ended, output = order("halt", "shpo", "ada")
    assert ended == code
    assert "there is no domain `shpo`; the fleet has bank, shop" in output
    assert "halted:" not in output
    assert ("nothing is halted by it" in output) is bool(said)
    assert len(view.said) == said


@pytest.mark.parametrize("behind", [FEW, FEW + 1])
def test_a_domain_of_the_fleet_is_halted_near_the_logs_end_and_far_from_it(
    behind: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    view_at(behind, monkeypatch)
    assert order("halt", "shop", "ada") == (0, "halted: shop; to end it: bob\n")


def test_a_halt_of_everything_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    view_at(0, monkeypatch)
    assert order("resume", "*", "ada") == (1, "nothing halts everything\n")
    order("halt", "shop", "ada")
    assert order("halt", "*", "ada") == (0, "halted: everything; to end it: bob\n")
    assert order("resume", "*", "bob")[1].splitlines() == [
        "ended: the halt of everything by ada: r",
        "resumed: everything; still halted: shop",
    ]


def test_the_order_about_a_domain_that_there_is_not_can_be_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    view = view_at(FEW + 1, monkeypatch)
    order("halt", "shpo", "ada")
    ended, output = order("resume", "shpo", "bob")
    assert (ended, "resumed: shpo" in output) == (0, True)
    assert not view.state.authority.halts["shpo"]
    ended, output = order("resume", "shpo", "bob")
    assert (ended, "there is no domain `shpo`" in output) == (2, True)


def test_who_halts_beside_somebody_who_has_lost_the_role_is_told_that_nobody_can_end_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    view = view_at(0, monkeypatch)
    order("halt", "shop", "bob")
    assert "nobody but you" not in order("halt", "shop", "ada")[1]
    del view.state.authority.roles["bob"]
    assert "nobody but you is operator or administrator" in order("halt", "shop", "ada")[1]
