"""Images that a PACS rejects vanish: from viewers that are open, from links that were out, and from the record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from pydicom import Dataset

from tests.e2e.story import Resource, Site, Story, Viewer, run, storescu
from tests.fakes.rejection_note import rejection_note


def published(site: Site) -> tuple[Story, list[Dataset]]:
    """A story whose two images are in the EHR."""
    story = site.story()
    site.records.put_patient(story.patient)
    story.send()
    images = story.acquire()
    site.published(story.uid, status="available", numberOfInstances=2)
    return story, images


def reject(site: Site, folder: Path, title: str, images: list[Dataset]) -> None:
    """The note, by DCMTK's storescu from the PACS."""
    storescu(site.hospital, folder, [rejection_note(title, images)], "PACS")


def wado(story: Story, image: Dataset) -> str:
    return f"studies/{story.uid}/series/{image.SeriesInstanceUID}/instances/{image.SOPInstanceUID}/metadata"


@dataclass
class Rejected:
    """All of a study rejected for safety while one viewer was open and another link was out."""

    site: Site
    story: Story
    images: list[Dataset]
    before: int
    viewer: Viewer
    link: str


@pytest.fixture(scope="module")
def rejected(either: Site, tmp_path_factory: pytest.TempPathFactory) -> Rejected:
    story, images = published(either)
    viewer = either.viewer(story.uid)
    link = either.hospital.links.link(either.hospital.public_url, story.uid)
    before = viewer.ask(wado(story, images[0])).status_code
    reject(either, tmp_path_factory.mktemp("note"), "113037", images)
    return Rejected(either, story, images, before, viewer, link)


def test_an_open_viewer_had_the_images_and_gets_404_from_then_on(rejected: Rejected) -> None:
    assert rejected.before == 200
    assert [rejected.viewer.ask(wado(rejected.story, one)).status_code for one in rejected.images] == [404, 404]


def test_an_open_viewer_finds_nothing_of_the_study_any_more(rejected: Rejected) -> None:
    answer = rejected.viewer.ask(f"studies?StudyInstanceUID={rejected.story.uid}")
    assert answer.status_code in (200, 204) and not (answer.content and answer.json())
    assert rejected.viewer.ask(f"studies/{rejected.story.uid}/metadata").status_code == 404


def test_nothing_can_be_fetched_by_a_link_that_was_made_before(rejected: Rejected) -> None:
    browser = Viewer(rejected.site.hospital, requests.Session())
    assert browser.follow(rejected.link).status_code >= 400
    assert browser.ask(wado(rejected.story, rejected.images[0])).status_code in (401, 403, 404)


def test_the_record_says_that_it_was_an_error_and_names_no_series(rejected: Rejected) -> None:
    resource: Resource = rejected.site.published(rejected.story.uid, status="entered-in-error")
    assert "series" not in resource and "endpoint" not in resource
    assert (resource["numberOfSeries"], resource["numberOfInstances"]) == (0, 0)


def test_the_same_images_again_are_refused_and_stay_away(rejected: Rejected, tmp_path: Path) -> None:
    for number, image in enumerate(rejected.images):
        image.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    done = run("storescu", "-v", "--no-halt", "-aet", "CT1", "-aec", "BRIDGE", "127.0.0.1",
               str(rejected.site.hospital.ports.dicom), "+sd", str(tmp_path))  # fmt: skip
    # C771, in DCMTK's word for every Cxxx: not sent once more by itself.
    assert (done.stdout + done.stderr).count("Received Store Response (Error: CannotUnderstand)") == 2
    assert rejected.viewer.ask(wado(rejected.story, rejected.images[0])).status_code == 404


def test_the_person_on_call_sees_whose_note_it_was(rejected: Rejected) -> None:
    told = rejected.site.hospital.run("rejections").stdout
    assert "safety 113037" in told and "PACS" in told


def test_of_a_study_rejected_in_part_the_rest_stays_in_the_record(either: Site, tmp_path: Path) -> None:
    story, images = published(either)
    viewer = either.viewer(story.uid)
    reject(either, tmp_path, "113001", images[:1])
    assert [viewer.ask(wado(story, one)).status_code for one in images] == [404, 200]
    either.published(story.uid, status="available", numberOfSeries=1, numberOfInstances=1)


def test_a_study_rejected_for_quality_is_cancelled_in_the_record(either: Site, tmp_path: Path) -> None:
    story, images = published(either)
    reject(either, tmp_path, "113001", images)
    either.published(story.uid, status="cancelled", numberOfInstances=0)


def test_an_exam_under_the_wrong_entry_leaves_record_and_order_and_waits_on_the_worklist_again(
    site: Site, tmp_path: Path
) -> None:
    story, images = published(site)
    assert story.worklist(tmp_path / "before") == []
    reject(site, tmp_path / "note", "113038", images)
    site.published(story.uid, status="entered-in-error")
    assert [one["ended_at"] is None for one in site.links(story.uid)] == [False]
    (entry,) = story.worklist(tmp_path / "after")
    assert entry.AccessionNumber == story.order.accession


def test_the_right_exam_is_done_and_published_after_that(site: Site, tmp_path: Path) -> None:
    story, images = published(site)
    reject(site, tmp_path, "113038", images)
    story.acquire(slices=3)
    site.published(story.uid, status="available", numberOfInstances=3)
    assert story.order_row()["step_status"] == "COMPLETED"


def test_taken_back_the_study_is_in_the_record_again(site: Site, tmp_path: Path) -> None:
    story, images = published(site)
    reject(site, tmp_path, "113037", images)
    site.published(story.uid, status="entered-in-error")
    (number,) = site.rows("SELECT max(id) AS id FROM rejection")
    done = site.hospital.run("rejections", "lift", str(number["id"]), "--reason", "the wrong study")
    assert done.returncode == 0, done.stderr
    site.published(story.uid, status="available", numberOfInstances=2)
    assert site.viewer(story.uid).ask(wado(story, images[0])).status_code == 200
