"""Liveness and readiness, without a word about why: the reasons stand in the log and in `bridge status`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flask import Blueprint, Response, jsonify


def health_blueprint(ready: Callable[[], Mapping[str, bool]]) -> Blueprint:
    """`GET /health`: the process answers. `GET /ready`: 200 when every check holds, else 503; both name the checks."""
    pages = Blueprint("health", __name__)

    @pages.get("/health")
    def alive() -> Response:
        return jsonify({"status": "alive"})

    @pages.get("/ready")
    def readiness() -> Response:
        checks = dict(ready())
        answer = jsonify({"status": "ready" if all(checks.values()) else "not ready", "checks": checks})
        answer.status_code = 200 if all(checks.values()) else 503
        return answer

    return pages
