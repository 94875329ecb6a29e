"""A rejection note as a PACS makes it: a Key Object Selection (PS3.3 A.35.4, TID 2010) over images that it has."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from bridge.uids import new_uid

KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
MEANINGS = {
    "113001": "Rejected for Quality Reasons",
    "113037": "Rejected for Patient Safety Reasons",
    "113038": "Incorrect Modality Worklist Entry",
    "113039": "Data Retention Policy Expired",
}


def rejection_note(title: str, images: Sequence[Dataset]) -> Dataset:
    """A note of its own series in the images' study, which rejects them all."""
    first, now = images[0], datetime.now()
    data: Any = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = KEY_OBJECTS, new_uid()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    for keyword in ("SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
                    "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName",
                    "StudyID"):  # fmt: skip
        setattr(data, keyword, first.get(keyword, ""))
    data.SeriesInstanceUID, data.Modality, data.SeriesNumber, data.InstanceNumber = new_uid(), "KO", 99, 1
    data.ContentDate, data.ContentTime = f"{now:%Y%m%d}", f"{now:%H%M%S}"
    data.ReferencedPerformedProcedureStepSequence, data.ReferencedRequestSequence = [], []
    data.Manufacturer, data.ValueType, data.ContinuityOfContent = "PACS", "CONTAINER", "SEPARATE"
    data.ConceptNameCodeSequence = [_code(title, MEANINGS[title])]
    study = Dataset()
    study.StudyInstanceUID = first.StudyInstanceUID
    study.ReferencedSeriesSequence = []
    for uid, members in groupby(images, lambda one: str(one.SeriesInstanceUID)):
        series = Dataset()
        series.SeriesInstanceUID, series.ReferencedSOPSequence = uid, [_reference(one) for one in members]
        study.ReferencedSeriesSequence.append(series)
    data.CurrentRequestedProcedureEvidenceSequence = [study]
    data.ContentSequence = [_content(one) for one in images]
    return data


def _content(image: Dataset) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType, item.ReferencedSOPSequence = "CONTAINS", "IMAGE", [_reference(image)]
    return item


def _reference(image: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return item


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item
