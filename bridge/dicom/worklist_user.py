"""The other side of the worklist (RAD-5 as a modality speaks it): ask one, and read answers as a device would.

For comparing worklists and for showing what a device is told; scanners themselves are elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import ModalityWorklistInformationFind  # type: ignore[attr-defined]

from bridge.config import DicomPeer
from bridge.dicom.charset import NOT_READABLE, chosen
from bridge.dicom.header import read_data_set
from bridge.dicom.model import KEY_TAGS, STEP, STEP_SEQUENCE, TOP, Row
from bridge.dicom.query import read_query, response
from bridge.dicom.walk import ODD
from bridge.domain.identity import Issuers
from bridge.domain.worklist import WorklistEntry, WorklistKeys
from bridge.errors import BadValue, RemoteRefused, RemoteUnavailable
from bridge.mapping.transliteration import NONE, Transliteration

CHARACTER_SET = "SpecificCharacterSet"
STEP_NAME = "ScheduledProcedureStepSequence"
_PENDING = (0xFF00, 0xFF01)
_UTF8 = "ISO_IR 192"
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Told:
    """An answer as a device reads it: attribute (`PatientName`, `...Sequence.Modality`) -> text.

    `lost` holds the whole text of each attribute that the device's character set could not carry whole; `withheld`
    says why an entry is not shown at all to a device that could not read it ('' = it is shown).
    """

    attributes: dict[str, str]
    lost: dict[str, str]
    withheld: str = ""


def question(
    *, station: str = "", dates: str = "", modality: str = "", keys: Mapping[str, str] | None = None
) -> Dataset:
    """A query for every attribute of the model: the steps of a station (''= any) in a range of dates (DA).

    `keys` are further ones by their keywords, those of a sequence as `OtherPatientIDsSequence.PatientID`, and the
    query's own `SpecificCharacterSet`. Raises `BadValue` for one that no worklist is asked by.
    """
    asked, step = _everything(TOP), _everything(STEP)
    step.ScheduledStationAETitle, step.ScheduledProcedureStepStartDate = station, dates
    step.Modality = modality
    for path, value in (keys or {}).items():
        if path == CHARACTER_SET:
            asked.SpecificCharacterSet = value.split("\\")
            continue
        first, *rest = (tag_for_keyword(keyword) or 0 for keyword in path.split("."))
        if first not in KEY_TAGS.values():
            raise BadValue("no key of a worklist", where=path)
        _set_key(step if first in STEP else asked, (STEP | TOP)[first], first, rest, value, path)
    asked.add_new(STEP_SEQUENCE, "SQ", Sequence([step]))
    return asked


def _everything(rows: Mapping[int, Row]) -> Dataset:
    """Every attribute that an answer may hold, without a value."""
    data = Dataset()
    for tag, row in rows.items():
        if row.told:
            data.add_new(tag, row.vr, Sequence() if row.vr == "SQ" else None)
    return data


def _set_key(data: Dataset, row: Row, tag: int, rest: list[int], value: str, path: str) -> None:
    if (row.vr == "SQ") != bool(rest) or (rest and rest[0] not in row.items):
        raise BadValue("no key of a worklist", where=path)
    if not rest:
        try:
            data.add_new(tag, row.vr, int(value) if row.vr == "US" else value)
        except ODD:
            raise BadValue("not a value of this key", where=path) from None
        return
    if tag not in data or not data[tag].value:
        data.add_new(tag, "SQ", Sequence([_everything(row.items)]))
    _set_key(data[tag].value[0], row.items[rest[0]], rest[0], rest[1:], value, path)


def keyword_for_key(name: str) -> str:
    """The keyword of a key, by its name in `WorklistKeys`."""
    return keyword_for_tag(KEY_TAGS[name])


def keys_of(asked: Dataset, issuers: Issuers) -> WorklistKeys:
    """The question as our own worklist understands it."""
    return read_query(asked, issuers).keys


def tell(
    entry: WorklistEntry, asked: Dataset, peer: DicomPeer, issuers: Issuers, table: Transliteration = NONE
) -> Told:
    """Our answer to a device: encoded in its character set, by its own rules, and read again."""
    whole = flatten(response(entry, asked, _UTF8, issuers))
    try:
        answer = response(entry, asked, chosen(peer, asked), issuers, utf8=peer.utf8, table=table)
    except BadValue as fault:
        if fault.code != NOT_READABLE:
            raise
        return Told({}, whole, withheld=f"{fault} {fault.where}")
    attributes = flatten(_as_sent(answer))
    lost = {name: text for name, text in whole.items() if name != CHARACTER_SET and attributes.get(name) != text}
    return Told(attributes, lost)


def _as_sent(answer: Dataset) -> Dataset:
    encoded = encode(answer, is_implicit_vr=False, is_little_endian=True)
    return read_data_set(encoded or b"", str(ExplicitVRLittleEndian))


def flatten(data: Dataset, prefix: str = "") -> dict[str, str]:
    """The valued attributes by keyword; those of the second item of a sequence as `...Sequence[2].CodeValue`."""
    found: dict[str, str] = {}
    for tag in sorted(data.keys()):
        try:
            element = data[tag]
            name = prefix + (element.keyword or str(element.tag))
            if element.VR == "SQ":
                for number, item in enumerate(element.value or (), 1):
                    found |= flatten(item, f"{name}{f'[{number}]' if number > 1 else ''}.")
                continue
            value = element.value
            text = "\\".join(map(str, value)) if isinstance(value, MultiValue | list) else str(value or "")
        except ODD:
            name, text = f"{prefix}{tag}", "(not readable)"
        if text.strip():
            found[name] = text.strip()
    return found


class WorklistUser:
    """Asks the worklist of `called` at `host:port`; every question opens its own association.

    `seconds` is the most that a step of the exchange may take.
    """

    def __init__(self, host: str, port: int, called: str, *, seconds: float = 30) -> None:
        self._address = (host, port)
        self._called = called
        self._seconds = seconds

    def ask(self, calling: str, asked: Dataset) -> Iterator[Dataset]:
        """The answers to a C-FIND in the name of `calling`.

        Raises RemoteUnavailable (no association, no answer) and RemoteRefused (rejected, or a failure status).
        """
        for _ in range(_TRIES):
            answers, lost = self._asked(calling, asked)
            if not lost:
                return iter(answers)
        raise RemoteUnavailable("answers of the old worklist were lost", where="C-FIND")

    def _asked(self, calling: str, asked: Dataset) -> tuple[list[Dataset], bool]:
        """The answers, and whether there were more: pynetdicom's own loop, when it is just about to look as a query
        begins, takes an answer off the queue and drops it (2 of 1,500 queries on a busy machine)."""
        host, port = self._address
        came: list[str] = []
        answers: list[Dataset] = []
        ae = AE(ae_title=calling)
        ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = self._seconds
        ae.add_requested_context(ModalityWorklistInformationFind, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        count = (evt.EVT_DIMSE_RECV, lambda event: came.append(type(event.message).__name__))
        association = ae.associate(host, port, ae_title=self._called, evt_handlers=[count])
        if association.is_rejected:
            raise RemoteRefused("the old worklist rejects the association", where=calling)
        if not association.is_established:
            raise RemoteUnavailable(
                "no association with the old worklist", where=f"{self._address[0]}:{self._address[1]}"
            )
        try:
            for status, identifier in association.send_c_find(asked, ModalityWorklistInformationFind):
                code = status.get("Status")
                if code in _PENDING and identifier is not None:
                    answers.append(identifier)
                elif code is None and len(came) <= len(answers):
                    raise RemoteUnavailable("no answer of the old worklist", where="C-FIND")
                elif code is not None and code != 0x0000:
                    raise RemoteRefused(f"the old worklist answers {code:04X}", where="C-FIND", status=int(code))
        finally:
            association.release()
        return answers, len(came) > len(answers) + 1
