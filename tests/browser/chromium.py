"""A headless Chromium, driven over the DevTools protocol: open a page, evaluate, wait, take a picture."""

import asyncio
import base64
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
START_S = 30.0


class NoBrowserError(RuntimeError):
    """There is no Chromium: `make test-browser` says how to get one."""


def executable() -> str:
    """The first Chromium on the path."""
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return found
    raise NoBrowserError(f"none of {', '.join(NAMES)} is on the path; on Debian: apt-get install chromium")


class Chromium:
    """One browser with one page; `async with` ends it."""

    def __init__(self, profile: Path) -> None:
        self._profile = profile
        self._number = 0
        self.problems: list[str] = []
        """What the page said on its console as an error, and what it failed to catch."""

    async def __aenter__(self) -> Self:
        self._process = subprocess.Popen(
            [executable(), *FLAGS, f"--user-data-dir={self._profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._http = aiohttp.ClientSession()
        port = await self._port()
        async with self._http.get(f"http://127.0.0.1:{port}/json") as answer:
            pages = await answer.json()
        address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
        self._socket = await self._http.ws_connect(address, max_msg_size=0)
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._socket.close()
        await self._http.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    async def _port(self) -> int:
        file, until = self._profile / "DevToolsActivePort", time.monotonic() + START_S
        while not (file.exists() and file.read_text().strip()):
            assert time.monotonic() < until, "chromium does not start"
            await asyncio.sleep(0.05)
        return int(file.read_text().split()[0])

    async def call(self, method: str, **parameters: Any) -> Any:
        """One command and its result; what the page reports meanwhile is noted."""
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            message = json.loads(await self._socket.receive_str(timeout=START_S))
            if message.get("id") == self._number:
                assert "error" not in message, message["error"]
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        if message["method"] == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(parameters["exceptionDetails"]))
        if message["method"] == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.problems.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")

    async def open(self, url: str) -> None:
        """Goes to a page and returns once it and its scripts are there."""
        await self.call("Page.navigate", url=url)
        await self.wait_for(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    async def look(self, *, width: int = 1400, height: int = 1000, scheme: str = "light") -> None:
        """Sets the size of the window and the colour scheme that the reader prefers."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        result = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    async def wait_for(self, script: str, within_s: float = 15.0) -> Any:
        """The expression's value once it is truthy."""
        until = time.monotonic() + within_s
        while True:
            value = await self.evaluate(script)
            if value:
                return value
            assert time.monotonic() < until, f"still {value!r} after {within_s} s: {script}"
            await asyncio.sleep(0.05)

    async def picture(self, file: Path) -> None:
        """Saves what the window shows as PNG."""
        shot = await self.call("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(shot["data"]))
