"""A server that answers what the test says and remembers what it was asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Script:
    """`say` queues an answer; an unexpected request is answered 599."""

    url: str
    answers: list[tuple[int, dict[str, str], bytes, str]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def say(self, status: int, body: object = None, how: str = "", **headers: str) -> None:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.answers.append((status, {k.replace("_", "-"): v for k, v in headers.items()}, data, how))

    @property
    def methods(self) -> list[str]:
        return [a.method for a in self.asked]


def _handler(script: Script) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            script.asked.append(Asked(self.command, self.path, dict(self.headers), body))
            status, headers, data, how = script.answers.pop(0) if script.answers else (599, {}, b"", "")
            if how == "reset":
                self.close_connection = True
                return
            if how == "silent":
                time.sleep(1)
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data) + (100 if how == "cut" else 0)))
            self.end_headers()
            self.wfile.write(data)
            if how == "cut":
                self.close_connection = True

        do_GET = do_POST = do_PUT = _serve

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


def serve(script: Script) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(script))
    script.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


def outcome(code: str, severity: str = "error") -> dict[str, Any]:
    text = "Patient DOE^JOHN 4711 is unknown"
    return {"resourceType": "OperationOutcome", "issue": [{"severity": severity, "code": code, "diagnostics": text}]}


def bundle(*resources: dict[str, Any], next: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset"}
    if resources:
        found["entry"] = [{"resource": r, "search": {"mode": "match"}} for r in resources]
    if next:
        found["link"] = [{"relation": "next", "url": next}]
    return found
