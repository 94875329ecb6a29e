"""The pretend scanner's pictures: right for their class, and not blank."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit

from bridge.sandbox import images
from bridge.sandbox.ris import DemoPatient
from bridge.uids import is_uid
from tests.peers.available import need


@pytest.fixture
def ct(item: Dataset) -> list[Dataset]:
    return images.ct_phantom(item, slices=4, mpps_uid="2.25.99", size=128)


CT_REQUIRED = (
    "SOPClassUID SOPInstanceUID StudyDate StudyTime AccessionNumber Modality Manufacturer ReferringPhysicianName "
    "PatientName PatientID PatientBirthDate PatientSex KVP SliceThickness PatientPosition StudyInstanceUID "
    "SeriesInstanceUID StudyID SeriesNumber AcquisitionNumber InstanceNumber ImagePositionPatient "
    "ImageOrientationPatient FrameOfReferenceUID PositionReferenceIndicator SamplesPerPixel "
    "PhotometricInterpretation Rows Columns PixelSpacing BitsAllocated BitsStored HighBit PixelRepresentation "
    "RescaleIntercept RescaleSlope ImageType PixelData"
)


def test_ct_has_every_type_1_and_2_attribute_of_its_iod(ct: list[Dataset]) -> None:
    assert [k for k in CT_REQUIRED.split() if k not in ct[0]] == []


def test_ct_pixels_are_hounsfield_units_from_air_to_bone(ct: list[Dataset]) -> None:
    hu = ct[2].pixel_array * float(ct[2].RescaleSlope) + float(ct[2].RescaleIntercept)
    assert hu.shape == (128, 128)
    assert hu.min() < -900
    assert hu.max() > 700


def test_ct_slices_differ_visibly(ct: list[Dataset]) -> None:
    for one, next_one in itertools.pairwise(ct):
        changed = np.abs(one.pixel_array.astype(int) - next_one.pixel_array.astype(int)) > 100
        assert changed.mean() > 0.02


def test_ct_slices_are_a_slice_thickness_apart(ct: list[Dataset]) -> None:
    z = [float(i.ImagePositionPatient[2]) for i in ct]
    assert [a - b for a, b in itertools.pairwise(z)] == [float(ct[0].SliceThickness)] * 3


def test_ct_is_one_series_of_distinct_instances(ct: list[Dataset]) -> None:
    assert len({i.SeriesInstanceUID for i in ct}) == 1
    assert len({i.SOPInstanceUID for i in ct}) == len(ct)
    assert all(i.file_meta.MediaStorageSOPInstanceUID == i.SOPInstanceUID for i in ct)


def test_label_changes_the_pixels() -> None:
    blank = np.zeros((128, 128), dtype=np.int16)
    assert (images.label(blank.copy(), 1, 4) != blank).sum() > 100


@pytest.mark.parametrize("slices", [9, 100])
def test_label_is_clipped_where_a_small_picture_ends(item: Dataset, slices: int) -> None:
    assert len(images.ct_phantom(item, slices, size=64)) == slices


def test_the_only_ct_series_is_the_first(ct: list[Dataset]) -> None:
    assert {i.SeriesNumber for i in ct} == {1}


def test_images_carry_what_the_worklist_said(ct: list[Dataset], item: Dataset) -> None:
    assert ct[0].PatientName == item.PatientName
    for keyword in ("PatientID", "IssuerOfPatientID", "AccessionNumber", "StudyInstanceUID"):
        assert ct[0][keyword].value == item[keyword].value
    request = ct[0].RequestAttributesSequence[0]
    assert (request.RequestedProcedureID, request.ScheduledProcedureStepID) == ("RP1", "SPS1")
    assert ct[0].ReferencedPerformedProcedureStepSequence[0].ReferencedSOPInstanceUID == "2.25.99"


def test_mr_samples_keep_their_transfer_syntax_under_new_uids(item: Dataset) -> None:
    plain, compressed = images.mr_from_wheel(item)
    again, _ = images.mr_from_wheel(item)
    assert compressed.file_meta.TransferSyntaxUID == JPEG2000Lossless
    assert plain.pixel_array.std() > 0
    assert plain.StudyInstanceUID == compressed.StudyInstanceUID == "2.25.4711"
    assert len({plain.SeriesInstanceUID, compressed.SeriesInstanceUID, again.SeriesInstanceUID}) == 3
    assert len({plain.SOPInstanceUID, compressed.SOPInstanceUID, again.SOPInstanceUID}) == 3


def test_us_clip_is_an_unscheduled_study_of_thirty_jpeg_frames(patient: DemoPatient) -> None:
    clip = images.us_clip(patient)
    assert clip.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    frames = list(generate_frames(clip.PixelData, number_of_frames=30))
    assert all(frame.startswith(b"\xff\xd8") for frame in frames)
    assert clip.AccessionNumber == ""
    assert is_uid(clip.StudyInstanceUID)
    assert clip.StudyInstanceUID != images.us_clip(patient).StudyInstanceUID
    assert clip.PatientID == "100234"


def test_samples_hold_nothing_of_the_patient_they_came_from(item: Dataset, patient: DemoPatient) -> None:
    for image in (*images.mr_from_wheel(item), images.us_clip(patient)):
        text = str(image)
        assert "CompressedSamples" not in text
        assert not any(element.tag.is_private for element in image)


@pytest.mark.peer("dciodvfy")
def test_dciodvfy_finds_no_error(item: Dataset, patient: DemoPatient, tmp_path: Path) -> None:
    dciodvfy = need("dciodvfy")
    made = [*images.ct_phantom(item, 2, size=64), *images.mr_from_wheel(item), images.us_clip(patient)]
    for number, image in enumerate(made):
        path = tmp_path / f"{number}.dcm"
        image.save_as(path, enforce_file_format=True)
        said = subprocess.run([dciodvfy, "-new", str(path)], capture_output=True, text=True, check=False)
        assert [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")] == []
