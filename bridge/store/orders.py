"""Orders, their requested procedures and scheduled steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, delete, exists, func, insert, or_, select, update

from bridge.domain.folding import OrderState
from bridge.domain.identity import Identifier
from bridge.domain.order import OrderStatus, StepStatus
from bridge.store.change import change_row
from bridge.store.connection import Connection, Prepared
from bridge.store.schema import (
    imaging_order,
    order_event,
    order_history,
    patient_identifier,
    performed_reference,
    report,
    requested_procedure,
    scheduled_procedure_step,
    scheduled_station,
    study,
    study_link,
)

step = scheduled_procedure_step
procedure = requested_procedure


@dataclass(frozen=True, slots=True)
class OrderRow:
    id: int
    patient_id: int
    status: OrderStatus
    placeholder: bool
    event_at: datetime | None
    placer: Identifier | None
    filler: Identifier | None
    accession: Identifier | None
    accession_made: bool
    accession_told: str
    department: str
    patient_class: str
    state: OrderState | None
    """Of all events; None when they must be read."""
    visit_times: dict[str, datetime]
    attributes: dict[str, Any]


_ORDER_COLUMNS = (
    imaging_order.c.id,
    imaging_order.c.patient_id,
    imaging_order.c.status,
    imaging_order.c.placeholder,
    imaging_order.c.event_at,
    imaging_order.c.placer_order_number,
    imaging_order.c.placer_issuer,
    imaging_order.c.filler_order_number,
    imaging_order.c.filler_issuer,
    imaging_order.c.accession_number,
    imaging_order.c.accession_issuer,
    imaging_order.c.accession_made,
    imaging_order.c.accession_told,
    imaging_order.c.department,
    imaging_order.c.patient_class,
    imaging_order.c.fold,
    imaging_order.c.visit_times,
    imaging_order.c.attributes,
)
_BY_NUMBERS = Prepared(
    select(*_ORDER_COLUMNS).where(
        or_(
            and_(
                imaging_order.c.placer_order_number == bindparam("p"), imaging_order.c.placer_issuer == bindparam("pi")
            ),
            and_(
                imaging_order.c.filler_order_number == bindparam("f"), imaging_order.c.filler_issuer == bindparam("fi")
            ),
        )
    )
)
_BY_ID = Prepared(select(*_ORDER_COLUMNS).where(imaging_order.c.id == bindparam("o")))
_INSERT = Prepared(insert(imaging_order).returning(imaging_order.c.id))
_HISTORY = Prepared(insert(order_history))
_HISTORY_OF = Prepared(
    select(order_history).where(order_history.c.order_id == bindparam("o")).order_by(order_history.c.id)
)
_PROCEDURES = Prepared(select(procedure).where(procedure.c.order_id == bindparam("o")).order_by(procedure.c.id))
_PROCEDURE_INSERT = Prepared(insert(procedure).returning(procedure.c.id))
_STEPS = Prepared(select(step).where(step.c.requested_procedure_id == bindparam("p")).order_by(step.c.id))
_STEPS_OF_ORDER = Prepared(
    select(step)
    .join(procedure, procedure.c.id == step.c.requested_procedure_id)
    .where(procedure.c.order_id == bindparam("o"))
    .order_by(step.c.id)
)
_STEP_INSERT = Prepared(insert(step).returning(step.c.id))
_STATIONS_DELETE = Prepared(delete(scheduled_station).where(scheduled_station.c.step_id == bindparam("s")))
_STATION_INSERT = Prepared(insert(scheduled_station))
_STATIONS_OF = Prepared(
    select(scheduled_station.c.ae_title)
    .where(scheduled_station.c.step_id == bindparam("s"))
    .order_by(scheduled_station.c.position)
)
_TOUCH_STEPS_OF_PATIENT = Prepared(
    update(step)
    .where(
        step.c.requested_procedure_id.in_(
            select(procedure.c.id)
            .join(imaging_order, imaging_order.c.id == procedure.c.order_id)
            .where(imaging_order.c.patient_id == bindparam("p"))
        )
    )
    .values(version=step.c.version + 1)
)
_STEPS_BY_REFERENCE = (
    select(
        step.c.id,
        step.c.status,
        step.c.modality,
        step.c.scheduled_step_id,
        procedure.c.id.label("procedure_pk"),
        procedure.c.order_id,
        procedure.c.study_instance_uid,
        imaging_order.c.patient_id.label("patient_pk"),
    )
    .join(procedure, procedure.c.id == step.c.requested_procedure_id)
    .join(imaging_order, imaging_order.c.id == procedure.c.order_id)
)
_STEP_BY_ID = Prepared(_STEPS_BY_REFERENCE.where(step.c.id == bindparam("s")))
_STEPS_BY_STUDY = Prepared(
    _STEPS_BY_REFERENCE.where(
        procedure.c.study_instance_uid == bindparam("uid"),
        or_(bindparam("step") == "", step.c.scheduled_step_id == bindparam("step")),
    )
)
_STEPS_BY_LINK = Prepared(
    _STEPS_BY_REFERENCE.add_columns(study_link.c.rule)
    .join(study_link, study_link.c.procedure_id == procedure.c.id)
    .join(study, study.c.id == study_link.c.study_id)
    .where(study.c.study_instance_uid == bindparam("uid"), study_link.c.ended_at.is_(None))
)
_STEPS_BY_ACCESSION = Prepared(
    _STEPS_BY_REFERENCE.where(
        imaging_order.c.accession_told == bindparam("a"),
        imaging_order.c.accession_issuer == bindparam("i"),
        or_(bindparam("rp") == "", procedure.c.requested_procedure_id == bindparam("rp")),
        or_(bindparam("step") == "", step.c.scheduled_step_id == bindparam("step")),
    )
)
_UID_IN_USE = Prepared(select(study.c.id).where(study.c.study_instance_uid == bindparam("uid")).limit(1))
_UID_PERFORMED = Prepared(
    select(performed_reference.c.id).where(performed_reference.c.study_instance_uid == bindparam("uid")).limit(1)
)
_ORDERED_FOR_ANOTHER = (
    exists()
    .select_from(procedure.join(imaging_order, imaging_order.c.id == procedure.c.order_id))
    .where(
        procedure.c.study_instance_uid == bindparam("uid"),
        imaging_order.c.patient_id != bindparam("p"),
        # A placeholder whose patient nobody has told yet: of nobody else, perhaps of this very one.
        exists().where(patient_identifier.c.patient_id == imaging_order.c.patient_id),
    )
)
_STORED_FOR_ANOTHER = exists().where(
    study.c.study_instance_uid == bindparam("uid"),
    study.c.patient_id != "",
    ~exists().where(
        patient_identifier.c.patient_id == bindparam("p"),
        patient_identifier.c.value == study.c.patient_id,
        patient_identifier.c.issuer == study.c.patient_issuer,
    ),
)
_UID_OF_ANOTHER = Prepared(select(or_(_ORDERED_FOR_ANOTHER, _STORED_FOR_ANOTHER)))


def _identifier(value: str | None, issuer: str) -> Identifier | None:
    return Identifier(value, issuer) if value else None


def _order(row: Any) -> OrderRow:
    return OrderRow(
        row.id,
        row.patient_id,
        OrderStatus(row.status),
        row.placeholder,
        row.event_at,
        _identifier(row.placer_order_number, row.placer_issuer),
        _identifier(row.filler_order_number, row.filler_issuer),
        _identifier(row.accession_number, row.accession_issuer),
        row.accession_made,
        row.accession_told,
        row.department,
        row.patient_class,
        _state(row.fold),
        visit_times(row),
        row.attributes or {},
    )


def visit_times(row: Any) -> dict[str, datetime]:
    """When class, place and physician of the order's visit were told (`domain/visit.py`)."""
    return {name: datetime.fromisoformat(time) for name, time in (row.visit_times or {}).items()}


def _state(kept: list[Any] | None) -> OrderState | None:
    if kept is None:
        return None
    status, created, held, performed = kept
    return OrderState(
        OrderStatus(status) if status else None,
        created,
        OrderStatus(held) if held else None,
        OrderStatus(performed) if performed else None,
    )


def kept_state(state: OrderState) -> list[Any]:
    """The column `fold`."""
    return [state.status, state.created, state.held, state.performed]


def find_order(connection: Connection, placer: Identifier | None, filler: Identifier | None) -> list[OrderRow]:
    """The orders that carry either number with its issuer: none, one, or two that contradict each other."""
    numbers = {
        "p": placer.value if placer else None,
        "pi": placer.issuer if placer else "",
        "f": filler.value if filler else None,
        "fi": filler.issuer if filler else "",
    }
    found = [_order(row) for row in connection.execute(_BY_NUMBERS, numbers)]
    return sorted(found, key=lambda o: not (placer and o.placer and o.placer.key == placer.key))  # the placer's first


def get_order(connection: Connection, order_id: int) -> OrderRow:
    return _order(connection.execute(_BY_ID, {"o": order_id}).one())


def add_order(connection: Connection, values: Mapping[str, Any]) -> int:
    return int(connection.execute(_INSERT, values).scalar_one())


def change_order(connection: Connection, order_id: int, values: Mapping[str, Any]) -> None:
    change_row(connection, imaging_order, order_id, values, new_version=True)


def note_visit_times(connection: Connection, order_id: int, times: Mapping[str, datetime]) -> None:
    """What was told is what is known already, only later: no scanner is shown anything else."""
    change_row(connection, imaging_order, order_id, {"visit_times": times})


def add_history(
    connection: Connection,
    order_id: int,
    at: datetime,
    event: str,
    before: str,
    after: str,
    *,
    message_id: int | None = None,
    note: str = "",
) -> None:
    connection.execute(
        _HISTORY,
        {
            "order_id": order_id,
            "at": at,
            "message_id": message_id,
            "event": event,
            "status_before": before,
            "status_after": after,
            "note": note,
        },
    )


def history_of(connection: Connection, order_id: int) -> list[dict[str, Any]]:
    return [dict(r._mapping) for r in connection.execute(_HISTORY_OF, {"o": order_id})]


def procedures_of(connection: Connection, order_id: int) -> list[Any]:
    return list(connection.execute(_PROCEDURES, {"o": order_id}))


def add_procedure(connection: Connection, values: Mapping[str, Any]) -> int:
    return int(connection.execute(_PROCEDURE_INSERT, values).scalar_one())


def change_procedure(connection: Connection, procedure_id: int, values: Mapping[str, Any]) -> None:
    change_row(connection, procedure, procedure_id, values)


def steps_of(connection: Connection, procedure_id: int) -> list[Any]:
    return list(connection.execute(_STEPS, {"p": procedure_id}))


def steps_of_order(connection: Connection, order_id: int) -> list[Any]:
    return list(connection.execute(_STEPS_OF_ORDER, {"o": order_id}))


def add_step(connection: Connection, values: Mapping[str, Any]) -> int:
    return int(connection.execute(_STEP_INSERT, values).scalar_one())


def change_step(connection: Connection, step_id: int, values: Mapping[str, Any]) -> None:
    change_row(connection, step, step_id, values, new_version=True)


def add_stations(connection: Connection, step_id: int, ae_titles: tuple[str, ...]) -> None:
    for position, title in enumerate(ae_titles):
        connection.execute(_STATION_INSERT, {"step_id": step_id, "ae_title": title, "position": position})


def set_stations(connection: Connection, step_id: int, ae_titles: tuple[str, ...]) -> None:
    connection.execute(_STATIONS_DELETE, {"s": step_id})
    add_stations(connection, step_id, ae_titles)


def stations_of(connection: Connection, step_id: int) -> tuple[str, ...]:
    return tuple(connection.execute(_STATIONS_OF, {"s": step_id}).scalars())


def touch_steps_of_patient(connection: Connection, patient_id: int) -> None:
    """What a worklist shows of this patient has changed: cached answers are void."""
    connection.execute(_TOUCH_STEPS_OF_PATIENT, {"p": patient_id})


def find_steps(
    connection: Connection,
    *,
    study_instance_uid: str,
    accession_number: str,
    accession_issuer: str,
    requested_procedure_id: str,
    scheduled_step_id: str,
) -> list[Any]:
    """The steps that a performed step or an image refers to: by Study Instance UID, else by accession number."""
    if study_instance_uid:
        rows = list(connection.execute(_STEPS_BY_STUDY, {"uid": study_instance_uid, "step": scheduled_step_id}))
        if rows:
            return rows
    if not accession_number:
        return []
    return list(
        connection.execute(
            _STEPS_BY_ACCESSION,
            {
                "a": accession_number,
                "i": accession_issuer,
                "rp": requested_procedure_id,
                "step": scheduled_step_id,
            },
        )
    )


def steps_of_link(connection: Connection, study_instance_uid: str) -> list[Any]:
    """The steps of the procedures that a stored study is linked to, as `find_steps` gives them, and the link's rule."""
    return list(connection.execute(_STEPS_BY_LINK, {"uid": study_instance_uid}))


def study_uid_in_use(connection: Connection, study_instance_uid: str) -> bool:
    """Whether a stored study or a performed step already carries the UID."""
    uid = {"uid": study_instance_uid}
    return bool(connection.execute(_UID_IN_USE, uid).first() or connection.execute(_UID_PERFORMED, uid).first())


def study_uid_of_another(connection: Connection, study_instance_uid: str, patient_id: int) -> bool:
    """Whether an order or a stored study of somebody else carries the UID."""
    return bool(connection.execute(_UID_OF_ANOTHER, {"uid": study_instance_uid, "p": patient_id}).scalar_one())


_HAS_ACCESSION = Prepared(
    select(imaging_order.c.id)
    .where(imaging_order.c.accession_number == bindparam("a"), imaging_order.c.accession_issuer == bindparam("i"))
    .limit(1)
)
_STUDY_OF_ORDER = Prepared(
    select(study.c.id)
    .join(imaging_order, imaging_order.c.id == bindparam("o"))
    .where(
        or_(
            and_(
                study.c.accession_number == imaging_order.c.accession_told,
                study.c.accession_issuer.in_((imaging_order.c.accession_issuer, "")),
            ),
            study.c.study_instance_uid.in_(
                select(procedure.c.study_instance_uid).where(procedure.c.order_id == bindparam("o"))
            ),
        )
    )
    .limit(1)
)
_PERFORMED_OF_ORDER = Prepared(
    select(performed_reference.c.id)
    .where(
        performed_reference.c.study_instance_uid.in_(
            select(procedure.c.study_instance_uid).where(procedure.c.order_id == bindparam("o"))
        )
    )
    .limit(1)
)


def has_accession(connection: Connection, value: str, issuer: str) -> bool:
    """Whether an order has the accession number, whole, under that issuer."""
    return bool(connection.execute(_HAS_ACCESSION, {"a": value, "i": issuer}).first())


def accession_used(connection: Connection, order_id: int) -> bool:
    """Whether a device has spoken of the order, so that its accession number is on images or in an MPPS."""
    key = {"o": order_id}
    used = connection.execute(_STUDY_OF_ORDER, key).first() or connection.execute(_PERFORMED_OF_ORDER, key).first()
    return bool(used)


def set_step_status(
    connection: Connection, step_id: int, status: StepStatus, *, ended_at: datetime | None = None
) -> None:
    """`ended_at`: when a device ended it. Whoever was missed has been heard of, and is no no-show."""
    change_step(connection, step_id, {"status": status, "ended_at": ended_at, "no_show": ""})


def get_step(connection: Connection, step_id: int) -> Any:
    """A step as `find_steps` gives it."""
    return connection.execute(_STEP_BY_ID, {"s": step_id}).one()


_EVENT_INSERT = Prepared(insert(order_event))
_SAID_BY = Prepared(
    select(order_event.c.order_id, order_event.c.happened_at)
    .where(order_event.c.message_id == bindparam("m"))
    .order_by(order_event.c.id)
)
_FORGET = Prepared(
    delete(order_event).where(order_event.c.message_id == bindparam("m"), order_event.c.order_id == bindparam("o"))
)
# Without the requests: what stands after a moment is a few rows at most, and mostly none.
_KEYS_SINCE = Prepared(
    select(order_event.c.happened_at, order_event.c.sent_at, order_event.c.control, order_event.c.control_id).where(
        order_event.c.order_id == bindparam("o"), order_event.c.happened_at >= bindparam("h")
    )
)
_NEWEST = Prepared(select(func.max(order_event.c.happened_at)).where(order_event.c.order_id == bindparam("o")))
_EVENTS = Prepared(select(order_event).where(order_event.c.order_id == bindparam("o")).order_by(order_event.c.id))


def add_event(connection: Connection, order_id: int, message_id: int | None, values: Mapping[str, Any]) -> None:
    connection.execute(_EVENT_INSERT, {**values, "order_id": order_id, "message_id": message_id})


_JOIN = tuple(
    Prepared(update(table).where(table.c.order_id == bindparam("gone")).values(order_id=bindparam("kept")))
    for table in (order_event, order_history, report)
)
_DROP = Prepared(delete(imaging_order).where(imaging_order.c.id == bindparam("gone")))


def join_orders(connection: Connection, kept: int, gone: int) -> None:
    """What was said and reported of one order is of the other; the one has no procedure, and goes."""
    for statement in _JOIN:
        connection.execute(statement, {"kept": kept, "gone": gone})
    connection.execute(_DROP, {"gone": gone})


def moments_of(connection: Connection, message_id: int) -> dict[int, list[datetime]]:
    """The orders that a message spoke of, and when what it said of each happened, as it said it."""
    found: dict[int, list[datetime]] = {}
    for order_id, happened in connection.execute(_SAID_BY, {"m": message_id}):
        found.setdefault(order_id, []).append(happened)
    return found


def forget_said(connection: Connection, order_id: int, message_id: int) -> None:
    """What the message said of the order is taken back: it is about to be said again (a replay)."""
    connection.execute(_FORGET, {"o": order_id, "m": message_id})


def keys_since(connection: Connection, order_id: int, happened: datetime) -> list[Any]:
    """Times, control and control id of what happened at that moment or later."""
    return list(connection.execute(_KEYS_SINCE, {"o": order_id, "h": happened}))


def newest_event(connection: Connection, order_id: int) -> datetime | None:
    """When the last thing that was said of the order happened."""
    found: datetime | None = connection.execute(_NEWEST, {"o": order_id}).scalar_one()
    return found


def events_of(connection: Connection, order_id: int) -> list[Any]:
    return list(connection.execute(_EVENTS, {"o": order_id}))


_PERFORMED_STEP = Prepared(
    select(performed_reference.c.id).where(performed_reference.c.step_id == bindparam("s")).limit(1)
)
_STUDY_OF_STEP = Prepared(
    select(study.c.id)
    .join(procedure, procedure.c.study_instance_uid == study.c.study_instance_uid)
    .join(step, step.c.requested_procedure_id == procedure.c.id)
    .where(step.c.id == bindparam("s"))
    .limit(1)
)


def was_performed(connection: Connection, step_id: int) -> bool:
    """Whether a device has spoken of the step, by MPPS or by images."""
    key = {"s": step_id}
    return bool(connection.execute(_PERFORMED_STEP, key).first() or connection.execute(_STUDY_OF_STEP, key).first())
