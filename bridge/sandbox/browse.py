"""Someone at the pretend EHR, in a browser: presses a chart's button, follows where it leads, reads the images there.

What a browser does by itself is done here by plain HTTP: cookies, redirects, and the one page that posts its own form.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import requests

from bridge.errors import NotFound, RemoteRefused, RemoteUnavailable

_SECONDS = 20
_FRAME = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'


@dataclass(slots=True)
class _Form:
    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)


class _Forms(HTMLParser):
    """The forms of a page with their hidden fields, and every id that belongs to them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[_Form] = []
        self._open = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append(_Form(values.get("action", ""), values.get("method", "get")))
            self._open = True
        if self._open:
            form = self.found[-1]
            form.ids.add(values.get("id", ""))
            if tag == "input" and "name" in values:
                form.fields[values["name"]] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open and tag != "form"


@dataclass(frozen=True, slots=True)
class Opened:
    """Where a launch ended: the viewer's page, the studies it opens, and how many redirects led there."""

    browser: Browser
    url: str
    studies: tuple[str, ...]
    redirects: int

    def read(self, path: str, accept: str = "application/dicom+json") -> requests.Response:
        """One DICOMweb request as the viewer makes it: same origin, its cookie. RemoteRefused with the status."""
        return self.browser.get(urljoin(self.url, f"/dicom-web/{path}"), accept)

    def series(self, study: str) -> list[str]:
        """QIDO-RS: the Series Instance UIDs of a study (PS3.18 10.6)."""
        return [_value(one, "0020000E") for one in self.read(f"studies/{study}/series").json()]

    def metadata(self, study: str, series: str) -> list[dict[str, Any]]:
        """WADO-RS metadata of a series (PS3.18 10.4.1.1.2)."""
        found: list[dict[str, Any]] = self.read(f"studies/{study}/series/{series}/metadata").json()
        return found

    def frame(self, study: str, series: str, instance: str, number: int) -> int:
        """WADO-RS frame: the bytes of its multipart body."""
        path = f"studies/{study}/series/{series}/instances/{instance}/frames/{number}"
        return len(self.read(path, _FRAME).content)


class Browser:
    """One browser: its cookies are its own."""

    def __init__(self) -> None:
        self._session = requests.Session()
        self._session.trust_env = False

    def get(self, url: str, accept: str = "text/html") -> requests.Response:
        return self._call("GET", url, accept=accept)

    def press(self, page_url: str, button: str) -> Opened:
        """Open a page, press the button with this id, go on until the viewer's page.

        Raises NotFound without such a button, RemoteRefused for an answer that is an error.
        """
        answer = self._submit(self.get(page_url), button)
        redirects = len(answer.history)
        if urlsplit(answer.url).path.startswith("/s/"):
            answer = self._submit(answer, "open")
            redirects += 1 + len(answer.history)
        asked = parse_qs(urlsplit(answer.url).query).get("StudyInstanceUIDs", [""])[0]
        return Opened(self, answer.url, tuple(uid for uid in asked.split(",") if uid), redirects)

    def _submit(self, page: requests.Response, button: str) -> requests.Response:
        form = next((f for f in _Forms(page.text).found if button in f.ids), None)
        if form is None:
            raise NotFound("the page has no such button", where=urlsplit(page.url).path)
        return self._call(form.method.upper(), urljoin(page.url, form.action), data=form.fields)

    def _call(
        self, method: str, url: str, *, accept: str = "text/html", data: dict[str, str] | None = None
    ) -> requests.Response:
        try:
            answer = self._session.request(method, url, data=data, headers={"Accept": accept}, timeout=_SECONDS)
        except requests.RequestException as error:
            raise RemoteUnavailable(f"no answer: {type(error).__name__}", where=urlsplit(url).path) from error
        if not answer.ok:
            path = urlsplit(answer.url).path
            raise RemoteRefused(f"{path} answered {answer.status_code}", where=path, status=answer.status_code)
        return answer


def _value(item: dict[str, Any], tag: str) -> str:
    return str(item.get(tag, {}).get("Value", [""])[0])


def instance_uid(item: dict[str, Any]) -> str:
    """The SOP Instance UID of a DICOM JSON object."""
    return _value(item, "00080018")


def frames_of(item: dict[str, Any]) -> int:
    """Number of Frames of a DICOM JSON object; 1 when it does not say."""
    return int(_value(item, "00280008") or 1)
