"""Identifiers and references in FHIR R4, and how they are asked for."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from bridge.domain.identity import Identifier, Issuers
from bridge.fhir.coding import V2_0203, text
from bridge.uids import is_uid
from bridge.workflow.ports import Reference

STUDY_UID_SYSTEM = "urn:dicom:uid"
ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[^\s\x00-\x1f|]+")
_PATH = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/([A-Za-z0-9\-.]{1,64}))?/?$")


def is_system(uri: str) -> bool:
    """Absolute, and with a well-formed OID where it claims one."""
    return _URI.fullmatch(uri) is not None and (not uri.startswith("urn:oid:") or is_uid(uri[8:]))


def system_of(identifier: Identifier, issuers: Issuers) -> str:
    """The FHIR system of its issuer; '' when the issuer has none, or none that is a URI."""
    issuer = issuers.find(identifier.issuer)
    prefix = {"ISO": "urn:oid:", "UUID": "urn:uuid:", "URI": ""}.get(issuer.universal_id_type)
    system = issuer.system or (prefix + issuer.universal_id if prefix is not None else "")
    return system if is_system(system) else ""


def write_identifier(identifier: Identifier, issuers: Issuers, type: str) -> dict[str, Any] | None:
    """An Identifier with `type` of table 0203; without a system the issuer is named by `assigner`. None when empty."""
    value = text(identifier.value)
    if not value:
        return None
    written: dict[str, Any] = {"type": {"coding": [{"system": V2_0203, "code": type}]}}
    system = system_of(identifier, issuers)
    if system:
        written["system"] = system
    written["value"] = value
    if not system and text(identifier.issuer):
        written["assigner"] = {"display": text(identifier.issuer)}
    return written


def study_identifier(uid: str) -> dict[str, Any]:
    return {"system": STUDY_UID_SYSTEM, "value": f"urn:oid:{uid}"}


def has_identifier(resource: dict[str, Any], system: str, value: str) -> bool:
    """Whether it carries it: the check on a server that ignores a search parameter and answers with everything."""
    rows = resource.get("identifier")
    return isinstance(rows, list) and any(
        isinstance(r, dict) and r.get("system") == system and r.get("value") == value for r in rows
    )


def token(system: str, value: str) -> str:
    """A token search value, escaped by FHIR's rules (R4 search 3.1.1.5.2) but not yet percent-encoded."""
    return "|".join(re.sub(r"([\\|,$])", r"\\\1", part) for part in (system, value))


def query(**parameters: str) -> str:
    """`identifier=...` percent-encoded: the text of If-None-Exist and of a search URL."""
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())


def from_path(url: str) -> Reference | None:
    """Type, id and version at the end of a Location or reference, whatever base the server believes to have."""
    found = _PATH.search(url.split("?")[0].split("#")[0])
    return Reference(found[1], found[2], found[3] or "") if found else None


def relative(reference: object, base: str) -> str:
    """`Patient/1` for a literal reference on this server, without its version; a foreign one as it is."""
    written = str(reference or "")
    if "://" in written and not written.startswith(base + "/"):
        return written
    found = from_path(written)
    return found.relative if found else written
