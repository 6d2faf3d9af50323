"""A Faust agent over the telemetry topic, decoding each record: `BOOTSTRAP RECORDS`. Prints records a second."""

import os
import sys
import tempfile
import time

import faust

from autopilot.schemas.codec import Codec
from autopilot.schemas.registry import BundledRegistry

BOOTSTRAP, RECORDS = sys.argv[1], int(sys.argv[2])
CODEC = Codec(BundledRegistry())

app = faust.App(
    "bench-faust",
    broker=f"kafka://{BOOTSTRAP}",
    datadir=tempfile.mkdtemp(),
    consumer_auto_offset_reset="earliest",
    web_enabled=False,
    topic_disable_leader=True,
)
telemetry = app.topic("autopilot.telemetry", value_serializer="raw", key_serializer="raw")


@app.agent(telemetry)
async def count(values: faust.StreamT[bytes]) -> None:
    """Decodes every record; at the last one it prints the rate and ends."""
    seen, started = 0, 0.0
    async for value in values:
        started = started or time.perf_counter()
        CODEC.decode(value)
        seen += 1
        if seen >= RECORDS:
            # Faust replaces standard output by its log, and its own way out waits for tasks that never end.
            os.write(1, f"\n{seen / (time.perf_counter() - started)}\n".encode())
            os._exit(0)


if __name__ == "__main__":
    sys.argv = [sys.argv[0], "worker", "-l", "error"]
    app.main()
