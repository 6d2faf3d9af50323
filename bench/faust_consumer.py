"""A Faust agent over the telemetry topic, decoding each record: `BOOTSTRAP RECORDS`. Prints records a second."""

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
            print(seen / (time.perf_counter() - started), flush=True)
            await app.stop()
            return


if __name__ == "__main__":
    sys.argv = [sys.argv[0], "worker", "-l", "error"]
    app.main()
