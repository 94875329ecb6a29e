"""OrderContent -> ServiceRequest (R4), for an EHR that lets the bridge tell it of orders it never saw."""

from __future__ import annotations

from typing import Any

from bridge.domain.identity import Identifier, Issuers
from bridge.domain.publication import OrderContent
from bridge.fhir.coding import SCT, concept, text
from bridge.fhir.identity import system_of, write_identifier
from bridge.workflow.ports import Reference

_STATUS = {
    **dict.fromkeys(("SC", "IP", "A"), "active"),
    **dict.fromkeys(("CA", "DC", "RP"), "revoked"),
    "CM": "completed",
    "HD": "on-hold",
    "ER": "entered-in-error",
}
"""HL7 table 0038 -> request-status (v2-to-FHIR)."""

_PRIORITY = {
    **dict.fromkeys(("S", "STAT"), "stat"),
    "A": "asap",
    **dict.fromkeys(("P", "C", "HIGH"), "urgent"),
    **dict.fromkeys(("R", "T", "ROUTINE", "MEDIUM", "LOW"), "routine"),
}
"""HL7 table 0027 and the terms of (0040,1003) -> request-priority."""


def typed_identifiers(order: OrderContent) -> tuple[tuple[Identifier, str], ...]:
    """(identifier, type of table 0203), the one that names the order best first."""
    rows = ((order.placer, "PLAC"), (order.filler, "FILL"), (order.accession, "ACSN"))
    return tuple((identifier, kind) for identifier, kind in rows if identifier and text(identifier.value))


def search_identifiers(order: OrderContent, issuers: Issuers) -> tuple[tuple[str, str], ...]:
    """(system, value) of those whose issuer has a FHIR system, in the same order."""
    found = ((system_of(i, issuers), text(i.value)) for i, _ in typed_identifiers(order))
    return tuple((system, value) for system, value in found if system)


def service_request(order: OrderContent, patient: Reference, issuers: Issuers) -> dict[str, Any]:
    """The resource without an id. `authored` must be aware."""
    written = (write_identifier(i, issuers, kind) for i, kind in typed_identifiers(order))
    request: dict[str, Any] = {
        "resourceType": "ServiceRequest",
        "identifier": [i for i in written if i],
        "status": _STATUS.get(order.status, "unknown"),
        "intent": "order",
        "category": [{"coding": [{"system": SCT, "code": "363679005", "display": "Imaging"}]}],
        "priority": _PRIORITY.get(order.priority.strip().upper()),
        "code": concept(order.code, order.description),
        "subject": {"reference": patient.relative},
        "occurrenceDateTime": order.scheduled or None,
        "authoredOn": order.authored.isoformat(timespec="seconds") if order.authored else None,
    }
    return {key: value for key, value in request.items() if value}
