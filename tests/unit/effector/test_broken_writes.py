"""What is told of a call that broke off: of a look that nothing was changed, of a write that nobody knows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3
from botocore import exceptions as boto
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from autopilot.infra.effector.drivers.aws_ecs_client import Access, EcsClient
from autopilot.infra.effector.drivers.kubernetes_client import KubernetesClient
from autopilot.infra.effector.port import (
    ConflictError,
    DeniedError,
    PermanentError,
    TargetError,
    TargetTimeoutError,
    TransientError,
)

POOL = urllib3.HTTPSConnectionPool("cluster.example")
NODE = {"metadata": {"name": "n1", "resourceVersion": "7"}}
POD = {"metadata": {"name": "web-1", "namespace": "shop", "uid": "u"}}
LOOK, DRY, CORDON, EVICT = "look", "dry run", "cordon", "evict"
CALLS: dict[str, Callable[[KubernetesClient], object]] = {
    LOOK: lambda made: made.node("n1"),
    DRY: lambda made: made.set_unschedulable(NODE, True, dry_run=True),
    CORDON: lambda made: made.set_unschedulable(NODE, True),
    EVICT: lambda made: made.evict(POD),
}


class Answer:
    data = b"<html>"


def kubernetes_tells(monkeypatch: pytest.MonkeyPatch, call: str, met: Exception | None) -> type[TargetError]:
    """How a call to an API server that meets this is told; None for an answer that is none."""

    class Api:
        def __init__(self, _: object) -> None:
            self.read_node = self.patch_node = self.create_namespaced_pod_eviction = self.answer

        def answer(self, *_: object, **__: object) -> Answer:
            if met is not None:
                raise met
            return Answer()

    monkeypatch.setattr(client, "CoreV1Api", Api)
    made = KubernetesClient(Path("kubeconfig"), "", "autopilot")
    made._of_thread.api = object()
    with pytest.raises(TargetError) as told:
        CALLS[call](made)
    return type(told.value)


@pytest.mark.parametrize(
    ("met", "look"),
    [
        (urllib3.exceptions.ProtocolError("Remote end closed connection without response"), TransientError),
        (ConnectionResetError("reset"), TransientError),
        (ApiException(status=500, reason="etcd"), TransientError),
        (ApiException(status=503, reason="starting"), TransientError),
        (None, TransientError),
        (ApiException(status=0, reason="SSLError: EOF occurred"), PermanentError),
        (urllib3.exceptions.ReadTimeoutError(POOL, "/", "slow"), TargetTimeoutError),
        (ApiException(status=504, reason="slow"), TargetTimeoutError),
    ],
)
def test_nobody_knows_of_a_write_to_a_cluster_that_broke_off(
    monkeypatch: pytest.MonkeyPatch, met: Exception | None, look: type[TargetError]
) -> None:
    told = {call: kubernetes_tells(monkeypatch, call, met) for call in CALLS}
    assert told == {LOOK: look, DRY: look, CORDON: TargetTimeoutError, EVICT: TargetTimeoutError}


@pytest.mark.parametrize(
    ("met", "expected"),
    [
        (urllib3.exceptions.ConnectTimeoutError("no way"), TransientError),
        (ApiException(status=429, reason="busy"), TransientError),
        (ApiException(status=403, reason="no"), DeniedError),
        (ApiException(status=409, reason="changed"), ConflictError),
        (ApiException(status=422, reason="nonsense"), PermanentError),
    ],
)
def test_a_write_to_a_cluster_that_never_arrived_or_was_refused_changed_nothing(
    monkeypatch: pytest.MonkeyPatch, met: Exception, expected: type[TargetError]
) -> None:
    assert {call: kubernetes_tells(monkeypatch, call, met) for call in (LOOK, DRY, CORDON)} == dict.fromkeys(
        (LOOK, DRY, CORDON), expected
    )


def refused(status: int, code: str) -> boto.ClientError:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return boto.ClientError(answer, "Call")


def ecs_tells(writes: bool, met: Exception) -> type[TargetError]:
    """How a look at a service, or a change of it, is told when it meets this."""

    class Ecs:
        def answer(self, **_: object) -> None:
            raise met

        describe_services = update_service = answer

    def connected(_: Access) -> Any:
        return Ecs()

    made = EcsClient(Access("eu-1", None, None, None, None, 1.0), connected)
    with pytest.raises(TargetError) as told:
        _ = made.update("shop", "web", desiredCount=3) if writes else made.service("shop", "web")
    return type(told.value)


@pytest.mark.parametrize(
    ("met", "look"),
    [
        (boto.ConnectionClosedError(endpoint_url="u"), TransientError),
        (boto.HTTPClientError(error="broken"), TransientError),
        (boto.ResponseStreamingError(error="broken"), TransientError),
        (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), TransientError),
        (refused(500, "ServerException"), TransientError),
        (refused(503, "Unheard"), TransientError),
        (boto.ReadTimeoutError(endpoint_url="u"), TargetTimeoutError),
    ],
)
def test_nobody_knows_of_a_change_of_a_service_that_broke_off(met: Exception, look: type[TargetError]) -> None:
    assert (ecs_tells(False, met), ecs_tells(True, met)) == (look, TargetTimeoutError)


@pytest.mark.parametrize(
    ("met", "expected"),
    [
        (boto.EndpointConnectionError(endpoint_url="u"), TransientError),
        (boto.ConnectTimeoutError(endpoint_url="u"), TransientError),
        (refused(400, "ThrottlingException"), TransientError),
        (refused(429, "Unheard"), TransientError),
        (refused(400, "InvalidParameterException"), PermanentError),
        (boto.NoCredentialsError(), DeniedError),
    ],
)
def test_a_change_of_a_service_that_never_arrived_or_was_refused_changed_nothing(
    met: Exception, expected: type[TargetError]
) -> None:
    assert (ecs_tells(False, met), ecs_tells(True, met)) == (expected, expected)
