"""What a FHIR server's answer means: one pure function, one table (durability.md 6; R4 http)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from bridge.errors import RemoteError, RemoteRefused, RemoteUnavailable
from bridge.fhir.identity import ID, from_path
from bridge.fhir.outcome import is_error, issues
from bridge.workflow.ports import Reference

PAUSED = "endpoint-paused"
LONGEST_WAIT = 900.0


class VersionConflict(RemoteUnavailable):
    """Somebody else wrote first: read, merge, try again."""

    code = "version-conflict"


class Absent(RemoteUnavailable):
    """The one resource that was named is not there, or no longer."""

    code = PAUSED


@dataclass(frozen=True, slots=True)
class Asked:
    """The request as far as its answer depends on it; `id` '' for a search or a create."""

    method: str
    type: str
    id: str = ""
    conditional: bool = False
    """It carried If-None-Exist (POST) or If-Match (PUT)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer. `etag` as sent ('' when missing); `reference` None for a search."""

    status: int
    etag: str
    resource: dict[str, Any]
    reference: Reference | None

    @property
    def if_match(self) -> str:
        """The header's text for a version-aware update: the ETag unchanged, else made of meta.versionId."""
        version = _version_of(self.resource)
        return self.etag or (f'W/"{version}"' if version else "")


def classify(asked: Asked, status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """Return a 2xx that is what it claims to be; raise the `RemoteError` that the answer means.

    Texts hold the status and FHIR's own issue codes: nothing that the server wrote in words.
    """
    resource = _json(body)
    if 200 <= status < 300:
        return _success(asked, status, headers, body, resource)
    told = " ".join(sorted({code for _, code in issues(resource)}))
    text = f"{asked.method} {asked.type}: HTTP {status}" + (f" ({told})" if told else "")
    raise _failure(asked, status, headers, issues(resource) != () or not body, text)


def _failure(asked: Asked, status: int, headers: Mapping[str, str], fhir: bool, text: str) -> RemoteError:
    """`fhir`: the body is an OperationOutcome or empty, so that it is the server that speaks, not a proxy's page."""
    where = asked.type
    if status == 409 or (status == 412 and asked.method == "PUT" and asked.conditional):
        return VersionConflict(text, where=where, status=status)
    if status == 412 and asked.conditional:
        return RemoteRefused(text, where=where, code="several-matches", status=status)
    if status in (404, 410) and asked.id and fhir:
        return Absent(text, where=where, status=status)
    if status in (401, 403, 404, 405, 407, 410) or 300 <= status < 400:
        return RemoteUnavailable(text, where=where, code=PAUSED, status=status)
    if status in (408, 425, 429) or status >= 500:
        return RemoteUnavailable(text, where=where, status=status, retry_after=retry_after(headers))
    if status == 413:
        return RemoteRefused(text, where=where, code="too-large", status=status)
    return RemoteRefused(text, where=where, code="invalid" if status in (400, 422) else "", status=status)


def _success(
    asked: Asked, status: int, headers: Mapping[str, str], body: bytes, resource: dict[str, Any] | None
) -> Answer:
    def broken(code: str) -> RemoteUnavailable:
        text = f"{asked.method} {asked.type}: HTTP {status}, but {code}"
        return RemoteUnavailable(text, where=asked.type, code=code, status=status)

    if resource is None and (body.strip() or asked.method == "GET"):
        raise broken("not-fhir")
    resource = resource or {}
    if is_error(resource):
        raise broken("error-in-success")
    kind = resource.get("resourceType")
    etag = headers.get("ETag", "").strip()
    if asked.method == "GET" and not asked.id:
        if kind != "Bundle":
            raise broken("not-fhir")
        return Answer(status, etag, resource, None)
    if kind == "OperationOutcome":
        resource = {}
    elif kind not in (asked.type, None) or (kind is None and resource):
        raise broken("not-fhir")
    if asked.method == "GET" and not resource:
        raise broken("not-fhir")
    reference = _reference(asked, headers, resource, etag)
    if reference is None:
        raise broken("no-id")
    return Answer(status, etag, resource, reference)


def _reference(asked: Asked, headers: Mapping[str, str], resource: dict[str, Any], etag: str) -> Reference | None:
    located = from_path(headers.get("Location", "") or headers.get("Content-Location", ""))
    located = located if located and located.type == asked.type else None
    id = asked.id or str(resource.get("id") or "") or (located.id if located else "")
    if not ID.fullmatch(id):
        return None
    version = _version_of(resource) or etag.removeprefix("W/").strip('"') or (located.version if located else "")
    return Reference(asked.type, id, version)


def _version_of(resource: dict[str, Any]) -> str:
    meta = resource.get("meta")
    return str(meta.get("versionId") or "") if isinstance(meta, dict) else ""


def _json(body: bytes) -> dict[str, Any] | None:
    try:
        tree = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return tree if isinstance(tree, dict) else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds, 15 minutes at most (RFC 9110 10.2.3); a date is measured by the server's own Date."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), LONGEST_WAIT)
    later, now = _date(value), _date(headers.get("Date", ""))
    if later is None or now is None:
        return None
    return min(max((later - now).total_seconds(), 0.0), LONGEST_WAIT)


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return date if date.tzinfo else None
