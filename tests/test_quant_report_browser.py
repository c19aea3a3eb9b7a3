"""The report in headless Chromium: width, keys, colours, rules of accessibility, no errors."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from quant.report.__main__ import app

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
        code = {"Tab": 9, "Escape": 27, "End": 35, "ArrowRight": 39}[key]
        for kind in ("keyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

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


pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason=f"needs Chromium on PATH ({', '.join(NAMES)}): .ci/setup dev browser"
)
ROOT = Path(__file__).parents[1]
DATA = Path(__file__).parent / "data" / "report"
LOOKS = [(1280, False), (1280, True), (390, False), (390, True)]
"""Widths of a desk and of a telephone, in light and dark."""
MARKS = "[...document.querySelectorAll('.mark')]"
TIP = "document.getElementById('tip')"
SHOWN = f"!{TIP}.hidden"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page about a search, another search, a front, and a network quantised without one."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("search", "other"):
        shutil.copytree(ROOT / "sim" / "networks" / "resnet8", folder / name / "integer")
        shutil.copy(DATA / "result.json", folder / name)
    (folder / "front").mkdir()
    shutil.copy(DATA / "front.json", folder / "front")
    path = folder / "page.html"
    shutil.copytree(ROOT / "sim" / "networks" / "dscnn", folder / "ptq" / "integer")
    shutil.copy(DATA / "ptq.json", folder / "ptq" / "result.json")
    runs = [str(folder / name) for name in ("search", "other", "front", "ptq")]
    done = CliRunner().invoke(app, [*runs, "-o", str(path)], catch_exceptions=False)
    assert done.exit_code == 0
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert CHROMIUM is not None
    browser = Browser(CHROMIUM, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.mark.parametrize(("width", "dark"), LOOKS)
def test_the_page_fits_and_neither_console_nor_network_has_anything(
    browser: Browser, page: Path, width: int, dark: bool
) -> None:
    browser.open(page, width=width, dark=dark)
    assert browser.troubles() == []
    assert browser.run("document.documentElement.scrollWidth") <= width
    back = browser.run("getComputedStyle(document.body).backgroundColor")
    assert back == ("rgb(20, 24, 29)" if dark else "rgb(255, 255, 255)")
    smallest = browser.run(
        "Math.min(...[...document.querySelectorAll('.plot text')].map(t => "
        "parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a))"
    )
    assert smallest > 9.5  # pixels


def test_a_fault_in_a_page_is_seen(browser: Browser, page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    other = tmp_path / "broken.html"
    other.write_text(text.replace('"use strict";', "undefined_name();", 1), encoding="utf-8")
    browser.open(other, width=390, dark=False)
    assert any("Content Security Policy" in trouble for trouble in browser.troubles())
    other.write_text(text.replace("default-src 'none'", "").replace("</main>", "<img src='http://localhost:1/a.png'></main>"),
                     encoding="utf-8")  # fmt: skip
    browser.open(other, width=390, dark=False)
    assert any("localhost:1" in trouble for trouble in browser.troubles())


def test_a_picture_is_one_stop_of_tab_and_arrows_walk_its_marks(
    browser: Browser, page: Path
) -> None:
    browser.open(page, width=1280, dark=False)
    stops = "document.querySelectorAll('.mark[tabindex=\"0\"]').length"
    assert browser.run(stops) == browser.run("document.querySelectorAll('.plot').length") > 10
    for _ in range(40):
        browser.press("Tab")
        if browser.run("document.activeElement.matches('.mark')"):
            break
    texts = []
    for key in ("ArrowRight", "End", "Escape"):
        mark = browser.run("document.activeElement.dataset.tip")
        assert browser.run(SHOWN)
        assert browser.run(f"{TIP}.textContent") == mark
        assert browser.run("document.activeElement.getAttribute('aria-label')") == ", ".join(
            mark.split("\n")
        )
        texts.append(mark)
        browser.press(key)
    assert len({*texts}) == 3
    assert not browser.run(SHOWN)
    assert browser.run(stops) == browser.run("document.querySelectorAll('.plot').length")


@pytest.mark.parametrize("width", [1280, 390])
def test_every_point_of_the_front_says_what_it_is_within_the_window(
    browser: Browser, page: Path, width: int
) -> None:
    browser.open(page, width=width, dark=False)
    points = json.loads((DATA / "front.json").read_text())["points"]
    plot = "document.querySelector('#run3-front-1 .plot')"
    browser.run(f"{plot}.scrollIntoView({{block: 'center'}})")
    for index, point in enumerate(points):
        box = f"{plot}.querySelectorAll('.mark .shape')[{index}].getBoundingClientRect()"
        x, y = browser.run(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({box})")
        browser.move(x, y)
        assert browser.run(SHOWN)
        text = browser.run(f"{TIP}.textContent")
        assert f"{100 * point['test_accuracy']:.2f} % (test)" in text
        assert f"bits {point['bits']}" in text
        left, top, right, bottom = browser.run(
            f"(b => [b.left, b.top, b.right, b.bottom])({TIP}.getBoundingClientRect())"
        )
        assert 0 <= left < left + 150 < right <= width
        assert 0 <= top < bottom <= 844
    browser.move(1, 1)
    assert not browser.run(SHOWN)


def test_a_printed_page_has_all_tables_open(browser: Browser, page: Path) -> None:
    browser.open(page, width=1280, dark=True)
    closed = "document.querySelectorAll('details:not([open])').length"
    before = browser.run(closed)
    assert before > 3
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.run(closed) == 0
    browser.run("dispatchEvent(new Event('afterprint'))")
    assert browser.run(closed) == before


@pytest.mark.parametrize(("width", "dark"), LOOKS[::3])
def test_the_page_keeps_the_rules_of_accessibility(
    browser: Browser, page: Path, width: int, dark: bool
) -> None:
    axe = pytest.importorskip("axe_core_python")
    rules = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    browser.open(page, width=width, dark=dark)
    browser.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    browser.run("document.querySelector('#run2').parentElement.remove()")  # as the first
    browser.run(f"{rules}; 0")
    violations, checked = browser.run(
        "axe.run().then(r => [r.violations.map(v => [v.id, v.nodes[0].html.slice(0, 200)]), "
        "r.passes.find(p => p.id === 'color-contrast').nodes.length])"
    )
    assert violations == []
    assert checked > 100
