"""What is done to nodes: cordon, uncordon, and drain through the eviction API, which respects disruption budgets."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from autopilot.infra.effector.drivers.kubernetes_client import BudgetError, KubernetesClient
from autopilot.infra.effector.drivers.kubernetes_state import Object, is_evictable, node_state
from autopilot.infra.effector.port import (
    Applied,
    ConflictError,
    Difference,
    Observation,
    PartialError,
    PermanentError,
    TargetError,
    TargetTimeoutError,
)

POLL_S = 0.25
WRITE_TRIES = 5
_UNSCHEDULABLE: Final = "unschedulable"
_WANTED: Mapping[str, str] = {"cordon": "true", "uncordon": "false", "drain": "true"}


class Nodes:
    """See the module."""

    def __init__(self, client: KubernetesClient, *, deletes_local_data: bool) -> None:
        self._client = client
        self._deletes_local_data = deletes_local_data

    def observe(self, name: str) -> Observation:
        """A node's declared state."""
        return Observation(node_state(self._client.node(name), self._client.pods_on(name)))

    def diff(self, verb: str, name: str, state: Mapping[str, str]) -> Sequence[Difference]:
        """What an act would change, and whether the API server would take it."""
        found = []
        if state[_UNSCHEDULABLE] != _WANTED[verb]:
            self._set(name, _WANTED[verb], dry_run=True)
            found.append(Difference(_UNSCHEDULABLE, state[_UNSCHEDULABLE], _WANTED[verb]))
        if verb == "drain" and state["evictable"] != "0":
            self._check_evictable(self._evictable(name))
            found.append(Difference("evictable", state["evictable"], "0"))
        return found

    def apply(self, verb: str, name: str, timeout_s: float) -> Applied:
        """Does it; a drain waits until every pod that it evicts is gone."""
        deadline = time.monotonic() + timeout_s
        if verb == "drain":
            self._check_evictable(self._evictable(name))
        changed = self._set(name, _WANTED[verb])
        if verb == "drain":
            try:
                changed |= self._empty(name, deadline)
            except TargetTimeoutError:
                raise
            except TargetError as error:
                raise PartialError(f"`{name}` is cordoned and then: {error}") from error
        return Applied(changed, self.observe(name).state)

    def revert(self, name: str, before: Mapping[str, str], _timeout_s: float) -> Applied:
        """Whether pods may be scheduled there, as it was before. Those that were evicted run elsewhere by now."""
        return Applied(self._set(name, before[_UNSCHEDULABLE]), self.observe(name).state)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _set(self, name: str, value: str, *, dry_run: bool = False) -> bool:
        """Whether it was another; written anew when the node, which reports often, has written itself meanwhile."""
        for left in reversed(range(WRITE_TRIES)):
            node = self._client.node(name)
            if bool(node["spec"].get("unschedulable")) == (value == "true"):
                return False
            try:
                self._client.set_unschedulable(node, value == "true", dry_run=dry_run)
            except ConflictError:
                if not left:
                    raise
            else:
                return True
        raise AssertionError("the last try returns or raises")

    def _evictable(self, name: str) -> list[Object]:
        return [pod for pod in self._client.pods_on(name) if is_evictable(pod)]

    def _check_evictable(self, pods: Iterable[Object]) -> None:
        """Raises for what nothing would bring back: pods of their own, and data that live as long as their pod."""
        for pod in pods:
            name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            if not pod["metadata"].get("ownerReferences"):
                raise PermanentError(f"the pod `{name}` belongs to nothing that would start it elsewhere")
            local = any("emptyDir" in volume for volume in pod["spec"].get("volumes", []))
            if local and not self._deletes_local_data:
                raise PermanentError(f"the pod `{name}` keeps local data, and the settings do not allow to delete them")

    def _empty(self, name: str, deadline: float) -> bool:
        asked: set[str] = set()
        while pods := self._evictable(name):
            refused = ""
            for pod in (pod for pod in pods if pod["metadata"]["uid"] not in asked):
                try:
                    self._client.evict(pod)
                    asked.add(pod["metadata"]["uid"])
                except BudgetError as error:
                    refused = str(error)
            if time.monotonic() > deadline:
                raise TargetTimeoutError(
                    f"`{name}` is cordoned and {len(pods)} pods are still there. {refused}".strip()
                )
            time.sleep(POLL_S)
        return bool(asked)
