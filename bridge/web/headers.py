"""The headers of every answer, and the one Host that an origin answers to."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask, Response, request
from werkzeug.exceptions import MisdirectedRequest

PROBES = frozenset({"/health", "/ready", "/metrics"})


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def policy(viewer_origin: str) -> str:
    """A page's own style and script, no frame around it, forms to us and (by redirect) to the viewer's origin."""
    return (
        "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action 'self' {viewer_origin}"
    )


def protect(app: Flask, own_url: str, viewer_url: str) -> None:
    """Refuse a foreign Host (421), and set headers wherever a page has not set stricter or its own."""
    parts = urlsplit(own_url)
    port = {"https": ":443", "http": ":80"}[parts.scheme]
    hosts = {parts.netloc.lower(), parts.netloc.lower().removesuffix(port)}
    defaults = {
        "Content-Security-Policy": policy(origin_of(viewer_url)),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    if parts.scheme == "https":
        defaults["Strict-Transport-Security"] = "max-age=31536000"

    @app.before_request
    def right_origin() -> None:
        # A load balancer or Prometheus asks by address.
        if request.path not in PROBES and request.host.lower().removesuffix(port) not in hosts:
            raise MisdirectedRequest

    @app.after_request
    def set_headers(response: Response) -> Response:
        for name, value in defaults.items():
            response.headers.setdefault(name, value)
        return response
