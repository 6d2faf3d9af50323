"""A part of the platform as a process with its own credentials: `python secure_process.py NAME BOOTSTRAP HOME FOLDER`.

Composed as `tests/chaos/processes.py` does; only the connection differs. The password comes from the file of `NAME`.
"""

import signal
import sys
import threading
from pathlib import Path

from processes import runner

from autopilot.infra.security.ground import Ground


def main() -> None:
    """Works until SIGTERM."""
    name, bootstrap, home, folder = sys.argv[1:5]
    ground = Ground(Path(home))
    kafka = {"bootstrap.servers": bootstrap, **ground.client(ground.credentials(name))}
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    runner(name, kafka, Path(folder))(stop)


if __name__ == "__main__":
    main()
