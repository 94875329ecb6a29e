"""A thin FHIR R4 client: what is sent stays visible. The only importer of requests.

Redirects are never followed, so that the token stays with the server it is for; every call has a time limit and
every body a size limit; no exception's text holds what a server wrote.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from bridge.clock import Clock, SystemClock
from bridge.config import Ehr
from bridge.errors import RemoteRefused, RemoteUnavailable
from bridge.fhir.answer import PAUSED, Answer, Asked, classify
from bridge.fhir.identity import ID, query

MAX_BYTES = 10 * 1024 * 1024
MAX_PAGES = 20
CONNECT_SECONDS = 5.0
_TYPE = "application/fhir+json"


class FhirClient:
    """One EHR's FHIR base. Safe for the endpoint's worker slots: several threads, one pool of connections.

    Every call raises `RemoteUnavailable` (with the internal `VersionConflict` and `Absent`) or `RemoteRefused`.
    """

    def __init__(self, ehr: Ehr, session: requests.Session | None = None, clock: Clock | None = None) -> None:
        self._ehr = ehr
        self._clock = clock or SystemClock()
        self._session = session or _session(ehr.slots)

    @property
    def base(self) -> str:
        return self._ehr.fhir_base

    def read(self, type: str, id: str) -> Answer:
        """`GET type/id`; `Absent` when it is not there or deleted."""
        return self._ask(Asked("GET", type, id), self._url(type, id))

    def search(self, type: str, **parameters: str) -> list[dict[str, Any]]:
        """Every match, over all pages; a page at another origin raises instead of sending the token there."""
        asked = Asked("GET", type)
        url = f"{self.base}/{type}?{query(**parameters)}"
        found: list[dict[str, Any]] = []
        for _ in range(MAX_PAGES):
            bundle = self._ask(asked, url).resource
            found += _matches(bundle, type)
            following = _next(bundle)
            if following is None:
                return found
            url = urljoin(url, following)
            if _origin(url) != _origin(self.base):
                raise RemoteUnavailable("the next page is at another origin", where="Bundle.link", code=PAUSED)
        raise RemoteRefused("more pages than an identifier can have", where="Bundle.link", code="several-matches")

    def create(self, resource: dict[str, Any], if_none_exist: str) -> Answer:
        """`POST type` unless `if_none_exist` (a query) finds one: then 200 with that one, unchanged."""
        kind = str(resource["resourceType"])
        headers = {"If-None-Exist": if_none_exist} if if_none_exist else {}
        return self._ask(Asked("POST", kind, "", bool(if_none_exist)), f"{self.base}/{kind}", resource, headers)

    def update(self, resource: dict[str, Any], if_match: str) -> Answer:
        """`PUT type/id`; a version that is no longer the current one raises `VersionConflict`."""
        kind, id = str(resource["resourceType"]), str(resource["id"])
        headers = {"If-Match": if_match} if if_match else {}
        return self._ask(Asked("PUT", kind, id, bool(if_match)), self._url(kind, id), resource, headers)

    def _url(self, type: str, id: str) -> str:
        if not ID.fullmatch(id):
            raise RemoteRefused("not a FHIR id", where=f"{type}.id", code="invalid")
        return f"{self.base}/{type}/{id}"

    def _ask(
        self, asked: Asked, url: str, resource: dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        token = self._token()
        try:
            return self._send(asked, url, resource, headers or {}, token)
        except RemoteUnavailable as refused:
            # The file is rewritten by whoever renews the token: a new one may already be there.
            renewed = self._token() if refused.status == 401 else token
            if renewed == token:
                raise
        return self._send(asked, url, resource, headers or {}, renewed)

    def _send(
        self, asked: Asked, url: str, resource: dict[str, Any] | None, headers: dict[str, str], token: str
    ) -> Answer:
        sent = {"Accept": _TYPE, "Accept-Encoding": "identity", **headers}
        if resource is not None:
            sent["Content-Type"] = _TYPE
        fault = RemoteUnavailable(f"{asked.method} {asked.type}: no answer", where=asked.type)
        try:
            with self._session.request(
                asked.method,
                url,
                data=None if resource is None else json.dumps(resource, ensure_ascii=False).encode(),
                headers=sent,
                auth=_Bearer(token),
                timeout=(min(CONNECT_SECONDS, self._ehr.timeout_seconds), self._ehr.timeout_seconds),
                allow_redirects=False,
                stream=True,
            ) as response:
                body = self._body(response, fault)
                return classify(asked, response.status_code, response.headers, body)
        except requests.exceptions.SSLError:
            fault = RemoteUnavailable(f"{asked.method} {asked.type}: no trusted TLS", where="fhir_base", code=PAUSED)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError):
            pass  # their texts hold the URL, and the URL an identifier
        raise fault

    def _body(self, response: requests.Response, fault: RemoteUnavailable) -> bytes:
        """The whole body within twice the time limit: a limit for each read alone lets a trickle go on for ever."""
        end = self._clock.monotonic() + 2 * self._ehr.timeout_seconds
        read = bytearray()
        while piece := response.raw.read1(65536, decode_content=True):
            read += piece
            if len(read) > MAX_BYTES:
                raise RemoteUnavailable("the answer is too large", where=fault.where, status=response.status_code)
            if self._clock.monotonic() > end:
                raise fault
        return bytes(read)

    def _token(self) -> str:
        if self._ehr.token_file is None:
            return ""
        try:
            token = self._ehr.token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            token = ""
        if not token.isprintable() or not token or " " in token:
            raise RemoteUnavailable("no bearer token can be read", where="token_file", code=PAUSED)
        return token


class _Bearer(AuthBase):
    """Given always, also without a token: else requests takes a password from ~/.netrc."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _session(slots: int) -> requests.Session:
    session = requests.Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=slots, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _matches(bundle: dict[str, Any], type: str) -> Iterator[dict[str, Any]]:
    entries = bundle.get("entry")
    for entry in entries if isinstance(entries, list) else ():
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(resource, dict) and resource.get("resourceType") == type and isinstance(resource.get("id"), str):
            yield resource


def _next(bundle: dict[str, Any]) -> str | None:
    links = bundle.get("link")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("relation") == "next" and link.get("url"):
            return str(link["url"])
    return None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    return parts.scheme, parts.hostname, port or {"http": 80, "https": 443}.get(parts.scheme)
