"""The report in headless Chromium: width, keys, colours, rules of accessibility, no errors."""

import base64
import functools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """Chromium over its pipe of JSON messages, each ended by a zero byte; one page at a time."""

    def __init__(self, executable: str, profile: Path) -> None:
        read, self.to = os.pipe()
        self.source, write = os.pipe()
        command = [executable, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        command += ["--remote-debugging-pipe", "--force-prefers-reduced-motion"]
        self.process = subprocess.Popen(
            # the pipe's ends are file descriptors 3 and 4
            ["bash", "-c", f'exec "$@" 3<&{read} 4>&{write}', "bash", *command,
             f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(read, write), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(read)
        os.close(write)
        self.numbers, self.rest = count(1), b""
        self.events: list[dict[str, Any]] = []
        self.session = ""
        target = self("Target.createTarget", url="about:blank")["targetId"]
        attached = self("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **params: Any) -> Any:
        """Send a command; returns its result, events that come before it are kept."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            part = os.read(self.source, 1 << 20)
            assert part, "Chromium has ended"
            self.rest += part
        first, self.rest = self.rest.split(b"\0", 1)
        return dict(json.loads(first))

    def open(self, page: Path, *, width: int, dark: bool) -> None:
        """Open a file at a width, in light or dark."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1,
             mobile=width < 600)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self("Page.navigate", url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._message())

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page, promises waited for."""
        found = self("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                 windowsVirtualKeyCode={"Tab": 9, "Escape": 27, "End": 35, "ArrowRight": 39}[key])  # fmt: skip

    def move(self, x: float, y: float) -> None:
        """Move the mouse."""
        self("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def picture(self, path: Path) -> None:
        """Save the whole page as PNG."""
        size = self("Page.getLayoutMetrics")["cssContentSize"]
        clip = {**size, "scale": 1}
        shot = self("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def troubles(self) -> list[str]:
        """Return errors and warnings of the console, and every request but for the page itself."""
        self.run("0")  # what came before has come
        bad = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}
        found = [json.dumps(event) for event in self.events if event["method"] in bad]
        urls = [
            event["params"]["request"]["url"]
            for event in self.events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return found + [url for url in urls[1:] if not url.startswith("data:")]

    def close(self) -> None:
        """End Chromium."""
        os.close(self.to)
        self.process.terminate()
        self.process.wait(timeout=30)
        os.close(self.source)
