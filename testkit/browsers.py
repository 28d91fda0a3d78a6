"""Browsers as tests drive them, all alike. Firefox and WebKit are Debian's own builds, over the W3C's
protocols, without a driver from elsewhere.

Firefox speaks WebDriver BiDi itself; WebKitGTK comes with a classic WebDriver, and draws on a screen that Xvfb invents.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import ClientSession, ClientWebSocketResponse
from playwright.sync_api import sync_playwright

from testkit.chromium import ARGUMENTS, chromium_path
from unjoin.host.kafka import free_port

START_SECONDS_MAX = 60.0
ANSWER_SECONDS_MAX = 60.0
MINI_BROWSER = "/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser"
PREFERENCES = """user_pref("app.update.enabled", false); user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false); user_pref("browser.safebrowsing.downloads.enabled", false);
user_pref("services.settings.server", "http://127.0.0.1:1"); user_pref("toolkit.telemetry.server", "");
user_pref("extensions.update.enabled", false); user_pref("browser.region.network.url", "");
user_pref("media.gmp-manager.updateEnabled", false); user_pref("remote.active-protocols", 1);
"""


class Browser:
    """One browser with a window of its own; `with` ends it, whatever happened.

    Attributes:
        name: as the tables call it.
    """

    name = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> str:
        """A fresh tab, in front; gives its id."""
        raise NotImplementedError

    def goto(self, url: str) -> None:
        """Loads a page in the tab in front; returns once it has loaded."""
        raise NotImplementedError

    def evaluate(self, expression: str) -> Any:
        """A script's value, awaited, as JSON can tell it."""
        raise NotImplementedError

    def move(self, places: list[tuple[int, int]]) -> None:
        """The mouse along places."""
        raise NotImplementedError

    def type(self, text: str) -> None:
        """Keys, one after another, into whatever has the focus."""
        raise NotImplementedError

    def close_tab(self) -> None:
        """As a person closes it; another tab has to be there."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends it."""
        raise NotImplementedError

    def wait_for(self, expression: str, seconds: float = 30.0) -> None:
        """Returns once a script's value is true."""
        deadline = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, expression
            time.sleep(0.05)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _pointer(places: list[tuple[int, int]]) -> dict[str, Any]:
    moves = [{"type": "pointerMove", "x": x, "y": y, "duration": 20} for x, y in places]
    return {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": moves}


def _keys(text: str) -> dict[str, Any]:
    strokes: list[dict[str, Any]] = []
    for key in text:
        strokes += [
            {"type": "keyDown", "value": key},
            {"type": "pause", "duration": 20},
            {"type": "keyUp", "value": key},
        ]
    return {"type": "key", "id": "keys", "actions": strokes}


class Firefox(Browser):
    """Firefox over WebDriver BiDi. Source: https://www.w3.org/TR/webdriver-bidi/."""

    name = "Firefox"

    @staticmethod
    def is_there() -> bool:
        """Whether it is installed."""
        return shutil.which("firefox-esr") is not None or shutil.which("firefox") is not None

    def __init__(self, private: bool = False) -> None:
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        profile = Path(self._folder.name)
        more = 'user_pref("browser.privatebrowsing.autostart", true);' if private else ""
        (profile / "user.js").write_text(PREFERENCES + more)
        program = shutil.which("firefox-esr") or shutil.which("firefox") or ""
        self._process = subprocess.Popen(
            [program, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "HOME": str(profile), "MOZ_HEADLESS_WIDTH": "800", "MOZ_HEADLESS_HEIGHT": "600"},
        )  # fmt: skip
        assert self._process.stderr is not None
        address = ""
        for line in self._process.stderr:
            if found := re.search(r"BiDi listening on (ws://\S+)", line):
                address = found[1]
                break
        assert address, "Firefox did not start"
        self._loop = asyncio.new_event_loop()
        self._drain = subprocess.Popen(["cat"], stdin=self._process.stderr, stdout=subprocess.DEVNULL)
        self._number, self._tab = 0, ""
        self._client, self._socket = self._loop.run_until_complete(self._connect(address + "/session"))
        self._command("session.new", capabilities={})
        self._tab = self._command("browsingContext.getTree")["contexts"][0]["context"]

    async def _connect(self, address: str) -> tuple[ClientSession, ClientWebSocketResponse]:
        client = ClientSession()
        return client, await client.ws_connect(address, max_msg_size=0)

    async def _exchange(self, number: int, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            while True:
                answer: dict[str, Any] = await self._socket.receive_json()
                if answer.get("id") == number:
                    return answer

    def _command(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        answer = self._loop.run_until_complete(self._exchange(self._number, method, parameters))
        assert answer["type"] == "success", answer
        result: dict[str, Any] = answer["result"]
        return result

    def open(self) -> str:
        self._tab = self._command("browsingContext.create", type="tab")["context"]
        return self._tab

    def goto(self, url: str) -> None:
        self._command("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def evaluate(self, expression: str) -> Any:
        said = self._command(
            "script.callFunction", functionDeclaration=f"async () => JSON.stringify(await ({expression}))",
            awaitPromise=True, target={"context": self._tab},
        )  # fmt: skip
        assert said["type"] == "success", said
        text = said["result"].get("value")
        return None if text is None else json.loads(text)

    def move(self, places: list[tuple[int, int]]) -> None:
        self._command("input.performActions", context=self._tab, actions=[_pointer(places)])

    def type(self, text: str) -> None:
        self._command("input.performActions", context=self._tab, actions=[_keys(text)])

    def close_tab(self) -> None:
        self._command("browsingContext.close", context=self._tab)
        self._tab = self._command("browsingContext.getTree")["contexts"][-1]["context"]

    def close(self) -> None:
        self._loop.run_until_complete(self._client.close())
        self._loop.close()
        _end(self._process)
        self._drain.wait(10)
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._folder.cleanup()


class WebKit(Browser):
    """WebKitGTK's MiniBrowser over WebDriver. Source: https://www.w3.org/TR/webdriver2/."""

    name = "WebKit"

    @staticmethod
    def is_there() -> bool:
        """Whether it, its driver and a screen are installed."""
        return bool(shutil.which("WebKitWebDriver") and shutil.which("Xvfb") and Path(MINI_BROWSER).exists())

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._screen = subprocess.Popen(
            ["Xvfb", "-displayfd", "1", "-screen", "0", "1024x768x24", "-nolisten", "tcp"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self._screen.stdout is not None
        display = ":" + self._screen.stdout.readline().strip()
        port = free_port()
        home = self._folder.name
        environment = {
            **os.environ, "DISPLAY": display, "GDK_BACKEND": "x11", "HOME": home, "XDG_RUNTIME_DIR": home,
            "WEBKIT_DISABLE_COMPOSITING_MODE": "1", "LIBGL_ALWAYS_SOFTWARE": "1", "NO_AT_BRIDGE": "1",
        }  # fmt: skip
        environment.pop("WAYLAND_DISPLAY", None)
        self._driver = subprocess.Popen(
            ["WebKitWebDriver", f"--port={port}"],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._home = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            with contextlib.suppress(OSError):
                if self._ask("GET", "/status")["ready"]:
                    break
            assert time.monotonic() < deadline, "WebKitWebDriver did not start"
            time.sleep(0.1)
        options = {"binary": MINI_BROWSER, "args": ["--automation"]}
        wanted = {"capabilities": {"alwaysMatch": {"webkitgtk:browserOptions": options}}}
        self._home += "/session/" + self._ask("POST", "/session", wanted)["sessionId"]
        self._tabs: list[str] = [self._ask("GET", "/window")]

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if method != "POST" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self._home + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS_MAX) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.read().decode()}") from None

    def open(self) -> str:
        handle: str = self._ask("POST", "/window/new", {"type": "window"})["handle"]
        self._ask("POST", "/window", {"handle": handle})
        self._tabs.append(handle)
        return handle

    def goto(self, url: str) -> None:
        self._ask("POST", "/url", {"url": url})

    def evaluate(self, expression: str) -> Any:
        script = f"const done = arguments[0]; Promise.resolve({expression}).then(done)"
        return self._ask("POST", "/execute/async", {"script": script, "args": []})

    def move(self, places: list[tuple[int, int]]) -> None:
        self._ask("POST", "/actions", {"actions": [_pointer(places)]})

    def type(self, text: str) -> None:
        self._ask("POST", "/actions", {"actions": [_keys(text)]})

    def close_tab(self) -> None:
        self._ask("DELETE", "/window")
        self._tabs.pop()  # the driver lists the others in no order
        self._ask("POST", "/window", {"handle": self._tabs[-1]})

    def close(self) -> None:
        with contextlib.suppress(OSError, AssertionError):
            self._ask("DELETE", "")
        _end(self._driver)
        _end(self._screen)
        assert self._screen.stdout is not None
        self._screen.stdout.close()
        self._folder.cleanup()


class Chromium(Browser):
    """Chromium by Playwright, the way the other browsers are driven; and it can lose its network."""

    name = "Chromium"

    @staticmethod
    def is_there() -> bool:
        """Whether it is installed."""
        return chromium_path() is not None

    def __init__(self) -> None:
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(
            executable_path=chromium_path(), args=ARGUMENTS, ignore_default_args=["--disable-back-forward-cache"]
        )
        self._context = self._browser.new_context(viewport={"width": 800, "height": 600})
        self._page = self._context.new_page()

    def open(self) -> str:
        self._page = self._context.new_page()
        return str(len(self._context.pages))

    def goto(self, url: str) -> None:
        self._page.goto(url)

    def evaluate(self, expression: str) -> Any:
        return self._page.evaluate(expression)

    def move(self, places: list[tuple[int, int]]) -> None:
        for place in places:
            self._page.mouse.move(*place)

    def type(self, text: str) -> None:
        self._page.keyboard.type(text, delay=20)

    def close_tab(self) -> None:
        self._page.close()
        self._page = self._context.pages[-1]

    def offline(self, is_offline: bool) -> None:
        """Takes the network away from all tabs, or gives it back."""
        self._context.set_offline(is_offline)

    def close(self) -> None:
        self._browser.close()
        self._playwright.stop()
