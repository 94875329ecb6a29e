"""Whether the day went right: the end state, asked for through the protocols, as a list of what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import requests

from bridge.errors import BridgeError, RemoteRefused
from bridge.sandbox.browse import Browser
from bridge.sandbox.fhir_records import FhirRecords, Resource
from bridge.sandbox.narrate import counted
from bridge.sandbox.story import PATIENT, SLICES, Story, read_images

IMAGES = {"CT": SLICES, "MR": 2, "US": 1}


def faults_of(story: Story) -> list[str]:
    """Every fault at once, each in one line that names the protocol; empty when all is as it should be."""
    found: list[str] = []
    checks: tuple[Callable[[Story], Iterator[str]], ...] = (_ready, _worklist, _fhir, _images, _review)
    for check in checks:
        try:
            found += check(story)
        except (BridgeError, requests.RequestException) as error:
            found.append(f"{check.__name__.strip('_')}: {type(error).__name__}: {error}")
    return found


def _ready(story: Story) -> Iterator[str]:
    answer = requests.get(f"{story.hospital.public_url}/ready", timeout=10)
    if answer.status_code != 200:
        yield f"HTTP /ready: {answer.status_code} {answer.text.strip()}"


def _worklist(story: Story) -> Iterator[str]:
    for name in ("CT1", "MR1", "US1"):
        if count := len(story.hospital.scanner(name).worklist()):
            yield f"C-FIND: {count} open entries on the worklist of {name}, expected none"


def _fhir(story: Story) -> Iterator[str]:
    records = FhirRecords(story.ehr.fhir_base)
    patients = records.search("Patient", {"identifier": f"{PATIENT.authority.system}|{PATIENT.mrn}"})
    if len(patients) != 1:
        yield f"FHIR Patient: {len(patients)} with this medical record number, expected 1"
        return
    studies = records.search("ImagingStudy", {"patient": patients[0]["id"]})
    seen = sorted(m["code"] for s in studies for m in s.get("modality", []))
    if seen != sorted(IMAGES):
        yield f"FHIR ImagingStudy: modalities {seen}, expected {sorted(IMAGES)}"
    for study in studies:
        yield from _study(records, study)
    endpoints = {e["reference"] for s in studies for e in s.get("endpoint", [])}
    if len(endpoints) != 1 or len(records.search("Endpoint", {})) != 1:
        yield f"FHIR Endpoint: the studies name {len(endpoints)}, expected one that all share"
    requests_ = records.search("ServiceRequest", {"patient": patients[0]["id"]})
    if len(requests_) != len(story.orders):
        yield f"FHIR ServiceRequest: {len(requests_)}, expected one an order ({len(story.orders)})"


def _study(records: FhirRecords, study: Resource) -> Iterator[str]:
    modality = next((m["code"] for m in study.get("modality", [])), "?")
    if study.get("status") != "available" or study.get("numberOfInstances") != IMAGES.get(modality):
        images = counted(study.get("numberOfInstances", 0), "image")
        yield f"FHIR ImagingStudy {modality}: {study.get('status')}, {images}"
    based_on = {one.get("reference", "").partition("/")[2] for one in study.get("basedOn", [])}
    if len(based_on) != 1 or not based_on <= {r["id"] for r in records.search("ServiceRequest", {})}:
        yield f"FHIR ImagingStudy {modality}: basedOn names {len(based_on)} orders of the EHR, expected one"


def _images(story: Story) -> Iterator[str]:
    chart = story.ehr.chart_url(story.patient_id)
    for modality, order in story.orders.items():
        row = next((s for s in story.ehr.records.chart(story.patient_id)[1] if s.uid == order.study_uid), None)
        if row is None:
            yield f"chart: no row for the {modality} study"
            continue
        opened = Browser().press(chart, f"launch-{row.id}")
        if opened.studies != (order.study_uid,):
            yield f"launch {modality}: the viewer opens {len(opened.studies)} studies, or another"
        count, size = read_images(opened, order.study_uid)
        if count != IMAGES[modality] or not size:
            yield f"DICOMweb {modality}: {counted(count, 'image')}, {size} bytes of pixels, expected {IMAGES[modality]}"
        for other in (o.study_uid for m, o in story.orders.items() if m != modality):
            try:
                opened.series(other)
            except RemoteRefused:
                continue
            yield f"DICOMweb {modality}: the launch of one study also opens another"


def _review(story: Story) -> Iterator[str]:
    entries: list[dict[str, Any]] = story.hospital.reviews()
    for entry in entries:
        yield f"bridge review: {entry['subject']} {entry['kind']} ({entry['reason']}), expected nothing"
