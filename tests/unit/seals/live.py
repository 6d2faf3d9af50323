"""Records for a real Kafka and a sealer in this process, for the tests that need one."""

import threading
import time
from pathlib import Path

from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.registry import BundledRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams.publisher import Publisher
from autopilot.streams.seal_file import SealFile
from autopilot.streams.sealer import Sealer, SealerOptions
from autopilot.streams.seals import SealError

REGISTRY = BundledRegistry()
KEY = SigningKey.from_bytes("sealer", bytes(range(32)))


def tick(cluster: dict[str, str], count: int, start_us: int = 1) -> None:
    """So many broadcasts: each one record in every partition of both topics, and a transaction marker after it."""
    publisher = Publisher(kafka=cluster, registry=REGISTRY, producer="clock", partitions=4)
    for i in range(count):
        publisher.broadcast(Draft(Tick(at_us=start_us + i), ""), at_us=start_us + i)
    publisher.close()


def seal(cluster: dict[str, str], file: Path, until: int, every_records: int = 40) -> None:
    """Runs a sealer in this process until the file knows so many sealed records."""
    stop = threading.Event()
    options = SealerOptions(cluster, REGISTRY, KEY, file, every_records=every_records, every_s=0.5)
    failure: list[BaseException] = []

    def work() -> None:
        try:
            Sealer(options).run(stop)
        except SealError as error:
            failure.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    deadline = time.monotonic() + 120
    while sealed_records(file) < until and time.monotonic() < deadline and thread.is_alive():
        time.sleep(0.1)
    stop.set()
    thread.join()
    if failure:
        raise failure[0]


def sealed_records(file: Path) -> int:
    """How many records the file's seals cover."""
    return sum(segment.records for seal in SealFile(file).read() for segment in seal.content.segments)
