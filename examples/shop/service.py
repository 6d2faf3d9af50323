"""One instance of one of the shop's services: frontend -> checkout -> inventory.

    python -m examples.shop.service --service checkout --instance 1 --run RUN_FOLDER

Instances of a service share its port (`SO_REUSEPORT`, the kernel spreads the connections), unless they have their own.
The release that runs is the folder that `releases/GROUP/current` points to when the process starts; checkout's has its
price list, and may say in `speed.json` how long a request takes (`work_s`; `busy_work_s` with more than `busy_above` of
them under way) and how many are worked on at once (`slots`). What has been switched on in the `faults` folder takes
effect within half a second. `/health` says whether an instance serves.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientConnectionError, ClientError, ClientSession, ClientTimeout, TCPConnector, web

from examples.shop.layout import Fault, Layout
from examples.shop.telemetry import ServiceMetrics

CALLS = {"frontend": "checkout", "checkout": "inventory", "inventory": ""}
"""Which service calls which."""
SLOTS = {"frontend": 200, "checkout": 2, "inventory": 50}
"""Requests that an instance works on at once; further ones wait their turn."""
WORK_S = {"frontend": 0.002, "checkout": 0.1, "inventory": 0.01}
"""Time that a request takes an instance that is well. Two checkouts bear 40 requests a second, four bear 80."""
LEAK_BYTES = 1_000_000
"""What a leaking instance keeps of each request."""
MOST_LEAKED = 150
"""Requests of which something is kept at most, so that the machine outlives the fault."""
SLOWER_S_PER_LEAK = 0.01
"""How much longer a request takes for each one of which something is kept."""
MOST_UNDER_WAY = 1_000
"""More requests than an instance ever has."""
CALL_TIMEOUT_S = 5
FAULTS_EVERY_S = 0.5


@dataclass
class Faults:
    """Which faults of a service are switched on; the folder is looked at twice a second at most."""

    layout: Layout
    service: str
    _seen: frozenset[Fault] = frozenset()
    _looked_at: float = -1.0

    def on(self, fault: Fault) -> bool:
        """Whether the fault is switched on."""
        now = time.monotonic()
        if now - self._looked_at >= FAULTS_EVERY_S:
            self._seen = frozenset(f for f in Fault if self.layout.fault_file(self.service, f).exists())
            self._looked_at = now
        return fault in self._seen


@dataclass
class Instance:
    """The handler of one instance, and what it calls."""

    service: str
    layout: Layout
    faults: Faults
    metrics: ServiceMetrics
    session: ClientSession
    prices: dict[str, int]
    speed: dict[str, float]
    leaked: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(int(self.speed.get("slots", SLOTS[self.service])))
        port = self.layout.ports().get(CALLS[self.service])
        self._callee = f"http://127.0.0.1:{port}/" if port else ""

    async def health(self, _request: web.Request) -> web.Response:
        """Answers a health check."""
        return web.Response(text="ok")

    async def handle(self, request: web.Request) -> web.Response:
        """Answers a request: its own work, then what it needs from the next service."""
        started = time.perf_counter()
        self.metrics.active += 1
        status = 500
        try:
            response = await self._answer(request.query.get("item", ""))
            status = response.status
            return response
        finally:
            self.metrics.active -= 1
            self.metrics.finished(status, (time.perf_counter() - started) * 1_000)

    async def _answer(self, item: str) -> web.Response:
        if self.faults.on(Fault.CRASH):
            os._exit(70)
        async with self._slots:
            await asyncio.sleep(self._work_s())
        try:
            answer = {"item": item, "service": self.service}
            if self.service == "checkout":
                answer["price"] = str(self.prices[item])
        except KeyError:
            return web.json_response({"error": f"no price for `{item}`"}, status=500)
        if self._callee:
            try:
                answer["next"] = await self._call(item)
            except (ClientError, TimeoutError) as error:
                return web.json_response({"error": f"{CALLS[self.service]}: {error or type(error)}"}, status=502)
        return web.json_response(answer)

    def _work_s(self) -> float:
        if self.faults.on(Fault.LEAK) and len(self.leaked) < MOST_LEAKED:
            self.leaked.append(random.randbytes(LEAK_BYTES))
        usual = self.speed.get("work_s", WORK_S[self.service])
        busy = self.metrics.active > self.speed.get("busy_above", MOST_UNDER_WAY)
        return (self.speed.get("busy_work_s", usual) if busy else usual) + SLOWER_S_PER_LEAK * len(self.leaked)

    async def _call(self, item: str) -> str:
        """The next service's answer. A connection that a stopping instance dropped is tried once more."""
        for last in (False, True):
            try:
                async with self.session.get(self._callee, params={"item": item}) as response:
                    response.raise_for_status()
                    return await response.text()
            except ClientConnectionError:
                if last:
                    raise
        raise AssertionError("the loop returns or raises")


def prices_of(layout: Layout, group: str) -> dict[str, int]:
    """The price list in the release that is current, cents by item; empty where the release has none."""
    return dict(_in_release(layout, group, "prices.json"))


def _in_release(layout: Layout, group: str, name: str) -> dict[str, Any]:
    file = layout.current(group) / name
    return dict(json.loads(file.read_text())) if file.exists() else {}


async def serve(service: str, group: str, instance: int, layout: Layout) -> None:
    """Serves until SIGTERM, then finishes what is under way."""
    faults = Faults(layout, service)
    name = f"{group}-{instance}"
    metrics = ServiceMetrics(
        service=service,
        instance=name,
        endpoint=layout.otlp_endpoint(),
        silenced=lambda: faults.on(Fault.MUTE),
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    connector = TCPConnector(
        force_close=True, limit=0
    )  # a new connection each time, so that the kernel can spread them
    async with ClientSession(connector=connector, timeout=ClientTimeout(total=CALL_TIMEOUT_S)) as session:
        prices, speed = prices_of(layout, group), _in_release(layout, group, "speed.json")
        handler = Instance(service, layout, faults, metrics, session, prices, speed)
        app = web.Application()
        app.add_routes([web.get("/", handler.handle), web.get("/health", handler.health)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
        await runner.setup()
        ports = layout.ports()
        await web.TCPSite(runner, "127.0.0.1", ports.get(name) or ports[service], reuse_port=True).start()
        layout.serving_file(group, instance).write_text(f"{os.getpid()}\n")
        print(f"{name} serves release {layout.current(group).name}", flush=True)
        await stop.wait()
        await runner.cleanup()
    await asyncio.to_thread(metrics.shutdown)


def main() -> None:
    """Command line of one instance."""
    parser = argparse.ArgumentParser(description="One instance of one of the shop's services.")
    parser.add_argument("--service", choices=sorted(CALLS), required=True)
    parser.add_argument("--group", default="", help="the group of processes that it is one of (default: the service)")
    parser.add_argument("--instance", type=int, required=True)
    parser.add_argument("--run", type=Path, required=True, help="the fleet's run folder")
    arguments = parser.parse_args()
    group = arguments.group or arguments.service
    asyncio.run(serve(arguments.service, group, arguments.instance, Layout(arguments.run)))


if __name__ == "__main__":
    main()
