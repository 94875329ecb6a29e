"""What a Patient of the EHR says of itself: in use, or replaced by another (R4 Patient.active, Patient.link)."""

from __future__ import annotations

from typing import Any

from bridge.fhir.identity import from_path, relative


def in_use(patient: dict[str, Any]) -> bool:
    return patient.get("active") is not False


def replaced_by(patient: dict[str, Any], base: str) -> str | None:
    """The id of the Patient on this server that replaces it; None when nothing replaces it here."""
    links = patient.get("link")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("type") == "replaced-by" and isinstance(link.get("other"), dict):
            target = relative(link["other"].get("reference"), base)
            found = from_path(target) if "://" not in target else None
            if found and found.type == "Patient":
                return found.id
    return None
