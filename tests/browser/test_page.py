"""The page in a real browser, over the real projector on a real Kafka."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from chromium import Chromium
from long_log import course, write

from autopilot.infra.platform.ports import free_port
from autopilot.infra.platform.processes import wait_until
from autopilot.projections.client import Client
from autopilot.streams.record import EVENT_TYPE

pytestmark = pytest.mark.kafka
PROGRAM = Path(__file__).parents[1] / "integration" / "projector_program.py"
Visit = Callable[[Chromium], Awaitable[None]]


@pytest.fixture
def server(cluster: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """The address of a projector over an empty log."""
    port, log = free_port(), tmp_path / "projector.log"
    with log.open("w") as output:
        command = [sys.executable, str(PROGRAM), cluster["bootstrap.servers"], str(tmp_path / "views"), str(port)]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        try:
            return httpx.get(f"{url}/healthz").is_success
        except httpx.TransportError:
            return False

    try:
        wait_until(ready, 30, "the projector", log)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def visit(tmp_path: Path, what: Visit) -> None:
    """Does something with a fresh browser; the page must not complain on its console."""

    async def session() -> None:
        async with Chromium(tmp_path / "profile") as browser:
            await browser.look()
            await what(browser)
            assert browser.problems == []

    asyncio.run(session())


def test_an_incident_appears_and_its_timeline_grows_while_one_looks(
    cluster: dict[str, str], server: str, tmp_path: Path
) -> None:
    records = [record for record in course(40, 1) if record.position.partition == 0]
    closed = next(i for i, r in enumerate(records) if r.headers[EVENT_TYPE] == b"IncidentClosed")
    opened = next(i for i, r in enumerate(records) if r.headers[EVENT_TYPE] == b"IncidentOpened")

    async def look(browser: Chromium) -> None:
        await browser.open(f"{server}/")
        await browser.wait_for("document.querySelector('#live').dataset.state === 'live'")
        assert await browser.wait_for("!document.querySelector('#none').hidden")

        write(cluster, records[: opened + 1])
        await browser.wait_for("document.querySelectorAll('#incidents li').length === 1")
        await browser.evaluate("document.querySelector('#incidents a').click()")
        await browser.wait_for("document.querySelectorAll('#lines tr').length > 1")
        before = await browser.evaluate("document.querySelectorAll('#lines tr').length")
        assert await browser.evaluate("document.querySelector('#about .badge').textContent") == "open"

        write(cluster, records[opened + 1 : closed + 1])
        await browser.wait_for("document.querySelector('#about .badge').textContent === 'remediated'")
        events = await browser.evaluate("[...document.querySelectorAll('#lines tr')].map(row => row.dataset.event)")
        assert len(events) > before
        assert events[0] == "SignalRaised"
        assert events[-1] == "IncidentClosed"
        assert {"PlanProposed", "PlanAuthorized", "StepStarted", "OutcomeVerified"} <= set(events)

    visit(tmp_path, look)


def test_the_timeline_shows_what_the_api_answers(cluster: dict[str, str], server: str, tmp_path: Path) -> None:
    write(cluster, course(60, 1))
    with Client(server) as client:
        wait_until(lambda: len(client.incidents().incidents) == 2, 20, "two incidents", tmp_path / "projector.log")
        first = client.incidents().incidents[0]
        wait_until(
            lambda: client.incident(first.incident_id).timeline.resolution != "",
            20,
            "its end",
            tmp_path / "projector.log",
        )
        timeline = client.incident(first.incident_id).timeline

    async def look(browser: Chromium) -> None:
        await browser.open(f"{server}/#{first.incident_id}")
        await browser.wait_for(f"document.querySelectorAll('#lines tr').length === {len(timeline.lines)}")
        rows = await browser.evaluate("[...document.querySelectorAll('#lines tr')].map(row => row.innerText)")
        for row, line in zip(rows, timeline.lines, strict=True):
            for said in (line.producer, line.event, line.event_id, line.position, *line.ids.values()):
                assert said in row
        stages = await browser.evaluate("document.querySelector('#stages').innerText")
        assert all(stage.name in stages for stage in timeline.stages)
        await _keep_pictures(browser)

    visit(tmp_path, look)


async def _keep_pictures(browser: Chromium) -> None:
    """Saves what the page looks like where AUTOPILOT_PICTURES says."""
    folder = os.environ.get("AUTOPILOT_PICTURES")
    if folder:
        for scheme in ("light", "dark"):
            await browser.look(scheme=scheme)
            await browser.picture(Path(folder) / f"incident-{scheme}.png")
        await browser.look(width=480, height=900)
        await browser.picture(Path(folder) / "incident-narrow.png")


def test_text_from_the_log_is_never_markup(cluster: dict[str, str], server: str, tmp_path: Path) -> None:
    hostile = b"<img src=x onerror=alert(1)>"
    records = [
        record._replace(value=record.value.replace(b"svc-000-errors", hostile[:14]))
        if record.headers[EVENT_TYPE] == b"IncidentOpened"
        else record
        for record in course(20, 1)
    ]
    write(cluster, records)

    async def look(browser: Chromium) -> None:
        await browser.open(f"{server}/")
        title = await browser.wait_for("document.querySelector('#incidents .title')?.textContent")
        assert hostile[:14].decode() in title
        assert await browser.evaluate("document.querySelectorAll('main img').length") == 0

    visit(tmp_path, look)


def test_it_can_be_used_from_the_keyboard_and_by_a_screen_reader(
    cluster: dict[str, str], server: str, tmp_path: Path
) -> None:
    write(cluster, course(20, 1))

    async def look(browser: Chromium) -> None:
        await browser.open(f"{server}/")
        await browser.wait_for("document.querySelectorAll('#incidents a').length")
        await browser.evaluate("document.querySelector('#incidents a').focus()")
        for kind in ("keyDown", "keyUp"):
            await browser.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r",
                               windowsVirtualKeyCode=13)  # fmt: skip
        await browser.wait_for("document.querySelectorAll('#lines tr').length")
        assert await browser.evaluate("document.querySelector('#incidents a').getAttribute('aria-current')") == "true"
        assert await browser.evaluate("document.documentElement.lang") == "en"
        unnamed = await browser.evaluate(
            "[...document.querySelectorAll('a, input, section')].filter(e => !(e.textContent.trim() || "
            "e.closest('label') || e.getAttribute('aria-labelledby'))).length"
        )
        assert unnamed == 0
        assert await browser.evaluate("document.querySelectorAll('th:not([scope])').length") == 0

    visit(tmp_path, look)
