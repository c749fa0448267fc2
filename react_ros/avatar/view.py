"""Live page: an HTTP server that shows the human, the avatar and the robot's status in a browser."""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import threading
from collections.abc import Collection, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from react_ros import pages

Image = npt.NDArray[np.uint8]

_BOUNDARY = "frame"
_KEEP_ALIVE_S = 5.0


class ViewError(Exception):
    """The page cannot be served; the message is one sentence for users."""


class _Latest:
    """The newest picture and status; readers wait for newer ones without blocking the writer."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._encoding = threading.Lock()
        self._image: Image | None = None
        self._jpeg = b""
        self._jpeg_number = 0
        self._image_number = 0
        self._status = ""
        self._status_number = 0
        self.closed = False

    def show(self, image: Image) -> None:
        with self._changed:
            self._image = image
            self._image_number += 1
            self._changed.notify_all()

    def status(self, text: str) -> None:
        with self._changed:
            self._status = text
            self._status_number += 1
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def pictures(self) -> Iterator[bytes]:
        """JPEG files, each newer than the one before; a slow reader skips pictures."""
        seen = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self.closed or self._image_number > seen)  # noqa: B023
                if self.closed:
                    return
                image, seen = self._image, self._image_number
            assert image is not None
            yield self._encoded(image, seen)

    def _encoded(self, image: Image, number: int) -> bytes:
        with self._encoding:
            if number > self._jpeg_number:
                bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
                self._jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
                self._jpeg_number = number
            return self._jpeg

    def statuses(self) -> Iterator[str]:
        """JSON texts as they change; "" after 5 s without a change (keep-alive)."""
        seen = 0
        while True:
            with self._changed:
                came = self._changed.wait_for(lambda: self.closed or self._status_number > seen, _KEEP_ALIVE_S)  # noqa: B023
                if self.closed:
                    return
                text, seen = (self._status, self._status_number) if came else ("", seen)
            yield text


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    # On Linux this allows binding a port with connections in TIME_WAIT; a port in use is still refused.
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], latest: _Latest, names: Collection[str]):
        self.latest = latest
        self._local = _is_loopback(address[0])
        self._names = {address[0].lower(), *(name.lower() for name in names)}
        if not self._local:
            own = socket.gethostname().lower()
            self._names |= {own, f"{own}.local"}
        self.page = pages.render("live.html.j2").encode()
        super().__init__(address, _Handler)

    def answers_to(self, host: str) -> bool:
        """Whether a Host header names this page.

        Only loopback names, and those given; where the page is served on other interfaces, any IP address too, because
        DNS rebinding needs a name.
        """
        name = host.rpartition(":")[0] if re.search(r":\d*$", host) else host
        name = name.strip("[]").lower()
        return name in self._names or _is_loopback(name) or (not self._local and _is_address(name))


def _is_loopback(name: str) -> bool:
    return name.lower() == "localhost" or (_is_address(name) and ipaddress.ip_address(name).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class _Handler(BaseHTTPRequestHandler):
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]
    timeout = 20.0

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if reason := self._refusal(path):
            self.send_error(403, reason)
            return
        try:
            if path == "/":
                self._page()
            elif path == "/stream.mjpg":
                self._stream()
            elif path == "/events":
                self._events()
            else:
                self.send_error(404)
        except OSError:
            # The browser disconnected or stopped reading.
            self.close_connection = True

    def _refusal(self, path: str) -> str:
        """Why this request is not answered; empty where it is. The page shows a person: no other site may read it."""
        host = self.headers.get("Host", "")
        if not self.server.answers_to(host):
            return "this name is not one of the page: see the parameter view_names"
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{host}":
            return "requests of other sites are refused"
        site, page = self.headers.get("Sec-Fetch-Site", "none"), self.headers.get("Sec-Fetch-Dest") == "document"
        if site not in ("none", "same-origin") and not (path == "/" and page):  # a link to the page may be followed
            return "requests of other sites are refused"
        return ""

    def _head(self, kind: str, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", "default-src 'self' data: 'unsafe-inline'; frame-ancestors 'none'")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _page(self) -> None:
        body = self.server.page
        self._head("text/html; charset=utf-8", len(body))
        self.wfile.write(body)

    def _stream(self) -> None:
        self._head(f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        for jpeg in self.server.latest.pictures():
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")

    def _events(self) -> None:
        self._head("text/event-stream")
        for text in self.server.latest.statuses():
            self.wfile.write(f"data: {text}\n\n".encode() if text else b": still here\n\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""


class ViewServer:
    """Serves the page from its own thread.

    `/` is the page, `/stream.mjpg` the pictures (multipart JPEG), `/events` the status (server-sent events, JSON).
    Slow browsers get fewer pictures and never block `show`. The page loads nothing from other hosts.
    Requests of other sites, and those for another host than a loopback name (DNS rebinding), are refused.
    port: 0 takes any free one; see `port` and `url`. names: further hosts under which the page may be opened. Raises
    ViewError where the port cannot be bound.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 8025, names: Collection[str] = ()):
        self._latest = _Latest()
        try:
            self._server = _Server((host, port), self._latest, names)
        except (OSError, OverflowError) as error:
            raise ViewError(
                f"cannot serve the view on {host} port {port} ({getattr(error, 'strerror', None) or error}): "
                "stop the program that uses this port or choose another one"
            ) from error
        self.host, self.port = host, int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True, name="view"
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{self.host}:{self.port}/"

    def show(self, image_rgb: Image) -> None:
        """Show a picture: (height, width, 3) uint8 RGB. Does not block. Raises ValueError for other shapes or types."""
        if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8 or image_rgb.size == 0:
            raise ValueError(f"a picture is (height, width, 3) uint8 RGB, not {image_rgb.shape} {image_rgb.dtype}")
        self._latest.show(image_rgb.copy())

    def status(self, facts: Mapping[str, str | float | bool | None]) -> None:
        """Show the status: names and values, in this order, e.g. state, generator, latency, late."""
        self._latest.status(json.dumps(dict(facts)))

    def close(self) -> None:
        """Stop serving. A second call does nothing."""
        if self._latest.closed:
            return
        self._latest.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=2.0)
