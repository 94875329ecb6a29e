"""A stored object's header: the few tags that index it, without touching the pixels.

`read_header` is part of the answer to C-STORE, so it refuses what could not be read again later. It walks the whole
object but parses only the elements that index it: a parser makes an object of every item of every sequence.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_file_meta_info
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.uid import UID

from bridge.dicom.files import PREAMBLE, data_set_offset
from bridge.dicom.walk import MESSAGE_ELEMENTS, ODD, Place, syntax_of, walk
from bridge.domain.identity import Issuers
from bridge.domain.patient import PersonName
from bridge.domain.performed import ScheduledReference
from bridge.domain.study import InstanceHeader
from bridge.errors import BadValue, MissingField, NotReadable, StoreUnavailable
from bridge.uids import is_uid

DEFER = 1024
INDEX_BYTES = 256 * 1024
"""A longer element indexes nothing: it is left out of the header."""
_INDEX = frozenset(
    {
        *(0x00080005, 0x00080016, 0x00080018, 0x00080020, 0x00080021, 0x00080030, 0x00080031, 0x00080050, 0x00080051),
        *(0x00080060, 0x00080090, 0x00080201, 0x00081030, 0x0008103E, 0x00081111),
        *(0x00100010, 0x00100020, 0x00100021, 0x00100024, 0x00100030, 0x00100040, 0x00180015),
        *(0x0020000D, 0x0020000E, 0x00200010, 0x00200011, 0x00200013, 0x00200060),
        *(0x00280008, 0x00280010, 0x00280011, 0x00400275, 0x0040A370),
    }
)
"""What `read_header` reads, and (0008,0005), which says how."""
_MPPS = "1.2.840.10008.3.1.2.3.3"


@dataclass(frozen=True, slots=True)
class Opened:
    """A Part 10 file read up to its pixel data; values over 1 kB stay on disk until asked for."""

    data: Dataset
    places: dict[int, Place]
    syntax: UID


def open_file(path: Path) -> Opened:
    """Read a stored file's header; `NotReadable`, `Unsupported` (transfer syntax), `StoreUnavailable` (no file)."""
    with _readable(path):
        with mapped(path) as buffer:
            syntax, places = _walked(path, buffer)
        data = dcmread(path, stop_before_pixels=True, defer_size=DEFER)
    return Opened(data, places, syntax)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except ODD:
        raise NotReadable("not a readable DICOM file") from None
    except OSError:
        raise StoreUnavailable("a file of the archive cannot be read", where="archive") from None


def _walked(path: Path, buffer: mmap.mmap) -> tuple[UID, dict[int, Place]]:
    offset = data_set_offset(buffer[: PREAMBLE + 16])
    _no_file(buffer[offset : offset + PREAMBLE + 16])
    syntax = syntax_of(str(read_file_meta_info(path).get("TransferSyntaxUID", "")))
    return syntax, walk(buffer, offset, syntax)


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """The file's bytes, read only as they are touched."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
        yield buffer


def read_data_set(encoded: bytes, transfer_syntax: str, most: int = MESSAGE_ELEMENTS) -> Dataset:
    """Decode a data set that came in a message (identifier, attribute list); `NotReadable` if it cannot be."""
    syntax = syntax_of(transfer_syntax)
    walk(encoded, 0, syntax, most=most)
    return _parse(encoded, syntax)


def read_index(source: Path | bytes, transfer_syntax: str) -> tuple[Dataset, UID]:
    """The elements that index an object, and its transfer syntax: the file's own, or the one given with bytes."""
    if isinstance(source, bytes):
        syntax = syntax_of(transfer_syntax)
        _no_file(source[: PREAMBLE + 16])
        return _parse(_indexing(source, walk(source, 0, syntax)), syntax), syntax
    with _readable(source), mapped(source) as buffer:
        syntax, places = _walked(source, buffer)
        encoded = _indexing(buffer, places)
    return _parse(encoded, syntax), syntax


def read_elements(path: Path, tags: Set[int], most_bytes: int) -> Dataset:
    """Some top-level elements of a stored file, and (0008,0005). Raises `NotReadable` also for one of more than
    `most_bytes`, or of more elements than a message may have; `StoreUnavailable`."""
    with _readable(path), mapped(path) as buffer:
        syntax, places = _walked(path, buffer)
        wanted = [places[tag] for tag in sorted({*tags, 0x00080005} & places.keys())]
        if sum(at.end - at.start for at in wanted) > most_bytes:
            raise NotReadable("more than is read of one object")
        encoded = b"".join(buffer[at.start : at.end] for at in wanted)
    return read_data_set(encoded, str(syntax))


def _no_file(head: bytes) -> None:
    """A whole file sent as a data set reads as a data set that begins with a preamble of anything: refused."""
    try:
        data_set_offset(head)
    except NotReadable:
        return
    raise NotReadable("a file where a data set belongs")


def _indexing(buffer: bytes | mmap.mmap, places: dict[int, Place]) -> bytes:
    wanted = (places[tag] for tag in sorted(_INDEX & places.keys()))
    return b"".join(buffer[at.start : at.end] for at in wanted if at.end - at.start <= INDEX_BYTES)


def _parse(encoded: bytes, syntax: UID) -> Dataset:
    try:
        return read_dataset(BytesIO(encoded), syntax.is_implicit_VR, syntax.is_little_endian, stop_when=_at_pixel_data)
    except ODD:
        raise NotReadable("not a readable data set") from None


def read_header(
    source: Path | bytes,
    *,
    transfer_syntax: str = "",
    sop_class: str = "",
    sop_instance: str = "",
    patient_issuer: str,
    accession_issuer: str,
    issuers: Issuers,
) -> InstanceHeader:
    """The index values of an object; `source` is a Part 10 file or the bytes of a data set.

    The transfer syntax and the class and instance UIDs are those of the association and the command (PS3.4 B.2.3:
    another one in the data set is A900); '' takes the file's own (STOW-RS). The two issuers stand in where the
    object names none. Raises `NotReadable` (C000), `BadValue` / `MissingField` (A900), `Unsupported`.
    """
    data, syntax = read_index(source, transfer_syntax)
    if transfer_syntax and str(syntax) != transfer_syntax:
        raise BadValue("the file meta names another transfer syntax", where="(0002,0010)")
    name, accession = Names(data, patient_issuer, accession_issuer, issuers), text(data, 0x00080050)
    return InstanceHeader(
        sop_instance_uid=_uid(data, 0x00080018, sop_instance),
        sop_class_uid=_uid(data, 0x00080016, sop_class),
        transfer_syntax_uid=str(syntax),
        study_instance_uid=_uid(data, 0x0020000D),
        series_instance_uid=_uid(data, 0x0020000E),
        patient_id=text(data, 0x00100020),
        patient_issuer=name.patient(),
        patient_name=PersonName.from_dicom(text(data, 0x00100010)),
        birth_date=text(data, 0x00100030),
        sex=text(data, 0x00100040),
        accession_number=accession,
        accession_issuer=name.accession(data),
        study_id=text(data, 0x00200010),
        study_date=text(data, 0x00080020),
        study_time=text(data, 0x00080030),
        timezone_offset=text(data, 0x00080201),
        study_description=text(data, 0x00081030),
        referring_physician=PersonName.from_dicom(text(data, 0x00080090)),
        modality=text(data, 0x00080060),
        series_number=text(data, 0x00200011),
        series_description=text(data, 0x0008103E),
        series_date=text(data, 0x00080021),
        series_time=text(data, 0x00080031),
        body_part=text(data, 0x00180015),
        laterality=text(data, 0x00200060),
        instance_number=text(data, 0x00200013),
        number_of_frames=max(1, number(data, 0x00280008)),
        rows=number(data, 0x00280010),
        columns=number(data, 0x00280011),
        requests=tuple(name.request(item) for tag in (0x00400275, 0x0040A370) for item in items(data, tag)),
        performed_step_uid=_performed_step(data),
    )


class Names:
    """Identifiers of a data set under the canonical names of their issuers, with the sender's defaults."""

    def __init__(self, data: Dataset, patient_issuer: str, accession_issuer: str, issuers: Issuers) -> None:
        self.data = data
        self.issuers = issuers
        self.patient_default = issuers.canonical(patient_issuer) if patient_issuer else ""
        self.accession_default = issuers.canonical(accession_issuer) if accession_issuer else ""

    def patient(self) -> str:
        """Issuer of Patient ID (0010,0021) with its qualifiers (0010,0024); '' without a Patient ID."""
        if not text(self.data, 0x00100020):
            return ""
        qualifier = next(iter(items(self.data, 0x00100024)), Dataset())
        found = self._canonical(text(self.data, 0x00100021), qualifier)
        return found or self.patient_default

    def accession(self, data: Dataset) -> str:
        """Issuer of Accession Number (0008,0051); '' without an accession number."""
        if not text(data, 0x00080050):
            return ""
        item = next(iter(items(data, 0x00080051)), Dataset())
        return self._canonical(text(item, 0x00400031), item) or self.accession_default

    def request(self, item: Dataset) -> ScheduledReference:
        """An item of Request Attributes (0040,0275), or of a report's Referenced Request (0040,A370)."""
        own = text(item, 0x0020000D)
        planned = {text(one, 0x00081155) for one in items(item, 0x00081110)} - {own, ""}
        return ScheduledReference(
            study_instance_uid=own,
            accession_number=text(item, 0x00080050),
            accession_issuer=self.accession(item),
            requested_procedure_id=text(item, 0x00401001),
            scheduled_step_id=text(item, 0x00400009),
            original_study_uid=planned.pop() if len(planned) == 1 else "",
        )

    def _canonical(self, namespace: str, item: Dataset) -> str:
        return self.issuers.canonical(namespace, text(item, 0x00400032), text(item, 0x00400033))


def text(data: Dataset, tag: int) -> str:
    """An element's value as text without padding, values joined by a backslash; '' when absent or odd."""
    try:
        value = data[tag].value if tag in data else None
        if value is None:
            return ""
        whole = "\\".join(map(str, value)) if isinstance(value, MultiValue | list | tuple) else str(value)
    except ODD:
        return ""
    return whole.strip(" \0\t\r\n")


def number(data: Dataset, tag: int) -> int:
    """A whole number; 0 when absent or odd."""
    try:
        return int(text(data, tag).partition("\\")[0] or 0)
    except ValueError:
        return 0


def items(data: Dataset, tag: int) -> list[Dataset]:
    """The items of a sequence; none when absent or no sequence."""
    try:
        element = data.get(tag)
        return list(element.value) if element is not None and element.VR == "SQ" and element.value else []
    except ODD:
        return []


def _uid(data: Dataset, tag: int, expected: str = "") -> str:
    value, where = text(data, tag), f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    if not value:
        raise MissingField("a UID is missing", where=where)
    if not is_uid(value):
        raise BadValue("not a UID", where=where)
    if expected and value != expected:
        raise BadValue("the data set disagrees with the command", where=where)
    return value


def _performed_step(data: Dataset) -> str:
    for item in items(data, 0x00081111):
        uid = text(item, 0x00081155)
        if is_uid(uid) and text(item, 0x00081150) in ("", _MPPS):
            return uid
    return ""


def _at_pixel_data(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag in (0x7FE00008, 0x7FE00009, 0x7FE00010)
