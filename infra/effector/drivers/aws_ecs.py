"""Services of Amazon ECS. A target is CLUSTER/SERVICE.

`scale`                convergent: `count` tasks are wanted, and run
`set_task_definition`  convergent: the service runs `task_definition` (FAMILY:REVISION), and its deployment is completed
`restart`              witnessed: a new deployment of the same task definition replaces every task; its id shows it

A deployment that ECS gives up and rolls back is a lasting failure, told once the service is at rest again; one that is
given up and left as it is was done in part. The API has no compare-and-set: another writer is noticed up to the moment
of the call, and what it writes within that moment is overwritten.

State keys: `desired`, `running`, `pending`, `min` and `max` (bounds of `count`), `release` (the task definition),
`previous_release` (the newest other one that was deployed with success), `deployment` (id), `rollout` (its state) and
`failed` (ids of deployments that ECS gave up and still tells of).
"""

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from autopilot.infra.effector.drivers.aws_ecs_client import Access, Deployment, EcsClient, Service
from autopilot.infra.effector.drivers.aws_ecs_rollout import COMPLETED, FAILED, Rollout
from autopilot.infra.effector.port import (
    Applied,
    ConflictError,
    CrashClass,
    Difference,
    Observation,
    PartialError,
    PermanentError,
    TargetError,
    TargetTimeoutError,
    TransientError,
    nothing_to_put_back,
)
from autopilot.schemas.events.planner import Action

if TYPE_CHECKING:
    from mypy_boto3_ecs import ECSClient

_TARGET = re.compile(r"[A-Za-z0-9_-]{1,255}/[A-Za-z0-9_-]{1,255}")
_RELEASE = re.compile(r"([A-Za-z0-9_-]{1,255}):([1-9][0-9]{0,9})")


class ServiceBounds(BaseModel):
    """What may be done to one service: `min` to `max` tasks, and revisions of the task definitions in `families`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min: int = Field(default=1, ge=0)
    max: int = Field(ge=1)
    families: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _are_in_order(self) -> "ServiceBounds":
        if self.min > self.max:
            raise ValueError(f"`min` is {self.min}, expected at most `max`, which is {self.max}")
        return self


class AwsEcsSettings(BaseModel):
    """Which services, within which bounds, and with which credential.

    Only what `services` names (CLUSTER/SERVICE) is touched. `profile` is one of `config_file` and `credentials_file`
    (by default those of the user) and may assume a role; without any of the three the machine's own role is taken.
    `timeout_s` bounds one call of the API.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "aws_ecs"
    region: str
    services: dict[str, ServiceBounds] = Field(min_length=1)
    profile: str | None = None
    config_file: Path | None = None
    credentials_file: Path | None = None
    endpoint_url: str | None = None
    timeout_s: float = Field(default=10.0, gt=0)
    poll_s: float = Field(default=1.0, gt=0)

    @field_validator("services")
    @classmethod
    def _are_targets(cls, services: dict[str, ServiceBounds]) -> dict[str, ServiceBounds]:
        odd = [target for target in services if not _TARGET.fullmatch(target)]
        if odd:
            raise ValueError(f"`{odd[0]}` is not CLUSTER/SERVICE")
        return services


class AwsEcsDriver:
    """See the module. `connect` makes the client of ECS."""

    verbs: Mapping[str, CrashClass] = {
        "scale": CrashClass.CONVERGENT,
        "set_task_definition": CrashClass.CONVERGENT,
        "restart": CrashClass.WITNESSED,
    }
    reverts: ClassVar[frozenset[str]] = frozenset({"scale", "set_task_definition"})

    def __init__(self, settings: AwsEcsSettings, connect: "Callable[[Access], ECSClient] | None" = None) -> None:
        self.name = settings.name
        self._settings = settings
        access = Access(
            region=settings.region,
            endpoint_url=settings.endpoint_url,
            profile=settings.profile,
            config_file=settings.config_file,
            credentials_file=settings.credentials_file,
            timeout_s=settings.timeout_s,
        )
        self._client = EcsClient(access, connect)
        self._before: dict[tuple[str, Deployment], str] = {}

    def observe(self, target: str) -> Observation:
        """See `Driver.observe`."""
        return self._observation(target, self._service(target))

    def diff(self, action: Action, observation: Observation) -> list[Difference]:
        """See `Driver.diff`."""
        return self._differences[action.verb](self, action, observation.state)

    def apply(self, action: Action, observation: Observation, _key: str, timeout_s: float, /) -> Applied:
        """See `Driver.apply`."""
        return self._acts[action.verb](self, action, observation.state, time.monotonic() + timeout_s)

    def happened(self, action: Action, before: Mapping[str, str], observation: Observation) -> bool | None:
        """See `Driver.happened`: whether the deployment is another one than before, and is completed."""
        self._bounds(action.target)
        now = observation.state
        if now["release"] != before.get("release") or _new(now["failed"], before):
            return None
        at_rest = now["rollout"] == COMPLETED and now["running"] == now["desired"] and now["pending"] == "0"
        return now["deployment"] != before.get("deployment") and at_rest

    def revert(self, action: Action, before: Mapping[str, str], _key: str, timeout_s: float, /) -> Applied:
        """See `Driver.revert`. What was there before is put back also where it is out of the bounds."""
        deadline = time.monotonic() + timeout_s
        if action.verb == "scale":
            count = self._count(action)
            return self._set_count(action.target, int(_recorded(before, "desired")), str(count), deadline)
        if action.verb == "set_task_definition":
            release = self._wanted_release(action)
            return self._set_release(action.target, _recorded(before, "release"), release, deadline)
        raise nothing_to_put_back(action)

    # -- scale -------------------------------------------------------------------------------------------------------

    def _scale_diff(self, action: Action, state: Mapping[str, str]) -> list[Difference]:
        count = str(self._count(action))
        return [Difference(key, state[key], count) for key in ("desired", "running") if state[key] != count]

    def _scale(self, action: Action, before: Mapping[str, str], deadline: float) -> Applied:
        return self._set_count(action.target, self._count(action), before.get("desired"), deadline)

    def _set_count(self, target: str, count: int, begun_at: str | None, deadline: float) -> Applied:
        service = self._service(target)
        _check_unmoved("desired", str(service.desired), str(count), begun_at)
        changed = service.desired != count
        if changed:
            self._update(target, desiredCount=count)
        waited, service = self._await(target, changed, deadline, lambda now: now.desired == count and now.settled)
        return Applied(changed or waited, self._observation(target, service).state)

    def _count(self, action: Action) -> int:
        bounds = self._bounds(action.target)
        text = action.parameters.get("count", "")
        if not (text.isascii() and text.isdecimal()):
            raise PermanentError(f"`count` is `{text}`, expected a whole number")
        if not bounds.min <= int(text) <= bounds.max:
            raise PermanentError(f"`count` is {text}, which is out of the bounds {bounds.min} to {bounds.max}")
        return int(text)

    # -- set_task_definition -----------------------------------------------------------------------------------------

    def _release_diff(self, action: Action, state: Mapping[str, str]) -> list[Difference]:
        release = self._wanted_release(action)
        self._client.check_release(release)
        if state["release"] != release:
            return [Difference("release", state["release"], release)]
        return [Difference("rollout", state["rollout"], COMPLETED)] if state["rollout"] != COMPLETED else []

    def _set_task_definition(self, action: Action, before: Mapping[str, str], deadline: float) -> Applied:
        return self._set_release(action.target, self._wanted_release(action), before.get("release"), deadline)

    def _set_release(self, target: str, release: str, begun_at: str | None, deadline: float) -> Applied:
        service = self._deployable(target)
        _check_unmoved("release", service.release, release, begun_at)
        self._client.check_release(release)
        given_up = service.release == release and service.current.rollout == FAILED
        changed = service.release != release or given_up
        if changed:
            service = self._update(target, taskDefinition=release, forceNewDeployment=given_up)
        return self._await_rollout(target, service, changed, deadline)

    def _wanted_release(self, action: Action) -> str:
        text = action.parameters.get("task_definition", "")
        match = _RELEASE.fullmatch(text)
        if match is None:
            raise PermanentError(f"`task_definition` is `{text}`, expected FAMILY:REVISION")
        families = self._bounds(action.target).families
        if match[1] not in families:
            allowed = ", ".join(families) or "none"
            raise PermanentError(f"`task_definition` is `{text}`, allowed are revisions of: {allowed}")
        return text

    # -- restart -----------------------------------------------------------------------------------------------------

    def _restart_diff(self, action: Action, state: Mapping[str, str]) -> list[Difference]:
        self._bounds(action.target)
        return [Difference("deployment", state["deployment"], "another deployment")]

    def _restart(self, action: Action, before: Mapping[str, str], deadline: float) -> Applied:
        service = self._deployable(action.target)
        _check_unmoved("release", service.release, before.get("release", service.release), "")
        is_old = service.current.id == before.get("deployment", service.current.id)
        force = is_old or bool(_new(service.failed, before))
        if force:
            service = self._update(action.target, forceNewDeployment=True)
        return self._await_rollout(action.target, service, force, deadline)

    # -- deployments -------------------------------------------------------------------------------------------------

    def _deployable(self, target: str) -> Service:
        service = self._service(target)
        if service.controller != "ECS":
            raise PermanentError(f"deployments of `{target}` are made by {service.controller}, not by ECS")
        return service

    def _await_rollout(self, target: str, service: Service, changed: bool, deadline: float) -> Applied:
        rollout = Rollout(service)
        waited, now = self._await(target, changed, deadline, rollout.is_over)
        if not rollout.is_completed(now):
            reason = rollout.reason(now)
            if rollout.is_left_as_it_is(now):
                raise PartialError(f"the deployment of `{target}` was given up and not rolled back: {reason}")
            if rollout.is_superseded(now):
                raise ConflictError(f"the deployment of `{target}` gave way to one of {now.release}")
            self._await(target, changed, deadline, lambda again: again.current.rollout == COMPLETED and again.settled)
            raise PermanentError(f"the deployment of `{target}` failed and was rolled back to {now.release}: {reason}")
        return Applied(changed or waited, self._observation(target, now).state)

    # -- the service -------------------------------------------------------------------------------------------------

    def _bounds(self, target: str) -> ServiceBounds:
        bounds = self._settings.services.get(target)
        if bounds is None:
            known = ", ".join(sorted(self._settings.services))
            raise PermanentError(f"`target` is `{target}`, allowed are: {known}")
        return bounds

    def _service(self, target: str) -> Service:
        self._bounds(target)
        cluster, _, name = target.partition("/")
        return self._client.service(cluster, name)

    def _update(self, target: str, **wanted: str | int | bool) -> Service:
        cluster, _, name = target.partition("/")
        return self._client.update(cluster, name, **wanted)

    def _observation(self, target: str, service: Service) -> Observation:
        bounds, current = self._bounds(target), service.current
        state = {
            "desired": str(service.desired),
            "running": str(service.running),
            "pending": str(service.pending),
            "min": str(bounds.min),
            "max": str(bounds.max),
            "release": service.release,
            "previous_release": self._release_before(target, current),
            "deployment": current.id,
            "rollout": current.rollout,
            "failed": service.failed,
        }
        return Observation(state, revision=current.id)

    def _release_before(self, target: str, current: Deployment) -> str:
        """Asked for once for each deployment and state of it: history is what changes least."""
        if (target, current) not in self._before:
            cluster, _, name = target.partition("/")
            found = self._client.release_before(cluster, name, current.release)
            kept = {known: release for known, release in self._before.items() if known[0] != target}
            self._before = {**kept, (target, current): found}
        return self._before[target, current]

    def _await(
        self, target: str, changed: bool, deadline: float, reached: Callable[[Service], bool]
    ) -> tuple[bool, Service]:
        """Whether there was anything to wait for, and the service as it is then."""
        waited = False
        while True:
            service = self._look(target, changed)
            if service is not None and reached(service):
                return waited, service
            waited = True
            if time.monotonic() > deadline:
                raise TargetTimeoutError(f"`{target}` is not as wanted in time: {_told(service)}")
            time.sleep(self._settings.poll_s)

    def _look(self, target: str, changed: bool) -> Service | None:
        """The service; None when it could not be read this time, which ends no wait."""
        try:
            return self._service(target)
        except (TransientError, TargetTimeoutError):
            return None
        except TargetError as error:
            if changed:
                raise PartialError(f"`{target}` was changed, and then: {error}") from error
            raise

    _differences: ClassVar[Mapping[str, Callable[["AwsEcsDriver", Action, Mapping[str, str]], list[Difference]]]] = {
        "scale": _scale_diff,
        "set_task_definition": _release_diff,
        "restart": _restart_diff,
    }
    _acts: ClassVar[Mapping[str, Callable[["AwsEcsDriver", Action, Mapping[str, str], float], Applied]]] = {
        "scale": _scale,
        "set_task_definition": _set_task_definition,
        "restart": _restart,
    }


def _recorded(before: Mapping[str, str], key: str) -> str:
    if not before.get(key):
        raise PermanentError(f"the state before does not tell `{key}`")
    return before[key]


def _check_unmoved(key: str, now: str, wanted: str, begun_at: str | None) -> None:
    if now != wanted and begun_at is not None and now != begun_at:
        raise ConflictError(f"`{key}` was set to {now} by another writer")


def _new(failed: str, before: Mapping[str, str]) -> set[str]:
    """Deployments that were given up since `before`."""
    return set(filter(None, failed.split(","))) - set(before.get("failed", "").split(","))


def _told(service: Service | None) -> str:
    if service is None:
        return "it cannot be read"
    rollout = f"{service.current.rollout} {service.current.reason}".strip()
    return f"{service.running} of {service.desired} tasks run, {service.pending} are pending, {rollout}"
