"""The pretend RIS: HL7 v2 messages in the field's usual form, from small dataclasses.

ADT 2.5.1 (RAD-1, RAD-12), ORM^O01 2.3.1 with ZDS and OMI^O23 2.5.1 with TQ1 and IPC (RAD-4, RAD-13; IHE RAD TF-2 4.4,
4.12, 4.13). Segments end in CR, the text is UTF-8 and MSH-18 says so. A builder is a pure function: the same arguments
give the same bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from bridge.clock import Clock, SystemClock
from bridge.hl7.ack import Acknowledgement, read_ack
from bridge.hl7.client import MllpClient

_SEPARATORS = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}


@dataclass(frozen=True, slots=True)
class Authority:
    """An assigning authority under both its names (HL7 HD): a namespace and an OID."""

    namespace: str
    oid: str

    @property
    def system(self) -> str:
        """The same authority as a FHIR identifier system."""
        return f"urn:oid:{self.oid}"


HOSPITAL = Authority("PRETEND", "2.25.138706372174590263452168174390827465013.1")
PLACER = Authority("PRETEND-EHR", "2.25.138706372174590263452168174390827465013.2")
FILLER = Authority("PRETEND-RIS", "2.25.138706372174590263452168174390827465013.3")


@dataclass(frozen=True, slots=True)
class DemoPatient:
    """A pretend patient. `ideographic` and `phonetic` are `(family, given)`, or empty; `sex` is M, F or O."""

    mrn: str
    family: str
    given: str
    birth_date: date
    sex: str
    middle: str = ""
    ideographic: tuple[str, str] | tuple[()] = ()
    phonetic: tuple[str, str] | tuple[()] = ()
    visit: str = ""
    location: str = "RAD"
    authority: Authority = HOSPITAL


@dataclass(frozen=True, slots=True)
class DemoOrder:
    """One order, one requested procedure, one scheduled step. `start` is the hospital's wall clock (naive)."""

    patient: DemoPatient
    placer: str
    filler: str
    accession: str
    procedure_id: str
    step_id: str
    code: str
    description: str
    modality: str
    station_ae: str
    start: datetime
    study_uid: str
    scheme: str = "L"
    protocol_code: str = ""
    protocol: str = ""
    station_name: str = ""
    location: str = ""
    priority: str = "R"
    reason: str = ""
    ordered_by: tuple[str, str, str] = ("D100", "Demo", "Dora")
    """The ordering provider: id, family, given."""


class Ris:
    """The sender, one connection kept: `ris.send(omi_o23, order)` builds, numbers, sends and returns the ACK."""

    def __init__(self, host: str, port: int, *, timeout: float = 10.0, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._client = MllpClient(host, port, timeout)
        # A bridge that remembers an earlier run would take a repeated id for a duplicate.
        self._run = self._clock.now().strftime("%y%m%d%H%M%S")
        self._ids = itertools.count(1)

    def send(self, build: Callable[..., bytes], *what: object, **options: str) -> Acknowledgement:
        """Call `build(*what, when, control_id, **options)` and send the result; errors as `MllpClient.send`."""
        when = self._clock.now().astimezone()
        return read_ack(self._client.send(build(*what, when, f"{self._run}-{next(self._ids)}", **options)))

    def close(self) -> None:
        self._client.close()


def escape(text: str) -> str:
    """A value for a field (HL7 v2.5.1 2.7): the separators and line ends become escape sequences."""
    out = "".join(_SEPARATORS.get(c, c) for c in text)
    return out.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\\.br\\")


def adt_a04(patient: DemoPatient, when: datetime, control_id: str) -> bytes:
    """Registration of an outpatient."""
    return _adt("A04", "ADT_A01", patient, when, control_id, (_pv1(patient),))


def adt_a08(patient: DemoPatient, when: datetime, control_id: str) -> bytes:
    """Update: the patient as it is now."""
    return _adt("A08", "ADT_A01", patient, when, control_id, (_pv1(patient),))


def adt_a40(survivor: DemoPatient, prior: DemoPatient, when: datetime, control_id: str) -> bytes:
    """Merge: `prior`'s number is no more, everything belongs to `survivor`."""
    mrg = _segment("MRG", {1: _cx(prior.mrn, prior.authority, "MR"), 7: _xpn(prior)})
    return _adt("A40", "ADT_A39", survivor, when, control_id, (mrg,))


def orm_o01(order: DemoOrder, when: datetime, control_id: str, *, control: str = "NW", status: str = "SC") -> bytes:
    """Procedure scheduled or changed, HL7 2.3.1 (RAD-4, RAD-13): ORC-1 `control`, ORC-5 `status`, UID in ZDS-1."""
    timing = f"1^once^^{_ts(order.start)}^^{escape(order.priority)}"
    zds = _segment("ZDS", {1: f"{order.study_uid}^100^Application^DICOM"})
    return _message(
        _msh("ORM^O01", "2.3.1", when, control_id),
        _pid(order.patient),
        _pv1(order.patient),
        _orc(order, when, control, status, timing, entering_device=order.station_ae),
        _obr(order, timing),
        zds,
    )


def omi_o23(order: DemoOrder, when: datetime, control_id: str, *, control: str = "NW", status: str = "SC") -> bytes:
    """The same in HL7 2.5.1: time and priority in TQ1, everything of the worklist in IPC."""
    tq1 = _segment("TQ1", {1: "1", 7: _ts(order.start), 9: f"{escape(order.priority)}^^HL70485"})
    ipc = _segment(
        "IPC",
        {
            1: _ei(order.accession, FILLER),
            2: _ei(order.procedure_id, FILLER),
            3: f"{order.study_uid}^^{FILLER.oid}^ISO",
            4: _ei(order.step_id, FILLER),
            5: escape(order.modality),
            6: _protocol(order),
            7: escape(order.station_name),
            8: escape(order.location),
            9: escape(order.station_ae),
        },
    )
    return _message(
        _msh("OMI^O23^OMI_O23", "2.5.1", when, control_id),
        _pid(order.patient),
        _pv1(order.patient),
        _orc(order, when, control, status, ""),
        tq1,
        _obr(order, ""),
        ipc,
    )


def cancel(order: DemoOrder, when: datetime, control_id: str, version: str = "2.5.1") -> bytes:
    """The filler's word that the order is cancelled: ORC-1 CA, ORC-5 CA."""
    return _by_version(version)(order, when, control_id, control="CA", status="CA")


def change(order: DemoOrder, when: datetime, control_id: str, version: str = "2.5.1") -> bytes:
    """The order as it is now, same numbers and study UID: ORC-1 XO, ORC-5 SC."""
    return _by_version(version)(order, when, control_id, control="XO", status="SC")


def late_order(order: DemoOrder, when: datetime, control_id: str, version: str = "2.3.1") -> bytes:
    """An order made after the images (IHE RAD PIR case 3): NW/SC with the UID that the study already has."""
    return _by_version(version)(order, when, control_id, control="NW", status="SC")


class _OrderBuilder(Protocol):
    def __call__(self, order: DemoOrder, when: datetime, control_id: str, *, control: str, status: str) -> bytes: ...


def _by_version(version: str) -> _OrderBuilder:
    return {"2.3.1": orm_o01, "2.5.1": omi_o23}[version]


def _message(*segments: str) -> bytes:
    return ("\r".join(segments) + "\r").encode("utf-8")


def _segment(name: str, fields: dict[int, str]) -> str:
    """Fields by their number, the text of each already escaped."""
    last = max((n for n, value in fields.items() if value), default=0)
    return "|".join([name, *(fields.get(n, "") for n in range(1, last + 1))])


def _msh(message_type: str, version: str, when: datetime, control_id: str) -> str:
    # MSH-1 is the field separator itself, so every number here stands one lower than its name.
    fields = {1: "^~\\&", 2: "PRETEND_RIS", 3: "PRETEND_HOSPITAL", 4: "BRIDGE", 5: "PRETEND_HOSPITAL", 6: _ts(when)}
    return _segment(
        "MSH",
        {**fields, 8: message_type, 9: escape(control_id), 10: "P", 11: version, 17: "UNICODE UTF-8"},
    )


def _adt(
    event: str, structure: str, patient: DemoPatient, when: datetime, control_id: str, rest: tuple[str, ...]
) -> bytes:
    evn = _segment("EVN", {1: event, 2: _ts(when), 6: _ts(when)})
    return _message(_msh(f"ADT^{event}^{structure}", "2.5.1", when, control_id), evn, _pid(patient), *rest)


def _pid(patient: DemoPatient) -> str:
    return _segment(
        "PID",
        {
            1: "1",
            3: _cx(patient.mrn, patient.authority, "MR"),
            5: _xpn(patient),
            7: patient.birth_date.strftime("%Y%m%d"),
            8: escape(patient.sex),
            # PV1-19 or PID-18 is required by IHE; a patient without a visit number has an account.
            18: "" if patient.visit else _cx(f"ACC{patient.mrn}", patient.authority, "AN"),
        },
    )


def _pv1(patient: DemoPatient) -> str:
    visit = _cx(patient.visit, patient.authority, "VN") if patient.visit else ""
    return _segment("PV1", {1: "1", 2: "O", 3: escape(patient.location), 19: visit})


def _orc(order: DemoOrder, when: datetime, control: str, status: str, timing: str, *, entering_device: str = "") -> str:
    return _segment(
        "ORC",
        {
            1: control,
            2: _ei(order.placer, PLACER),
            3: _ei(order.filler, FILLER),
            5: status,
            7: timing,
            9: _ts(when),
            10: _xcn(order.ordered_by),
            12: _xcn(order.ordered_by),
            17: "RAD^Radiology^L",
            # 2.3.1 has no field for a station: some sites put it here.
            18: escape(entering_device),
        },
    )


def _obr(order: DemoOrder, timing: str) -> str:
    procedure = f"{escape(order.code)}^{escape(order.description)}^{escape(order.scheme)}"
    protocol = f"^{_protocol(order)}" if order.protocol_code else ""
    return _segment(
        "OBR",
        {
            1: "1",
            2: _ei(order.placer, PLACER),
            3: _ei(order.filler, FILLER),
            4: procedure + protocol,
            16: _xcn(order.ordered_by),
            18: escape(order.accession),
            19: escape(order.procedure_id),
            20: escape(order.step_id),
            24: escape(order.modality),
            27: timing,
            31: f"^{escape(order.reason)}" if order.reason else "",
            44: procedure,
        },
    )


def _protocol(order: DemoOrder) -> str:
    if not order.protocol_code:
        return ""
    return f"{escape(order.protocol_code)}^{escape(order.protocol or order.description)}^{escape(order.scheme)}"


def _ts(when: datetime) -> str:
    """TS with the offset when `when` has one (HL7 v2.5.1 2A.79)."""
    return when.strftime("%Y%m%d%H%M%S%z")


def _hd(authority: Authority, separator: str) -> str:
    return separator.join((escape(authority.namespace), authority.oid, "ISO"))


def _cx(value: str, authority: Authority, id_type: str) -> str:
    return f"{escape(value)}^^^{_hd(authority, '&')}^{id_type}"


def _ei(value: str, authority: Authority) -> str:
    return f"{escape(value)}^{_hd(authority, '^')}"


def _xcn(person: tuple[str, str, str]) -> str:
    return "^".join(escape(part) for part in person)


def _xpn(patient: DemoPatient) -> str:
    """PID-5: the legal name, then its ideographic and phonetic forms told apart by XPN-8."""
    name = "^".join(escape(part) for part in (patient.family, patient.given, patient.middle))
    if not patient.ideographic and not patient.phonetic:
        return f"{name}^^^^L"
    groups = [f"{name}^^^^L^A"]
    for other, form in ((patient.ideographic, "I"), (patient.phonetic, "P")):
        if other:
            groups.append(f"{escape(other[0])}^{escape(other[1])}^^^^^L^{form}")
    return "~".join(groups)
