"""An MJPEG camera on a port of this machine, which misbehaves as network cameras do."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np


class NetworkCamera:
    """Serves 25 pictures a second at `url`. `behaviour` may be set at any time:

    "good"; "404" and other statuses; "silent": nothing more is sent; "empty": status 200 with an empty body; "drip": a
    byte every 50 ms; "page": an HTML page; "garbage": random bytes; "broken": pictures that are no JPEG; "ends": the
    connection is closed. Present connections follow it too, unless it is a status.
    """

    def __init__(self, port: int = 0, login: str = "") -> None:
        self.behaviour = "good"
        self.requests = 0
        self._stop = threading.Event()
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                return

            def do_GET(self) -> None:
                camera.requests += 1
                try:
                    camera._answer(self)
                except OSError:
                    return

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request: object, client_address: object) -> None:
                return

        self._server = Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self.url = f"http://{login}{'@' if login else ''}127.0.0.1:{self.port}/video"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        kind = self.behaviour
        if kind.isdecimal():
            request.send_response(int(kind))
            if kind == "401":
                request.send_header("WWW-Authenticate", 'Basic realm="camera"')
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        if kind == "silent":
            self._wait_while("silent")
            return
        request.send_response(200)
        if kind in ("empty", "page"):
            body = b"" if kind == "empty" else b"<html><body>Please log in</body></html>"
            request.send_header("Content-Type", "text/html")
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)
            return
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        request.end_headers()
        level = 0
        while not self._stop.is_set():
            level = (level + 5) % 256
            picture = cv2.imencode(".jpg", np.full((120, 160, 3), level, np.uint8))[1].tobytes()
            kind = self.behaviour
            if kind == "ends":
                return
            if kind == "silent":
                self._wait_while("silent")
                continue
            if kind == "garbage":
                picture = np.random.default_rng(level).integers(0, 256, 4000, np.uint8).tobytes()
                request.wfile.write(picture)
            else:
                if kind == "broken":
                    picture = picture[:40] + bytes(len(picture) - 40)
                part = b"--next\r\nContent-Type: image/jpeg\r\n\r\n" + picture + b"\r\n"
                if kind == "drip":
                    for at in range(len(part)):
                        if self.behaviour != "drip" or self._stop.wait(0.05):
                            break
                        request.wfile.write(part[at : at + 1])
                    continue
                request.wfile.write(part)
            self._stop.wait(0.04)

    def _wait_while(self, kind: str) -> None:
        while self.behaviour == kind and not self._stop.wait(0.05):
            pass

    def unplug(self) -> None:
        """Close the connections and the port."""
        self._stop.set()
        time.sleep(0.05)
        self._server.shutdown()
        self._server.server_close()
