"""What the table of grants says: the design's sentences, the events' topics, and the page of the documentation."""

import inspect
from pathlib import Path

import pytest

from autopilot.infra.composition import AGENTS, PROCESSES
from autopilot.infra.security.acls import wanted_acls
from autopilot.infra.security.principals import GRANTS, PEOPLE, REGISTRY, table
from autopilot.schemas.contract import Topic
from autopilot.schemas.events import EVENT_TYPES

PAGE = Path(__file__).parents[3] / "docs" / "security.md"
BEGIN, END = "<!-- grants: made by `autopilot security grants --markdown` -->\n", "<!-- end of grants -->"
SAYS = {"effector", "executor", "observer", "planner", "policy", "verifier"}
RUNTIME = {"AgentSnapshot", "AgentUpgraded", "AgentFaulted", "DeadLettered"}


@pytest.mark.parametrize("process", PROCESSES)
def test_every_process_is_a_principal(process: str) -> None:
    assert process in GRANTS


def test_the_log_is_written_by_agents_the_effector_the_notifier_the_clock_and_people_alone() -> None:
    writers = {name for name, grants in GRANTS.items() if Topic.LOG in grants.writes}
    assert writers == {*AGENTS, "effector", "notifier", "clock", PEOPLE}


def test_services_and_bridges_write_telemetry_and_nothing_else() -> None:
    for name in ("services", "otlp"):
        assert (GRANTS[name].reads, GRANTS[name].writes) == ((), (Topic.TELEMETRY,))


def test_dashboards_and_the_projector_only_read() -> None:
    for name in ("dashboards", "projector"):
        assert (GRANTS[name].writes, GRANTS[name].owns, GRANTS[name].transactions) == ((), (), ())


@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_reads_one_topic_besides_its_snapshots(name: str) -> None:
    expected = Topic.TELEMETRY if name == "observer" else Topic.LOG
    assert set(GRANTS[name].reads) == {expected, Topic.SNAPSHOTS}


def test_only_the_sealer_writes_seals() -> None:
    assert [name for name, grants in GRANTS.items() if Topic.SEALS in grants.writes] == ["sealer"]


def test_the_registry_has_its_own_topics_and_none_of_ours() -> None:
    assert not {*GRANTS[REGISTRY].reads, *GRANTS[REGISTRY].writes, *GRANTS[REGISTRY].owns} & set(map(str, Topic))
    assert [name for name, grants in GRANTS.items() if grants.owns] == [REGISTRY]


@pytest.mark.parametrize("event", EVENT_TYPES.values(), ids=lambda event: event.event_type())
def test_whoever_says_an_event_may_write_its_topic(event: type) -> None:
    speaker = inspect.getmodule(event).__name__.rsplit(".", 1)[1]
    speakers = {speaker} & SAYS or (SAYS if event.__name__ in RUNTIME else set())
    assert all(event.topic in GRANTS[name].writes for name in speakers)


def test_groups_and_transactional_ids_are_the_principals_own() -> None:
    for name, grants in GRANTS.items():
        assert set(grants.groups) <= {name}
        assert set(grants.transactions) <= ({"broadcast."} if name == PEOPLE else {f"{name}."})


def test_no_list_allows_everyone_or_everything() -> None:
    for acl in wanted_acls():
        assert acl.principal.removeprefix("User:") in GRANTS
        assert acl.name not in ("*", "")


def test_the_page_has_the_table() -> None:
    text = PAGE.read_text()
    assert text[text.index(BEGIN) + len(BEGIN) : text.index(END)] == table()
