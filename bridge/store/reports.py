"""Reports, and what they may be tied to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import and_, bindparam, insert, or_, select

from bridge.domain.identity import Identifier
from bridge.store.change import change_row
from bridge.store.connection import Connection, Prepared
from bridge.store.schema import imaging_order, report, requested_procedure, study, study_link

_FIND = Prepared(
    select(report).where(report.c.filler_order_number == bindparam("v"), report.c.filler_issuer == bindparam("i"))
)
_GET = Prepared(select(report).where(report.c.id == bindparam("r")))
_INSERT = Prepared(insert(report).returning(report.c.id))
# `order_id IS NULL` is no condition here: SQLite would take its index and walk through every untied report.
_BY_NUMBERS = Prepared(
    select(report.c.id, report.c.order_id)
    .where(
        or_(
            and_(report.c.placer_order_number == bindparam("p"), report.c.placer_issuer == bindparam("pi")),
            and_(report.c.filler_order_number == bindparam("p"), report.c.filler_issuer == bindparam("pi")),
            and_(report.c.filler_order_number == bindparam("f"), report.c.filler_issuer == bindparam("fi")),
            and_(report.c.accession_number == bindparam("a"), report.c.accession_issuer == bindparam("ai")),
        )
    )
    .order_by(report.c.id)
)
_UNTIED_OF_PATIENT = Prepared(
    select(report.c.id)
    .where(report.c.patient_id == bindparam("p"), or_(report.c.order_id.is_(None), report.c.study_id.is_(None)))
    .order_by(report.c.id)
)
_OF_STUDY = Prepared(
    select(report)
    .where(
        or_(
            report.c.study_id == bindparam("s"),
            report.c.order_id.in_(
                select(requested_procedure.c.order_id)
                .join(study_link, study_link.c.procedure_id == requested_procedure.c.id)
                .where(study_link.c.study_id == bindparam("s"), study_link.c.ended_at.is_(None))
            ),
        )
    )
    .order_by(report.c.id)
)
_ORDERS_BY_ACCESSION = Prepared(
    select(imaging_order.c.id)
    .where(imaging_order.c.accession_number == bindparam("a"), imaging_order.c.accession_issuer == bindparam("i"))
    .order_by(imaging_order.c.id)
    .limit(50)
)
_STUDIES_OF_ORDER = Prepared(
    select(study_link.c.study_id)
    .join(requested_procedure, requested_procedure.c.id == study_link.c.procedure_id)
    .where(requested_procedure.c.order_id == bindparam("o"), study_link.c.ended_at.is_(None))
    .distinct()
)
_STUDIES_BY_ACCESSION = Prepared(
    select(study.c.id)
    .where(study.c.accession_number == bindparam("a"), study.c.accession_issuer == bindparam("i"))
    .limit(50)
)
_PATIENTS_OF_STUDY = Prepared(
    select(imaging_order.c.patient_id)
    .join(requested_procedure, requested_procedure.c.order_id == imaging_order.c.id)
    .join(study_link, study_link.c.procedure_id == requested_procedure.c.id)
    .where(study_link.c.study_id == bindparam("s"), study_link.c.ended_at.is_(None))
    .distinct()
)


def find_report(connection: Connection, number: Identifier) -> Any | None:
    return connection.execute(_FIND, {"v": number.value, "i": number.issuer}).one_or_none()


def get_report(connection: Connection, report_id: int) -> Any:
    return connection.execute(_GET, {"r": report_id}).one()


def add_report(connection: Connection, values: Mapping[str, Any]) -> int:
    return int(connection.execute(_INSERT, values).scalar_one())


def change_report(connection: Connection, report_id: int, values: Mapping[str, Any]) -> None:
    change_row(connection, report, report_id, values, new_version=True)


def waiting_for_order(
    connection: Connection, placer: Identifier | None, filler: Identifier | None, accession: Identifier | None
) -> list[int]:
    """Reports without an order that name one of these numbers."""
    numbers = {
        "p": placer.value if placer else None,
        "pi": placer.issuer if placer else "",
        "f": filler.value if filler else None,
        "fi": filler.issuer if filler else "",
        "a": accession.value if accession else None,
        "ai": accession.issuer if accession else "",
    }
    return [row.id for row in connection.execute(_BY_NUMBERS, numbers) if row.order_id is None]


def untied_of_patient(connection: Connection, patient_id: int) -> list[int]:
    return list(connection.execute(_UNTIED_OF_PATIENT, {"p": patient_id}).scalars())


def reports_of_study(connection: Connection, study_id: int) -> list[Any]:
    """Tied to the study itself, or to an order that it is linked to."""
    return list(connection.execute(_OF_STUDY, {"s": study_id}))


def orders_by_accession(connection: Connection, accession: Identifier) -> list[int]:
    return list(connection.execute(_ORDERS_BY_ACCESSION, {"a": accession.value, "i": accession.issuer}).scalars())


def studies_of_order(connection: Connection, order_id: int) -> list[int]:
    return list(connection.execute(_STUDIES_OF_ORDER, {"o": order_id}).scalars())


def studies_by_accession(connection: Connection, accession: Identifier) -> list[int]:
    return list(connection.execute(_STUDIES_BY_ACCESSION, {"a": accession.value, "i": accession.issuer}).scalars())


def patients_of_study(connection: Connection, study_id: int) -> list[int]:
    """The patients of the orders that the study is linked to; none while it is linked to no order."""
    return list(connection.execute(_PATIENTS_OF_STUDY, {"s": study_id}).scalars())
