"""The pictures of the pretend scanner: a generated CT phantom, and samples that are shipped in pydicom's wheel.

Every maker returns data sets with file meta information, ready for C-STORE; none of them holds a real person's data.
"""

from __future__ import annotations

import copy
from datetime import datetime

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from bridge.clock import Clock, SystemClock
from bridge.errors import NotFound
from bridge.sandbox.bitmap_font import draw_text
from bridge.sandbox.phantom import SLICE_MM, chest_slice
from bridge.sandbox.ris import DemoPatient
from bridge.uids import new_uid

_MPPS_CLASS = "1.2.840.10008.3.1.2.3.3"
MR_SAMPLES = ("MR_small.dcm", "MR_small_jp2klossless.dcm")
US_SAMPLE = "examples_ybr_color.dcm"
# What a sample says of its own device, zone, patient and step.
_OF_ANOTHER_STEP = (
    "TimezoneOffsetFromUTC InstanceCreatorUID DataSetTrailingPadding OtherPatientIDs EthnicGroup "
    "AdditionalPatientHistory PerformedProcedureStepStartDate PerformedProcedureStepStartTime "
    "PerformedProcedureStepID PerformedProcedureStepDescription ImageComments OperatorsName "
    "NameOfPhysiciansReadingStudy"
)


def ct_phantom(
    item: Dataset, slices: int = 24, *, mpps_uid: str = "", size: int = 512, clock: Clock | None = None
) -> list[Dataset]:
    """An axial CT series of a made-up chest for a worklist `item`: `slices` images of size x size, 16 bit, in HU."""
    now = (clock or SystemClock()).now().astimezone()
    common = Dataset()
    _take_from_worklist(common, item, now, mpps_uid)
    _describe_ct(common, size, now)
    return [_ct_image(common, index, slices, size) for index in range(slices)]


def mr_from_wheel(
    item: Dataset, names: tuple[str, ...] = MR_SAMPLES, *, mpps_uid: str = "", clock: Clock | None = None
) -> list[Dataset]:
    """pydicom's small MR samples as a study for a worklist `item`: one series a sample, in its own transfer syntax."""
    now = (clock or SystemClock()).now().astimezone()
    frame_of_reference = new_uid()
    images = []
    for number, name in enumerate(names, 1):
        image = _sample(name)
        _take_from_worklist(image, item, now, mpps_uid)
        image.FrameOfReferenceUID = frame_of_reference
        image.PositionReferenceIndicator = ""
        image.SeriesInstanceUID = new_uid()
        image.SeriesNumber = number
        image.SeriesDescription = f"T2 spin echo ({image.file_meta.TransferSyntaxUID.name})"[:64]
        image.InstanceNumber = 1
        _set_instance(image)
        images.append(image)
    return images


def us_clip(patient: DemoPatient, *, clock: Clock | None = None) -> Dataset:
    """pydicom's echo clip (30 frames, JPEG baseline) as an unscheduled study: typed at the console, no accession."""
    now = (clock or SystemClock()).now().astimezone()
    image = _sample(US_SAMPLE)
    _stamp(image, now)
    image.SpecificCharacterSet = "ISO_IR 192"
    image.PatientName = f"{patient.family}^{patient.given}".upper()
    image.PatientID = patient.mrn
    image.PatientBirthDate = patient.birth_date.strftime("%Y%m%d")
    image.PatientSex = patient.sex
    image.StudyInstanceUID = new_uid()
    image.SeriesInstanceUID = new_uid()
    image.AccessionNumber = ""
    image.StudyID = "1"
    image.StudyDescription = "Echocardiogram"
    image.SeriesDescription = "Apical view"
    image.SeriesNumber = image.InstanceNumber = 1
    image.StationName = "PRETEND US"
    _set_instance(image)
    return image


def _sample(name: str) -> Dataset:
    path = get_testdata_file(name, download=False)
    if not isinstance(path, str):
        raise NotFound("pydicom's wheel does not hold this sample", where=name)
    image = copy.deepcopy(dcmread(path))
    image.remove_private_tags()
    for keyword in _OF_ANOTHER_STEP.split():
        if keyword in image:
            delattr(image, keyword)
    image.InstitutionName = "Pretend Hospital"
    return image


def _take_from_worklist(image: Dataset, item: Dataset, now: datetime, mpps_uid: str) -> None:
    """Write the identifiers of the worklist into an image, as IHE RAD TF-2 4.8 (Appendix A.1) maps them."""
    step = item.ScheduledProcedureStepSequence[0]
    _stamp(image, now)
    image.SpecificCharacterSet = item.get("SpecificCharacterSet", "ISO_IR 192")
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber"):
        setattr(image, keyword, item.get(keyword, ""))
    for keyword in ("IssuerOfPatientID", "IssuerOfAccessionNumberSequence"):
        if item.get(keyword):
            setattr(image, keyword, copy.deepcopy(item.get(keyword)))
    image.ReferringPhysicianName = item.get("ReferringPhysicianName", "")
    image.StudyInstanceUID = item.StudyInstanceUID
    image.StudyID = str(item.get("RequestedProcedureID", "") or "")
    image.StudyDescription = str(item.get("RequestedProcedureDescription", "") or "")
    if codes := item.get("RequestedProcedureCodeSequence"):
        image.ProcedureCodeSequence = copy.deepcopy(codes)
    image.ProtocolName = str(step.get("ScheduledProcedureStepDescription", "") or "")
    image.StationName = str(step.get("ScheduledStationName", "") or "")
    request = Dataset()
    request.RequestedProcedureID = item.get("RequestedProcedureID", "")
    request.RequestedProcedureDescription = item.get("RequestedProcedureDescription", "")
    request.ScheduledProcedureStepID = step.get("ScheduledProcedureStepID", "")
    request.ScheduledProcedureStepDescription = step.get("ScheduledProcedureStepDescription", "")
    if codes := step.get("ScheduledProtocolCodeSequence"):
        request.ScheduledProtocolCodeSequence = copy.deepcopy(codes)
    group = item.get("RequestAttributesSequence")
    image.RequestAttributesSequence = copy.deepcopy(group) if group else [request]
    if mpps_uid:
        performed = Dataset()
        performed.ReferencedSOPClassUID = _MPPS_CLASS
        performed.ReferencedSOPInstanceUID = mpps_uid
        image.ReferencedPerformedProcedureStepSequence = [performed]


def _stamp(image: Dataset, now: datetime) -> None:
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate"):
        setattr(image, keyword, now.strftime("%Y%m%d"))
    for keyword in ("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime", "InstanceCreationTime"):
        setattr(image, keyword, now.strftime("%H%M%S"))


def _set_instance(image: Dataset) -> None:
    image.SOPInstanceUID = new_uid()
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID


def _describe_ct(common: Dataset, size: int, now: datetime) -> None:
    """What all slices share (PS3.3 C.7.3 to C.8.2): equipment, geometry, rescale to HU, a chest window."""
    common.SOPClassUID = CTImageStorage
    common.Modality = "CT"
    common.Manufacturer = "Imaging Bridge"
    common.ManufacturerModelName = "Pretend CT"
    common.InstitutionName = "Pretend Hospital"
    common.DeviceSerialNumber = "0"
    common.SoftwareVersions = "1"
    common.SeriesInstanceUID = new_uid()
    common.SeriesNumber = 1
    common.SeriesDescription = "PHANTOM axial 5 mm"
    common.FrameOfReferenceUID = new_uid()
    common.PositionReferenceIndicator = ""
    common.PatientPosition = "HFS"
    common.BodyPartExamined = "CHEST"
    common.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    common.AcquisitionNumber = 1
    common.KVP = "120"
    common.SliceThickness = str(SLICE_MM)
    common.SpacingBetweenSlices = str(SLICE_MM)
    common.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    common.PixelSpacing = [_pixel_mm(size)] * 2
    common.SamplesPerPixel = 1
    common.PhotometricInterpretation = "MONOCHROME2"
    common.Rows = common.Columns = size
    common.BitsAllocated = common.BitsStored = 16
    common.HighBit = 15
    common.PixelRepresentation = 1
    common.RescaleIntercept = "-1024"
    common.RescaleSlope = "1"
    common.RescaleType = "HU"
    common.WindowCenter = ["40", "-500"]
    common.WindowWidth = ["400", "1500"]
    common.WindowCenterWidthExplanation = ["SOFT TISSUE", "LUNG"]
    common.BurnedInAnnotation = "YES"


def _pixel_mm(size: int) -> float:
    """Pixel spacing of a 400 mm field of view."""
    return round(400 / size, 6)


def _ct_image(common: Dataset, index: int, slices: int, size: int) -> Dataset:
    image = copy.deepcopy(common)
    pixels = label(chest_slice(index / max(slices - 1, 1), size), index + 1, slices)
    half = _pixel_mm(size) * (size - 1) / 2
    z = round(-index * SLICE_MM, 3)
    image.InstanceNumber = index + 1
    image.ImagePositionPatient = [round(-half, 4), round(-half, 4), z]
    image.SliceLocation = str(z)
    image.PixelData = (pixels + 1024).astype("<i2").tobytes()
    image["PixelData"].VR = "OW"
    image.file_meta = FileMetaDataset()
    image.file_meta.MediaStorageSOPClassUID = CTImageStorage
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    _set_instance(image)
    return image


def label(pixels: npt.NDArray[np.int16], number: int, slices: int) -> npt.NDArray[np.int16]:
    """The picture with PHANTOM and the slice's number burned in."""
    scale = max(pixels.shape[0] // 170, 1)
    margin = 4 * scale
    draw_text(pixels, "PHANTOM", margin, margin, 900, scale)
    draw_text(pixels, f"SLICE {number}/{slices}", pixels.shape[0] - margin - 7 * scale, margin, 600, scale)
    return pixels
