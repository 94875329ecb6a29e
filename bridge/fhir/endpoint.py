"""The one Endpoint of this bridge (R4): WADO-RS, the service's base without `/studies`."""

from __future__ import annotations

from typing import Any

from bridge.fhir.coding import DCM

CONNECTION_TYPE = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"
URI_SYSTEM = "urn:ietf:rfc:3986"


def endpoint(address: str) -> dict[str, Any]:
    """The resource without an id; its address is its identifier too, so that it is found again."""
    return {
        "resourceType": "Endpoint",
        "identifier": [{"system": URI_SYSTEM, "value": address}],
        "status": "active",
        "connectionType": {"system": CONNECTION_TYPE, "code": "dicom-wado-rs"},
        "name": "Imaging Bridge DICOMweb",
        "payloadType": [{"coding": [{"system": DCM, "code": "113014", "display": "DICOM Study"}]}],
        "payloadMimeType": ["application/dicom"],
        "address": address,
    }


def is_ours(resource: dict[str, Any]) -> bool:
    """Whether it is an Endpoint of our making, perhaps with an older address: its identifier is its own address."""
    rows = resource.get("identifier")
    address = resource.get("address")
    return isinstance(rows, list) and {"system": URI_SYSTEM, "value": address} in rows
