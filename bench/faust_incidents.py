"""A Faust table of the incidents, folded by the projection's own handlers: `BOOTSTRAP RECORDS`.

Prints records a second of processor time and how many rows there are. What the projection does not want is passed by
its header, and the table is in memory: Faust at its fastest, and without the projection's promise after a crash.
"""

import os
import sys
import tempfile
import time

import faust

from autopilot.projections.incidents import INCIDENTS
from autopilot.projections.rows import Row
from autopilot.schemas.codec import Codec
from autopilot.schemas.envelope import Position, Recorded
from autopilot.schemas.registry import BundledRegistry

BOOTSTRAP, RECORDS = sys.argv[1], int(sys.argv[2])
CODEC = Codec(BundledRegistry())
WANTED = {model.event_type().encode() for model in INCIDENTS.handles}

app = faust.App(
    f"bench-faust-incidents-{os.getpid()}",
    broker=f"kafka://{BOOTSTRAP}",
    datadir=tempfile.mkdtemp(),
    consumer_auto_offset_reset="earliest",
    web_enabled=False,
    topic_disable_leader=True,
    topic_partitions=4,
)
log = app.topic("autopilot.log", value_serializer="raw", key_serializer="raw")
table = app.Table("incidents", partitions=4)


class TableRows:
    """The table as a projection's rows."""

    def get(self, key: str) -> Row | None:
        return table.get(key)

    def put(self, key: str, row: Row) -> None:
        table[key] = row

    def delete(self, key: str) -> None:
        table.pop(key)


@app.agent(log)
async def fold(stream: faust.StreamT[bytes]) -> None:
    """Folds every record; at the last one it prints and ends."""
    seen, started, rows = 0, 0.0, TableRows()  # seconds of processor time
    async for event in stream.events():
        started = started or time.process_time()
        message = event.message
        if dict(message.headers).get("event-type") in WANTED:
            position = Position(message.topic, message.partition, message.offset)
            recorded = Recorded(position, CODEC.decode(message.value), None, round(message.timestamp * 1000))
            INCIDENTS.apply(rows, recorded)
        seen += 1
        if seen >= RECORDS:
            # Faust replaces standard output by its log, and its own way out waits for tasks that never end.
            os.write(1, f"\n{seen / (time.process_time() - started)} {len(table)}\n".encode())
            os._exit(0)


if __name__ == "__main__":
    sys.argv = [sys.argv[0], "worker", "-l", "error"]
    app.main()
