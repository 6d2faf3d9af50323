"""The process that serves the views: an address that is taken is told in one line, and slowness is no such address."""

import socket
import threading
import time
from pathlib import Path

import pytest
import uvicorn

from autopilot.infra.api.server import NotServingError, ProjectorProcess
from autopilot.infra.platform.ports import HOST
from autopilot.schemas.registry import BundledRegistry


def process(folder: Path, port: int) -> ProjectorProcess:
    nowhere = {"bootstrap.servers": f"{HOST}:1", "log_level": "0"}
    return ProjectorProcess(
        kafka=nowhere, registry=BundledRegistry(), partitions=1, folder=folder, host=HOST, port=port
    )


def test_a_taken_address_is_named_with_the_settings_that_choose_another(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(NotServingError, match=rf"`{HOST}:{port}` cannot be listened on.*AUTOPILOT_API_PORT"):
            process(tmp_path, port).run(threading.Event())


def test_a_server_that_is_slow_to_start_is_waited_for_until_the_process_is_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, asked = threading.Event(), threading.Event()

    def never_listens(server: uvicorn.Server) -> None:
        asked.set()
        while not server.should_exit:
            time.sleep(0.01)

    monkeypatch.setattr(uvicorn.Server, "run", never_listens)
    running = threading.Thread(target=process(tmp_path, 1).run, args=(stop,), daemon=True)
    running.start()
    assert asked.wait(60)
    assert running.is_alive()
    stop.set()
    running.join(60)
    assert not running.is_alive()
