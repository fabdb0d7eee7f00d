"""Drives Firefox over WebDriver BiDi and WebKitGTK over WebDriver: opens pages, runs scripts and takes screenshots."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from websockets.sync.client import ClientConnection, connect

from tests.waiting import LONG_S, until

WEBKIT_BROWSERS = "/usr/lib/*/webkit*gtk-*/MiniBrowser"
FIREFOX_PREFERENCES = {
    "media.navigator.streams.fake": True,  # a camera that shows a moving pattern
    "media.navigator.permission.disabled": True,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
    "app.update.auto": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}


class Driver(Protocol):
    """A running browser with one tab."""

    def goto(self, url: str) -> None:
        """Opens a page and waits until it has loaded."""

    def evaluate(self, script: str) -> Any:
        """Runs the body of an asynchronous function in the page and returns its result, which JSON can hold."""

    def screenshot(self) -> bytes:
        """Returns what the tab shows, as PNG."""


class Firefox:
    """Firefox over WebDriver BiDi; see `Driver`."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._count = 0
        self._command("session.new", {"capabilities": {}})
        self._tab = self._command("browsingContext.getTree", {})["contexts"][0]["context"]

    def goto(self, url: str) -> None:
        """See `Driver`."""
        self._command("browsingContext.navigate", {"context": self._tab, "url": url, "wait": "complete"})

    def evaluate(self, script: str) -> Any:
        """See `Driver`."""
        answer = self._command(
            "script.evaluate",
            {
                "expression": f"(async () => {{ {script} }})().then((result) => JSON.stringify(result ?? null))",
                "target": {"context": self._tab},
                "awaitPromise": True,
                "userActivation": True,
            },
        )
        assert answer["type"] == "success", answer
        return json.loads(answer["result"]["value"])

    def screenshot(self) -> bytes:
        """See `Driver`."""
        return base64.b64decode(self._command("browsingContext.captureScreenshot", {"context": self._tab})["data"])

    def _command(self, method: str, parameters: dict[str, Any]) -> Any:
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while (answer := json.loads(self._socket.recv(LONG_S))).get("id") != self._count:
            pass  # an event
        assert answer["type"] == "success", answer
        return answer["result"]


class WebKit:
    """WebKitGTK's MiniBrowser over WebDriver; see `Driver`."""

    def __init__(self, address: str, binary: str) -> None:
        self._address = address
        options = {"binary": binary, "args": ["--automation", "--enable-mock-capture-devices=true"]}
        capabilities = {"alwaysMatch": {"webkitgtk:browserOptions": options}}
        self._session = f"/session/{self._command('POST', '/session', {'capabilities': capabilities})['sessionId']}"
        self._command("POST", f"{self._session}/timeouts", {"script": LONG_S * 1000, "pageLoad": LONG_S * 1000})

    def goto(self, url: str) -> None:
        """See `Driver`."""
        self._command("POST", f"{self._session}/url", {"url": url})

    def evaluate(self, script: str) -> Any:
        """See `Driver`."""
        body = (
            f"const done = arguments[0]; (async () => {{ {script} }})()"
            ".then((result) => done({ result: JSON.stringify(result ?? null) }))"
            ".catch((error) => done({ error: `${error}` }));"
        )
        answer = self._command("POST", f"{self._session}/execute/async", {"script": body, "args": []})
        assert "error" not in answer, answer
        return json.loads(answer["result"])

    def screenshot(self) -> bytes:
        """See `Driver`."""
        return base64.b64decode(self._command("GET", f"{self._session}/screenshot"))

    def close(self) -> None:
        """Closes the browser."""
        self._command("DELETE", self._session)

    def _command(self, method: str, path: str, parameters: dict[str, Any] | None = None) -> Any:
        data = None if parameters is None else json.dumps(parameters).encode()
        request = urllib.request.Request(
            self._address + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=2 * LONG_S) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None


@contextlib.contextmanager
def firefox(path: str) -> Iterator[Driver]:
    """Starts Firefox with a profile of its own."""
    with tempfile.TemporaryDirectory() as profile:
        preferences = "".join(f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in FIREFOX_PREFERENCES.items())
        Path(profile, "user.js").write_text(preferences, encoding="utf-8")
        log = Path(profile, "log.txt")
        with (
            log.open("wb") as stream,
            process([path, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"], stream),
        ):
            found = until(lambda: re.search(r"ws://\S+", log.read_text("utf-8", "replace")), "Firefox to start")
            with connect(f"{found[0]}/session", open_timeout=LONG_S, max_size=None) as socket_:
                yield Firefox(socket_)


@contextlib.contextmanager
def webkit(binary: str) -> Iterator[Driver]:
    """Starts WebKitGTK's MiniBrowser on a screen of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["xvfb-run", "-a", "-s", "-screen 0 1280x1000x24", "WebKitWebDriver", f"--port={port}"]
    with process(command, subprocess.DEVNULL):
        until(lambda: answers(port), "WebKitWebDriver to start")
        driver = WebKit(f"http://127.0.0.1:{port}", binary)
        yield driver
        driver.close()


def answers(port: int) -> bool:
    """Returns whether a port of this machine accepts connections."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def process(command: list[str], output: Any) -> Iterator[None]:
    """Runs a program, and ends it with its children."""
    with subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True) as running:
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGTERM)


def find_webkit() -> str | None:
    """Returns the path of MiniBrowser if it can be driven."""
    if not (shutil.which("WebKitWebDriver") and shutil.which("xvfb-run")):
        return None
    found = sorted(Path("/").glob(WEBKIT_BROWSERS.lstrip("/")))
    return str(found[-1]) if found else None
