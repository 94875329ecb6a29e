"""The conformance statement's chapter on what we send, read from messages that are made as those that leave."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import get_args
from zoneinfo import ZoneInfo

from bridge.config import Destination
from bridge.domain.coding import Code
from bridge.domain.identity import Identifier, Issuers
from bridge.domain.patient import PersonName
from bridge.hl7.message import Message
from bridge.hl7.write import CONTROL, FORMS, SEX, STATUS, write_telling
from bridge.markdown import code, table
from bridge.workflow.notifying import UNASKED, Telling, ToldProcedure

_AT = datetime(2000, 1, 1, tzinfo=UTC)


def lines_out() -> list[str]:
    """Events, forms, filled fields and what the receiver's answer does."""
    plain = Destination(name="default", port=1)
    return [
        "Each `[[hl7.destination]]` is a receiver with a queue of its own and is told the `events` it lists; without "
        "one nothing is sent.",
        "",
        *table(("Event", "Kind", "ORC-1", "ORC-5"), _events()),
        "",
        *table(("`message`", "Version", "Kind", "MSH-9", "Segments and the fields that are filled"), _forms()),
        "",
        f"- MSH-11: {', '.join(_choices('processing_id'))} (`processing_id`). MSH-18 (`charset`): "
        f"{', '.join(_choices('charset'))}; {plain.charset} unless told otherwise. PID-8: {', '.join(SEX.values())}, "
        "U. Times hold their offset.",
        "- Optional fields are empty when nothing is known; PID is left out without a name or a number. Every "
        "message is judged at hl7apy's strictest; one that does not conform, or holds a character that the set "
        "lacks, is not sent.",
        "- MSH-15 and MSH-16 are empty: one acknowledgement is awaited, AA, AE and AR or CA, CE and CR. It counts "
        f"when its MSA-2 is our MSH-10 and it comes within {plain.ack_seconds:g} s (`ack_seconds`); else the same "
        f"bytes go again after {plain.retry_seconds:g} s, doubling to {plain.retry_most_seconds:g} s.",
        f"- AA and CA: the next goes. AR and CR: {plain.on_reject} (`on_reject`). AE and CE: {plain.on_error} "
        f"(`on_error`). Choices: {', '.join(_choices('on_error'))}. Nothing overtakes a message that waits.",
    ]


def _choices(name: str) -> Sequence[str]:
    return get_args(Destination.model_fields[name].annotation)


def _events() -> list[tuple[str, ...]]:
    told: Sequence[str] = get_args(_choices("events")[0])
    discontinued = f"{' / '.join(_choices('discontinued_status'))} (`discontinued_status`)"
    return [
        (
            code(event), "status" if event in UNASKED else "answer", CONTROL[event],
            {"discontinued": discontinued, "stopped": discontinued, "status": "the order's"}.get(
                event, STATUS.get(event, "")
            ),
        )
        for event in told
    ]  # fmt: skip


def _forms() -> list[tuple[str, ...]]:
    return [
        (code(form), version, kind, code(message_type), _filled(form, event))
        for form, (version, status_type, _, answer_type, _) in FORMS.items()
        for kind, event, message_type in (("status", "started", status_type), ("answer", "accepted", answer_type))
    ]


def _filled(form: str, event: str) -> str:
    """Segments and the numbers of the fields that a telling with everything in it fills."""
    destination = Destination.model_validate(
        {
            "name": "statement", "port": 1, "message": form, "sending_facility": "F", "receiving_application": "A",
            "receiving_facility": "F",
        }
    )  # fmt: skip
    raw = write_telling(_everything(event), destination, Issuers(()), ZoneInfo("UTC"), control_id="1", now=_AT)
    found: dict[str, list[int]] = {}
    for segment in Message.read(raw).all_segments:
        numbers = found.setdefault(segment.name, [])
        numbers += [n for n in range(1, 60) if segment.raw_field(n) and n not in numbers]
    return "; ".join(f"{name}-{', '.join(map(str, sorted(numbers)))}" for name, numbers in found.items())


def _everything(event: str) -> Telling:
    return Telling(
        event=event,
        at=_AT,
        answers="" if event in UNASKED else "1",
        placer=Identifier("1", "EHR"),
        filler=Identifier("2", "RIS"),
        accession=Identifier("3", "RIS"),
        patient_identifiers=(Identifier("4", "HOSP", "MR"),),
        patient_name=PersonName("Doe^Jane"),
        birth_date="19800101",
        sex="F",
        procedures=(ToldProcedure("5", "1.2.3", Code("6", "L", "CT head"), "CT head", "CT", ("7",)),),
    )
