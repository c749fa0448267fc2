"""A headless Chromium, controlled through the DevTools protocol over a pair of pipes."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """A page in its own browser process."""

    def __init__(self, program: str, address: str, profile: Path) -> None:
        child_in, self._out = os.pipe()
        self._in, child_out = os.pipe()
        self._numbers = itertools.count(1)
        self._rest = b""
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync",
                 "--remote-debugging-pipe", f"--user-data-dir={profile}", "--window-size=1280,800"]  # fmt: skip
        # Chromium reads commands from file descriptor 3 and answers on 4; the shell connects the pipes.
        script = f'exec 3<&{child_in} 4>&{child_out}; exec "$0" "$@"'
        if {child_in, child_out} & {3, 4}:
            raise RuntimeError("descriptors 3 and 4 are taken")
        self._process = subprocess.Popen(
            ["bash", "-c", script, program, *flags, "about:blank"],
            pass_fds=[child_in, child_out], stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(child_in)
        os.close(child_out)
        target = self._call("Target.createTarget", {"url": address})["targetId"]
        self._session = self._call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]

    def _call(self, method: str, parameters: dict[str, Any], session: str | None = None, seconds: float = 20.0) -> Any:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            while b"\0" in self._rest:
                head, _, self._rest = self._rest.partition(b"\0")
                answer = json.loads(head)
                if answer.get("id") == number:
                    if "Cannot find default execution context" in str(answer.get("error")):
                        return self._call(
                            method, parameters, session, deadline - time.monotonic()
                        )  # it is still loading
                    assert "error" not in answer, answer
                    return answer["result"]
            if select.select([self._in], [], [], 0.1)[0]:
                self._rest += os.read(self._in, 1 << 20)
        raise TimeoutError(f"the browser does not answer to {method}")

    def run(self, script: str) -> Any:
        """Evaluate a JavaScript expression in the page."""
        answer = self._call("Runtime.evaluate", {"expression": script, "returnByValue": True}, self._session)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, file: Path) -> None:
        answer = self._call("Page.captureScreenshot", {"format": "png"}, self._session)
        file.write_bytes(base64.b64decode(answer["data"]))

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        os.close(self._in)
        os.close(self._out)
