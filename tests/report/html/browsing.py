"""A real browser, driven over a pipe by Chromium's own protocol: no driver, no port, no library."""

import base64
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SECONDS = 60


class Browser:
    """One headless Chromium with one tab. `problems` are the errors that its console and the page's policy told."""

    def __init__(self, program: str, folder: Path) -> None:
        ours, theirs = self._pipe(), self._pipe()
        reads, writes = theirs[0], ours[1]
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        flags += ["--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND", "--hide-scrollbars"]
        flags += ["--remote-debugging-pipe", f"--user-data-dir={folder}"]
        # Chromium reads from 3 and writes to 4. The numbers of our ends are far above, so that none is overwritten.
        move = f"import os, sys; os.dup2({reads}, 3); os.dup2({writes}, 4); os.execv(sys.argv[1], sys.argv[1:])"
        self.process = subprocess.Popen(
            [sys.executable, "-c", move, program, *flags, "about:blank"],
            pass_fds=(reads, writes),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "HOME": str(folder)},
        )
        os.close(reads)
        os.close(writes)
        self.inlet, self.outlet = theirs[1], ours[0]
        self.number, self.rest, self.session = 0, b"", ""
        self.problems: list[str] = []
        self.happened: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    @staticmethod
    def _pipe() -> tuple[int, int]:
        """Both ends at numbers far above 3 and 4."""
        low = os.pipe()
        high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD, 60) for end in low)
        for end in low:
            os.close(end)
        return high[0], high[1]

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command and its answer; events that come before it are heard on the way."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.inlet, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == self.number:
                assert "error" not in found, found["error"]
                return found["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.outlet], [], [], SECONDS)
            part = os.read(self.outlet, 1 << 20) if ready else b""
            assert part, "the browser says nothing more"
            self.rest += part
        head, _, self.rest = self.rest.partition(b"\0")
        found = json.loads(head)
        self._hear(found.get("method", ""), found.get("params", {}))
        return found

    def _hear(self, method: str, said: dict[str, Any]) -> None:
        self.happened.append(method)
        match method:
            case "Runtime.exceptionThrown":
                self.problems.append(str(said["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if said["type"] in ("error", "warning"):
                self.problems.append(str(said["args"]))
            case "Log.entryAdded":
                self.problems.append(said["entry"]["text"])
            case "Network.requestWillBeSent" if not said["request"]["url"].startswith(("file:", "data:", "about:")):
                self.problems.append(f"it asks for {said['request']['url']}")

    def open(self, path: Path, *, width: int = 1100, dark: bool = False, media: str = "") -> None:
        """Shows a page in a window so wide, by day or by night, on a screen or as in print."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.happened.clear()
        self.ask("Page.navigate", url=path.resolve().as_uri())
        end = time.monotonic() + SECONDS
        while "Page.loadEventFired" not in self.happened:
            assert time.monotonic() < end
            self._next()

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page, whose own policy allows no script."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def screenshot(self, path: Path) -> Path:
        """The whole page, down to its end."""
        found = self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))
        return path

    def pdf(self, path: Path) -> Path:
        """The page as it is printed, on A4."""
        found = self.ask("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=True)
        path.write_bytes(base64.b64decode(found["data"]))
        return path

    def close(self) -> None:
        """Ends the process and those that it started."""
        os.close(self.inlet)
        os.close(self.outlet)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
