"""What the EHR is told after the first time, and what it is not told: late images, missing patients, policy, merges."""

from __future__ import annotations

from dataclasses import replace

import pytest
import requests

from bridge.sandbox import ris as messages
from bridge.sandbox.ris import FILLER, PLACER, DemoPatient
from tests.e2e.story import Site, Story, pictures, until


def published(site: Site) -> Story:
    """A story whose study is in the EHR."""
    story = site.story()
    site.records.put_patient(story.patient)
    story.send()
    story.acquire()
    site.published(story.uid)
    return story


def send_more(story: Story, count: int, **attributes: str) -> None:
    """Another series of the same study, some time after the step was completed."""
    images = pictures(story.remembered, count)
    for image in images:
        for name, value in attributes.items():
            setattr(image, name, value)
    assert story.site.hospital.scanner(story.station).send(images).failed == ()


def test_a_late_series_is_a_new_version_of_the_same_imaging_study(either: Site) -> None:
    story = published(either)
    first = either.published(story.uid, numberOfSeries=1, numberOfInstances=2)
    send_more(story, 3)
    second = either.published(story.uid, numberOfSeries=2, numberOfInstances=5)
    assert second["id"] == first["id"] and second["meta"]["versionId"] != first["meta"]["versionId"]


def test_images_are_coalesced_into_one_publication(site: Site) -> None:
    story = published(site)
    first = int(site.published(story.uid)["meta"]["versionId"])
    send_more(story, 8)
    assert int(site.published(story.uid, numberOfInstances=10)["meta"]["versionId"]) == first + 1


def test_a_missing_patient_makes_the_publication_wait_with_its_reason_until_it_appears(site: Site) -> None:
    story = site.story()
    story.send()
    story.acquire()
    statement = (
        "SELECT p.state, p.last_answer FROM publication p JOIN study s ON s.id = p.study_id "
        "WHERE s.study_instance_uid = :uid"
    )
    wanted = [{"state": "waiting", "last_answer": "waiting-for-patient"}]
    assert until(lambda: site.rows(statement, uid=story.uid) == wanted)
    assert "waiting-for-patient" in str(site.hospital.status()["unsent"])
    assert site.studies(story.uid) == []
    patient_id = site.records.put_patient(story.patient)
    assert site.published(story.uid)["subject"]["reference"].endswith(patient_id)


def test_the_policy_off_makes_no_service_request(hapi_site: Site) -> None:
    story = published(hapi_site)
    found = [
        request
        for system, value in ((PLACER.system, story.order.placer), (FILLER.system, story.order.filler))
        for request in hapi_site.search("ServiceRequest", identifier=f"{system}|{value}")
    ]
    assert found == []


def test_an_order_that_the_ehr_lacks_is_named_by_its_number_alone(hapi_site: Site) -> None:
    story = published(hapi_site)
    based_on = hapi_site.published(story.uid)["basedOn"]
    assert [("reference" in one, one["identifier"]["value"]) for one in based_on] == [(False, story.order.accession)]


def test_the_policy_on_makes_one_service_request(sekmet_site: Site) -> None:
    story = published(sekmet_site)
    found = sekmet_site.search("ServiceRequest", identifier=f"{PLACER.system}|{story.order.placer}")
    based_on = sekmet_site.published(story.uid)["basedOn"]
    assert [one["reference"].split("/")[-1] for one in based_on] == [one["id"] for one in found]


@pytest.mark.parametrize(
    ("day", "started"),
    [("20260715", "2026-07-15T10:15:00+02:00"), ("20260115", "2026-01-15T10:15:00+01:00")],
)
def test_the_study_starts_in_the_hospitals_time_of_that_day(site: Site, day: str, started: str) -> None:
    story = site.story()
    site.records.put_patient(story.patient)
    story.send()
    images = pictures(story.item(), 1)
    for image in images:
        image.StudyDate, image.StudyTime = day, "101500"
    site.hospital.scanner("CT1").send(images)
    assert site.published(story.uid)["started"] == started


def test_a_merge_moves_the_published_study_to_the_surviving_patient(either: Site) -> None:
    story = published(either)
    survivor = replace(story.patient, mrn=f"{story.patient.mrn}S", visit="")
    merge(either, story.patient, survivor)
    survivor_id = either.records.put_patient(survivor)
    assert until(lambda: either.studies(story.uid)[0]["subject"]["reference"].endswith(survivor_id), 20)


def test_a_merge_ends_the_prior_patients_sessions(site: Site) -> None:
    story = published(site)
    viewer = site.viewer(story.uid)
    assert viewer.ask(f"studies/{story.uid}/metadata").status_code == 200
    merge(site, story.patient, replace(story.patient, mrn=f"{story.patient.mrn}S", visit=""))
    assert viewer.ask(f"studies/{story.uid}/metadata").status_code in (401, 403)


def merge(site: Site, prior: DemoPatient, survivor: DemoPatient) -> None:
    """The EHR merges in its own records, the RIS says so by A40."""
    survivor_id, prior_id = site.records.put_patient(survivor), site.records.put_patient(prior)
    resource = site.get(f"Patient/{prior_id}")
    resource |= {"active": False, "link": [{"other": {"reference": f"Patient/{survivor_id}"}, "type": "replaced-by"}]}
    requests.put(f"{site.fhir_base}/Patient/{prior_id}", json=resource, timeout=20).raise_for_status()
    site.ris.send(messages.adt_a40, survivor, prior)
