"""Load for a service in the cluster, and what its customers see of it as telemetry.

    python -m examples.kubernetes.load --run RUN_FOLDER --kubeconfig FILE --otlp URL
        [--service checkout --namespace shop] [--for-s 900]

Requests go to the pods that are ready, each to the one of two with fewer under way. Once a second it sends, for each
pod, requests, failures and how long the answers took. A request that finds no pod ready is a failure of nobody's pod.
"""

import argparse
import asyncio
import bisect
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from autopilot.infra.bridges.otlp_client import Sample, send
from autopilot.infra.bridges.otlp_metrics import bound_text
from autopilot.infra.effector.drivers.kubernetes_client import KubernetesClient
from autopilot.infra.effector.port import TargetError
from examples.shop.layout import Layout
from examples.shop.load import Load

PORT = 8080
LOOK_EVERY_S = 0.5
SEND_EVERY_S = 1.0
BOUNDS_MS = [100.0, 250.0, 500.0, 1000.0, 2500.0, float("inf")]
TIMEOUT_S = 5


@dataclass
class Pod:
    """A pod as customers see it; the counts are those since they were last sent."""

    name: str
    deployment: str
    address: str
    ready: bool = True
    under_way: int = 0
    requests: int = 0
    errors: int = 0
    took: Counter[float] = field(default_factory=Counter)

    def finished(self, ok: bool, took_ms: float) -> None:
        """Counts a request."""
        self.requests += 1
        self.errors += not ok
        self.took[BOUNDS_MS[bisect.bisect_left(BOUNDS_MS, took_ms)]] += 1

    def samples(self) -> list[Sample]:
        """What happened since the last time."""
        attributes = {"service.instance.id": self.name, "k8s.deployment.name": self.deployment}
        found = [
            Sample("http.client.request.count", attributes, self.requests, delta=True),
            Sample("http.client.error.count", attributes, self.errors, delta=True),
        ]
        below = 0
        for bound in BOUNDS_MS:
            below += self.took[bound]
            le = {**attributes, "le": bound_text(bound)}
            found.append(Sample("http.client.request.duration.bucket", le, below, delta=True))
        return found

    def taken(self, sent: "Pod") -> None:
        """Takes off what was sent."""
        self.requests -= sent.requests
        self.errors -= sent.errors
        self.took -= sent.took


class Pods:
    """The pods of a service, by their label `app`, looked at by a thread of their own."""

    def __init__(self, client: KubernetesClient, namespace: str, service: str) -> None:
        self._client = client
        self._namespace = namespace
        self.service = service
        self.known: dict[str, Pod] = {}
        self.looked = threading.Event()

    def look(self, stop: threading.Event) -> None:
        """Looks until `stop` is set."""
        while not stop.is_set():
            try:
                self.take(self._client.listed("pods", self._namespace))
            except TargetError as error:
                print(f"pods cannot be listed: {error}", flush=True)
            stop.wait(LOOK_EVERY_S)

    def take(self, listed: list[dict[str, Any]]) -> None:
        """Brings the pods up to what was listed. One that is gone is kept until its last request was told."""
        seen = {pod["metadata"]["name"]: pod for pod in listed if pod["metadata"]["labels"].get("app") == self.service}
        for name, pod in seen.items():
            address = pod.get("status", {}).get("podIP", "")
            if address and name not in self.known:
                self.known[name] = Pod(name, name.rsplit("-", 2)[0], address)
        self.looked.set()
        for name, known in list(self.known.items()):
            known.ready = name in seen and _is_ready(seen[name])
            if name not in seen and not known.under_way and not known.requests:
                del self.known[name]


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = {one["type"]: one["status"] for one in pod.get("status", {}).get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


class PodLoad(Load):
    """Customers of the service."""

    def __init__(self, layout: Layout, session: ClientSession, seed: int, pods: Pods) -> None:
        super().__init__(layout, session, seed, PORT)
        self._pods = pods
        self._nobody = Pod("none-ready", "none", "", ready=False)

    async def _buy(self, item: str) -> None:
        ready = [pod for pod in list(self._pods.known.values()) if pod.ready]
        two = self._random.sample(ready, min(2, len(ready)))
        pod = min(two, key=lambda one: one.under_way, default=self._nobody)
        begun = time.perf_counter()
        pod.under_way += 1
        status = await self._status(pod, item) if two else "no pod ready"
        pod.under_way -= 1
        self.answers[status] += 1
        pod.finished(status == "200", (time.perf_counter() - begun) * 1_000)

    async def _status(self, pod: Pod, item: str) -> str:
        try:
            async with self._session.get(f"http://{pod.address}:{PORT}/", params={"item": item}) as response:
                await response.read()
                return str(response.status)
        except (ClientError, TimeoutError) as error:
            return type(error).__name__

    async def tell(self, endpoint: str) -> None:
        """Sends telemetry until it is cancelled."""
        while True:
            await asyncio.sleep(SEND_EVERY_S)
            pods = [pod for pod in [*self._pods.known.values(), self._nobody] if pod.ready or pod.requests]
            sent = [Pod(p.name, p.deployment, "", True, 0, p.requests, p.errors, Counter(p.took)) for p in pods]
            samples = {self._pods.service: [sample for pod in sent for sample in pod.samples()]}
            if await asyncio.to_thread(send, endpoint, samples):
                for pod, told in zip(pods, sent, strict=True):
                    pod.taken(told)


async def generate(layout: Layout, for_s: float, pods: Pods, endpoint: str) -> None:
    """Runs the load."""
    stop = threading.Event()
    looking = threading.Thread(target=pods.look, args=(stop,), daemon=True)
    looking.start()
    try:
        await asyncio.to_thread(pods.looked.wait)
        connector = TCPConnector(force_close=True, limit=0)
        async with ClientSession(connector=connector, timeout=ClientTimeout(total=TIMEOUT_S)) as session:
            load = PodLoad(layout, session, 1, pods)
            telling = asyncio.create_task(load.tell(endpoint))
            await load.run(for_s)
            telling.cancel()
    finally:
        stop.set()


def main() -> None:
    """Command line of the load generator."""
    parser = argparse.ArgumentParser(description="Load for a service in the cluster.")
    parser.add_argument("--run", type=Path, required=True, help="the run folder, with the file `rate`")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--otlp", required=True, help="where telemetry is sent to")
    parser.add_argument("--service", default="checkout")
    parser.add_argument("--namespace", default="shop")
    parser.add_argument("--for-s", type=float, default=900, help="ends after so many seconds")
    arguments = parser.parse_args()
    pods = Pods(KubernetesClient(arguments.kubeconfig, "", "load"), arguments.namespace, arguments.service)
    asyncio.run(generate(Layout(arguments.run), arguments.for_s, pods, arguments.otlp))


if __name__ == "__main__":
    main()
