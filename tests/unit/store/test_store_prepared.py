"""Statements that are compiled once: right on both databases, and silent about what they carry."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import IntegrityError, MultipleResultsFound, NoResultFound

import bridge.store
from bridge.store.connection import Prepared
from bridge.store.db import Connection, Database
from bridge.store.schema import activity

NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)
DIALECTS = (sqlite.dialect(paramstyle="named"), postgresql.psycopg.dialect())
VALUES = {"kind": "feed", "name": "ris", "at": NOW, "count": 1, "note": "Doe^Jane"}
ADD = Prepared(insert(activity))
KIND = Prepared(select(activity).where(activity.c.kind == bindparam("k")).order_by(activity.c.name))


def statements() -> Iterator[tuple[str, Prepared]]:
    for module in pkgutil.iter_modules(bridge.store.__path__, "bridge.store."):
        if module.ispkg:
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, Prepared):
                yield f"{module.name}.{name}", value


ALL = dict(statements())


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.name)
@pytest.mark.parametrize("name", ALL)
def test_a_prepared_statement_is_written_for_both_databases(name: str, dialect: Dialect) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an INSERT without values is only compiled here
        assert ALL[name].plan(dialect, {}).text


def test_there_are_prepared_statements_to_look_at() -> None:
    assert len(ALL) > 100


def test_a_list_of_values_is_refused_unless_it_is_written_out() -> None:
    with pytest.raises(AssertionError, match="one_of"):
        Prepared(select(activity).where(activity.c.kind.in_(["a", "b"]))).plan(DIALECTS[0], {})


def test_a_row_is_read_by_name_by_place_and_as_a_mapping(database: Database) -> None:
    database.write(lambda c: c.execute(ADD, VALUES))
    with database.read() as connection:
        row = connection.execute(KIND, {"k": "feed"}).one()
    assert (row.name, row.at, row._mapping["kind"], row[0]) == ("ris", NOW, "feed", row.id)


def test_no_row_and_two_rows_are_told_as_sqlalchemy_tells_them(database: Database) -> None:
    database.write(lambda c: [c.execute(ADD, {**VALUES, "name": name}) for name in ("a", "b")])
    with database.read() as connection:
        none, two = connection.execute(KIND, {"k": "role"}), connection.execute(KIND, {"k": "feed"})
    assert none.one_or_none() is None
    with pytest.raises(NoResultFound):
        none.one()
    with pytest.raises(MultipleResultsFound):
        two.one_or_none()


def test_an_update_tells_how_many_rows_it_changed(database: Database) -> None:
    note = Prepared(update(activity).where(activity.c.name == bindparam("n")).values(note=bindparam("t")))
    database.write(lambda c: c.execute(ADD, VALUES))
    assert database.write(lambda c: [c.execute(note, {"n": n, "t": "x"}).rowcount for n in ("ris", "pacs")]) == [1, 0]


def test_an_error_of_the_database_says_nothing_of_the_values(database: Database) -> None:
    with pytest.raises(IntegrityError) as raised:
        database.write(lambda c: [c.execute(ADD, VALUES) for _ in range(2)])
    if database.is_sqlite:  # PostgreSQL's own text quotes the key; ours is only ever its name
        assert "ris" not in str(raised.value)
    assert "Doe" not in str(raised.value)


def test_what_a_savepoint_undoes_leaves_what_stood_before_it(database: Database) -> None:
    def change(connection: Connection) -> None:
        connection.execute(ADD, VALUES)
        with pytest.raises(ValueError, match="no"), connection.savepoint():
            connection.execute(ADD, {**VALUES, "name": "pacs"})
            raise ValueError("no")

    database.write(change)
    with database.read() as connection:
        assert [row.name for row in connection.execute(KIND, {"k": "feed"})] == ["ris"]
