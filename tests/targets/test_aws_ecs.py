"""The ECS driver against an ECS with real containers, beyond what every driver must do."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from catalogue import OneRunning
from rigs.aws_ecs import AwsEcsRig
from systems.aws import CLUSTER, DONE_WITHIN_S, POLICY, REGION, Ecs, told
from waiting import eventually

from autopilot.infra.effector.drivers.aws_ecs import AwsEcsDriver, AwsEcsSettings
from autopilot.infra.effector.drivers.aws_ecs_client import Access, Deployment, Service
from autopilot.infra.effector.drivers.aws_ecs_rollout import Rollout
from autopilot.infra.effector.port import (
    Applied,
    ConflictError,
    DeniedError,
    MissingError,
    PermanentError,
    TargetError,
    TargetTimeoutError,
    TransientError,
)
from autopilot.schemas.events.planner import Action

WEB = f"{CLUSTER}/web"


def act(verb: str, target: str = WEB, **parameters: str) -> Action:
    return Action(driver="aws_ecs", verb=verb, target=target, parameters=parameters)


def run(driver: AwsEcsDriver, action: Action, timeout_s: float = DONE_WITHIN_S) -> Applied:
    return driver.apply(action, driver.observe(action.target), "key", timeout_s)


@pytest.fixture
def running(one_running: OneRunning, tmp_path_factory: pytest.TempPathFactory) -> Ecs:
    """That of the rig: this machine runs one at a time."""
    rig = one_running.rig("aws_ecs", tmp_path_factory.mktemp("ecs"))
    assert isinstance(rig, AwsEcsRig)
    return rig.system


@pytest.fixture(autouse=True)
def no_machine_role(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def web(running: Ecs) -> Ecs:
    """Two tasks of `web:1`."""
    running.bring("web", "web:1", 2)
    return running


def test_it_tells_what_runs_and_what_its_bounds_are(web: Ecs) -> None:
    state = dict(web.driver().observe(WEB).state)
    assert state.pop("deployment").startswith("ecs-svc/")
    assert state == {
        "desired": "2",
        "running": "2",
        "pending": "0",
        "min": "1",
        "max": "3",
        "release": "web:1",
        "previous_release": "",
        "rollout": "COMPLETED",
        "failed": state["failed"],
    }


def test_a_restart_replaces_every_task_and_leaves_the_release(web: Ecs) -> None:
    before = web.tasks("web")
    run(web.driver(), act("restart"))
    assert len(web.tasks("web")) == 2
    assert not before & web.tasks("web")
    assert web.driver().observe(WEB).state["release"] == "web:1"


def test_a_release_that_does_not_run_is_rolled_back_by_ecs_and_told_as_a_lasting_failure(web: Ecs) -> None:
    before = web.tasks("web")
    with pytest.raises(PermanentError, match=r"failed and was rolled back to web:1: .*circuit breaker"):
        run(web.driver(), act("set_task_definition", task_definition="web:3"))
    now = web.driver().observe(WEB).state
    assert (now["release"], now["rollout"], now["running"]) == ("web:1", "COMPLETED", "2")
    assert web.tasks("web") == before


def test_another_writers_deployment_in_the_middle_of_ours_is_a_conflict(running: Ecs) -> None:
    (running.gate / "open").unlink(missing_ok=True)
    running.bring("patient", "gated:1", 1)
    wanted = act("set_task_definition", f"{CLUSTER}/patient", task_definition="gated:2")
    with ThreadPoolExecutor() as pool:
        ours = pool.submit(run, running.driver(), wanted)
        eventually(lambda: running.service("patient")["taskDefinition"].endswith("gated:2"), DONE_WITHIN_S)
        running.bring("patient", "other:1", 1)
        with pytest.raises(ConflictError):
            ours.result()


def test_a_revert_does_not_undo_what_another_writer_did(web: Ecs) -> None:
    driver = web.driver()
    before = driver.observe(WEB)
    driver.apply(act("scale", count="3"), before, "key", DONE_WITHIN_S)
    web.bring("web", "web:1", 1)
    with pytest.raises(ConflictError, match="`desired` was set to 1 by another writer"):
        driver.revert(act("scale", count="3"), before.state, "key-back", DONE_WITHIN_S)


def test_what_the_settings_do_not_name_is_not_touched(web: Ecs) -> None:
    driver = web.driver(services={WEB: {"max": 2}})
    before = web.changes("web")
    with pytest.raises(PermanentError, match="`target` is `autopilot/half`, allowed are: autopilot/web"):
        driver.observe(f"{CLUSTER}/half")
    with pytest.raises(PermanentError, match="out of the bounds 1 to 2"):
        run(driver, act("scale", count="3"))
    with pytest.raises(PermanentError, match="`task_definition` is `web:2`, allowed are revisions of: none"):
        run(driver, act("set_task_definition", task_definition="web:2"))
    assert web.changes("web") == before


# -- credentials -----------------------------------------------------------------------------------------------------


def test_the_policy_that_ships_allows_exactly_the_calls_that_are_made(web: Ecs) -> None:
    made: set[str] = set()
    driver = web.driver(listener=made.add)
    for action in (act("scale", count="3"), act("set_task_definition", task_definition="web:2"), act("restart")):
        driver.diff(action, driver.observe(WEB))
        before = driver.observe(WEB).state
        run(driver, action)
        if action.verb in driver.reverts:
            driver.revert(action, before, "key-back", DONE_WITHIN_S)
    history(made.add, "web:1")
    statements = json.loads(POLICY.read_text())["Statement"]
    actions = [s["Action"] if isinstance(s["Action"], list) else [s["Action"]] for s in statements]
    assert {s["Effect"] for s in statements} == {"Allow"}
    assert sorted(action for group in actions for action in group) == sorted(made)


def test_the_policy_that_ships_allows_nothing_else(web: Ecs) -> None:
    credentials = (web.gate.parent / "credentials").read_text().split("[autopilot]")[1]
    keys = dict(line.split("=", 1) for line in credentials.split() if "=" in line)
    client = boto3.client("ecs", region_name=REGION, endpoint_url=web.url, **keys)
    assert client.describe_services(cluster=CLUSTER, services=["web"])["services"]
    forbidden: list[Any] = [
        lambda: client.delete_service(cluster=CLUSTER, service="web", force=True),
        lambda: client.create_service(cluster=CLUSTER, serviceName="more", taskDefinition="web:1"),
        lambda: client.run_task(cluster=CLUSTER, taskDefinition="web:1"),
        lambda: client.deregister_task_definition(taskDefinition="web:1"),
        lambda: client.list_tasks(cluster=CLUSTER),
    ]
    for call in forbidden:
        with pytest.raises(client.exceptions.AccessDeniedException):
            call()


def test_a_named_profile_keeps_the_environments_credentials_out(web: Ecs, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in web.administrator.items():
        monkeypatch.setenv(name.upper(), value)
    with pytest.raises(DeniedError):
        web.driver("stranger").observe(WEB)
    assert web.driver().observe(WEB).state["running"] == "2"


def test_a_profile_that_is_not_there_is_denied(web: Ecs) -> None:
    with pytest.raises(DeniedError, match="nobody"):
        web.driver("nobody").observe(WEB)


# -- the release before ----------------------------------------------------------------------------------------------

ARN = f"arn:aws:ecs:{REGION}:000000000000"


def history(listener: Callable[[str], None], *releases: str) -> str:
    """`previous_release` while `web:1` runs and ECS tells of these deployments, the oldest first.

    MiniStack keeps no history, so the answers are written here; botocore holds them against the API's own description.
    """
    made = [
        {"targetServiceRevisionArn": f"{ARN}:{number}", "createdAt": datetime(2026, 1, number, tzinfo=UTC)}
        for number in range(1, len(releases) + 1)
    ]
    revisions = [
        {"serviceRevisionArn": f"{ARN}:{number}", "taskDefinition": f"{ARN}:task-definition/{release}"}
        for number, release in enumerate(releases, start=1)
    ]
    current = f"{ARN}:task-definition/web:1"
    service = {
        "status": "ACTIVE",
        "desiredCount": 1,
        "runningCount": 1,
        "pendingCount": 0,
        "taskDefinition": current,
        "deployments": [{"id": "ecs-svc/1", "status": "PRIMARY", "taskDefinition": current}],
    }
    settings = AwsEcsSettings.model_validate({"region": REGION, "services": {WEB: {"max": 2}}})

    def connect(access: Access) -> Any:
        client = told(listener)(replace(access, endpoint_url="http://127.0.0.1:1"))
        stubber = Stubber(client)
        stubber.add_response("describe_services", {"services": [service]})
        stubber.add_response("list_service_deployments", {"serviceDeployments": made})
        stubber.add_response("describe_service_revisions", {"serviceRevisions": revisions})
        stubber.activate()
        return client

    return AwsEcsDriver(settings, connect).observe(WEB).state["previous_release"]


@pytest.mark.parametrize(
    ("releases", "before"),
    [
        ((), ""),
        (("web:1",), ""),
        (("web:3", "web:2", "web:1"), "web:2"),
        (("web:1", "web:4", "web:1", "web:1"), "web:4"),
    ],
)
def test_the_release_before_is_the_newest_other_one_that_was_deployed(releases: tuple[str, ...], before: str) -> None:
    assert history(lambda _: None, *releases) == before


# -- errors ----------------------------------------------------------------------------------------------------------


@contextmanager
def answering(status: int, code: str, *, silent: bool = False) -> Iterator[str]:
    """An endpoint that gives every call this answer; a silent one not before it ends."""
    over = threading.Event()
    body = json.dumps({"__type": code, "message": "told so"}).encode()

    class Handler(BaseHTTPRequestHandler):
        def __getattr__(self, name: str) -> Any:
            if name != "do_POST":
                raise AttributeError(name)
            return self.answer

        def answer(self) -> None:
            if silent:
                over.wait()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(BrokenPipeError):
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "ThrottlingException", TransientError),
        (400, "UpdateInProgressException", TransientError),
        (500, "ServerException", TransientError),
        (503, "Unheard", TransientError),
        (400, "AccessDeniedException", DeniedError),
        (403, "Unheard", DeniedError),
        (400, "ExpiredTokenException", DeniedError),
        (400, "ClusterNotFoundException", MissingError),
        (400, "ServiceNotActiveException", MissingError),
        (400, "InvalidParameterException", PermanentError),
    ],
)
def test_what_the_api_answers_says_what_to_do(web: Ecs, status: int, code: str, expected: type[TargetError]) -> None:
    with answering(status, code) as url, pytest.raises(TargetError, match=code) as found:
        web.driver(endpoint_url=url).observe(WEB)
    assert type(found.value) is expected


def test_an_api_that_does_not_answer_is_told_as_a_time_out(web: Ecs) -> None:
    with answering(200, "", silent=True) as url, pytest.raises(TargetTimeoutError):
        web.driver(endpoint_url=url, timeout_s=0.5).observe(WEB)


# -- deployments, as they are told one look after another ------------------------------------------------------------


def service(current: str, *others: tuple[str, str], release: str = "web:2", rollout: str = "IN_PROGRESS") -> Service:
    told_of = [Deployment(current, True, release, rollout, "")]
    told_of += [Deployment(name, False, "web:1", state, "it was given up") for name, state in others]
    return Service(2, 2, 0, release, "ECS", tuple(told_of))


def test_a_look_that_does_not_know_of_the_deployment_yet_tells_nothing() -> None:
    rollout = Rollout(service("new", ("old", "COMPLETED")))
    assert not rollout.is_over(service("old", release="web:1", rollout="COMPLETED"))
    assert not rollout.is_over(service("new", ("old", "COMPLETED")))
    done = service("new", rollout="COMPLETED")
    assert rollout.is_over(done)
    assert rollout.is_completed(done)


def test_a_rollback_by_a_third_deployment_is_no_other_writers() -> None:
    rollout = Rollout(service("new", ("old", "COMPLETED")))
    back = service("third", ("new", "FAILED"), release="web:1")
    assert rollout.is_over(back)
    assert not rollout.is_completed(back)
    assert not rollout.is_superseded(back)
    assert not rollout.is_left_as_it_is(back)
    assert rollout.reason(back) == "it was given up"


def test_a_later_deployment_of_the_same_release_takes_over() -> None:
    rollout = Rollout(service("new"))
    assert not rollout.is_over(service("later", ("new", "IN_PROGRESS")))
    done = service("later", rollout="COMPLETED")
    assert rollout.is_over(done)
    assert rollout.is_completed(done)
