"""INSERT ... ON CONFLICT, the same words for both databases, built once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

Statement = Any


def upsert(
    table: Table,
    key: Sequence[str],
    changes: Mapping[str, Any],
    *,
    extra_values: Mapping[str, Any] | None = None,
) -> Callable[[Connection], Statement]:
    """`changes` None takes the new row's value, else the expression; an empty mapping does nothing on conflict."""
    statements: dict[str, Statement] = {}
    for name, dialect in (("sqlite", sqlite), ("postgresql", postgresql)):
        statement: Any = dialect.insert(table)
        if extra_values:
            statement = statement.values(**extra_values)
        if changes:
            new = statement.excluded
            values = {k: new[k] if v is None else v for k, v in changes.items()}
            statements[name] = statement.on_conflict_do_update(index_elements=list(key), set_=values)
        else:
            statements[name] = statement.on_conflict_do_nothing(index_elements=list(key))
    return lambda connection: statements[connection.dialect.name]


def insert_new(table: Table, key: Sequence[str]) -> Callable[[Connection, Mapping[str, Any]], bool]:
    """Insert unless the key is known; True when it was not. Counted by RETURNING: psycopg tells no row count here."""
    made = upsert(table, key, {})

    def insert(connection: Connection, values: Mapping[str, Any]) -> bool:
        statement = made(connection).returning(*(table.c[name] for name in key))
        return connection.execute(statement, dict(values)).first() is not None

    return insert
