"""What is done to deployments: each act states one field of one deployment and waits for its rollout."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from autopilot.infra.effector.drivers.kubernetes_client import FieldsTakenError, KubernetesClient
from autopilot.infra.effector.drivers.kubernetes_state import (
    COMPLETE,
    RESTART_KEY,
    STUCK,
    Object,
    bytes_of,
    complaints_of,
    container_of,
    deployment_state,
    hash_of,
    is_seen,
    progress_of,
    restart_key_of,
    revisions_in,
    rollout_of,
    template_of,
)
from autopilot.infra.effector.port import (
    Applied,
    ConflictError,
    Difference,
    MissingError,
    Observation,
    PartialError,
    PermanentError,
    TargetError,
    TargetTimeoutError,
    TransientError,
    nothing_to_put_back,
)
from autopilot.schemas.events.planner import Action

POLL_S = 0.1
SEEN_WITHIN_S = 2.0
"""How long the deployment's controller is given to see a change before an observation is taken as it is."""
WRITE_TRIES = 5
"""Others write a deployment's status all the time, so that a write may have to be repeated as read anew."""
_PREVIEW_KEY = "preview"


class Place(NamedTuple):
    """A deployment, and the bounds of its replicas."""

    namespace: str
    name: str
    least: int
    most: int

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Wanted:
    """The value that a field of the declared state shall have. `hash` is that of a whole template instead of a spec."""

    concern: str
    field: str
    value: str
    spec: Callable[[Object], Object] | None = None

    def is_in(self, state: Mapping[str, str]) -> bool:
        """Whether a state has it."""
        return self.equals(state.get(self.field, ""))

    def equals(self, text: str) -> bool:
        """Whether a text means the same value: a quantity can be written in several ways."""
        if self.field != "memory_limit" or not text or not self.value:
            return text == self.value
        return bytes_of(text) == bytes_of(self.value)


class Deployments:
    """See the module."""

    def __init__(self, client: KubernetesClient, field_manager: str, takes_over_from: frozenset[str]) -> None:
        self._client = client
        self._manager = field_manager
        self._takes_over_from = takes_over_from

    def observe(self, place: Place) -> Observation:
        """A deployment's declared state; its revision is its generation."""
        deadline = time.monotonic() + SEEN_WITHIN_S
        deployment = self._client.deployment(place.namespace, place.name)
        while not is_seen(deployment) and time.monotonic() < deadline:
            time.sleep(POLL_S)
            deployment = self._client.deployment(place.namespace, place.name)
        state = deployment_state(deployment, self._client.replica_sets(deployment), place.least, place.most)
        return Observation(state, str(deployment["metadata"]["generation"]))

    def diff(self, action: Action, place: Place, state: Mapping[str, str]) -> Sequence[Difference]:
        """What an act would change, and whether the API server would take it."""
        wanted = _WANTED[action.verb](action, state, _PREVIEW_KEY)
        found = [] if wanted.is_in(state) else [Difference(wanted.field, state[wanted.field], wanted.value)]
        if found:
            with suppress(ConflictError, TransientError, TargetTimeoutError):
                self._write(self._client.deployment(place.namespace, place.name), wanted, dry_run=True)
        elif state["rollout"] != COMPLETE:
            found.append(Difference("rollout", state["rollout"], COMPLETE))
        return found

    def apply(self, action: Action, place: Place, before: Mapping[str, str], key: str, timeout_s: float) -> Applied:
        """Brings the field to its value and waits until that is rolled out."""
        wanted = _WANTED[action.verb](action, before, key)
        return self._bring(place, wanted, before.get(wanted.field), timeout_s)

    def revert(self, action: Action, place: Place, before: Mapping[str, str], timeout_s: float) -> Applied:
        """Brings the field back to the value that it had before."""
        if action.verb not in _BEFORE:
            raise nothing_to_put_back(action)
        forward = _WANTED[action.verb](action, before, "")
        return self._bring(place, _BEFORE[action.verb](before), forward.value, timeout_s)

    @staticmethod
    def rolled_back(action: Action, before: Mapping[str, str], state: Mapping[str, str]) -> bool:
        """Whether a roll back that was begun in state `before` is done."""
        return _rollback(action, before, "").is_in(state) and state["rollout"] == COMPLETE

    def restarted_under(self, place: Place, key: str) -> Applied | None:
        """What a restart did: None when no template bears its key, or the one that does is not rolled out yet."""
        observation = self.observe(place)
        if observation.state["restart_key"] == key:
            done = observation.state["rollout"] == COMPLETE
        else:
            deployment = self._client.deployment(place.namespace, place.name)
            done = any(restart_key_of(template_of(one)) == key for one in self._client.replica_sets(deployment))
        return Applied(changed=True, after=observation.state) if done else None

    # -- inside ------------------------------------------------------------------------------------------------------

    def _bring(self, place: Place, wanted: Wanted, expected: str | None, timeout_s: float) -> Applied:
        deadline = time.monotonic() + timeout_s
        before = self._settle(place, wanted, expected)
        try:
            self._await_rollout(place, before, deadline)
            return Applied(before is not None, self.observe(place).state)
        except TargetTimeoutError:
            raise
        except TargetError as error:
            if before is None:
                raise
            raise PartialError(f"it was written and then: {error}") from error

    def _settle(self, place: Place, wanted: Wanted, expected: str | None) -> Object | None:
        """Writes the value unless it is there. Gives the deployment as it was before, None when nothing was written."""
        for left in reversed(range(WRITE_TRIES)):
            state = self.observe(place).state
            deployment = self._client.deployment(place.namespace, place.name)
            now = state[wanted.field]
            if wanted.equals(now):
                return None
            if expected is not None and now != expected and wanted.field != "restart_key":
                raise ConflictError(f"`{wanted.field}` of {place} was set to `{now}` by someone else")
            try:
                self._write(deployment, wanted)
            except FieldsTakenError:
                raise
            except ConflictError:
                if not left:
                    raise
            else:
                return deployment
        raise AssertionError("the last try returns or raises")

    def _write(self, deployment: Object, wanted: Wanted, *, dry_run: bool = False) -> None:
        if wanted.spec is None:
            template = self._template(deployment, wanted.value)
            self._client.replace_template(deployment, template, wanted.concern, dry_run=dry_run)
            return
        spec = wanted.spec(deployment)
        try:
            self._client.apply(deployment, spec, wanted.concern, dry_run=dry_run)
        except FieldsTakenError as error:
            ours = {manager for manager in error.managers if manager.startswith(f"{self._manager}-")}
            if error.managers - ours - self._takes_over_from:
                raise
            self._client.apply(deployment, spec, wanted.concern, force=True, dry_run=dry_run)

    def _template(self, deployment: Object, wanted_hash: str) -> Object:
        for one in self._client.replica_sets(deployment):
            if hash_of(one) == wanted_hash:
                return template_of(one)
        raise MissingError(f"the deployment keeps no revision with the template `{wanted_hash}`")

    def _await_rollout(self, place: Place, before: Object | None, deadline: float) -> None:
        """Waits until the rollout is complete. A condition that was there before the write tells nothing of it."""
        stale = progress_of(before) if before is not None else {}
        while True:
            try:
                deployment = self._client.deployment(place.namespace, place.name)
            except (TransientError, TargetTimeoutError):
                if time.monotonic() > deadline:
                    raise
            else:
                rollout = rollout_of(deployment)
                if rollout == COMPLETE:
                    return
                if rollout == STUCK and progress_of(deployment) != stale:
                    raise PermanentError(
                        f"the rollout of {place} exceeded its progress deadline: {self._why(deployment)}"
                    )
                if time.monotonic() > deadline:
                    raise TargetTimeoutError(f"the rollout of {place} did not end in time: {self._why(deployment)}")
            time.sleep(POLL_S)

    def _why(self, deployment: Object) -> str:
        status = deployment.get("status", {})
        counted = f"{status.get('availableReplicas', 0)} of {deployment['spec'].get('replicas', 1)} pods are available"
        with suppress(TargetError):
            complaints = complaints_of(self._client.pods(deployment))
            return f"{counted} ({complaints})" if complaints else counted
        return counted


# -- what each verb wants --------------------------------------------------------------------------------------------


def _container(deployment: Object, fields: Object) -> Object:
    name = container_of(deployment["spec"]["template"])["name"]
    return {"template": {"spec": {"containers": [{"name": name, **fields}]}}}


def _replicas(count: str) -> Wanted:
    return Wanted("scale", "desired", count, lambda _: {"replicas": int(count)})


def _image(image: str) -> Wanted:
    return Wanted("image", "release", image, lambda deployment: _container(deployment, {"image": image}))


def _memory(memory: str) -> Wanted:
    """Without a memory limit our field manager leaves the field out, by which it is taken away."""
    fields = {"resources": {"limits": {"memory": memory}}} if memory else {}
    return Wanted("limit", "memory_limit", memory, lambda deployment: _container(deployment, fields))


def _restart(_action: Action, _before: Mapping[str, str], key: str) -> Wanted:
    spec = {"template": {"metadata": {"annotations": {RESTART_KEY: key}}}}
    return Wanted("restart", "restart_key", key, lambda _: spec)


def _rollback(action: Action, before: Mapping[str, str], _key: str) -> Wanted:
    known = revisions_in(before)
    revision = action.parameters.get("revision") or before.get("previous_revision", "")
    if before and revision not in known:
        raise PermanentError(f"`revision` is `{revision}`, expected one of {', '.join(known) or 'none, there is one'}")
    return Wanted("rollback", "template", known.get(revision, ""))


_WANTED: Mapping[str, Callable[[Action, Mapping[str, str], str], Wanted]] = {
    "scale": lambda action, _before, _key: _replicas(action.parameters["count"]),
    "set_image": lambda action, _before, _key: _image(action.parameters["image"]),
    "set_limit": lambda action, _before, _key: _memory(action.parameters["memory"]),
    "restart": _restart,
    "rollback": _rollback,
}
_BEFORE: Mapping[str, Callable[[Mapping[str, str]], Wanted]] = {
    "scale": lambda before: _replicas(before["desired"]),
    "set_image": lambda before: _image(before["release"]),
    "set_limit": lambda before: _memory(before["memory_limit"]),
    "rollback": lambda before: Wanted("rollback", "template", before["template"]),
}
