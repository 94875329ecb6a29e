"""What every worklist under test holds: ten entries a day for one scanner, and an image to send."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from functools import cache
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian

CT, STATION, A_DAY = "1.2.840.10008.5.1.4.1.1.2", "CT1", 10
KEYS = (
    *("AccessionNumber", "ReferringPhysicianName", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate"),
    *("PatientSex", "StudyInstanceUID", "RequestedProcedureID", "RequestedProcedureDescription", "AdmissionID"),
    *("PatientWeight", "MedicalAlerts"),
)
STEP_KEYS = ("ScheduledProcedureStepID", "ScheduledProcedureStepDescription", "ScheduledProcedureStepStartTime")
FRAME = 512 * 512 * 2
MARK = "1.2.826.0.1.3680043.9.9999.1000000000000000000000000"
"""Stands for a SOP Instance UID of this length."""


@cache
def first_day() -> date:
    return date.today() + timedelta(days=1)


def entries(count: int) -> Iterator[tuple[str, str, Dataset]]:
    """Station, day and the answer to a query for everything."""
    for number in range(count):
        day = f"{first_day() + timedelta(days=number // A_DAY):%Y%m%d}"
        data, step, code = Dataset(), Dataset(), Dataset()
        data.SpecificCharacterSet = "ISO_IR 192"
        data.AccessionNumber, data.ReferringPhysicianName = f"A{number:08}", "HIPPOCRATES"
        data.PatientName, data.PatientID, data.IssuerOfPatientID = f"DOE^JANE{number}", f"P{number:08}", "HOSP"
        data.PatientBirthDate, data.PatientSex, data.StudyInstanceUID = "19700102", "F", f"1.2.3.{number + 1}"
        data.RequestedProcedureID, data.RequestedProcedureDescription = f"R{number:08}", "CT thorax and abdomen"
        step.ScheduledStationAETitle, step.Modality = STATION, "CT"
        step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime = day, "101500"
        step.ScheduledProcedureStepID, step.ScheduledProcedureStepDescription = f"S{number:08}", "CT thorax"
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "CTTA-P1", "99LOCAL", "Portal venous"
        step.ScheduledProtocolCodeSequence = Sequence([code])
        data.ScheduledProcedureStepSequence = Sequence([step])
        yield STATION, day, data


def write_worklist_files(folder: Path, count: int) -> None:
    """The `.wl` files of wlmscpfs and of Orthanc's plugin, and the former's lock."""
    folder.mkdir(parents=True)
    (folder / "lockfile").touch()
    for number, (_, _, data) in enumerate(entries(count)):
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = UID("1.2.276.0.7230010.3.1.0.1")
        data.file_meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.4.{number + 1}")
        data.save_as(folder / f"{number:06}.wl", enforce_file_format=True)


def query(day: date) -> bytes:
    """A scanner's usual query in implicit VR little endian: 20 return keys, its own title, one day."""
    data, step = Dataset(), Dataset()
    for keyword in KEYS:
        setattr(data, keyword, None)
    for keyword in STEP_KEYS:
        setattr(step, keyword, None)
    step.ScheduledProtocolCodeSequence = []
    step.ScheduledStationAETitle, step.Modality = STATION, "CT"
    step.ScheduledProcedureStepStartDate = f"{day:%Y%m%d}"
    data.ScheduledProcedureStepSequence = Sequence([step])
    return encode(data, implicit=True)


def image(size: int) -> Dataset:
    """A CT image of about so many bytes, under `MARK`."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = UID(CT), UID(MARK)
    data.SOPClassUID, data.SOPInstanceUID = CT, MARK
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.3.1", "1.2.3.1.1"
    data.PatientID, data.PatientName, data.StudyDate, data.StudyTime = "P00000001", "DOE^JANE", "20260101", "101500"
    data.PatientBirthDate, data.PatientSex, data.AccessionNumber = "19700102", "F", "A00000001"
    data.StudyID, data.SeriesNumber, data.InstanceNumber, data.ReferringPhysicianName = "1", 1, 1, ""
    data.Modality, data.SamplesPerPixel, data.PhotometricInterpretation = "CT", 1, "MONOCHROME2"
    frames = size // FRAME
    data.Rows, data.Columns = 512 if frames > 1 else max(1, size // 1024), 512
    if frames > 1:
        data.NumberOfFrames = frames
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    data.PixelData = bytes(data.Rows * data.Columns * 2 * max(1, frames))
    return data


def encode(data: Dataset, *, implicit: bool = False) -> bytes:
    out = DicomBytesIO()
    out.is_implicit_VR, out.is_little_endian = implicit, True
    write_dataset(out, data)
    return bytes(out.getvalue())
