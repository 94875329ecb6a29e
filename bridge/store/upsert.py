"""INSERT ... ON CONFLICT, the same words for both databases, built once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite

from bridge.store.connection import Connection, Prepared


def upsert(
    table: Table,
    key: Sequence[str],
    changes: Mapping[str, Any],
    *,
    extra_values: Mapping[str, Any] | None = None,
    returning: Sequence[str] = (),
) -> Prepared:
    """`changes` None takes the new row's value, else the expression; an empty mapping does nothing on conflict."""
    statements: dict[str, Any] = {}
    for name, dialect in (("sqlite", sqlite), ("postgresql", postgresql)):
        statement: Any = dialect.insert(table)
        if extra_values:
            statement = statement.values(**extra_values)
        if changes:
            new = statement.excluded
            values = {k: new[k] if v is None else v for k, v in changes.items()}
            statement = statement.on_conflict_do_update(index_elements=list(key), set_=values)
        else:
            statement = statement.on_conflict_do_nothing(index_elements=list(key))
        statements[name] = statement.returning(*(table.c[one] for one in returning)) if returning else statement
    return Prepared(statements)


def insert_new(table: Table, key: Sequence[str]) -> Callable[[Connection, Mapping[str, Any]], bool]:
    """Insert unless the key is known; True when it was not. Counted by RETURNING: psycopg tells no row count here."""
    made = upsert(table, key, {}, returning=key)
    return lambda connection, values: connection.execute(made, values).first() is not None
