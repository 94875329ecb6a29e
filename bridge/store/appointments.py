"""The newest word of scheduling on an order, also before the order is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import and_, bindparam, delete, insert, or_, select

from bridge.domain.identity import Identifier
from bridge.store.change import change_row
from bridge.store.connection import Connection, Prepared
from bridge.store.schema import appointment

_FIND = Prepared(
    select(appointment)
    .where(
        or_(
            and_(appointment.c.placer_order_number == bindparam("p"), appointment.c.placer_issuer == bindparam("pi")),
            and_(appointment.c.filler_order_number == bindparam("f"), appointment.c.filler_issuer == bindparam("fi")),
        )
    )
    .order_by(appointment.c.event_at.desc(), appointment.c.id.desc())
    .limit(1)
)
_INSERT = Prepared(insert(appointment))
_DELETE = Prepared(delete(appointment).where(appointment.c.id == bindparam("a")))


def find_appointment(connection: Connection, placer: Identifier | None, filler: Identifier | None) -> Any | None:
    """The newest one that names either number."""
    numbers = {
        "p": placer.value if placer else None,
        "pi": placer.issuer if placer else "",
        "f": filler.value if filler else None,
        "fi": filler.issuer if filler else "",
    }
    return connection.execute(_FIND, numbers).first()


def put_appointment(connection: Connection, known: Any | None, values: Mapping[str, Any]) -> None:
    """Add it, or let it take the place of `known`."""
    if known is None:
        connection.execute(_INSERT, values)
    else:
        change_row(connection, appointment, known.id, values)


def drop_appointment(connection: Connection, appointment_id: int) -> None:
    connection.execute(_DELETE, {"a": appointment_id})
