"""`autopilot up --secure`, and rotation: what runs goes on, and what was known before is worthless."""

import json
import shutil
import socket
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner
from waiting import eventually

from autopilot.infra.cli.main import application
from autopilot.infra.composition import registry_of
from autopilot.infra.platform.kafka import broker_answers
from autopilot.infra.platform.processes import ProcessError
from autopilot.infra.platform.supervision import Supervision
from autopilot.infra.schema_registry import RegistryError
from autopilot.infra.security.credentials import PASSWORD, read_credentials
from autopilot.infra.security.principals import GRANTS
from autopilot.infra.settings import Settings, admin_config, kafka_config
from autopilot.infra.stack import KAFKA, REGISTRY, Stack
from autopilot.schemas.contract import Topic
from autopilot.schemas.events.runtime import Tick
from autopilot.streams.reader import read

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

APP = application()
PROCESSES = ("planner", "clock")
PARTS = {KAFKA, REGISTRY, *PROCESSES}
RUNNER = CliRunner()


def autopilot(*arguments: str, code: int = 0) -> str:
    result = RUNNER.invoke(APP, list(arguments))
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


@pytest.fixture(scope="module", autouse=True)
def stack() -> Iterator[Stack]:
    """A secure home in which a few of the processes are up."""
    folder = Path(tempfile.mkdtemp(prefix="autopilot-secure-"))
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    for name in Settings.model_fields:
        patch.delenv(f"AUTOPILOT_{name.upper()}", raising=False)
    patch.setenv("AUTOPILOT_HOME", str(folder / "home"))
    stack = Stack(Settings(secure=True), print)
    try:
        stack.up(PROCESSES)
        yield stack
    finally:
        stack.down()
        patch.undo()
        shutil.rmtree(folder)


def pids(stack: Stack) -> dict[str, int]:
    return {part.name: part.pid for part in stack.status() if part.name in PARTS}


def last_tick() -> int:
    settings = Settings()
    ticks = read(kafka_config(settings), registry_of(settings), Topic.LOG, types=[Tick], partitions=[0])
    return max((recorded.position.offset for recorded in ticks), default=-1)


def assert_it_goes_on(stack: Stack) -> None:
    """Everything runs, the clock writes, and what it writes can be read."""
    before = last_tick()
    eventually(lambda: all(pids(stack).values()))
    eventually(lambda: last_tick() > before)


def served_certificate() -> bytes | None:
    """What the broker shows at its clients' listener."""
    context = ssl.create_default_context(cafile=str(Settings().ground.authority))
    host, port = kafka_config(Settings())["bootstrap.servers"].split(":")
    with (
        socket.create_connection((host, int(port)), 60) as plain,
        context.wrap_socket(plain, server_hostname=host) as s,
    ):
        return s.getpeercert(binary_form=True)


def test_it_runs_and_stays_secure_without_saying_so_again(stack: Stack) -> None:
    assert not Settings().secure
    assert_it_goes_on(stack)
    before = pids(stack)
    Stack(Settings(), print).up(PROCESSES)
    assert pids(stack) == before
    assert not broker_answers({"bootstrap.servers": kafka_config(Settings())["bootstrap.servers"]}, timeout_s=1.5)
    assert "is Denied operation" not in (Settings().logs / "kafka.log").read_text()


def test_no_password_is_in_logs_settings_or_the_supervisors_file() -> None:
    home = Settings().home
    passwords = [read_credentials(Settings().ground.credentials(name))[PASSWORD] for name in GRANTS]
    outside = [path for path in home.rglob("*") if path.is_file() and "security" not in path.relative_to(home).parts]
    texts = {str(path): path.read_bytes().decode(errors="replace") for path in outside if "data" not in path.parts}
    texts |= {"config": autopilot("config"), "list": autopilot("security", "list", "--json")}
    assert len(texts) > 5
    assert [(name, p) for name, text in texts.items() for p in passwords if p in text] == []


def test_a_processs_password_is_changed_and_the_old_one_is_refused(stack: Stack) -> None:
    ground, before = Settings().ground, pids(stack)
    address = kafka_config(Settings())["bootstrap.servers"]
    old = {"bootstrap.servers": address, **ground.client(ground.credentials("planner"))}
    assert autopilot("security", "rotate", "planner").endswith("planner: changed; started again: planner\n")
    assert not broker_answers(old, timeout_s=1.5)
    assert broker_answers(old | ground.client(ground.credentials("planner")), timeout_s=60)
    assert {name for name, pid in pids(stack).items() if pid != before[name]} == {"planner"}
    assert_it_goes_on(stack)


def test_the_registrys_password_is_changed(stack: Stack) -> None:
    before = pids(stack)
    assert "started again: registry" in autopilot("security", "rotate", "registry")
    after = pids(stack)
    assert after["registry"] != before["registry"]
    assert {name: after[name] for name in ("kafka", "clock")} == {name: before[name] for name in ("kafka", "clock")}
    eventually(tick_is_registered)
    assert_it_goes_on(stack)


def tick_is_registered() -> bool:
    """Whether the registry knows the schema; one that has just started answers before it has read its journal."""
    registry = registry_of(Settings())
    try:
        return registry.id_for(Tick) > 0
    except RegistryError:
        return False
    finally:
        registry.close()


def test_the_brokers_certificate_is_changed_and_clients_stay(stack: Stack) -> None:
    before, shown = pids(stack), served_certificate()
    assert "started again: kafka" in autopilot("security", "rotate", "broker")
    assert served_certificate() != shown
    assert {name for name, pid in pids(stack).items() if pid != before[name]} == {"kafka"}
    assert_it_goes_on(stack)


def test_the_authority_is_changed_and_the_old_administrator_is_nobody(stack: Stack, tmp_path: Path) -> None:
    ground, before = Settings().ground, pids(stack)
    old = tmp_path / "admin.pem"
    old.write_bytes(ground.certificate("admin").read_bytes())
    assert "ca: changed" in autopilot("security", "rotate", "ca")
    assert {name for name, pid in pids(stack).items() if pid != before[name]} == PARTS
    assert broker_answers(admin_config(Settings()), timeout_s=60)
    former = {"ssl.certificate.location": str(old), "ssl.key.location": str(old)}
    assert not broker_answers(admin_config(Settings()) | former, timeout_s=1.5)
    assert_it_goes_on(stack)


def test_what_cannot_be_rotated_is_named() -> None:
    assert "expected one of observer" in autopilot("security", "rotate", "nobody", code=2)


def test_the_listing_says_whose_and_until_when() -> None:
    rows = {row["name"]: row for row in json.loads(autopilot("security", "list", "--json"))}
    assert set(rows) == {*GRANTS, "broker", "admin", "ca"}
    assert rows["broker"]["until"] > rows["broker"]["since"]


def test_a_home_that_runs_without_security_is_not_changed_under_way(tmp_path: Path) -> None:
    plain = Settings(home=tmp_path, secure=True)
    supervision = Supervision(tmp_path)
    supervision.load([])
    try:
        with pytest.raises(ProcessError, match="`autopilot down` first"):
            Stack(plain, print).up([])
    finally:
        supervision.shutdown()
    assert not plain.ground.exists
