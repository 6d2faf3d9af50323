"""Load for the shop: open loop at a given rate, bounded in requests under way and in time.

    python -m examples.shop.load --run RUN_FOLDER [--for-s 900] [--port PORT] [--record FILE]

It ends after that time, and when whoever started it is gone. The rate is read from the file `rate` once a second.
Arrivals keep their own time: a slow answer delays nobody else's request; when too many are under way further visitors
stay away, and are counted. With `--record` each request is one line of JSON: when it was sent, its status (0 without an
answer), who answered (`x-server`, as a load balancer says) and how long it took.
"""

import argparse
import asyncio
import json
import os
import random
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TextIO

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from examples.shop.layout import Layout

ITEMS = ("apple", "bread", "cheese", "coffee", "tea")
MAX_UNDER_WAY = 56
MAX_RATE = 200.0
TIMEOUT_S = 10


def rate_of(layout: Layout) -> float:
    """Requests a second, bounded; 0 while the file is missing or holds no number."""
    try:
        return min(max(float(layout.rate_file.read_text()), 0.0), MAX_RATE)
    except (OSError, ValueError):
        return 0.0


class Load:
    """The visitors, and how they fared."""

    def __init__(
        self, layout: Layout, session: ClientSession, seed: int, port: int = 0, record: TextIO | None = None
    ) -> None:
        self._layout = layout
        self._url = f"http://127.0.0.1:{port or layout.ports()['frontend']}/"
        self._record = record
        self._session = session
        self._random = random.Random(seed)
        self._under_way: set[asyncio.Task[None]] = set()
        self.answers: Counter[str] = Counter()

    async def run(self, for_s: float) -> None:
        """Sends requests for that long, then waits for the last answers."""
        end = time.monotonic() + for_s
        due = told = time.monotonic()
        rate, parent = rate_of(self._layout), os.getppid()
        while (now := time.monotonic()) < end and os.getppid() == parent:
            if now - told >= 1:
                told, rate = now, rate_of(self._layout)
                print(
                    f"rate {rate:.0f}/s under way {len(self._under_way)} {dict(sorted(self.answers.items()))}",
                    flush=True,
                )
                self.answers.clear()
            if rate <= 0:
                await asyncio.sleep(0.2)
                due = time.monotonic()
                continue
            if due <= now:
                self._visit()
                due = max(due, now - 1) + self._random.uniform(0.5, 1.5) / rate
            await asyncio.sleep(max(0.0, min(due - time.monotonic(), 0.2)))
        await asyncio.gather(*self._under_way)

    def _visit(self) -> None:
        if len(self._under_way) >= MAX_UNDER_WAY:
            self.answers["stayed away"] += 1
            return
        task = asyncio.create_task(self._buy(self._random.choice(ITEMS)))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _buy(self, item: str) -> None:
        sent_s, begun = time.time(), time.perf_counter()
        status, server = 0, ""
        try:
            async with self._session.get(self._url, params={"item": item}) as response:
                await response.read()
                status, server = response.status, response.headers.get("x-server", "")
                self.answers[str(status)] += 1
        except (ClientError, TimeoutError) as error:
            self.answers[type(error).__name__] += 1
        if self._record is not None:
            took_ms = round((time.perf_counter() - begun) * 1_000, 1)
            line = {"sent_ms": round(sent_s * 1_000), "status": status, "server": server, "took_ms": took_ms}
            self._record.write(json.dumps(line) + "\n")


async def generate(layout: Layout, for_s: float, seed: int, port: int = 0, record: Path | None = None) -> None:
    """Runs the load."""
    connector = TCPConnector(force_close=True, limit=0)
    with record.open("a", buffering=1) if record else nullcontext() as file:
        async with ClientSession(connector=connector, timeout=ClientTimeout(total=TIMEOUT_S)) as session:
            await Load(layout, session, seed, port, file).run(for_s)


def main() -> None:
    """Command line of the load generator."""
    parser = argparse.ArgumentParser(description="Load for the shop.")
    parser.add_argument("--run", type=Path, required=True, help="the fleet's run folder")
    parser.add_argument("--for-s", type=float, default=900, help="ends after so many seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--port", type=int, default=0, help="where customers come in (default: the frontend's)")
    parser.add_argument("--record", type=Path, help="file that each request is written to")
    arguments = parser.parse_args()
    layout = Layout(arguments.run)
    asyncio.run(generate(layout, arguments.for_s, arguments.seed, arguments.port, arguments.record))


if __name__ == "__main__":
    main()
