"""The server, health, and the headers of every answer."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

import pytest
import requests

from bridge.web.factory import create_public_app, create_viewer_app
from bridge.web.server import WebServer
from tests.fakes.launch_site import PAGE, PUBLIC, VIEWER, Browser, Site, client


def hello(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]


def test_port_zero_takes_a_free_port_before_there_is_an_application() -> None:
    server = WebServer("127.0.0.1", 0, threads=2, drain_seconds=1)
    port = server.bind()
    assert port > 0
    server.start(hello)
    try:
        answer = requests.get(f"http://127.0.0.1:{port}/", timeout=5)
    finally:
        server.stop()
    assert answer.text == "hello"
    assert "ython" not in answer.headers["Server"]
    assert "heroot" not in answer.headers["Server"]


def test_a_running_request_is_finished_before_the_end() -> None:
    began, go_on = threading.Event(), threading.Event()

    def slow(environ: Any, start_response: Any) -> list[bytes]:
        began.set()
        go_on.wait(10)
        return hello(environ, start_response)

    server = WebServer("127.0.0.1", 0, threads=2, drain_seconds=10)
    server.start(slow)
    texts: list[str] = []
    asking = threading.Thread(
        target=lambda: texts.append(requests.get(f"http://127.0.0.1:{server.port}/", timeout=10).text)
    )
    asking.start()
    assert began.wait(10)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    go_on.set()
    stopping.join(15)
    asking.join(15)
    assert texts == ["hello"]


def test_a_stopped_server_gives_its_port_back() -> None:
    server = WebServer("127.0.0.1", 0, threads=1, drain_seconds=1)
    server.start(hello)
    port = server.port
    server.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))


def test_health_is_alive_and_ready_names_the_checks(site: Site) -> None:
    assert site.browser.get("/health").json == {"status": "alive"}
    assert site.browser.get("/ready").json == {"status": "ready", "checks": {"database": True}}


def test_not_ready_is_a_503(site: Site) -> None:
    def checks() -> Mapping[str, bool]:
        return {"database": True, "disk": False}

    object.__setattr__(site.deps, "ready", checks)
    answer = client(create_public_app(site.deps), PUBLIC).get("/ready")
    assert answer.status_code == 503
    assert answer.json["checks"]["disk"] is False


@pytest.mark.parametrize("origin", ["public", "viewer"])
def test_every_route_answers_with_every_header(site: Site, origin: str) -> None:
    app, home = (create_public_app(site.deps), PUBLIC) if origin == "public" else (create_viewer_app(site.deps), VIEWER)
    browser = client(app, home)
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<opaque>", "x" * 43).replace("<path:filename>", "page.css").replace("<uid>", "1.2")
        for method in sorted(rule.methods or ()):
            answer = browser.open(path, method=method, headers=PAGE)
            assert answer.headers["X-Content-Type-Options"] == "nosniff", (method, path)
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            assert "max-age=" in answer.headers["Strict-Transport-Security"]
            asset = path.endswith(".css") and method != "OPTIONS"
            assert answer.headers["Cache-Control"] == ("no-cache" if asset else "no-store")
            assert answer.status_code < 500


@pytest.mark.parametrize(
    "base", [VIEWER, "https://bridge.example.evil.example", "https://bridge.example:8443", "https://127.0.0.1"]
)
def test_another_host_is_misdirected(site: Site, base: str) -> None:
    assert site.browser.get("/launch/callback", base_url=base).status_code == 421


def test_a_balancer_may_probe_by_address(site: Site) -> None:
    assert site.browser.get("/ready", base_url="http://10.0.0.1").status_code == 200


def test_the_default_port_may_be_spelt_out(site: Site) -> None:
    assert site.browser.get("/s/" + "x" * 43, base_url="https://BRIDGE.example:443").status_code == 200


def test_a_proxy_that_ends_tls_is_believed_only_when_configured(site: Site) -> None:
    headers = {"X-Forwarded-Host": "bridge.example", "X-Forwarded-Proto": "https"}
    inside = "http://10.0.0.1:8080"
    assert site.browser.get("/s/" + "x" * 43, base_url=inside, headers=headers).status_code == 421
    web = site.deps.settings.web.model_copy(update={"trusted_proxies": 1})
    object.__setattr__(site.deps, "settings", site.deps.settings.model_copy(update={"web": web}))
    browser: Browser = client(create_public_app(site.deps), inside)
    assert browser.get("/s/" + "x" * 43, headers=headers).status_code == 200


def test_pages_bring_everything_with_them(site: Site) -> None:
    page = site.browser.get("/s/" + "x" * 43, headers=PAGE).text
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert "style=" not in page
    assert "<script>" not in page


TWO_PORTS = """
import socket
from bridge.web.server import WebServer

taken = socket.create_server(("127.0.0.1", 0))
WebServer("127.0.0.1", 0, threads=2).bind()
WebServer("127.0.0.1", taken.getsockname()[1], threads=2).bind()
"""


def test_a_process_whose_second_port_is_taken_ends() -> None:
    """Its first listener's threads wait for work already; it would live on without serving, and keep the first port."""
    done = subprocess.run([sys.executable, "-c", TWO_PORTS], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "Error" in done.stderr
