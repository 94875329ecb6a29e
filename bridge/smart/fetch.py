"""The way out: short time limits, a cap on every body, no redirects, no proxy or netrc from the environment."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from bridge.errors import RemoteRefused, RemoteUnavailable

CONNECT_SECONDS = 3.05
READ_SECONDS = 10.0
WHOLE_SECONDS = 20.0
MAX_BYTES = 1024 * 1024


class Door(HTTPAdapter):
    """Reads every answer whole, up to `MAX_BYTES` and `WHOLE_SECONDS`, whatever the caller asked for."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs |= {"stream": True, "timeout": (CONNECT_SECONDS, READ_SECONDS)}
        end = time.monotonic() + WHOLE_SECONDS
        response = super().send(request, *args, **kwargs)
        body = bytearray()
        try:
            for piece in response.iter_content(16384):
                body += piece
                if len(body) > MAX_BYTES or time.monotonic() > end:
                    raise requests.exceptions.ContentDecodingError("answer too large or too slow")
        finally:
            response.close()
        response._content = bytes(body)
        return response


def guard(session: requests.Session) -> requests.Session:
    """Make `session` obey this module's limits."""
    session.trust_env = False
    session.mount("https://", Door())
    session.mount("http://", Door())
    return session


def get_json(url: str, *, bearer: str = "", accept: str = "application/json") -> dict[str, Any]:
    """The JSON object at `url`. Raises `RemoteUnavailable` (no answer, 429, 5xx) or `RemoteRefused` (anything else)."""
    headers = {"Accept": accept} | ({"Authorization": f"Bearer {bearer}"} if bearer else {})
    with guard(requests.Session()) as session:
        try:
            response = session.get(url, headers=headers, allow_redirects=False, timeout=READ_SECONDS)
        except requests.RequestException as fault:
            raise RemoteUnavailable(f"no answer: {type(fault).__name__}", where=host_of(url)) from None
    check_status(response.status_code, url)
    try:
        body = json.loads(response.content)
    except ValueError:
        raise RemoteRefused("the answer is not JSON", where=host_of(url), code="not-json") from None
    if not isinstance(body, dict):
        raise RemoteRefused("the answer is not a JSON object", where=host_of(url), code="not-json")
    return body


def check_status(status: int, url: str) -> None:
    if status == 429 or status >= 500:
        raise RemoteUnavailable(f"answered {status}", where=host_of(url), status=status)
    if status != 200:
        raise RemoteRefused(f"answered {status}", where=host_of(url), status=status)


def host_of(url: str) -> str:
    return urlsplit(url).hostname or ""
