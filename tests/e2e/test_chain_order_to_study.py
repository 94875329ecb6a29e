"""The main job, by foreign programs: an order over MLLP, findscu, dcmjs-dimse, storescu, and the EHR has the study."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from pydicom import Dataset

from bridge.hl7.ack import AckCode, Acknowledgement
from bridge.sandbox import ris as messages
from tests.e2e.story import Resource, Site, Story, dimse_complete, dimse_start, findscu, pictures, storescu

pytestmark = [pytest.mark.peer("dcmtk"), pytest.mark.peer("dimse")]
BUILDERS = {"ORM with ZDS": (messages.orm_o01, "CT"), "OMI with IPC": (messages.omi_o23, "MR")}


@dataclass
class Played:
    """What the foreign programs were told, and what the EHR holds in the end."""

    site: Site
    story: Story
    ack: Acknowledgement
    worklist: list[Dataset]
    left: list[Dataset]
    images: list[Dataset]
    patient_id: str
    order_id: str
    study: Resource


@pytest.fixture(scope="module", params=BUILDERS)
def played(request: pytest.FixtureRequest, either: Site, tmp_path_factory: pytest.TempPathFactory) -> Played:
    build, modality = BUILDERS[request.param]
    folder = tmp_path_factory.mktemp("played")
    story = either.story(modality)
    patient_id = either.records.put_patient(story.patient)
    order_id = either.records.put_order(story.order, patient_id)
    either.ris.send(messages.adt_a04, story.patient)
    ack = story.send(build)
    worklist = story.worklist(folder / "before")
    item = worklist[0]
    step = dimse_start(either.hospital, item, story.station)
    images = pictures(item, 3, step)
    storescu(either.hospital, folder / "images", images, story.station)
    dimse_complete(either.hospital, step, images, story.station)
    study = either.published(story.uid)
    left = findscu(either.hospital, folder / "after", f"AccessionNumber={story.order.accession}", calling=story.station)
    return Played(either, story, ack, worklist, left, images, patient_id, order_id, study)


def test_the_order_is_accepted(played: Played) -> None:
    assert played.ack.code is AckCode.AA


def test_the_worklist_names_patient_order_and_study(played: Played) -> None:
    item, order = played.worklist[0], played.story.order
    assert (item.PatientID, item.AccessionNumber, item.StudyInstanceUID, item.RequestedProcedureID) == (
        order.patient.mrn,
        order.accession,
        order.study_uid,
        order.procedure_id,
    )


def test_the_worklist_names_the_station(played: Played) -> None:
    step = played.worklist[0].ScheduledProcedureStepSequence[0]
    assert (step.ScheduledStationAETitle, step.Modality) == (played.story.station, played.story.order.modality)


def test_the_name_keeps_its_umlaut(played: Played) -> None:
    assert str(played.worklist[0].PatientName).startswith("Müller^Test")


def test_a_completed_step_leaves_the_worklist(played: Played) -> None:
    assert (len(played.worklist), len(played.left)) == (1, 0)


def test_the_study_is_matched_by_its_uid(played: Played) -> None:
    links = played.site.links(played.story.uid)
    assert [(link["rule"], link["ended_at"]) for link in links] == [("study-instance-uid", None)]


def test_the_study_is_complete_by_mpps(played: Played) -> None:
    rows = played.site.rows("SELECT completed_by FROM study WHERE study_instance_uid = :u", u=played.story.uid)
    assert rows == [{"completed_by": "MPPS"}]


def test_the_imaging_study_is_the_patients(played: Played) -> None:
    assert played.study["subject"]["reference"].endswith(f"Patient/{played.patient_id}")


def test_the_imaging_study_is_based_on_the_ehrs_order(played: Played) -> None:
    assert [one["reference"].split("/")[-1] for one in played.study["basedOn"]] == [played.order_id]


def test_the_imaging_study_counts_what_was_sent(played: Played) -> None:
    assert (played.study["numberOfSeries"], played.study["numberOfInstances"]) == (1, len(played.images))


def test_the_imaging_study_is_available_and_says_the_modality(played: Played) -> None:
    assert (played.study["status"], played.study["modality"][0]["code"]) == ("available", played.story.order.modality)


def test_the_endpoint_is_one_for_all_studies(played: Played) -> None:
    endpoints = played.site.search("Endpoint")
    address = f"{played.site.hospital.viewer_url}/dicom-web"
    assert [one["address"].rstrip("/") for one in endpoints] == [address]
    assert played.study["endpoint"][0]["reference"].endswith(f"Endpoint/{endpoints[0]['id']}")
