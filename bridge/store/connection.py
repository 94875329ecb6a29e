"""An open transaction, and statements that are compiled once.

SQLAlchemy writes the SQL, for both databases, and names the types; a `Prepared` statement keeps what it wrote and goes
to the driver's cursor with it. Executing through SQLAlchemy costs about 100 us a statement, more than SQLite needs for
it; this costs a tenth (`docs/decisions/0011-prepared-statements.md`). Any other statement takes SQLAlchemy's own way,
in the same transaction, and gives the same rows and errors.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Self

import sqlalchemy
from sqlalchemy import ColumnElement, Executable, Insert, literal
from sqlalchemy.engine import CursorResult, Dialect
from sqlalchemy.exc import DBAPIError, MultipleResultsFound, NoResultFound, OperationalError

Process = Callable[[Any], Any]
NOTHING: Mapping[str, Any] = {}


class Rows(list[Any]):
    """What a statement gave: named tuples, and the reading methods that SQLAlchemy's results have."""

    __slots__ = ("rowcount",)
    rowcount: int

    def all(self) -> Self:
        return self

    def first(self) -> Any:
        return self[0] if self else None

    def one_or_none(self) -> Any:
        """Raises `MultipleResultsFound`."""
        if len(self) > 1:
            raise MultipleResultsFound("more than one row")
        return self[0] if self else None

    def one(self) -> Any:
        """Raises `NoResultFound`, `MultipleResultsFound`."""
        if not self:
            raise NoResultFound("no row")
        return self.one_or_none()

    def scalars(self) -> list[Any]:
        return [row[0] for row in self]

    def scalar_one(self) -> Any:
        return self.one()[0]

    def scalar_one_or_none(self) -> Any:
        row = self.one_or_none()
        return None if row is None else row[0]


class _Plan:
    """A statement for one dialect (and, of an INSERT, one set of columns): its text, and how values go in and out."""

    __slots__ = ("_bound", "_constants", "_read", "_row", "_types", "text")

    def __init__(self, statement: Any, dialect: Dialect, columns: tuple[str, ...] | None) -> None:
        if columns is not None and not statement.exported_columns:
            statement = statement.inline()  # else PostgreSQL's dialect asks for the new key back, which nobody reads
        compiled = statement.compile(dialect=dialect, column_keys=columns)
        assert "POSTCOMPILE" not in compiled.string, f"a list of values needs one_of(): {compiled.string}"
        self.text: str = compiled.string
        self._constants: dict[str, Any] = {}
        bound: dict[str, Process] = {}  # one name may stand in several places
        given = frozenset(columns or ())
        for parameter, name in compiled.bind_names.items():
            process = parameter.type.dialect_impl(dialect).bind_processor(dialect)
            if not parameter.required and name not in given:
                self._constants[name] = process(parameter.value) if process else parameter.value
            elif process is not None:
                bound[name] = process
        self._bound = tuple(bound.items())
        self._types = [column.type for column in getattr(statement, "exported_columns", ())]
        self._row: Callable[[Any], Any] | None = None
        self._read: list[tuple[int, Process]] = []

    def values(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self._bound:
            return {**self._constants, **given} if self._constants else given
        values = {**self._constants, **given}
        for name, process in self._bound:
            values[name] = process(values[name])
        return values

    def rows(self, cursor: Any, dialect: Dialect) -> Rows:
        rows = Rows()
        rows.rowcount = cursor.rowcount
        if cursor.description is None:
            return rows
        make = self._row or self._describe(cursor.description, dialect)
        if not self._read:
            rows.extend(map(make, cursor.fetchall()))
            return rows
        for raw in cursor.fetchall():
            cells = list(raw)
            for position, process in self._read:
                cells[position] = process(cells[position])
            rows.append(make(cells))
        return rows

    def _describe(self, description: Any, dialect: Dialect) -> Callable[[Any], Any]:
        names = [column[0] for column in description]
        kind: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc]
        kind._mapping = property(kind._asdict)  # type: ignore[attr-defined]
        assert len(self._types) == len(description), self.text
        self._read = [
            (position, process)
            for position, (one, column) in enumerate(zip(self._types, description, strict=True))
            if (process := one.dialect_impl(dialect).result_processor(dialect, column[1])) is not None
        ]
        self._row = kind._make
        return self._row


def one_of(column: ColumnElement[Any], values: Iterable[Any]) -> ColumnElement[bool]:
    """`column IN (...)` of constants, in the form that is written once."""
    return column.in_([literal(value, column.type) for value in values])


class Prepared:
    """A statement that stands in a module for good. Its IN lists are constants; its values come by name."""

    __slots__ = ("_by_columns", "_plans", "_statements")

    def __init__(self, statements: Executable | Mapping[str, Executable]) -> None:
        """One statement, or one a dialect name."""
        self._statements: Any = statements
        first = next(iter(statements.values())) if isinstance(statements, Mapping) else statements
        self._by_columns = isinstance(first, Insert)
        self._plans: dict[tuple[str, ...], _Plan] = {}

    def plan(self, dialect: Dialect, values: Mapping[str, Any]) -> _Plan:
        key = (dialect.name, *values) if self._by_columns else (dialect.name,)
        plan = self._plans.get(key)
        if plan is None:
            chosen = self._statements[dialect.name] if isinstance(self._statements, Mapping) else self._statements
            plan = self._plans[key] = _Plan(chosen, dialect, tuple(values) if self._by_columns else None)
        return plan


class Connection:
    """One transaction of the store; commit and end are its maker's (`db.py`)."""

    __slots__ = ("_cursor", "core", "dialect")

    def __init__(self, core: sqlalchemy.Connection) -> None:
        if not core.in_transaction():
            core.begin()
        self.core = core
        self.dialect = core.dialect
        self._cursor: Any = core.connection.cursor()

    def execute(self, statement: Prepared | Executable, values: Mapping[str, Any] = NOTHING) -> Rows:
        """Raises SQLAlchemy's errors, whichever way the statement goes."""
        if not isinstance(statement, Prepared):
            result = self.core.execute(statement, dict(values))
            rows = Rows(result.fetchall() if result.returns_rows else ())
            rows.rowcount = result.rowcount
            return rows
        plan = statement.plan(self.dialect, values)
        self._run(plan.text, plan.values(values))
        return plan.rows(self._cursor, self.dialect)

    def exec_driver_sql(self, text: str) -> CursorResult[Any]:
        return self.core.exec_driver_sql(text)

    def set_savepoint(self) -> None:
        self._run("SAVEPOINT bridge")

    def release_savepoint(self) -> None:
        self._run("RELEASE SAVEPOINT bridge")

    def undo_to_savepoint(self) -> None:
        """Raises when the database has given up the whole transaction by itself (a full or failing disk)."""
        self._run("ROLLBACK TO SAVEPOINT bridge")
        self._run("RELEASE SAVEPOINT bridge")

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A block whose effects are undone when it raises."""
        self.set_savepoint()
        try:
            yield
        except OperationalError:
            # Perhaps the disk: then nothing is left to undo, and the error that says so is the one to hand on.
            with suppress(OperationalError):
                self.undo_to_savepoint()
            raise
        except BaseException:
            self.undo_to_savepoint()
            raise
        self.release_savepoint()

    def _run(self, text: str, values: Mapping[str, Any] = NOTHING) -> None:
        try:
            self._cursor.execute(text, values)
        except self.dialect.loaded_dbapi.Error as fault:
            # The values stay out of the error: they may be a patient's.
            raise DBAPIError.instance(
                text, None, fault, self.dialect.loaded_dbapi.Error, hide_parameters=True, dialect=self.dialect
            ) from fault
