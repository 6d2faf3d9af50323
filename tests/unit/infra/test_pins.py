"""Whom the effector acts under is told on its own machine: the setting, or the administrator whom `up` made there."""

from pathlib import Path

import pytest

from autopilot.infra.composition import PROCESSES, environment_of
from autopilot.infra.keys import ensure_key, new_key_beside, public_key_of, take_over
from autopilot.infra.pins import SETTING, advice, not_pinned, pinned_administrators
from autopilot.infra.settings import Settings
from autopilot.infra.signers import ADMINISTRATOR, add_principal, ensure_first_principals, signers_of
from autopilot.schemas.configuration import Configuration, Role, document


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(home=tmp_path)
    ensure_first_principals(made.keys)
    return made


def in_force(settings: Settings) -> Configuration:
    """The signer list that this home's keys make."""
    return Configuration().with_activated([document(signers_of(settings.keys).model_dump(mode="json"))])


def test_a_new_homes_effector_acts_under_the_administrator_that_was_made_there(settings: Settings) -> None:
    pinned = pinned_administrators(settings)
    assert pinned == {public_key_of(settings.keys, ADMINISTRATOR)}
    assert not_pinned(in_force(settings), pinned) == []


def test_up_tells_the_effector_and_nobody_else(settings: Settings) -> None:
    told = {name: environment_of(name, settings).get(SETTING) for name in PROCESSES}
    assert told.pop("effector") == public_key_of(settings.keys, ADMINISTRATOR)
    assert set(told.values()) == {None}
    chosen = settings.model_copy(update={"pinned_administrators": "one two"})
    assert environment_of("effector", chosen)[SETTING] == "one two"


def test_a_second_administrator_is_named_with_the_setting_that_lets_the_effector_act(settings: Settings) -> None:
    eve = add_principal(settings.keys, "eve", [Role.ADMINISTRATOR])
    pinned = pinned_administrators(settings)
    assert not_pinned(in_force(settings), pinned) == [eve]
    told = advice(eve, pinned)
    assert told.endswith(f'{SETTING}="{public_key_of(settings.keys, ADMINISTRATOR)} {eve.public_key}"')
    extended = settings.model_copy(update={"pinned_administrators": told.split('"')[1]})
    assert not_pinned(in_force(settings), pinned_administrators(extended)) == []


def test_the_setting_says_all_of_them(settings: Settings) -> None:
    eve = add_principal(settings.keys, "eve", [Role.ADMINISTRATOR])
    alone = pinned_administrators(settings.model_copy(update={"pinned_administrators": eve.public_key}))
    assert [one.name for one in not_pinned(in_force(settings), alone)] == [ADMINISTRATOR]


def test_a_new_key_of_the_first_administrator_is_pinned_once_it_is_in_use(settings: Settings) -> None:
    fresh = new_key_beside(settings.keys, ADMINISTRATOR)
    assert fresh.public_key not in pinned_administrators(settings)
    take_over(settings.keys, ADMINISTRATOR)
    assert pinned_administrators(settings) == {fresh.public_key}


def test_on_a_machine_that_was_told_of_nobody_nobody_is_missed(tmp_path: Path) -> None:
    elsewhere = Settings(home=tmp_path)
    ensure_key(elsewhere.keys, "effector")
    assert pinned_administrators(elsewhere) == frozenset()
    ensure_first_principals(tmp_path / "other")
    listed = document(signers_of(tmp_path / "other").model_dump(mode="json"))
    assert not_pinned(Configuration().with_activated([listed]), frozenset()) == []
