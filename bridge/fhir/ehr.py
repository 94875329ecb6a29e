"""`EhrPort` over FHIR R4: find what the EHR has, write what is ours, once however often it is asked.

Never a conditional update (`PUT ?identifier=`): on real servers it makes duplicates. A create is conditional and
comes after a search; an update is by id with the version that was read.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from typing import Any

import requests

from bridge.clock import Clock
from bridge.config import Ehr
from bridge.domain.identity import Identifier, Issuers
from bridge.domain.publication import OrderContent, StudyContent
from bridge.errors import RemoteError, RemoteRefused, RemoteUnavailable
from bridge.fhir.answer import Absent, Answer, VersionConflict
from bridge.fhir.checks import checked
from bridge.fhir.client import FhirClient
from bridge.fhir.coding import text
from bridge.fhir.endpoint import endpoint as write_endpoint
from bridge.fhir.endpoint import is_ours
from bridge.fhir.identity import has_identifier, query, study_identifier, system_of, token
from bridge.fhir.imaging_study import derived_id, imaging_study
from bridge.fhir.merge import Merger
from bridge.fhir.patient import in_use, replaced_by
from bridge.fhir.service_request import search_identifiers, service_request
from bridge.workflow.ports import Reference

ATTEMPTS = 5
WITHDRAWN = "entered-in-error"
MAX_REPLACEMENTS = 5
_NO_SEARCH = frozenset({400, 403, 404, 405, 422, 501})
Resource = dict[str, Any]


class FhirEhr:
    """One EHR. `wado_base` is the address of the shared Endpoint: the DICOMweb base without `/studies`."""

    def __init__(
        self,
        ehr: Ehr,
        issuers: Issuers,
        wado_base: str,
        session: requests.Session | None = None,
        *,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ehr = ehr
        self._issuers = issuers
        self._wado_base = wado_base.rstrip("/")
        self._client = FhirClient(ehr, session, clock)
        self._merger = Merger(ehr.fhir_base, issuers)
        self._sleep = sleep

    def find_patient(self, identifiers: tuple[Identifier, ...]) -> Reference | None:
        """The Patient that every identifier with a FHIR system leads to; replaced ones followed, inactive ones not
        counted. `RemoteRefused("several-matches")` when they lead to different people."""
        keys = dict.fromkeys((system_of(i, self._issuers), text(i.value)) for i in identifiers)
        found = (self._living(p) for system, value in keys if system for p in self._search("Patient", system, value))
        return _one((p for p in found if p is not None), "Patient")

    def find_service_request(self, order: OrderContent) -> Reference | None:
        """By placer, filler, accession number: the first that finds any. None also where the server cannot search."""
        for system, value in search_identifiers(order, self._issuers):
            try:
                found = self._search("ServiceRequest", system, value)
            except RemoteError as fault:
                if fault.status in _NO_SEARCH:
                    return None
                raise
            if found:
                return _one((_reference(r) for r in found), "ServiceRequest")
        return None

    def create_service_request(self, order: OrderContent, patient: Reference) -> Reference:
        """A second call finds the first one's. `RemoteRefused("no-identifier-system")` when no issuer of the order's
        identifiers has a FHIR system: it could not be found again, and each call would make another."""
        keys = search_identifiers(order, self._issuers)
        if not keys:
            reason = "no identifier of the order has an issuer with a FHIR system"
            raise RemoteRefused(reason, where="issuer.system", code="no-identifier-system")
        ours = checked(service_request(order, patient, self._issuers))
        return self._again(lambda: _told(self._client.create(ours, query(identifier=token(*keys[0])))))

    def ensure_endpoint(self, known: Reference | None) -> Reference:
        ours = checked(write_endpoint(self._wado_base))
        return self._write(ours, known, is_ours)

    def write_imaging_study(
        self,
        content: StudyContent,
        *,
        patient: Reference,
        based_on: tuple[Reference | None, ...],
        endpoint: Reference,
        known: Reference | None,
    ) -> Reference:
        """See `EhrPort`. `based_on` goes with `content.orders` one to one, None where the EHR has no such order.
        Content that the EHR has already makes no new version. Raises `BadValue` for content that is no valid FHIR."""
        ours = checked(
            imaging_study(content, issuers=self._issuers, patient=patient, based_on=based_on, endpoint=endpoint)
        )
        fixed_id = derived_id(content.study_instance_uid) if self._ehr.imaging_study == "put-by-id" else ""
        return self._write(ours, known, lambda r: _same_study(r, ours), fixed_id)

    def withdraw_imaging_study(
        self,
        study_instance_uid: str,
        *,
        endpoint: Reference | None,
        known: Reference | None,
        status: str = WITHDRAWN,
        emptied: bool = False,
    ) -> Reference | None:
        identifier = study_identifier(study_instance_uid)
        target = known or self._written_unheard(study_instance_uid, endpoint)
        if target is None:
            return None

        def attempt() -> Reference:
            try:
                answer = self._client.read("ImagingStudy", target.id)
            except Absent:
                return target
            if not has_identifier(answer.resource, **identifier):
                return _told(answer)
            status_then = answer.resource.get("status")
            withdrawn = {**answer.resource, "status": WITHDRAWN if status_then == WITHDRAWN else status}
            if emptied:
                withdrawn = _emptied(withdrawn, endpoint)
            if withdrawn == answer.resource:
                return _told(answer)
            return _told(self._client.update({**withdrawn, "id": _told(answer).id}, answer.if_match))

        return self._again(attempt)

    def _written_unheard(self, study_instance_uid: str, endpoint: Reference | None) -> Reference | None:
        """What a write whose answer was lost has left: ours because it names our Endpoint, which is written first."""
        if endpoint is None:
            return None
        if self._ehr.imaging_study == "put-by-id":
            return Reference("ImagingStudy", derived_id(study_instance_uid))
        found = self._search("ImagingStudy", **study_identifier(study_instance_uid))
        return _one((_reference(r) for r in found if _names(r, endpoint)), "ImagingStudy")

    def _write(
        self, ours: Resource, known: Reference | None, is_same: Callable[[Resource], bool], fixed_id: str = ""
    ) -> Reference:
        def attempt() -> Reference:
            current = self._current(ours, known, is_same, fixed_id)
            if current is not None:
                return self._update(current, ours)
            if fixed_id:
                return _told(self._client.update({**ours, "id": fixed_id}, ""))
            answer = self._client.create(ours, query(identifier=_token_of(ours)))
            # 200: another writer was first, and its content stands.
            return self._update(self._reread(answer), ours) if answer.status == 200 else _told(answer)

        return self._again(attempt)

    def _current(
        self, ours: Resource, known: Reference | None, is_same: Callable[[Resource], bool], fixed_id: str
    ) -> Answer | None:
        """What the EHR holds now. A known id may be gone, or belong to something else after the EHR was set back."""
        kind = str(ours["resourceType"])
        for id in dict.fromkeys(i for i in (known.id if known else "", fixed_id) if i):
            try:
                answer = self._client.read(kind, id)
            except Absent:
                continue
            if is_same(answer.resource) or id == fixed_id:
                return answer
        if fixed_id:
            return None
        identifier = ours["identifier"][0]
        found = _one(
            (_reference(r) for r in self._search(kind, identifier["system"], identifier["value"])),
            kind,
        )
        return self._client.read(kind, found.id) if found else None

    def _update(self, current: Answer, ours: Resource) -> Reference:
        merged = self._merger.merge(current.resource, ours)
        if merged == current.resource:
            return _told(current)
        return _told(self._client.update({**merged, "id": _told(current).id}, current.if_match))

    def _reread(self, answer: Answer) -> Answer:
        reference = _told(answer)
        return self._client.read(reference.type, reference.id)

    def _again(self, attempt: Callable[[], Reference]) -> Reference:
        """Up to five times while others write the same resource."""
        for number in range(1, ATTEMPTS):
            try:
                return attempt()
            except (VersionConflict, Absent):
                self._sleep(random.uniform(0.5, 1.0) * 0.1 * 2**number)  # noqa: S311
        return attempt()

    def _search(self, kind: str, system: str, value: str) -> list[Resource]:
        """Those that do carry the identifier: a server that ignores the parameter answers with everything it has."""
        found = self._client.search(kind, identifier=token(system, value))
        return [r for r in found if has_identifier(r, system, value)]

    def _living(self, patient: Resource) -> Reference | None:
        for _ in range(MAX_REPLACEMENTS):
            target = replaced_by(patient, self._ehr.fhir_base)
            if target is None:
                return _reference(patient) if in_use(patient) else None
            try:
                patient = self._client.read("Patient", target).resource
            except Absent:
                return None
        return None


def _one(found: Iterable[Reference], kind: str) -> Reference | None:
    by_id = {reference.id: reference for reference in found}
    if len(by_id) > 1:
        raise RemoteRefused(f"more than one {kind} fits", where=f"{kind}.identifier", code="several-matches")
    return next(iter(by_id.values()), None)


def _reference(resource: Resource) -> Reference:
    meta = resource.get("meta")
    version = str(meta.get("versionId") or "") if isinstance(meta, dict) else ""
    return Reference(str(resource["resourceType"]), str(resource["id"]), version)


def _names(study: Resource, endpoint: Reference) -> bool:
    return any(_is(row, endpoint) for row in study.get("endpoint") or ())


def _is(row: Resource, endpoint: Reference) -> bool:
    return f"/{row.get('reference') or ''}".endswith(f"/{endpoint.relative}")


def _emptied(study: Resource, endpoint: Reference | None) -> Resource:
    """Without what can no more be fetched from us; other systems' endpoints are theirs."""
    kept = [row for row in study.get("endpoint") or () if endpoint is None or not _is(row, endpoint)]
    empty = {**study, "endpoint": kept, "series": [], "numberOfSeries": 0, "numberOfInstances": 0}
    return {key: value for key, value in empty.items() if value != []}


def _told(answer: Answer) -> Reference:
    if answer.reference is None:
        raise RemoteUnavailable("an answer without an id", code="not-fhir", status=answer.status)
    return answer.reference


def _token_of(ours: Resource) -> str:
    identifier = ours["identifier"][0]
    return token(identifier["system"], identifier["value"])


def _same_study(resource: Resource, ours: Resource) -> bool:
    identifier = ours["identifier"][0]
    return has_identifier(resource, identifier["system"], identifier["value"])
