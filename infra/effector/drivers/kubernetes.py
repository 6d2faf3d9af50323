"""Deployments and nodes of a Kubernetes cluster. A target is `NAMESPACE/DEPLOYMENT` or `node/NAME`.

Deployments (each is done once the rollout is complete):

`scale`      convergent: `count` replicas
`restart`    keyed: new pods one after another; the pod template keeps our key, and so does its replica set later on
`set_image`  convergent: the container runs `image`
`set_limit`  convergent: the container may use `memory`, such as `64Mi`
`rollback`   witnessed: the pod template of `revision`, or of the one before; the template's hash shows it

Nodes: `cordon`, `uncordon` and `drain` (cordons, then evicts what runs there as disruption budgets allow), convergent.

Fields are changed by server-side apply, with a field manager for each concern, and only as they were last read. Those
of another manager are a conflict, unless the settings name it among those that they may be taken from.

State keys of a deployment: `release` (image), `previous_release`, `desired`, `running` (ready pods), `unavailable`,
`min`, `max`, `rollout` (`complete`, `progressing`, `stuck`), `revision`, `previous_revision`, `revisions`
(`NUMBER=HASH,...`), `template` (hash of the current one), `memory_limit`, `memory_limit_mib`,
`previous_memory_limit_mib`, `restart_key`. Of a node: `unschedulable`, `ready`, `evictable` (pods).
"""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from autopilot.infra.effector.drivers.kubernetes_client import KubernetesClient
from autopilot.infra.effector.drivers.kubernetes_deployments import Deployments, Place
from autopilot.infra.effector.drivers.kubernetes_nodes import Nodes
from autopilot.infra.effector.drivers.kubernetes_state import MIB, bytes_of
from autopilot.infra.effector.port import Applied, CrashClass, Difference, Observation, PermanentError
from autopilot.schemas.events.planner import Action

NODE = "node/"
_NODE_VERBS = frozenset({"cordon", "uncordon", "drain"})


class KubernetesSettings(BaseModel):
    """How to reach a cluster and what may be done there. What is not named may not be touched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "kubernetes"
    kubeconfig: Path | None = Field(default=None, description="without one: the service account of the pod")
    context: str = Field(default="", description="of the kubeconfig; its current one if empty")
    namespaces: tuple[str, ...] = Field(default=(), description="namespaces whose deployments may be changed")
    nodes: tuple[str, ...] = Field(default=(), description="nodes that may be drained; `*` stands for any characters")
    images: tuple[str, ...] = Field(default=(), description="how the name of an image that may be set begins")
    min_replicas: int = Field(default=1, ge=0)
    max_replicas: int = Field(default=10, ge=1)
    max_replicas_of: dict[str, int] = Field(default={}, description="by target, instead of `max_replicas`")
    max_memory_mib: int = Field(default=1024, ge=1, description="highest memory limit that may be set")
    drain_deletes_local_data: bool = Field(default=False, description="whether pods with an emptyDir may be evicted")
    field_manager: str = Field(default="autopilot", min_length=1, max_length=100)
    takes_over_from: frozenset[str] = Field(
        default=frozenset(), description="field managers whose fields may be taken, such as `kubectl` or `helm`"
    )

    @model_validator(mode="after")
    def _are_in_order(self) -> Self:
        for name, most in {"max_replicas": self.max_replicas, **self.max_replicas_of}.items():
            if self.min_replicas > most:
                raise ValueError(
                    f"`min_replicas` is {self.min_replicas}, expected at most {most}, the most of `{name}`"
                )
        return self


class KubernetesDriver:
    """See the module."""

    verbs: Mapping[str, CrashClass] = {
        "scale": CrashClass.CONVERGENT,
        "restart": CrashClass.KEYED,
        "set_image": CrashClass.CONVERGENT,
        "set_limit": CrashClass.CONVERGENT,
        "rollback": CrashClass.WITNESSED,
        "cordon": CrashClass.CONVERGENT,
        "uncordon": CrashClass.CONVERGENT,
        "drain": CrashClass.CONVERGENT,
    }
    reverts = frozenset(verbs) - {"restart"}

    def __init__(self, settings: KubernetesSettings) -> None:
        self.name = settings.name
        self._settings = settings
        client = KubernetesClient(settings.kubeconfig, settings.context, settings.field_manager)
        self._deployments = Deployments(client, settings.field_manager, settings.takes_over_from)
        self._nodes = Nodes(client, deletes_local_data=settings.drain_deletes_local_data)

    def observe(self, target: str) -> Observation:
        """See `Driver.observe`."""
        if target.startswith(NODE):
            return self._nodes.observe(self._node(target))
        return self._deployments.observe(self._place(target))

    def diff(self, action: Action, observation: Observation) -> Sequence[Difference]:
        """See `Driver.diff`. The API server is asked too, by a dry run, whether it would take the change."""
        if self._is_of_node(action):
            return self._nodes.diff(action.verb, self._node(action.target), observation.state)
        self._check(action)
        return self._deployments.diff(action, self._place(action.target), observation.state)

    def apply(self, action: Action, observation: Observation, key: str, timeout_s: float, /) -> Applied:
        """See `Driver.apply`."""
        if self._is_of_node(action):
            return self._nodes.apply(action.verb, self._node(action.target), timeout_s)
        self._check(action)
        return self._deployments.apply(action, self._place(action.target), observation.state, key, timeout_s)

    def revert(self, action: Action, before: Mapping[str, str], _key: str, timeout_s: float, /) -> Applied:
        """See `Driver.revert`."""
        if self._is_of_node(action):
            return self._nodes.revert(self._node(action.target), before, timeout_s)
        return self._deployments.revert(action, self._place(action.target), before, timeout_s)

    def happened(self, action: Action, before: Mapping[str, str], observation: Observation) -> bool | None:
        """See `Driver.happened`."""
        return self._deployments.rolled_back(action, before, observation.state)

    def done_under(self, action: Action, key: str) -> Applied | None:
        """See `KeyedDriver.done_under`: a restart is done once a template bears its key and was rolled out."""
        return self._deployments.restarted_under(self._place(action.target), key)

    # -- bounds ------------------------------------------------------------------------------------------------------

    @staticmethod
    def _is_of_node(action: Action) -> bool:
        if action.target.startswith(NODE) != (action.verb in _NODE_VERBS):
            raise PermanentError(f"`{action.verb}` cannot be done to `{action.target}`")
        return action.verb in _NODE_VERBS

    def _place(self, target: str) -> Place:
        namespace, _, name = target.partition("/")
        if not namespace or not name or "/" in name:
            raise PermanentError(f"the target is `{target}`, expected `NAMESPACE/DEPLOYMENT` or `node/NAME`")
        if namespace not in self._settings.namespaces:
            raise PermanentError(f"the namespace `{namespace}` is not among {list(self._settings.namespaces)}")
        most = self._settings.max_replicas_of.get(target, self._settings.max_replicas)
        return Place(namespace, name, self._settings.min_replicas, most)

    def _node(self, target: str) -> str:
        name = target.removeprefix(NODE)
        if not any(fnmatchcase(name, pattern) for pattern in self._settings.nodes):
            raise PermanentError(f"the node `{name}` is not among {list(self._settings.nodes)}")
        return name

    def _check(self, action: Action) -> None:
        """Holds the parameters of an act against the bounds."""
        check = self._checks.get(action.verb)
        if check is not None:
            check(self, action)

    def _check_count(self, action: Action) -> None:
        place = self._place(action.target)
        count = _parameter(action, "count")
        if not (count.isascii() and count.isdigit()):
            raise PermanentError(f"`count` is `{count}`, expected a whole number")
        if not place.least <= int(count) <= place.most:
            raise PermanentError(f"`count` is {count}, which is out of the bounds {place.least} to {place.most}")

    def _check_image(self, action: Action) -> None:
        image = _parameter(action, "image")
        if not any(image.startswith(prefix) for prefix in self._settings.images):
            raise PermanentError(f"`image` is `{image}`, expected one that begins with {list(self._settings.images)}")

    def _check_memory(self, action: Action) -> None:
        memory = _parameter(action, "memory")
        size = bytes_of(memory)
        if size is None:
            raise PermanentError(f"`memory` is `{memory}`, expected a quantity such as `64Mi`")
        if not 0 < size <= self._settings.max_memory_mib * MIB:
            raise PermanentError(f"`memory` is {memory}, which is out of the bound {self._settings.max_memory_mib}Mi")

    _checks: ClassVar[Mapping[str, Callable[["KubernetesDriver", Action], None]]] = {
        "scale": _check_count,
        "set_image": _check_image,
        "set_limit": _check_memory,
    }


def _parameter(action: Action, name: str) -> str:
    return action.parameters.get(name, "")
