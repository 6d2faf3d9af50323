"""The few calls of the Amazon ECS API that the driver needs, with every fault as an error of the port.

A call is made once: what is worth trying again is decided by the executor, and a deployment is not to be forced twice.
What a change that broke off has done nobody knows: it is told as a timeout, unless ECS was not reached or refused it.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import botocore.session
from botocore import exceptions as boto
from botocore.config import Config

from autopilot.infra.effector.port import (
    ConflictError,
    DeniedError,
    MissingError,
    PermanentError,
    TargetError,
    TargetTimeoutError,
    TransientError,
)

if TYPE_CHECKING:
    from mypy_boto3_ecs import ECSClient

HISTORY = 20
"""How many of a service's deployments are looked through for the release before the current one."""

_CODES: Mapping[str, type[TargetError]] = {
    "AccessDenied": DeniedError,
    "AccessDeniedException": DeniedError,
    "AuthFailure": DeniedError,
    "ExpiredToken": DeniedError,
    "ExpiredTokenException": DeniedError,
    "IncompleteSignature": DeniedError,
    "InvalidAccessKeyId": DeniedError,
    "InvalidClientTokenId": DeniedError,
    "InvalidSignatureException": DeniedError,
    "MissingAuthenticationToken": DeniedError,
    "NotAuthorized": DeniedError,
    "OptInRequired": DeniedError,
    "RequestTimeTooSkewed": DeniedError,
    "SignatureDoesNotMatch": DeniedError,
    "UnauthorizedOperation": DeniedError,
    "UnrecognizedClientException": DeniedError,
    "ClusterNotFoundException": MissingError,
    "ServiceNotFoundException": MissingError,
    "ServiceNotActiveException": MissingError,
    "ConflictException": ConflictError,
    "BandwidthLimitExceeded": TransientError,
    "RequestLimitExceeded": TransientError,
    "Throttling": TransientError,
    "ThrottledException": TransientError,
    "ThrottlingException": TransientError,
    "TooManyRequestsException": TransientError,
    "UpdateInProgressException": TransientError,
}
_STATUSES: Mapping[int, type[TargetError]] = {
    401: DeniedError,
    403: DeniedError,
    408: TransientError,
    429: TransientError,
}
_UNREACHED = (boto.ConnectTimeoutError, boto.EndpointConnectionError, boto.ProxyConnectionError)
_BROKEN = (boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError)
_FAULTS: Sequence[tuple[tuple[type[Exception], ...], type[TargetError]]] = (
    ((boto.ReadTimeoutError,), TargetTimeoutError),
    (_BROKEN, TransientError),
    (
        (
            boto.NoCredentialsError,
            boto.PartialCredentialsError,
            boto.CredentialRetrievalError,
            boto.TokenRetrievalError,
            boto.UnauthorizedSSOTokenError,
            boto.SSOTokenLoadError,
            boto.ProfileNotFound,
        ),
        DeniedError,
    ),
)


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API is and with which credential it is called. Without a profile or file it is the machine's own."""

    region: str
    endpoint_url: str | None
    profile: str | None
    config_file: Path | None
    credentials_file: Path | None
    timeout_s: float


class Deployment(NamedTuple):
    """One deployment of a service. `rollout` is IN_PROGRESS, COMPLETED or FAILED; empty where ECS does not make it."""

    id: str
    primary: bool
    release: str
    rollout: str
    reason: str


class Service(NamedTuple):
    """A service as ECS tells it. `release` is FAMILY:REVISION."""

    desired: int
    running: int
    pending: int
    release: str
    controller: str
    deployments: Sequence[Deployment]

    @property
    def current(self) -> Deployment:
        """The deployment that ECS works towards."""
        found = next((one for one in self.deployments if one.primary), None)
        return found or Deployment("", True, self.release, "", "")

    @property
    def settled(self) -> bool:
        """Whether its tasks are those that are wanted, no more and no less."""
        return self.running == self.desired and self.pending == 0

    @property
    def failed(self) -> str:
        """The ids of deployments that were given up, comma separated."""
        return ",".join(sorted(one.id for one in self.deployments if one.rollout == "FAILED"))


class EcsClient:
    """One region's ECS with one credential. Used from several threads."""

    def __init__(self, access: Access, connect: "Callable[[Access], ECSClient] | None" = None) -> None:
        self._access = access
        self._connect = connect or connected
        self._lock = threading.Lock()
        self._connected: ECSClient | None = None

    def service(self, cluster: str, name: str) -> Service:
        """One service. Raises `MissingError` for one that is not there or was deleted."""
        with self._calls() as ecs:
            found = ecs.describe_services(cluster=cluster, services=[name])["services"]
        if not found or found[0].get("status") != "ACTIVE":
            raise MissingError(f"the cluster `{cluster}` has no service `{name}`")
        return _service(found[0])

    def update(self, cluster: str, name: str, **wanted: Any) -> Service:
        """Changes a service: `desiredCount`, `taskDefinition` or `forceNewDeployment`."""
        with self._calls(writes=True) as ecs:
            return _service(ecs.update_service(cluster=cluster, service=name, **wanted)["service"])

    def check_release(self, release: str) -> None:
        """Raises `MissingError` unless the task definition is there and may be used."""
        try:
            with self._calls() as ecs:
                status = ecs.describe_task_definition(taskDefinition=release)["taskDefinition"].get("status")
        except PermanentError as error:
            raise MissingError(f"the task definition `{release}` cannot be used: {error}") from error
        if status != "ACTIVE":
            raise MissingError(f"the task definition `{release}` is {status}")

    def release_before(self, cluster: str, name: str, current: str) -> str:
        """The newest other release whose deployment succeeded; empty when ECS knows of none."""
        with self._calls() as ecs:
            listed = ecs.list_service_deployments(
                cluster=cluster, service=name, status=["SUCCESSFUL"], maxResults=HISTORY
            )["serviceDeployments"]
            if not listed:
                return ""
            newest = sorted(listed, key=lambda one: str(one["createdAt"]), reverse=True)
            wanted = list(dict.fromkeys(one["targetServiceRevisionArn"] for one in newest))
            revisions = ecs.describe_service_revisions(serviceRevisionArns=wanted)["serviceRevisions"]
        releases = {one["serviceRevisionArn"]: _release(one["taskDefinition"]) for one in revisions}
        return next((releases[arn] for arn in wanted if releases.get(arn, current) != current), "")

    @contextmanager
    def _calls(self, *, writes: bool = False) -> Iterator["ECSClient"]:
        try:
            with self._lock:
                if self._connected is None:
                    self._connected = self._connect(self._access)
            yield self._connected
        except boto.ClientError as error:
            raise _refusal(error, writes) from error
        except boto.BotoCoreError as error:
            kind = next((kind for types, kind in _FAULTS if isinstance(error, types)), PermanentError)
            if writes and isinstance(error, _BROKEN) and not isinstance(error, _UNREACHED):
                kind = TargetTimeoutError
            raise kind(f"ECS in {self._access.region}: {error}") from error


def connected(access: Access) -> "ECSClient":
    """A client of ECS with that credential and nobody else's."""
    session = botocore.session.Session()
    files = {"config_file": access.config_file, "credentials_file": access.credentials_file}
    for variable, path in files.items():
        if path is not None:
            session.set_config_variable(variable, str(path))
    # a profile that is named keeps the credentials of the environment out
    named = access.profile or ("default" if access.config_file or access.credentials_file else None)
    if named is not None:
        session.set_config_variable("profile", named)
    once = Config(
        connect_timeout=min(3.0, access.timeout_s),
        read_timeout=access.timeout_s,
        retries={"total_max_attempts": 1, "mode": "standard"},
    )
    made = boto3.Session(botocore_session=session, region_name=access.region)
    return made.client("ecs", endpoint_url=access.endpoint_url, config=once)


def _refusal(error: boto.ClientError, writes: bool) -> TargetError:
    told = error.response.get("Error", {})
    code, status = str(told.get("Code", "")), int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    broken = TargetTimeoutError if writes else TransientError
    kind = _CODES.get(code) or _STATUSES.get(status) or (broken if status >= 500 else PermanentError)
    return kind(f"{error.operation_name} is answered by {code}: {told.get('Message', '')}")


def _service(told: Any) -> Service:
    return Service(
        desired=int(told["desiredCount"]),
        running=int(told["runningCount"]),
        pending=int(told["pendingCount"]),
        release=_release(told["taskDefinition"]),
        controller=str(told.get("deploymentController", {}).get("type", "ECS")),
        deployments=tuple(_deployment(one) for one in told.get("deployments", [])),
    )


def _deployment(told: Any) -> Deployment:
    return Deployment(
        id=str(told["id"]),
        primary=told["status"] == "PRIMARY",
        release=_release(told["taskDefinition"]),
        rollout=str(told.get("rolloutState", "")),
        reason=str(told.get("rolloutStateReason", "")),
    )


def _release(arn: str) -> str:
    return arn.rpartition("/")[2]
