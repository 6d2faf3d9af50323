"""The calls to a Kubernetes API server that the driver needs, with every failure as an error of the port.

The official client does them. Objects are plain dictionaries as the API has them. Each thread has a client of its own;
it is made again after a 401, so that a token that was renewed in its file is taken up. What a write that broke off has
done nobody knows: it is told as a timeout, unless the API server could not be reached at all or refused it.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from autopilot.infra.effector.port import (
    ConflictError,
    DeniedError,
    MissingError,
    PermanentError,
    TargetError,
    TargetTimeoutError,
    TransientError,
)

CALL_TIMEOUT_S = 8.0
APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
TOO_MANY_REQUESTS = 429

Object = dict[str, Any]
_ERRORS: Mapping[int, type[TargetError]] = {
    401: DeniedError,
    403: DeniedError,
    404: MissingError,
    409: ConflictError,
    410: ConflictError,
    408: TargetTimeoutError,
    504: TargetTimeoutError,
    TOO_MANY_REQUESTS: TransientError,
}
_SERVER_ERROR = 500


class FieldsTakenError(ConflictError):
    """A server-side apply met fields of other managers, named in `managers`."""

    def __init__(self, message: str, managers: frozenset[str]) -> None:
        super().__init__(message)
        self.managers = managers


class BudgetError(TransientError):
    """An eviction would leave fewer pods than a disruption budget allows; later it may not."""


class KubernetesClient:
    """See the module. Without a kubeconfig it is the service account of the pod that it runs in."""

    def __init__(self, kubeconfig: Path | None, context: str, field_manager: str) -> None:
        self._kubeconfig = kubeconfig
        self._context = context
        self._manager = field_manager
        self._of_thread = threading.local()

    def deployment(self, namespace: str, name: str) -> Object:
        """One deployment."""
        return self._ask(lambda api: client.AppsV1Api(api).read_namespaced_deployment, name, namespace)

    def replica_sets(self, deployment: Object) -> list[Object]:
        """The replica sets that a deployment owns."""
        found = self._list(lambda api: client.AppsV1Api(api).list_namespaced_replica_set, deployment)
        uid = deployment["metadata"]["uid"]
        return [one for one in found if any(o["uid"] == uid for o in one["metadata"].get("ownerReferences", []))]

    def pods(self, deployment: Object) -> list[Object]:
        """The pods that a deployment selects."""
        return self._list(lambda api: client.CoreV1Api(api).list_namespaced_pod, deployment)

    def listed(self, kind: str, namespace: str) -> list[Object]:
        """All `deployments` or `pods` of a namespace."""
        return list(self._ask(lambda api: _LISTS[kind](api), namespace)["items"])

    def apply(
        self, deployment: Object, spec: Object, concern: str, *, force: bool = False, dry_run: bool = False
    ) -> Object:
        """Server-side apply of some of a deployment's fields, by this concern's own field manager.

        Each concern has its own, since what a manager leaves out the next time is taken away. The deployment must not
        have changed since it was read. Raises `FieldsTakenError` when others manage the fields, unless `force`.
        """
        meta = deployment["metadata"]
        body = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": meta["name"], "resourceVersion": meta["resourceVersion"]},
            "spec": spec,
        }
        return self._patch(deployment, body, APPLY, concern, dry_run, force=force)

    def replace_template(self, deployment: Object, template: Object, concern: str, *, dry_run: bool = False) -> Object:
        """Puts a whole pod template in place of the deployment's; it must not have changed since it was read."""
        body = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": deployment["metadata"]["resourceVersion"]},
            {"op": "replace", "path": "/spec/template", "value": template},
        ]
        return self._patch(deployment, body, JSON_PATCH, concern, dry_run)

    def node(self, name: str) -> Object:
        """One node."""
        return self._ask(lambda api: client.CoreV1Api(api).read_node, name)

    def set_unschedulable(self, node: Object, value: bool, *, dry_run: bool = False) -> Object:
        """Cordons a node or ends that; it must not have changed since it was read."""
        meta = node["metadata"]
        body = {"metadata": {"resourceVersion": meta["resourceVersion"]}, "spec": {"unschedulable": value}}
        return self._ask(
            lambda api: client.CoreV1Api(api).patch_node,
            meta["name"],
            body,
            field_manager=f"{self._manager}-cordon",
            _content_type=MERGE_PATCH,
            writes=not dry_run,
            **_dry(dry_run),
        )

    def pods_on(self, node: str) -> list[Object]:
        """Every pod on a node."""
        found = self._ask(
            lambda api: client.CoreV1Api(api).list_pod_for_all_namespaces, field_selector=f"spec.nodeName={node}"
        )
        return list(found["items"])

    def evict(self, pod: Object) -> None:
        """Asks for a pod to be evicted. Raises `BudgetError` when a disruption budget does not allow it now."""
        meta = pod["metadata"]
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
            "deleteOptions": {"preconditions": {"uid": meta["uid"]}},
        }
        try:
            self._ask(
                lambda api: client.CoreV1Api(api).create_namespaced_pod_eviction,
                meta["name"],
                meta["namespace"],
                eviction,
                writes=True,
            )
        except (MissingError, ConflictError):
            return  # it is gone already, or another pod has its name

    # -- inside ------------------------------------------------------------------------------------------------------

    def _list(self, method: Callable[[Any], Callable[..., Any]], deployment: Object) -> list[Object]:
        found = self._ask(
            method, deployment["metadata"]["namespace"], label_selector=selector_text(deployment["spec"]["selector"])
        )
        return list(found["items"])

    def _patch(
        self, deployment: Object, body: object, kind: str, concern: str, dry_run: bool, **options: Any
    ) -> Object:
        meta = deployment["metadata"]
        return self._ask(
            lambda api: client.AppsV1Api(api).patch_namespaced_deployment,
            meta["name"],
            meta["namespace"],
            body,
            field_manager=f"{self._manager}-{concern}",
            _content_type=kind,
            writes=not dry_run,
            **_dry(dry_run),
            **options,
        )

    def _ask(
        self, method: Callable[[Any], Callable[..., Any]], *arguments: Any, writes: bool = False, **options: Any
    ) -> Object:
        with self._told(writes):
            asked = method(self._api())
            answer = asked(*arguments, **options, _preload_content=False, _request_timeout=CALL_TIMEOUT_S)
            content: Object = json.loads(answer.data)
        return content

    def _api(self) -> Any:
        api = getattr(self._of_thread, "api", None)
        if api is None:
            settings = client.Configuration()
            load: Any = config.load_incluster_config if self._kubeconfig is None else config.load_kube_config
            where: dict[str, Any] = {}
            if self._kubeconfig is not None:
                where = {
                    "config_file": str(self._kubeconfig),
                    "context": self._context or None,
                    "persist_config": False,
                }
            load(client_configuration=settings, **where)
            settings.retries = False
            api = self._of_thread.api = client.ApiClient(settings)
        return api

    @contextmanager
    def _told(self, writes: bool) -> Iterator[None]:
        try:
            yield
        except ApiException as error:
            if error.status == 401:
                self._of_thread.api = None
            raise _error_of(error, writes) from None
        except urllib3.exceptions.SSLError as error:
            raise _broken(writes, PermanentError)(f"there is no secure connection to the API server: {error}") from None
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError) as error:
            raise TransientError(f"the API server cannot be reached: {error}") from None
        except urllib3.exceptions.TimeoutError:
            raise TargetTimeoutError(f"the API server does not answer within {CALL_TIMEOUT_S:.0f} s") from None
        except (ConfigException, FileNotFoundError) as error:
            raise PermanentError(f"there is no usable credential of the cluster: {error}") from None
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise _broken(writes, TransientError)(f"the API server's answer broke off: {error}") from None


_LISTS: Mapping[str, Callable[[Any], Callable[..., Any]]] = {
    "deployments": lambda api: client.AppsV1Api(api).list_namespaced_deployment,
    "pods": lambda api: client.CoreV1Api(api).list_namespaced_pod,
}


def selector_text(selector: Object) -> str:
    """A label selector in the form in which lists are filtered by it."""
    terms = [f"{label}={value}" for label, value in sorted(selector.get("matchLabels", {}).items())]
    terms += [
        _EXPRESSIONS[one["operator"]].format(key=one["key"], values=",".join(one.get("values", [])))
        for one in selector.get("matchExpressions", [])
    ]
    return ",".join(terms)


_EXPRESSIONS = {
    "In": "{key} in ({values})",
    "NotIn": "{key} notin ({values})",
    "Exists": "{key}",
    "DoesNotExist": "!{key}",
}


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dry_run": "All"} if dry_run else {}


def _broken(writes: bool, otherwise: type[TargetError]) -> type[TargetError]:
    """How a call is told of which nobody knows whether it arrived: only of a write that matters."""
    return TargetTimeoutError if writes else otherwise


def _error_of(error: ApiException, writes: bool) -> TargetError:
    status = _status_of(error)
    message = str(status.get("message") or error.reason or "no reason given")
    causes: Sequence[Object] = (status.get("details") or {}).get("causes") or []
    text = f"the API server answers {error.status}: {message}"
    if error.status == TOO_MANY_REQUESTS and any(cause.get("reason") == "DisruptionBudget" for cause in causes):
        return BudgetError("; ".join([message, *(str(cause.get("message", "")) for cause in causes)]))
    taken = [str(cause.get("message", "")) for cause in causes if cause.get("reason") == "FieldManagerConflict"]
    if taken:
        return FieldsTakenError(text, frozenset(_quoted(one) for one in taken))
    if not error.status:
        return _broken(writes, PermanentError)(f"the API server cannot be talked to: {message}")
    default = _broken(writes, TransientError) if error.status >= _SERVER_ERROR else PermanentError
    return _ERRORS.get(error.status, default)(text)


def _status_of(error: ApiException) -> Object:
    try:
        status = json.loads(error.body or "{}")
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}


def _quoted(message: str) -> str:
    """The first quoted text: the manager in `conflict with "kubectl" using apps/v1`."""
    return message.split('"')[1] if message.count('"') >= 2 else message
