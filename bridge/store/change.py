"""UPDATE of one row by whichever columns its caller gives, written once for each set of columns."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import Table, bindparam, update

from bridge.store.connection import Connection, Prepared


@lru_cache(maxsize=1024)
def _update(table: Table, columns: tuple[str, ...], new_version: bool) -> Prepared:
    values: dict[str, Any] = {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in columns}
    if new_version:
        values["version"] = table.c.version + 1
    return Prepared(update(table).where(table.c.id == bindparam("row")).values(values))


def change_row(
    connection: Connection, table: Table, row: int, values: Mapping[str, Any], *, new_version: bool = False
) -> None:
    """`new_version` makes void what is cached of the row's version."""
    given = {f"new_{name}": value for name, value in values.items()}
    connection.execute(_update(table, tuple(values), new_version), {**given, "row": row})
