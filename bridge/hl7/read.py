"""What a message says, in our words: ORM^O01, OMG^O19, OMI^O23, ORU^R01, SIU and ADT to `Reading`. It decides nothing.

IHE RAD-2, RAD-3, RAD-4, RAD-13 (orders), RAD-1, RAD-12 (patients). The place of each value is in `mappings/hl7/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bridge.domain.appointment import EVENTS as APPOINTMENT_EVENTS
from bridge.domain.attributes import element
from bridge.domain.coding import Code
from bridge.domain.folding import CREATING
from bridge.domain.lifecycle import action_of
from bridge.domain.message import Reading
from bridge.domain.order import NO_CODE, OrderRequest, ProcedureRequest, StepRequest
from bridge.domain.patient import DELETED, PatientData, Visit
from bridge.errors import BadInput, BadValue, MissingField, NotReadable, TooLarge, Unsupported
from bridge.hl7.message import SEQUENCE, Message
from bridge.hl7.order_groups import Unit, grouped
from bridge.hl7.read_patients import (
    PATIENT_EVENTS,
    check_length,
    check_names,
    check_one_patient,
    check_words,
    read_patient,
    read_patient_events,
    read_visit,
)
from bridge.hl7.read_results import read_reports
from bridge.hl7.read_schedule import read_appointments
from bridge.mapping import Mappings
from bridge.mapping.apply import Values
from bridge.mapping.source import Focused, Source

ORDER_TYPES = frozenset({"ORM", "OMG", "OMI"})
ORDER_EVENTS = frozenset({"O01", "O19", "O23", ""})
REPORT_EVENTS = frozenset({"R01", ""})
MOST_STEPS = 500
"""More groups and IPC than this in one message are no order but a fault of the sender."""

OTHER_TRADES = ("RXO", "RXE", "RXD", "RXG", "RXA", "ODS", "ODT", "RQD", "BPO")
"""Segments of orders for pharmacy, diet, supplies and blood (v2.5.1 4.7 to 4.16)."""


def read_message(message: Message, mappings: Mappings, *, mixed: bool = False) -> Reading:
    """What the message says. What cannot be used comes back as `refusal`; no input raises.

    `mixed`: a feed that brings the orders of every department (`Feed.orders`).
    """
    warnings = list(message.warnings)
    try:
        reading = _route(message, mappings, warnings, mixed)
    except BadInput as fault:
        return Reading(warnings=_distinct(warnings), refusal=fault)
    return replace(reading, warnings=_distinct(warnings)) if warnings else reading


def _distinct(warnings: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(warnings))


def _route(message: Message, mappings: Mappings, warnings: list[str], mixed: bool) -> Reading:
    code, event = message.message_code, message.trigger_event
    if code in ORDER_TYPES:
        # MSH-9 of published samples says ORM where OMI is meant: the segments decide the rest.
        _check_event(event, ORDER_EVENTS)
        return Reading(orders=_read_orders(message, mappings, warnings, mixed))
    if code == "ORU":
        _check_event(event, REPORT_EVENTS)
        return Reading(reports=read_reports(message, mappings, warnings, mixed=mixed))
    if code == "SIU":
        if event in APPOINTMENT_EVENTS:
            return Reading(appointments=read_appointments(event, message, mappings, warnings))
        warnings.append("a scheduling event without effect on imaging: ignored")
        return Reading()
    if code == "ADT":
        event = event or message.get("EVN", 1).strip().upper()
        if event in PATIENT_EVENTS:
            first, *further = read_patient_events(event, message, mappings, warnings)
            return Reading(first, further_patients=tuple(further))
        warnings.append("an ADT event without effect on imaging: ignored")
        return Reading()
    raise Unsupported("a message type that is not taken", where="MSH-9.1", code="unsupported-type")


def _check_event(event: str, taken: frozenset[str]) -> None:
    if event not in taken:
        raise Unsupported("an event that is not taken", where="MSH-9.2", code="unsupported-event")


# Orders


def order_sources(message: Message) -> Iterator[tuple[int, Source]]:
    """The number of the order group, from 1, and a view of it: one for each IPC, or one of the whole group."""
    for number, group in enumerate(message.order_groups(), 1):
        steps = group.segments("IPC")
        if not steps:
            yield number, group
        shared: dict[str, dict[str, object]] = {}
        for segment in steps:
            yield number, Focused(group, segment, shared)


def _read_orders(message: Message, mappings: Mappings, warnings: list[str], mixed: bool) -> tuple[OrderRequest, ...]:
    check_one_patient(message, mappings)
    sources = list(order_sources(message))
    if message.prior_results:
        warnings.append(f"{message.prior_results} results of earlier orders (a PID of their own): not read")
    if not sources or not message.segments("ORC"):
        raise NotReadable("no order in it", where="ORC", code=SEQUENCE)
    if len(sources) > MOST_STEPS:
        raise TooLarge(f"more than {MOST_STEPS} steps in one message", where="OBR")
    units = [unit for n, source in sources if (unit := _read_unit(n, source, mappings, warnings, mixed))]
    if not units:
        return ()
    creates = any(unit.control in CREATING for unit in units)
    patient = _read_patient(message, mappings, warnings, creates=creates)
    # A PID that is repeated may have a PV1 of its own behind it.
    several = len(message.segments("PID")) > 1
    visit = None if several else read_visit(message, mappings, warnings)
    found: list[OrderRequest] = []
    for order in grouped(units):
        for number, procedure in enumerate(order.procedures):
            own = visit or read_visit(procedure.units[0].source, mappings, warnings)
            read = _order(procedure.units, patient, own, mappings, warnings)
            found.append(
                replace(
                    read,
                    detail_placer=order.detail[0],
                    detail_filler=order.detail[1],
                    alone=len(order.procedures) == 1,
                    further=number > 0,
                    contradiction=order.contradiction,
                )
                if len(order.procedures) > 1 or order.contradiction or any(order.detail)
                else read
            )
    return tuple(found)


def _read_patient(message: Message, mappings: Mappings, warnings: list[str], *, creates: bool) -> PatientData:
    """The patient; nobody where no identifier says who, and nothing is ordered: what such a message says of a known
    order, a cancel above all, it says by the order's number (HL7 v2.5.1 4.4.1)."""
    if creates:
        return read_patient(message, mappings, warnings)
    if not any(message.repetitions("PID", field) for field in (2, 3, 4, 5)):
        return PatientData(())
    try:
        return read_patient(message, mappings, warnings)
    except (MissingField, BadValue) as fault:
        if fault.where != "PID-3":
            raise
    warnings.append("PID-3 has no identifier that says who the patient is: the order is found by its number")
    return PatientData(())


def _read_unit(number: int, source: Source, mappings: Mappings, warnings: list[str], mixed: bool) -> Unit | None:
    """None, with a warning, for what orders no images: what shows the trade of others, and on a mixed feed also what
    shows nothing of ours. Elsewhere that is an order that a person must see: many a RIS has the modality in its
    procedure codes alone."""
    not_imaging, modality = mappings.step.rule("not_imaging"), mappings.step.rule("modality")
    if not_imaging and not_imaging.read(source, warnings):
        warnings.append(f"order group {number} is no imaging order ({not_imaging.paths[0][0]}): nothing is created")
        return None
    order = Values({**mappings.attributes.apply(source, warnings), **mappings.order.apply(source, warnings)})
    check_names(source, mappings, warnings)
    control = order.kept("control").upper()
    if action_of(control) is None:
        raise BadValue("not an order control code of table 0119", where="ORC-1", code="table-value")
    modality_sent = modality.sent(source) if modality else ""
    step = mappings.step.apply(source, warnings)
    evidence = modality_sent or step.get("modality_of_procedure") or source.segments("IPC") or source.segments("ZDS")
    if control in CREATING and not evidence:
        trade = next((name for name in OTHER_TRADES if source.segments(name)), "")
        if trade or mixed:
            sign = trade or "it names no modality, IPC or ZDS"
            warnings.append(f"order group {number} is no imaging order ({sign}): nothing is created")
            return None
    if len(source.segments("TQ1")) > 1:
        warnings.append(f"order group {number} has several TQ1: the first one counts")
    if not order.identifier("placer") and not order.identifier("filler"):
        raise MissingField("neither ORC-2 nor ORC-3 names the order", where="ORC-2")
    procedure = mappings.procedure.apply(source, warnings)
    placer, filler = order.identifier("placer"), order.identifier("filler")
    return Unit(control, placer, filler, order, procedure, step, modality_sent, source)


def _first(of_all: list[Values]) -> Values:
    """For each field the first unit that says something; what says a value before what deletes it."""
    if len(of_all) == 1:
        return of_all[0]
    merged = Values()
    for values in of_all:
        for name, value in values.items():
            if merged.get(name) in (None, "", DELETED):  # what one group deletes another may well say
                merged[name] = value
    return merged


def _order(
    units: list[Unit], patient: PatientData, visit: Visit, mappings: Mappings, warnings: list[str]
) -> OrderRequest:
    order = _first([unit.order for unit in units])
    placer, filler, accession = units[0].placer, units[0].filler, order.identifier("accession")
    for one, most, what in ((placer, 64, "ORC-2"), (filler, 64, "ORC-3"), (accession, 16, "the accession number")):
        check_length(one.value if one else "", most, what, warnings)
    check_words(order, warnings)
    procedure = _procedure(units, warnings)
    _tell_missing(units[0].control, patient, procedure, warnings)
    return OrderRequest(
        control=units[0].control,
        status=order.kept("status"),
        placer=placer,
        filler=filler,
        accession=accession,
        patient=patient,
        procedure=procedure,
        visit=visit,
        event_time=order.moment("event_time"),
        sent_time=order.moment("sent_time"),
        requesting_physician=order.name("requesting_physician"),
        department=order.text("department"),
        patient_state=order.text("patient_state"),
        confidentiality=order.text("confidentiality"),
        medical_alerts=order.text("medical_alerts"),
        allergies=order.texts("allergies"),
        pregnancy_status=order.text("pregnancy_status"),
        attributes={
            _tag(rule.name): element(rule.vr, order[rule.name])
            for rule in mappings.attributes.rules
            if rule.name in order
        },
        patient_weight_kg=order.text("patient_weight_kg"),
        patient_size_m=order.text("patient_size_m"),
    )


def _tag(name: str) -> str:
    """`(0040,2008)` as the DICOM JSON model writes it."""
    return name[1:5] + name[6:10]


def _tell_missing(control: str, patient: PatientData, procedure: ProcedureRequest, warnings: list[str]) -> None:
    """Attributes of type 1 and 1C (PS3.4 K.6-1) for which nothing stands in: the order is shown without them."""
    if control not in CREATING or not procedure.steps:
        return
    if not patient.name:
        warnings.append("the patient has no name in the order (PID-5): scanners show what is known of them, or none")
    if not procedure.description and not procedure.code:
        warnings.append("the order neither names nor codes its exam (OBR-4, OBR-44): scanners show its id")


def _procedure(units: list[Unit], warnings: list[str]) -> ProcedureRequest:
    uids = {unit.procedure.kept("study_instance_uid") for unit in units} - {""}
    if len(uids) > 1:
        raise BadValue("two Study Instance UIDs for one requested procedure", where="ZDS-1")
    values = _first([unit.procedure for unit in units])
    check_words(values, warnings)
    check_length(values.kept("procedure_id"), 16, "the requested procedure id", warnings)
    steps: dict[tuple[object, ...], list[Unit]] = {}
    for unit in units:
        if unit.modality_sent or any(unit.step.values()):
            steps.setdefault(unit.step_key, []).append(unit)
    return ProcedureRequest(
        procedure_id=values.kept("procedure_id"),
        study_instance_uid=values.kept("study_instance_uid"),
        description=values.text("description"),
        code=values.code("code"),
        priority=values.text("priority"),
        reason=values.text("reason"),
        transport=values.text("transport"),
        comments=values.text("comments"),
        steps=tuple(_step(of_one, values.code("code"), warnings) for of_one in steps.values()),
    )


def _protocol(unit: Unit, procedure: Code | None) -> tuple[Code, ...]:
    """What is to be done in the step: where OBR-4 has no second triplet, its first one says it, if it is not the
    procedure itself."""
    codes, ordered = unit.step.codes("protocol_codes"), unit.procedure.code("code")
    return codes or ((ordered,) if ordered and ordered not in (procedure, NO_CODE) else ())


def _step(units: list[Unit], procedure: Code | None, warnings: list[str]) -> StepRequest:
    values = _first([unit.step for unit in units])
    codes = [code for unit in units for code in _protocol(unit, procedure)]
    codes = [code for code in codes if code != NO_CODE] or codes
    titles = values.texts("station_ae_titles")
    check_words(values, warnings)
    check_length(values.kept("step_id"), 16, "the scheduled procedure step id", warnings)
    for title in titles:
        check_length(title, 16, "a station AE title", warnings)
    return StepRequest(
        step_id=values.kept("step_id"),
        modality=values.kept("modality") or values.kept("modality_of_procedure"),
        modality_sent=next((unit.modality_sent for unit in units if unit.modality_sent), ""),
        start=values.moment("start"),
        station_ae_titles=titles,
        station_name=values.text("station_name"),
        location=values.text("location"),
        description=values.text("description"),
        protocol_codes=tuple(dict.fromkeys(codes) if len(codes) > 1 else codes),
        performing_physician=values.name("performing_physician"),
    )
