"""An order's status and a filler's answers as HL7 messages (HL7 v2.5.1 4.5.1: ORC-1 SC with ORC-5; OK, CR, UC ...).

`write_telling` is pure: the same telling, destination, control id and time give the same bytes. It takes tens of
milliseconds (hl7apy builds and judges), so it never runs on an acknowledgement path nor under the writer's lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from bridge.config import Destination
from bridge.domain.coding import Code
from bridge.domain.identity import Identifier, Issuers
from bridge.domain.patient import PersonName
from bridge.errors import BadValue
from bridge.hl7.charset import UNDECODABLE, choose
from bridge.hl7.conformance import Node, build
from bridge.workflow.notifying import Telling, ToldProcedure

CONTROL = {
    **dict.fromkeys(("started", "completed", "discontinued"), "SC"),
    "accepted": "OK",
    "numbered": "XX",
    "status": "SR",
    "cancelled": "CR",
    "cancel-refused": "UC",
    "stopped": "DR",
    "stop-refused": "UD",
    "held": "HR",
    "hold-refused": "UH",
    "released": "OR",
    "release-refused": "UR",
    "replaced": "RQ",
    "replace-refused": "UM",
    "changed": "XR",
    "change-refused": "UX",
}
"""What we tell -> ORC-1 (table 0119)."""
STATUS = {"started": "IP", "completed": "CM", "cancelled": "CA", "held": "HD", "replaced": "RP"}
"""What we tell -> ORC-5 (table 0038); a discontinued order's is the destination's setting. That of an order accepted,
changed or released stays empty: it may still be parked here, so it is not said to be scheduled."""
FORMS = {
    "ORM^O01": ("2.3.1", "ORM^O01", "ORM_O01", "ORR^O02", "ORR_O02"),
    "OMG^O19": ("2.5.1", "OMG^O19^OMG_O19", "OMG_O19", "ORG^O20^ORG_O20", "ORG_O20"),
    "OMI^O23": ("2.5.1", "OMI^O23^OMI_O23", "OMI_O23", "ORI^O24^ORI_O24", "ORI_O24"),
}
"""`Destination.message` -> version, then MSH-9 and structure of a status, then of an answer."""
SEX = {"M": "M", "F": "F", "O": "O"}
_ST_MOST = 199
"""The longest ST (v2.5.1 2A.75). Texts for people are cut to it with an ellipsis; identifiers never."""

_ESCAPES = {ord("\\"): "\\E\\", ord("|"): "\\F\\", ord("^"): "\\S\\", ord("&"): "\\T\\", ord("~"): "\\R\\"}
# hl7apy escapes the escape of \X0D\ once more: control characters pass through it in the guise of noncharacters.
_DISGUISE = {code: chr(0xFDD0 + code) for code in range(32)}
_REVEAL = {0xFDD0 + code: f"\\X{code:02X}\\" for code in range(32)}


def write_telling(
    telling: Telling, destination: Destination, issuers: Issuers, zone: ZoneInfo, *, control_id: str, now: datetime
) -> bytes:
    """The message, unframed, in the destination's form and character set.

    Raises `BadValue`: code `hl7-not-conformant` (strict validation found fault), or `hl7-charset` (`where` MSH-18,
    a character that the destination's set does not have).
    """
    version, status_type, status_structure, answer_type, answer_structure = FORMS[destination.message]
    message_type, structure = (
        (answer_type, answer_structure) if telling.answers else (status_type, status_structure)
    )  # fmt: skip
    header = [escape(value) for value in (
        destination.sending_application, destination.sending_facility, destination.receiving_application,
        destination.receiving_facility,
    )]  # fmt: skip
    header += [_time(now, zone), "", message_type, control_id, destination.processing_id, version]
    header += ["", "", "", "", "", destination.charset]
    body = _body(telling, destination, issuers, zone, structure)
    nodes: list[Node] = body
    if telling.answers:
        nodes = [f"MSA|AA|{escape(telling.answers)}", (f"{structure}_RESPONSE", body)]
    text = build(structure, version, header, nodes).translate(_REVEAL)
    try:
        return text.encode(choose([destination.charset]).codec)
    except UnicodeEncodeError:
        raise BadValue("a character that the set does not have", where="MSH-18", code=UNDECODABLE) from None


def escape(text: str) -> str:
    """A value as data (HL7 v2.5.1 2.7), in one pass; control characters in disguise until the message is built."""
    return text.translate({**_ESCAPES, **_DISGUISE})


def _body(telling: Telling, destination: Destination, issuers: Issuers, zone: ZoneInfo, structure: str) -> list[Node]:
    nodes: list[Node] = []
    if telling.patient_identifiers and telling.patient_name:  # both are required of a PID, and the group is optional
        nodes.append((f"{structure}_PATIENT", [_pid(telling, issuers)]))
    for number, procedure in enumerate(telling.procedures, 1):
        orc = _orc(telling, destination, issuers, zone)
        obr = _obr(telling, procedure, number, issuers)
        group: list[Node] = [orc, obr]
        if structure == "ORM_O01":
            group = [orc, ("ORM_O01_ORDER_DETAIL", [("ORM_O01_CHOICE", [obr])])]
        elif structure == "ORR_O02":
            group = [orc, ("ORR_O02_CHOICE", [obr])]
        if structure in ("OMI_O23", "ORI_O24"):
            group += _ipcs(telling, procedure, issuers)
        else:
            # IHE RAD TF-2 4.4.4.1.2.6; the value is the whole of a Z-segment that both profiles know.
            group.append(
                f"ZDS|{procedure.study_instance_uid}^{escape(destination.sending_application)}^Application^DICOM"
            )
        nodes.append((f"{structure}_ORDER", group))
    return nodes


def _pid(telling: Telling, issuers: Issuers) -> str:
    identifiers = "~".join(_cx(one, issuers) for one in telling.patient_identifiers)
    return _segment("PID", {
        3: identifiers, 5: _xpn(telling.patient_name), 7: escape(telling.birth_date), 8: SEX.get(telling.sex, "U"),
    })  # fmt: skip


def _orc(telling: Telling, destination: Destination, issuers: Issuers, zone: ZoneInfo) -> str:
    given_up = telling.event in ("discontinued", "stopped") or telling.status == "DC"
    status = destination.discontinued_status if given_up else telling.status or STATUS.get(telling.event, "")
    return _segment("ORC", {
        1: CONTROL[telling.event], 2: _ei(telling.placer, issuers), 3: _ei(telling.filler, issuers), 5: status,
        9: _time(telling.at, zone),
    })  # fmt: skip


def _obr(telling: Telling, procedure: ToldProcedure, number: int, issuers: Issuers) -> str:
    return _segment("OBR", {
        1: str(number), 2: _ei(telling.placer, issuers), 3: _ei(telling.filler, issuers),
        4: _ce(procedure.code, procedure.description or procedure.procedure_id),
        18: escape(telling.accession.value) if telling.accession else "",
        19: escape(procedure.procedure_id), 20: escape(procedure.step_ids[0]) if procedure.step_ids else "",
        24: escape(procedure.modality),
    })  # fmt: skip


def _ipcs(telling: Telling, procedure: ToldProcedure, issuers: Issuers) -> list[str]:
    """One IPC a step (v2.5.1 4.5.6); an accession number's issuer is EI.2 to EI.4."""
    return [
        _segment("IPC", {
            1: _ei(telling.accession, issuers), 2: escape(procedure.procedure_id), 3: procedure.study_instance_uid,
            4: escape(step), 5: escape(procedure.modality),
        })
        for step in procedure.step_ids
    ]  # fmt: skip


def _segment(name: str, fields: dict[int, str]) -> str:
    values = [fields.get(number, "") for number in range(1, max(fields) + 1)]
    return "|".join((name, *values)).rstrip("|")


def _components(values: Sequence[str]) -> str:
    return "^".join(escape(value) for value in values).rstrip("^")


def _authority(issuer: str, issuers: Issuers) -> tuple[str, str, str]:
    """HD: namespace, universal id, its type."""
    if not issuer:
        return "", "", ""
    known = issuers.find(issuer)
    return known.namespace, known.universal_id, known.universal_id_type


def _ei(identifier: Identifier | None, issuers: Issuers) -> str:
    if identifier is None:
        return ""
    return _components((identifier.value, *_authority(identifier.issuer, issuers)))


def _cx(identifier: Identifier, issuers: Issuers) -> str:
    authority = "&".join(escape(part) for part in _authority(identifier.issuer, issuers)).rstrip("&")
    return "^".join((escape(identifier.value), "", "", authority, escape(identifier.type))).rstrip("^")


def _ce(code: Code | None, text: str) -> str:
    if code is None:
        return _components(("", _shortened(text)))
    return _components((code.value, _shortened(code.meaning or text), code.scheme))


def _shortened(text: str) -> str:
    if len(escape(text)) <= _ST_MOST:
        return text
    return next(cut for n in range(len(text), 0, -1) if len(escape(cut := text[:n] + "...")) <= _ST_MOST)


def _xpn(name: PersonName) -> str:
    """A repetition a group, its kind in XPN-8 (table 4000); PN's prefix and suffix change places."""
    told = []
    for group, kind in ((name.alphabetic, "A"), (name.ideographic, "I"), (name.phonetic, "P")):
        if group:
            family, given, middle, prefix, suffix = (*group.split("^"), "", "", "", "", "")[:5]
            plain = _components((family, given, middle, suffix, prefix))
            others = name.ideographic or name.phonetic
            told.append(_components((family, given, middle, suffix, prefix, "", "", kind)) if others else plain)
    return "~".join(told)


def _time(at: datetime, zone: ZoneInfo) -> str:
    """TS with its offset, on the site's wall clock."""
    return at.astimezone(zone).strftime("%Y%m%d%H%M%S%z")
