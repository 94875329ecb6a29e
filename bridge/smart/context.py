"""What the launch is about: the patient, and perhaps studies (SMART App Launch 2.2, launch context)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from bridge.domain.identity import Identifier, Issuers
from bridge.errors import NotAllowed, RemoteRefused
from bridge.smart.fetch import get_json
from bridge.uids import is_uid

_ID = re.compile(r"(?!\.+$)[A-Za-z0-9.-]{1,64}")  # `..` would climb
UID_SYSTEM = "urn:dicom:uid"
TYPE_SYSTEM = "http://terminology.hl7.org/CodeSystem/v2-0203"
MAX_STUDIES = 20


@dataclass(frozen=True, slots=True)
class Context:
    """As the token answer says: ids on the issuing server, and Study Instance UIDs named outright."""

    patient: str
    studies: tuple[str, ...]
    uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Banner:
    """The patient for the eyes of the user, never stored. Shown always, so that `need_patient_banner` is met."""

    name: str
    birth_date: str
    identifier: str


@dataclass(frozen=True, slots=True)
class Subject:
    """The context in our own terms. `study_instance_uids` None = all that the patient has."""

    patient: tuple[Identifier, ...]
    study_instance_uids: tuple[str, ...] | None
    banner: Banner


def read_context(answer: dict[str, Any], iss: str) -> Context:
    """`patient`, and `fhirContext` with its older forms: text entries, and `imagingstudy`.

    Raises `NotAllowed`: `no-patient` without a patient, `foreign-context` for a study on another server.
    """
    patient = answer.get("patient")
    patient_id = _id_on(iss, "Patient", patient) if isinstance(patient, str) and "/" in patient else patient
    if not isinstance(patient_id, str) or not _ID.fullmatch(patient_id):
        raise NotAllowed("the launch names no patient", where="patient", code="no-patient")
    studies: list[str] = []
    uids: list[str] = []
    entries = answer.get("fhirContext")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, str):
            entry = {"reference": entry}
        if not isinstance(entry, dict) or entry.get("role", "launch") != "launch":
            continue
        reference = entry.get("reference")
        if isinstance(reference, str) and "ImagingStudy/" in reference:
            studies.append(_study_id(iss, reference))
        elif uid := _uid_of([entry.get("identifier")]):
            uids.append(uid)
    old = answer.get("imagingstudy")
    if isinstance(old, str) and not studies:
        studies.append(_study_id(iss, old if "/" in old else f"ImagingStudy/{old}"))
    if len(studies) + len(uids) > MAX_STUDIES:
        raise NotAllowed("too many studies in one launch", where="fhirContext", code="foreign-context")
    return Context(patient_id, tuple(dict.fromkeys(studies)), tuple(dict.fromkeys(uids)))


def read_subject(context: Context, iss: str, access_token: str, issuers: Issuers) -> Subject:
    """Read the patient, and the studies if named, from the EHR with the launch's own token.

    Raises `NotAllowed` (`patient-differs`) when a study is somebody else's, (`no-identifier`) when the patient has
    no identifier of an authority that this site knows; `RemoteError` as `get_json`.
    """
    patient = _read(iss, "Patient", context.patient, access_token)
    identifiers = patient_identifiers(patient, issuers)
    if not identifiers:
        raise NotAllowed("no identifier of a known authority", where="Patient.identifier", code="no-identifier")
    uids = list(context.uids)
    for study in context.studies:
        uids.append(study_uid(_read(iss, "ImagingStudy", study, access_token), context.patient, iss))
    named = tuple(dict.fromkeys(uids)) or None
    return Subject(identifiers, named, _banner(patient, identifiers))


def patient_identifiers(patient: dict[str, Any], issuers: Issuers) -> tuple[Identifier, ...]:
    """Those in use whose system the site knows; what the EHR marks `old` may have been given to somebody else."""
    found: dict[tuple[str, str], Identifier] = {}
    for entry in _dicts(patient.get("identifier")):
        system, value = entry.get("system"), entry.get("value")
        if not isinstance(system, str) or not isinstance(value, str) or entry.get("use") == "old":
            continue
        name = issuers.name_of_system(system) if system else None
        if name is not None and value.strip():
            identifier = Identifier(value.strip(), name, _type_of(entry))
            found.setdefault(identifier.key, identifier)
    return tuple(found.values())


def study_uid(study: dict[str, Any], patient: str, iss: str) -> str:
    """The Study Instance UID (`urn:dicom:uid`), once the study's subject is the launch's patient."""
    subject = study.get("subject")
    reference = subject.get("reference") if isinstance(subject, dict) else None
    if not isinstance(reference, str) or _id_on(iss, "Patient", reference) != patient:
        raise NotAllowed("the study is of another patient", where="ImagingStudy.subject", code="patient-differs")
    uid = _uid_of(_dicts(study.get("identifier")))
    if not uid:
        raise RemoteRefused("no Study Instance UID", where="ImagingStudy.identifier", code="no-study-uid")
    return uid


def _read(iss: str, kind: str, id_: str, access_token: str) -> dict[str, Any]:
    resource = get_json(f"{iss}/{kind}/{id_}", bearer=access_token, accept="application/fhir+json")
    if resource.get("resourceType") != kind or resource.get("id") != id_:
        raise RemoteRefused("another resource than the one asked for", where=kind, code="not-json")
    return resource


def _study_id(iss: str, reference: str) -> str:
    id_ = _id_on(iss, "ImagingStudy", reference)
    if not id_:
        raise NotAllowed("the study is on another server", where="fhirContext", code="foreign-context")
    return id_


def _id_on(iss: str, kind: str, reference: str) -> str:
    """The id in a relative reference, or an absolute one on this server, with or without a version; else ''."""
    relative = reference.removeprefix(f"{iss}/").partition("/_history/")[0]
    head, _, id_ = relative.partition("/")
    return id_ if head == kind and _ID.fullmatch(id_) else ""


def _uid_of(identifiers: list[Any]) -> str:
    for entry in _dicts(identifiers):
        value = entry.get("value")
        if entry.get("system") == UID_SYSTEM and isinstance(value, str) and is_uid(value.removeprefix("urn:oid:")):
            return value.removeprefix("urn:oid:")
    return ""


def _type_of(identifier: dict[str, Any]) -> str:
    kind = identifier.get("type")
    for coding in _dicts(kind.get("coding")) if isinstance(kind, dict) else []:
        if coding.get("system") == TYPE_SYSTEM and isinstance(coding.get("code"), str):
            return str(coding["code"])
    return ""


def _banner(patient: dict[str, Any], identifiers: tuple[Identifier, ...]) -> Banner:
    names = _dicts(patient.get("name"))
    chosen = next((n for n in names if n.get("use") == "official"), names[0] if names else {})
    given = (
        [g for g in chosen.get("given") or [] if isinstance(g, str)] if isinstance(chosen.get("given"), list) else []
    )
    family = chosen.get("family") if isinstance(chosen.get("family"), str) else ""
    text = chosen.get("text") if isinstance(chosen.get("text"), str) else ""
    born = patient.get("birthDate")
    name = ", ".join(p for p in (family, " ".join(given)) if p) or text or ""
    return Banner(name, born if isinstance(born, str) else "", f"{identifiers[0].value} ({identifiers[0].issuer})")


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []
