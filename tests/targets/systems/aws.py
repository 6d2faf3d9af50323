"""Amazon's ECS API with tasks as real containers, in a process group of its own."""

import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from autopilot.infra.effector.drivers.aws_ecs import AwsEcsDriver, AwsEcsSettings
from autopilot.infra.effector.drivers.aws_ecs_client import Access, connected
from autopilot.infra.platform.ports import free_port

if TYPE_CHECKING:
    from mypy_boto3_ecs import ECSClient

ROOT = Path(__file__).resolve().parents[3]
SERVE = ROOT / "infra" / "targets" / "ecs" / "serve.sh"
POLICY = ROOT / "infra" / "aws" / "ecs-policy.json"
REGION = "eu-central-1"
CLUSTER = "autopilot"
ACCOUNT = "000000000000"
START_S = 240.0
"""A first start installs an environment and makes images; a later one takes three seconds."""
DONE_WITHIN_S = 180.0
"""A deployment of two tasks takes four seconds; a machine may be busy."""

STAYS = "trap 'exit 0' TERM; sleep 6000 & wait"
LEAVES = "sleep 0.1; exit 1"
GATED = "test -e /gate/open || exit 1; " + STAYS

RELEASES: Mapping[str, tuple[str, ...]] = {
    "web": (STAYS, STAYS, LEAVES),
    "gated": (STAYS, GATED),
    "other": (STAYS,),
}
"""Family -> what the tasks of its revisions do. `gated` opens when the file is there."""

ROLLS_BACK = {"enable": True, "rollback": True}
STAYS_FAILED = {"enable": True, "rollback": False}
TRIES_ON = {"enable": False, "rollback": False}
SERVICES: Mapping[str, tuple[str, dict[str, bool]]] = {
    "web": ("web:1", ROLLS_BACK),
    "patient": ("gated:1", TRIES_ON),
    "half": ("gated:1", STAYS_FAILED),
}
"""Service -> its first task definition and its circuit breaker."""


class Ecs:
    """A running ECS. Users: `autopilot` with the policy that ships, `stranger` with none, and the administrator."""

    def __init__(self, folder: Path, port: int, key: str, secret: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.gate = folder / "gate"
        self.gate.mkdir()
        self._credentials = folder / "credentials"
        self._credentials.touch(0o600)
        self.administrator = {"aws_access_key_id": key, "aws_secret_access_key": secret}

    @property
    def admin(self) -> "ECSClient":
        """Another writer, who may do everything."""
        return boto3.client("ecs", region_name=REGION, endpoint_url=self.url, **self.administrator)

    def entry(self, profile: str = "autopilot", **odd: Any) -> dict[str, Any]:
        """The driver as an entry of the targets file."""
        bounds = {"min": 1, "max": 3, "families": ["web", "gated"]}
        return {
            "driver": "aws_ecs",
            "region": REGION,
            "endpoint_url": self.url,
            "credentials_file": str(self._credentials),
            "profile": profile,
            "poll_s": 0.1,
            "timeout_s": 60.0,
            "services": {f"{CLUSTER}/{name}": bounds for name in (*SERVICES, "nowhere")} | {"nowhere/web": bounds},
            **odd,
        }

    def driver(
        self, profile: str = "autopilot", listener: Callable[[str], None] | None = None, **odd: Any
    ) -> AwsEcsDriver:
        """A driver with that credential. `listener` is told the name of each call that it makes."""
        settings = {name: value for name, value in self.entry(profile, **odd).items() if name != "driver"}
        return AwsEcsDriver(AwsEcsSettings.model_validate(settings), told(listener) if listener else None)

    def set_up(self) -> None:
        """Cluster, task definitions, services and users."""
        self.admin.create_cluster(clusterName=CLUSTER)
        for family, commands in RELEASES.items():
            for number, command in enumerate(commands, start=1):
                self._register(family, f"localhost/task:v{number}", command)
        for name, (release, breaker) in SERVICES.items():
            self._create(name, release, breaker)
        self._add_user("stranger", None)
        self._add_user("autopilot", policy())

    def _register(self, family: str, image: str, command: str) -> None:
        self.admin.register_task_definition(
            family=family,
            networkMode="host",
            volumes=[{"name": "gate", "host": {"sourcePath": str(self.gate)}}],
            containerDefinitions=[
                {
                    "name": "task",
                    "image": image,
                    "command": ["/bin/sh", "-c", command],
                    "memory": 16,
                    "versionConsistency": "disabled",
                    "mountPoints": [{"sourceVolume": "gate", "containerPath": "/gate", "readOnly": True}],
                }
            ],
        )

    def _create(self, name: str, release: str, breaker: dict[str, bool]) -> None:
        configuration: Any = {"deploymentCircuitBreaker": breaker, "maximumPercent": 200, "minimumHealthyPercent": 100}
        self.admin.create_service(
            cluster=CLUSTER,
            serviceName=name,
            taskDefinition=release,
            desiredCount=0,
            deploymentConfiguration=configuration,
        )

    def _add_user(self, name: str, document: dict[str, Any] | None) -> None:
        iam = boto3.client("iam", region_name=REGION, endpoint_url=self.url, **self.administrator)
        iam.create_user(UserName=name)
        if document is not None:
            iam.put_user_policy(UserName=name, PolicyName="ecs", PolicyDocument=json.dumps(document))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        with self._credentials.open("a") as file:
            file.write(f"[{name}]\naws_access_key_id={key['AccessKeyId']}\n")
            file.write(f"aws_secret_access_key={key['SecretAccessKey']}\n")

    def bring(self, name: str, release: str, count: int, within_s: float = DONE_WITHIN_S) -> None:
        """Has `count` tasks of a release run and nothing else, as an administrator would."""
        if not self._is_at(name, release, count):
            self.admin.update_service(cluster=CLUSTER, service=name, taskDefinition=release, desiredCount=count)
        until = time.monotonic() + within_s
        while not self._is_at(name, release, count):
            assert time.monotonic() < until, self.service(name)
            time.sleep(0.1)

    def _is_at(self, name: str, release: str, count: int) -> bool:
        told = self.service(name)
        current = next(one for one in told["deployments"] if one["status"] == "PRIMARY")
        at_rest = (told["desiredCount"], told["runningCount"], told["pendingCount"]) == (count, count, 0)
        wanted = str(told["taskDefinition"]).endswith(f"/{release}") and current["rolloutState"] == "COMPLETED"
        return wanted and at_rest

    def service(self, name: str) -> Any:
        """A service as ECS tells it."""
        return self.admin.describe_services(cluster=CLUSTER, services=[name])["services"][0]

    def changes(self, name: str) -> int:
        """How often the service was changed, by its own list of events."""
        told = self.admin.describe_services(cluster=CLUSTER, services=[name])["services"]
        return sum("has begun draining" in event["message"] for one in told for event in one["events"])

    def tasks(self, name: str) -> set[str]:
        """Names of the tasks that run."""
        return set(self.admin.list_tasks(cluster=CLUSTER, serviceName=name, desiredStatus="RUNNING")["taskArns"])


def told(listener: Callable[[str], None]) -> "Callable[[Access], ECSClient]":
    """Connects as ever, and tells the listener the permission that each call needs."""

    def tell(model: Any, **_: Any) -> None:
        listener(f"{model.service_model.signing_name}:{model.name}")

    def connect(access: Access) -> "ECSClient":
        client = connected(access)
        client.meta.events.register("provide-client-params", tell)
        return client

    return connect


def policy() -> dict[str, Any]:
    """The policy that ships, for this account.

    This ECS asks about the cluster where Amazon's asks about the service and its revisions: actions are what it
    tells apart.
    """
    document: dict[str, Any] = json.loads(POLICY.read_text())
    for statement in document["Statement"]:
        if statement["Resource"] != "*":
            statement["Resource"] = [f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{name}" for name in (CLUSTER, "nowhere")]
            statement["Resource"] += ["*"] if "ecs:DescribeServiceRevisions" in statement["Action"] else []
    return document


@contextmanager
def ecs(folder: Path) -> Iterator[Ecs]:
    """Starts ECS, sets it up, and ends it and its containers."""
    port = free_port()
    key, secret = "administrator", secrets.token_hex(16)
    environment = os.environ | {
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "PYTHON": sys.executable,
    }
    log = folder / "ecs.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(SERVE), str(port)], env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        running = Ecs(folder, port, key, secret)
        _await_up(running.url, process, log)
        running.set_up()
        yield running
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(DONE_WITHIN_S)


def _await_up(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/_ministack/health", timeout=10) as answer:
                if answer.status == 200:
                    return
        except (http.client.HTTPException, OSError):
            time.sleep(0.1)
    raise AssertionError(log.read_text())
