"""StudyContent -> ImagingStudy (R4 4.0.1). Series level; instances are left to DICOMweb."""

from __future__ import annotations

import hashlib
from typing import Any

from bridge.domain.identity import Issuers
from bridge.domain.publication import OrderContent, SeriesContent, StudyContent
from bridge.errors import BadValue
from bridge.fhir.coding import body_site, concept, laterality, modality, study_modalities, text, word
from bridge.fhir.identity import study_identifier, write_identifier
from bridge.uids import is_uid
from bridge.workflow.ports import Reference

MOST = 2**31 - 1
"""The largest unsignedInt of FHIR."""


def imaging_study(
    content: StudyContent,
    *,
    issuers: Issuers,
    patient: Reference,
    based_on: tuple[Reference | None, ...] = (),
    endpoint: Reference | None = None,
) -> dict[str, Any]:
    """The resource without an id. `based_on` goes with `content.orders` one to one, None where the EHR has no
    ServiceRequest; of another length its references are written alone. Raises `BadValue` for a bad UID."""
    if not is_uid(content.study_instance_uid):
        raise BadValue("not a UID", where="ImagingStudy.identifier")
    accessions = (write_identifier(a, issuers, "ACSN") for a in content.accessions)
    study: dict[str, Any] = {
        "resourceType": "ImagingStudy",
        "identifier": _distinct([study_identifier(content.study_instance_uid), *accessions]),
        "status": content.status,
        "modality": study_modalities(content.modalities),
        "subject": {"reference": patient.relative},
        "started": content.started,
        "basedOn": _based_on(content.orders, based_on, issuers),
        "endpoint": [{"reference": endpoint.relative}] if endpoint else [],
        "numberOfSeries": len(content.series),
        "numberOfInstances": sum(s.instances for s in content.series),
        "procedureCode": _distinct([concept(o.code, o.description) for o in content.orders]),
        "description": text(content.description),
        "series": [_series(s) for s in content.series],
    }
    return _filled(study)


def derived_id(uid: str) -> str:
    """The logical id under put-by-id: the same for the same UID, never the UID itself (another may have taken it)."""
    return "study-" + hashlib.sha256(uid.encode()).hexdigest()[:40]


def _series(content: SeriesContent) -> dict[str, Any]:
    number = content.number if content.number is not None and 0 <= content.number <= MOST else None
    return _filled(
        {
            "uid": content.uid,
            "number": number,
            "modality": modality(content.modality),
            "description": text(content.description),
            "numberOfInstances": content.instances,
            "bodySite": body_site(content.body_part),
            "laterality": laterality(content.laterality),
            "started": word(content.started),
        }
    )


def _based_on(
    orders: tuple[OrderContent, ...], found: tuple[Reference | None, ...], issuers: Issuers
) -> list[dict[str, Any]]:
    if len(orders) != len(found):
        return _distinct([{"reference": r.relative, "type": "ServiceRequest"} for r in found if r])
    rows: list[dict[str, Any] | None] = []
    for order, reference in zip(orders, found, strict=True):
        identifiers = (
            write_identifier(value, issuers, kind)
            for value, kind in ((order.accession, "ACSN"), (order.placer, "PLAC"), (order.filler, "FILL"))
            if value
        )
        identifier = next((i for i in identifiers if i), None)
        literal = {"reference": reference.relative} if reference else {}
        logical = {"identifier": identifier} if identifier else {}
        rows.append(literal | {"type": "ServiceRequest"} | logical if literal or logical else None)
    return _distinct(rows)


def _filled(element: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty: FHIR JSON knows neither null nor empty lists and strings."""
    return {key: value for key, value in element.items() if value is not None and value != "" and value != []}


def _distinct(rows: list[dict[str, Any] | None]) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    for row in rows:
        if row and row not in kept:
            kept.append(row)
    return kept
