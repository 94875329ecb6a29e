"""The last look at a resource of ours before it leaves: fhir.resources, then what it lets pass.

fhir.resources 8.3 accepts wrong codes of required bindings, empty lists, nulls, numbers as text and ids of 65
characters; its root package is R5, `R4B` has the R4 form of what we write.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fhir.resources.R4B.endpoint import Endpoint
from fhir.resources.R4B.imagingstudy import ImagingStudy
from fhir.resources.R4B.operationoutcome import OperationOutcome
from fhir.resources.R4B.servicerequest import ServiceRequest
from pydantic import ValidationError

from bridge.errors import BadValue
from bridge.fhir.identity import ID, STUDY_UID_SYSTEM, from_path, is_system
from bridge.fhir.outcome import ISSUE_TYPES
from bridge.uids import is_uid

_MODELS = {m.__name__: m for m in (ImagingStudy, Endpoint, ServiceRequest, OperationOutcome)}
_REQUEST_STATUS = frozenset({"draft", "active", "on-hold", "revoked", "completed", "entered-in-error", "unknown"})
_REQUIRED = {
    "ImagingStudy.status": frozenset({"registered", "available", "cancelled", "entered-in-error", "unknown"}),
    "Endpoint.status": frozenset({"active", "suspended", "error", "off", "entered-in-error", "test"}),
    "ServiceRequest.status": _REQUEST_STATUS,
    "ServiceRequest.intent": frozenset({"order", "original-order", "reflex-order", "filler-order", "instance-order"}),
    "ServiceRequest.priority": frozenset({"routine", "urgent", "asap", "stat"}),
    "OperationOutcome.issue.severity": frozenset({"fatal", "error", "warning", "information"}),
    "OperationOutcome.issue.code": ISSUE_TYPES,
}
_NUMBERS = frozenset({"numberOfSeries", "numberOfInstances", "number"})
_REFERENCES = frozenset({"subject", "basedOn", "endpoint"})


def checked(resource: dict[str, Any]) -> dict[str, Any]:
    """The resource itself when it is good R4; else `BadValue` whose `where` names the element, never its value."""
    kind = str(resource.get("resourceType"))
    model = _MODELS.get(kind)
    if model is None:
        raise BadValue("not a resource that we write", where="resourceType")
    try:
        model.model_validate(resource)
    except ValidationError as fault:
        where = ".".join(str(part) for part in fault.errors()[0]["loc"])
        raise BadValue("not valid in FHIR R4", where=f"{kind}.{where}") from None
    for where, message in _faults(kind, resource):
        raise BadValue(message, where=where)
    return resource


def _faults(kind: str, resource: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "id" in resource and not ID.fullmatch(str(resource["id"])):
        yield f"{kind}.id", "not a FHIR id"
    if kind in ("ImagingStudy", "ServiceRequest") and not resource["subject"].keys() & {"reference", "identifier"}:
        yield f"{kind}.subject", "neither reference nor identifier"
    uids = [series["uid"] for series in resource.get("series", ())]
    if len(set(uids)) != len(uids):
        yield f"{kind}.series.uid", "two series have the same UID"
    if not all(is_uid(uid) for uid in uids):
        yield f"{kind}.series.uid", "not a UID"
    yield from _walk(kind, resource)


def _walk(where: str, value: object) -> Iterator[tuple[str, str]]:
    name = where.rpartition(".")[2]
    if value in (None, "", [], {}):
        yield where, "empty"
    elif name in _NUMBERS and (type(value) is not int or value < 0):
        yield where, "not an unsigned number"
    elif where in _REQUIRED and value not in _REQUIRED[where]:
        yield where, "not in the required value set"
    elif isinstance(value, list):
        for item in value:
            yield from _walk(where, item)
    elif isinstance(value, dict):
        if name == "identifier":
            yield from _identifier(where, value)
        if name in _REFERENCES and "reference" in value and not from_path(str(value["reference"])):
            yield where, "not a literal reference"
        for key, child in value.items():
            yield from _walk(f"{where}.{key}", child)


def _identifier(where: str, value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    system, text = value.get("system"), str(value.get("value", ""))
    if system is not None and not is_system(str(system)):
        yield f"{where}.system", "not an absolute URI"
    if system == STUDY_UID_SYSTEM and not (text.startswith("urn:oid:") and is_uid(text[8:])):
        yield f"{where}.value", "not urn:oid: with a UID"
