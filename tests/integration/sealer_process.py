"""A sealer to be killed, as a program: `sealer_process.py BOOTSTRAP FILE`."""

import sys
import threading
from pathlib import Path

from autopilot.schemas.registry import BundledRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams.sealer import Sealer, SealerOptions


def main() -> None:
    """Seals until killed."""
    key = SigningKey.from_bytes("sealer", bytes(range(32)))
    kafka = {"bootstrap.servers": sys.argv[1]}
    options = SealerOptions(kafka, BundledRegistry(), key, Path(sys.argv[2]), every_records=40, every_s=0.1)
    Sealer(options).run(threading.Event())


if __name__ == "__main__":
    main()
