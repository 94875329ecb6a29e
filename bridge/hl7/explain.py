"""`bridge explain FILE.hl7`: each value of a message with the path, table row and file line that gave it."""

from __future__ import annotations

from bridge.errors import BadInput
from bridge.hl7.message import Message
from bridge.hl7.read import ORDER_TYPES, order_sources, read_message
from bridge.hl7.read_patients import MERGES, MOVES, SUBORDINATE, merge_sources
from bridge.hl7.read_schedule import slot_sources
from bridge.mapping import Mappings
from bridge.mapping.explain import ExplainedField, Explanation, explain_section
from bridge.mapping.source import Focused


def explain(raw: bytes, mappings: Mappings, *, charset_override: str = "", charset_default: str = "") -> Explanation:
    """Explain one message. One that cannot be read at all is explained by its `refusal`; no input raises."""
    try:
        message = Message.read(raw, charset_override=charset_override, charset_default=charset_default)
    except BadInput as fault:
        return Explanation((), refusal=_words(fault))
    reading = read_message(message, mappings)
    fields = explain_section(mappings.patient, message, "patient")
    fields += explain_section(mappings.visit, message, "visit")
    try:
        fields += _body(message, mappings)
    except BadInput as fault:
        return Explanation(tuple(fields), reading.warnings, _words(fault))
    return Explanation(tuple(fields), reading.warnings, _words(reading.refusal) if reading.refusal else "")


def _words(fault: BadInput) -> str:
    return f"{fault.where}: {fault}" if fault.where else str(fault)


def _body(message: Message, mappings: Mappings) -> list[ExplainedField]:
    if message.message_code in ORDER_TYPES:
        return _orders(message, mappings)
    kinds = {"ORU": _reports, "SIU": _appointment}
    return kinds.get(message.message_code, _event)(message, mappings)


def _event(message: Message, mappings: Mappings) -> list[ExplainedField]:
    fields = explain_section(mappings.event, message, "event")
    fields += explain_section(mappings.allergies, message, "allergies")
    for number, segment in enumerate(message.segments("IAM"), 1):
        fields += explain_section(mappings.allergy, Focused(message, segment), f"allergy {number}")
    named = message.trigger_event in MERGES | MOVES
    if named or message.trigger_event in SUBORDINATE:
        for number, source in enumerate(merge_sources(message), 1):
            fields += explain_section(mappings.merge, source, f"merge {number}") if named else []
            fields += explain_section(mappings.moved, source, f"moved {number}")
    return fields


def _reports(message: Message, mappings: Mappings) -> list[ExplainedField]:
    fields: list[ExplainedField] = []
    for number, group in enumerate(message.order_groups(), 1):
        fields += explain_section(mappings.report, group, f"report (group {number})")
        for line, segment in enumerate(group.segments("OBX"), 1):
            heading = f"observation (group {number}, OBX {line})"
            fields += explain_section(mappings.observation, Focused(group, segment), heading)
    return fields


def _appointment(message: Message, mappings: Mappings) -> list[ExplainedField]:
    fields = explain_section(mappings.appointment, message, "appointment")
    for number, source in enumerate(slot_sources(message), 1):
        fields += explain_section(mappings.slot, source, f"service {number}")
    return fields


def _orders(message: Message, mappings: Mappings) -> list[ExplainedField]:
    fields: list[ExplainedField] = []
    sources = list(order_sources(message))
    for index, (group, source) in enumerate(sources):
        before = sum(1 for number, _ in sources[:index] if number == group)
        several = sum(1 for number, _ in sources if number == group) > 1
        where = f"group {group}, step {before + 1}" if several else f"group {group}"
        fields += explain_section(mappings.order, source, f"order ({where})")
        fields += explain_section(mappings.attributes, source, f"further attributes ({where})")
        fields += explain_section(mappings.procedure, source, f"requested procedure ({where})")
        fields += explain_section(mappings.step, source, f"scheduled step ({where})")
    return fields
