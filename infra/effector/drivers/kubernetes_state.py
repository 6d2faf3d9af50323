"""What deployments, replica sets and nodes say of themselves, as the driver's declared state. Nothing is asked."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Object = dict[str, Any]

RESTART_KEY = "autopilot/restart-key"
"""Annotation of a pod template: the idempotency key of the restart that put it there."""
REVISION = "deployment.kubernetes.io/revision"
TEMPLATE_HASH = "pod-template-hash"
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
MIRROR = "kubernetes.io/config.mirror"
MIB = 1024 * 1024
BEING_STARTED = frozenset({"ContainerCreating", "PodInitializing"})
"""Why a container waits of which nothing is wrong yet."""
COMPLETE, PROGRESSING, STUCK = "complete", "progressing", "stuck"
DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"

_UNITS: Mapping[str, int] = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip


def bytes_of(quantity: str) -> int | None:
    """A quantity of memory in bytes: `64Mi`, `1G`, `1048576`; None for what is no whole number of a known unit."""
    digits = quantity.rstrip("kKMGTi")
    unit = _UNITS.get(quantity[len(digits) :])
    return int(digits) * unit if digits.isascii() and digits.isdigit() and unit is not None else None


def container_of(template: Object) -> Object:
    """The container that an image or a limit is about: the default container where one is named, else the first."""
    containers: Sequence[Object] = template["spec"]["containers"]
    wanted = (template.get("metadata", {}).get("annotations") or {}).get(DEFAULT_CONTAINER)
    return next((one for one in containers if one["name"] == wanted), containers[0])


def image_of(template: Object) -> str:
    """The image of that container."""
    return str(container_of(template)["image"])


def memory_limit_of(template: Object) -> str:
    """Its memory limit as it is written; empty without one."""
    return str((container_of(template).get("resources") or {}).get("limits", {}).get("memory", ""))


def restart_key_of(template: Object) -> str:
    """The key of the restart that made the template; empty without one."""
    return str((template.get("metadata", {}).get("annotations") or {}).get(RESTART_KEY, ""))


def revision_of(thing: Object) -> int:
    """The revision of a deployment or a replica set; 0 before it has one."""
    return int((thing["metadata"].get("annotations") or {}).get(REVISION, "0"))


def hash_of(replica_set: Object) -> str:
    """The template hash of a replica set: the same template has the same hash, whatever its revision is."""
    return str(replica_set["metadata"]["labels"].get(TEMPLATE_HASH, ""))


def template_of(replica_set: Object) -> Object:
    """A replica set's pod template as a deployment has it: without the hash."""
    template: Object = replica_set["spec"]["template"]
    meta = template.get("metadata", {})
    labels = {name: value for name, value in meta.get("labels", {}).items() if name != TEMPLATE_HASH}
    return {**template, "metadata": {**meta, "labels": labels}}


def is_seen(deployment: Object) -> bool:
    """Whether the deployment's controller has seen its latest change, so that its status is about that."""
    return bool(deployment.get("status", {}).get("observedGeneration", 0) >= deployment["metadata"]["generation"])


def progress_of(deployment: Object) -> Object:
    """The condition that tells of progress; empty before there is one."""
    conditions: Sequence[Object] = deployment.get("status", {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == "Progressing"), {})


def rollout_of(deployment: Object) -> str:
    """How far the latest rollout is: `complete`, `progressing` or `stuck`."""
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")]
    if is_seen(deployment) and counts == [wanted] * len(counts):
        return COMPLETE
    stuck = is_seen(deployment) and progress_of(deployment).get("reason") == DEADLINE_EXCEEDED
    return STUCK if stuck else PROGRESSING


def deployment_state(deployment: Object, replica_sets: Sequence[Object], least: int, most: int) -> dict[str, str]:
    """The declared state of a deployment; `least` and `most` bound its replicas."""
    template, status = deployment["spec"]["template"], deployment.get("status", {})
    older = sorted((one for one in replica_sets if revision_of(one)), key=revision_of, reverse=True)
    newest_first = [template_of(one) for one in older]
    limit = memory_limit_of(template)
    return {
        "release": image_of(template),
        "previous_release": _other(image_of(template), [image_of(one) for one in newest_first]),
        "desired": str(deployment["spec"].get("replicas", 1)),
        "running": str(status.get("readyReplicas", 0)),
        "unavailable": str(status.get("unavailableReplicas", 0)),
        "min": str(least),
        "max": str(most),
        "rollout": rollout_of(deployment),
        "revision": str(revision_of(deployment)),
        "previous_revision": next((str(revision_of(o)) for o in older if revision_of(o) < revision_of(deployment)), ""),
        "revisions": ",".join(f"{revision_of(one)}={hash_of(one)}" for one in reversed(older)),
        "template": next((hash_of(one) for one in older if revision_of(one) == revision_of(deployment)), ""),
        "memory_limit": limit,
        "memory_limit_mib": _mib(limit),
        "previous_memory_limit_mib": _mib(_other(limit, [memory_limit_of(one) for one in newest_first])),
        "restart_key": restart_key_of(template),
    }


def revisions_in(state: Mapping[str, str]) -> dict[str, str]:
    """Template hash by revision, in a recorded state."""
    return dict(entry.split("=") for entry in state.get("revisions", "").split(",") if entry)


def complaints_of(pods: Sequence[Object]) -> str:
    """What the pods that are not ready say of it, such as `CrashLoopBackOff` or `OOMKilled`; empty without any."""
    reasons: dict[str, None] = {}
    for pod in pods:
        for one in _containers_of(pod):
            if not one.get("ready"):
                ended = (one.get("state", {}).get("terminated") or one.get("lastState", {}).get("terminated")) or {}
                reasons |= dict.fromkeys(reason for reason in (_waits(one), ended.get("reason", "")) if reason)
    return ", ".join(reasons)


def cannot_start(pod: Object) -> bool:
    """Whether a container of the pod waits since it cannot be started: `ImagePullBackOff`, `CrashLoopBackOff`, ..."""
    return any(_waits(one) and _waits(one) not in BEING_STARTED for one in _containers_of(pod))


def _containers_of(pod: Object) -> Sequence[Object]:
    """What is known of the pod's containers; of those first that have to end before the others are started."""
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _waits(container: Object) -> str:
    """Why a container waits; empty when it does not."""
    return str((container.get("state", {}).get("waiting") or {}).get("reason", ""))


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a label selector takes what has these labels."""
    exact: Mapping[str, str] = selector.get("matchLabels") or {}
    asked: Sequence[Object] = selector.get("matchExpressions") or []
    held = (_SELECTED_BY[one["operator"]](labels.get(one["key"]), one.get("values") or []) for one in asked)
    return exact.items() <= labels.items() and all(held)


_SELECTED_BY: Mapping[str, Callable[[str | None, Sequence[str]], bool]] = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, _: value is not None,
    "DoesNotExist": lambda value, _: value is None,
}


def is_evictable(pod: Object) -> bool:
    """Whether a drain has to evict it: what a node or a daemon set keeps there and what has ended is left out."""
    meta = pod["metadata"]
    owners = {owner["kind"] for owner in meta.get("ownerReferences", [])}
    static = MIRROR in (meta.get("annotations") or {})
    return (
        not static and "DaemonSet" not in owners and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
    )


def node_state(node: Object, pods: Sequence[Object]) -> dict[str, str]:
    """The declared state of a node with its pods."""
    ready = next((one["status"] for one in node["status"].get("conditions", []) if one["type"] == "Ready"), "Unknown")
    return {
        "unschedulable": "true" if node["spec"].get("unschedulable") else "false",
        "ready": str(ready).lower(),
        "evictable": str(sum(map(is_evictable, pods))),
    }


def _other(current: str, newest_first: Sequence[str]) -> str:
    return next((one for one in newest_first if one != current), "")


def _mib(quantity: str) -> str:
    size = bytes_of(quantity)
    return "" if size is None else str(size // MIB)
