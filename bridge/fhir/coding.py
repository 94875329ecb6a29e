"""Codes as FHIR R4 writes them: Coding and CodeableConcept, with no system that we do not know."""

from __future__ import annotations

import unicodedata
from typing import Any

from bridge.domain.coding import Code
from bridge.fhir.tables import table

DCM = "http://dicom.nema.org/resources/ontology/DCM"
SCT = "http://snomed.info/sct"
V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"

_LATERALITY = {"R": ("24028007", "Right"), "L": ("7771000", "Left"), "B": ("51440002", "Bilateral")}


def text(value: str) -> str:
    """What a FHIR string may hold: control characters and odd spaces become a space, lone surrogates U+FFFD."""
    plain = "".join(
        "\ufffd" if unicodedata.category(c) == "Cs" else " " if c.isspace() or unicodedata.category(c) == "Cc" else c
        for c in value
    )
    return plain.strip()


def word(value: str) -> str:
    """What a FHIR code may hold: as `text`, with single spaces."""
    return " ".join(text(value).split())


def concept(code: Code | None, description: str = "") -> dict[str, Any] | None:
    """A CodeableConcept; None when there is nothing to say. An unknown coding scheme leaves its text only."""
    found: dict[str, Any] = {}
    meaning = text(code.meaning) if code else ""
    value = word(code.value) if code else ""
    system = table("code-systems").get(code.scheme) if code else None
    if system and value:
        found["coding"] = [{"system": system, "code": value} | ({"display": meaning} if meaning else {})]
    words = text(description) or meaning or value
    if words:
        found["text"] = words
    return found or None


def modality(value: str) -> dict[str, Any]:
    """A series' modality (PS3.3 C.7.3.1.1.1): what DICOM does not know has no system, what is empty is OT."""
    code = word(value).upper()
    if code in table("modalities") or not code:
        return {"system": DCM, "code": code or "OT"}
    return {"code": word(value)}


def study_modalities(values: tuple[str, ...]) -> list[dict[str, Any]]:
    """ImagingStudy.modality of R4 holds acquisition modalities (CID 29), without KO, PR, SR and the like."""
    codes = {word(v).upper() for v in values}
    return [
        {"system": DCM, "code": c} for c in sorted(codes) if table("modalities").get(c) in ("acquisition", "retired")
    ]


def body_site(body_part: str) -> dict[str, Any] | None:
    """SNOMED CT for a Body Part Examined (PS3.16 Annex L); None when the table does not know it."""
    key = "".join(c for c in text(body_part).upper() if c not in " _-/")
    code = table("body-parts").get(key)
    return {"system": SCT, "code": code} if code else None


def laterality(value: str) -> dict[str, Any] | None:
    """(0020,0060) R, L, B; None for U (unpaired) and empty."""
    found = _LATERALITY.get(text(value).upper())
    return {"system": SCT, "code": found[0], "display": found[1]} if found else None
