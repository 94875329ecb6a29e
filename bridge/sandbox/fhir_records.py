"""What the pretend EHR keeps in its FHIR server: patients, orders, Dr Demo; read back as the rows of a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests

from bridge.errors import NotFound, RemoteRefused, RemoteUnavailable
from bridge.sandbox.ris import PLACER, DemoOrder, DemoPatient

Resource = dict[str, Any]

_V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
_GENDER = {"M": "male", "F": "female", "O": "other"}
_OPEN_ORDER = frozenset(("draft", "active", "on-hold"))
_ENDED_STUDY = frozenset(("cancelled", "entered-in-error"))


@dataclass(frozen=True, slots=True)
class PatientRow:
    id: str
    name: str
    mrn: str
    birth_date: str
    sex: str
    modalities: tuple[str, ...] = ()
    studies: int = 0

    @property
    def initials(self) -> str:
        return "".join(word[0] for word in self.name.replace(",", " ").split()[:2]).upper()


@dataclass(frozen=True, slots=True)
class StudyRow:
    """`orders` is what basedOn says: the order's id here, or its number. `uid` is the Study Instance UID."""

    id: str
    uid: str
    patient_id: str
    description: str
    modalities: tuple[str, ...]
    started: str
    series: int
    instances: int
    accession: str
    status: str
    orders: frozenset[str]

    @property
    def viewable(self) -> bool:
        return self.status == "available" and self.instances != 0


@dataclass(frozen=True, slots=True)
class OrderRow:
    id: str
    description: str
    number: str
    due: str
    status: str
    imaged: bool

    @property
    def waiting(self) -> bool:
        return self.status in _OPEN_ORDER and not self.imaged


class FhirRecords:
    """Reading and writing over the FHIR API; RemoteUnavailable, RemoteRefused and NotFound as everywhere."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._session = requests.Session()
        self._session.trust_env = False

    def put_patient(self, patient: DemoPatient) -> str:
        """Create or update the Patient with this medical record number; returns its id."""
        resource: Resource = {
            "resourceType": "Patient",
            "active": True,
            "identifier": [_identifier("MR", patient.authority.system, patient.mrn)],
            "name": [
                {
                    "use": "official",
                    "family": patient.family,
                    "given": [g for g in (patient.given, patient.middle) if g],
                }
            ],
            "gender": _GENDER.get(patient.sex, "unknown"),
            "birthDate": patient.birth_date.isoformat(),
        }
        return self._put_by_identifier(resource)

    def put_order(self, order: DemoOrder, patient_id: str, status: str = "active") -> str:
        """Create or update the ServiceRequest with this placer order number; returns its id."""
        resource: Resource = {
            "resourceType": "ServiceRequest",
            "identifier": [_identifier("PLAC", PLACER.system, order.placer)],
            "status": status,
            "intent": "order",
            "category": [{"coding": [{"system": "http://snomed.info/sct", "code": "363679005", "display": "Imaging"}]}],
            "code": {"text": order.description},
            "subject": {"reference": f"Patient/{patient_id}"},
            "occurrenceDateTime": f"{order.start.astimezone().isoformat(timespec='seconds')}",
            "requester": {"display": f"{order.ordered_by[2]} {order.ordered_by[1]}"},
        }
        return self._put_by_identifier(resource)

    def put_practitioner(self, practitioner_id: str, name: str) -> None:
        resource = {"resourceType": "Practitioner", "id": practitioner_id, "name": [{"text": name}]}
        self._call("PUT", f"Practitioner/{practitioner_id}", json=resource)

    def patients(self) -> list[PatientRow]:
        """Every patient by name, with what was imaged; not one who is said to be no longer active."""
        studies = [_study_row(s) for s in self.search("ImagingStudy", {})]
        shown = [s for s in studies if s.status not in _ENDED_STUDY]
        rows = []
        for resource in self.search("Patient", {}):
            if resource.get("active") is False:
                continue
            own = [s for s in shown if s.patient_id == resource["id"]]
            modalities = tuple(sorted({m for s in own for m in s.modalities}))
            rows.append(_patient_row(resource, modalities, len(own)))
        return sorted(rows, key=lambda r: r.name.casefold())

    def chart(self, patient_id: str) -> tuple[PatientRow, list[StudyRow], list[OrderRow]]:
        """One patient with studies (newest first) and orders (latest due first)."""
        patient = self._call("GET", f"Patient/{quote(patient_id, safe='')}")
        found = [_study_row(s) for s in self.search("ImagingStudy", {"patient": patient_id})]
        studies = sorted((s for s in found if s.status not in _ENDED_STUDY), key=lambda s: s.started, reverse=True)
        imaged = {o for s in studies for o in s.orders}
        orders = [_order_row(o, imaged) for o in self.search("ServiceRequest", {"patient": patient_id})]
        modalities = tuple(sorted({m for s in studies for m in s.modalities}))
        row = _patient_row(patient, modalities, len(studies))
        return row, studies, sorted(orders, key=lambda o: o.due, reverse=True)

    def require_patient(self, patient_id: str) -> None:
        """NotFound unless there is such a patient."""
        if not patient_id:
            raise NotFound("no patient is named", where="Patient")
        self._call("GET", f"Patient/{quote(patient_id, safe='')}")

    def study(self, study_id: str) -> StudyRow:
        """One ImagingStudy; NotFound."""
        return _study_row(self._call("GET", f"ImagingStudy/{quote(study_id, safe='')}"))

    def _put_by_identifier(self, resource: Resource) -> str:
        identifier = resource["identifier"][0]
        params = {"identifier": f"{identifier['system']}|{identifier['value']}"}
        stored = self._call("PUT", resource["resourceType"], params=params, json=resource)
        return str(stored["id"])

    def search(self, resource_type: str, params: Mapping[str, str]) -> list[Resource]:
        """The resources of a FHIR search, in one page."""
        bundle = self._call("GET", resource_type, params={**params, "_count": "500"})
        return [entry["resource"] for entry in bundle.get("entry", [])]

    def _call(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, json: Resource | None = None
    ) -> Resource:
        try:
            answer = self._session.request(
                method, f"{self._base}/{path}", params=params, json=json, timeout=(5, 30), allow_redirects=False
            )
        except requests.RequestException as error:
            raise RemoteUnavailable("the pretend FHIR server does not answer", where=path) from error
        if answer.status_code in (404, 410):
            raise NotFound("no such resource in the pretend EHR", where=path.split("/", 1)[0])
        if not answer.ok:
            raise RemoteRefused(
                "the pretend FHIR server refused", where=path.split("/", 1)[0], status=answer.status_code
            )
        found: Resource = answer.json()
        return found


def _identifier(id_type: str, system: str, value: str) -> Resource:
    return {"type": {"coding": [{"system": _V2_0203, "code": id_type}]}, "system": system, "value": value}


def _identifier_value(resource: Resource, id_type: str) -> str:
    for identifier in resource.get("identifier", []):
        codes = {c.get("code") for c in identifier.get("type", {}).get("coding", [])}
        if id_type in codes:
            return str(identifier.get("value", ""))
    return ""


def _study_uid(resource: Resource) -> str:
    values = [i.get("value", "") for i in resource.get("identifier", []) if i.get("system") == "urn:dicom:uid"]
    return str(values[0]).removeprefix("urn:oid:") if values else ""


def _patient_row(resource: Resource, modalities: tuple[str, ...], studies: int) -> PatientRow:
    name = (resource.get("name") or [{}])[0]
    spoken = ", ".join(p for p in (name.get("family", ""), " ".join(name.get("given", []))) if p)
    return PatientRow(
        id=resource["id"],
        name=spoken or name.get("text", "") or "(no name)",
        mrn=_identifier_value(resource, "MR"),
        birth_date=resource.get("birthDate", ""),
        sex=resource.get("gender", ""),
        modalities=modalities,
        studies=studies,
    )


def _study_row(resource: Resource) -> StudyRow:
    series: Sequence[Resource] = resource.get("series", [])
    modalities = [m.get("code", "") for m in resource.get("modality", [])] or [
        s.get("modality", {}).get("code", "") for s in series
    ]
    orders = set()
    for based_on in resource.get("basedOn", []):
        orders.add(str(based_on.get("reference", "")).rpartition("/")[2])
        orders.add(str(based_on.get("identifier", {}).get("value", "")))
    return StudyRow(
        id=resource["id"],
        uid=_study_uid(resource),
        patient_id=str(resource.get("subject", {}).get("reference", "")).rpartition("/")[2],
        description=resource.get("description", "") or "Imaging study",
        modalities=tuple(dict.fromkeys(m for m in modalities if m)),
        started=str(resource.get("started", "")),
        series=int(resource.get("numberOfSeries", len(series))),
        instances=int(resource.get("numberOfInstances", sum(len(s.get("instance", [])) for s in series))),
        accession=_identifier_value(resource, "ACSN"),
        status=str(resource.get("status", "")),
        orders=frozenset(orders - {""}),
    )


def _order_row(resource: Resource, imaged: set[str]) -> OrderRow:
    number = _identifier_value(resource, "PLAC")
    code = resource.get("code", {})
    coded = next((c.get("display", "") for c in code.get("coding", [])), "")
    return OrderRow(
        id=resource["id"],
        description=code.get("text", "") or coded or "Imaging order",
        number=number,
        due=str(resource.get("occurrenceDateTime", "")),
        status=str(resource.get("status", "")),
        imaged=resource["id"] in imaged or bool(number and number in imaged),
    )
