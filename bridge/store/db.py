"""The database: engines, the writer thread with group commit, and what its failures mean.

`write(change)` runs `change(connection)` on the one writer thread of the process and returns after the commit that
makes it true (durability: WAL with `synchronous=FULL`, `BEGIN IMMEDIATE`; PostgreSQL `synchronous_commit=on`).
Several changes share one commit; each has its own savepoint, so that one bad change never undoes its neighbours.
"""

from __future__ import annotations

import errno
import logging
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import pysqlite3.dbapi2 as sqlite  # type: ignore[import-untyped]
import sqlalchemy
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from bridge.errors import BridgeError, StoreBroken, StoreUnavailable
from bridge.store.connection import Connection
from bridge.store.turnstile import Turnstile

log = logging.getLogger("bridge.store")
__all__ = ["Change", "Connection", "Database", "sqlite_sound_for_processes", "sqlite_version"]

T = TypeVar("T")
Change = Callable[[Connection], T]

GROUP_CHANGES = 64
GROUP_SECONDS = 0.01
SQLITE_FLOOR = (3, 51, 3)
"""Older libraries corrupt a WAL when two connections write or checkpoint at once (fixed in 3.51.3)."""

ITS_OWN_FAULT = frozenset({"SQLITE_ERROR", "SQLITE_TOOBIG", "SQLITE_RANGE", "SQLITE_MISMATCH", "22", "42", "54"})
"""What SQLite, or PostgreSQL by the class of its SQLSTATE, says of a statement and not of its disk: only the change
that made it fails."""
ONE_WRITER = "SELECT pg_advisory_xact_lock(4711002, 1)"
"""PostgreSQL's turnstile, for the processes of every node. A change decides on what it reads: two at once, each on what
stood before the other, would lose one of them (a cancel, say)."""


def sqlite_version() -> tuple[int, ...]:
    return tuple(sqlite.sqlite_version_info)


def sqlite_sound_for_processes() -> bool:
    return sqlite_version() >= SQLITE_FLOOR


class Database:
    """One process's door to the store. Thread-safe; close it before the process ends."""

    def __init__(self, url: str, folder: Path, *, password: str | None = None, on_broken: Callable[[], None]) -> None:
        """`url` '' is SQLite in `folder`; `on_broken` is called once when a sync failed: the process must end."""
        self.is_sqlite = not url
        self.path = folder / "bridge.db"
        self._on_broken = on_broken
        self._turnstile = Turnstile(folder) if self.is_sqlite else None
        self._writer_engine = self._engine(url, password, writing=True)
        self._reader_engine = self._engine(url, password, writing=False)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._gate = threading.Lock()
        self._ended = self._closed = False
        self.takes_changes = True
        """Whether the last transaction that was tried here could be committed; for `/ready`."""
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def write(self, change: Change[T]) -> T:
        """Run `change` in a transaction of its own and return its result once committed.

        Raises what `change` raises (its effects undone), `StoreUnavailable` (nothing kept) or `StoreBroken`.
        """
        try:
            return self._submit(change)
        except IntegrityError:
            # Another node was first (PostgreSQL): what the change reads has changed, so it decides again.
            return self._submit(change)

    def _submit(self, change: Change[T]) -> T:
        job = _Job(change)
        with self._gate:  # what is queued before the end is done or told; what comes after is refused
            if self._ended:
                raise StoreUnavailable("the store takes no changes")
            self._jobs.put(job)
        result: T = job.result()
        return result

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A short reading transaction. Keep it short: a long one stops the WAL from being reset."""
        try:
            with self._reader_engine.connect() as core:
                yield Connection(core)
        except SQLAlchemyError as fault:
            raise self._meaning(fault) from fault

    def time(self) -> datetime | None:
        """The clock of the database server, which all nodes share; None for SQLite. Raises `StoreUnavailable`."""
        if self.is_sqlite:
            return None
        with self.read() as connection:
            now: datetime = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
            return now

    def checkpoint(self) -> int:
        """Move the WAL into the database (worker only); returns the pages still in the WAL, 0 on PostgreSQL.

        Raises `StoreUnavailable` (no room: the WAL stays), `StoreBroken` (the process ends).
        """
        if not self.is_sqlite:
            return 0
        try:
            with self._reader_engine.connect() as connection:
                row = connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()
                return max(int(row[1]) - int(row[2]), 0)
        except SQLAlchemyError as fault:
            error = self._meaning(fault)
            if isinstance(error, StoreBroken):
                self._break(error)
            raise error from fault

    def close(self) -> None:
        with self._gate:
            if self._closed:
                return
            self._closed = self._ended = True
            self._jobs.put(None)
        self._thread.join()
        self._writer_engine.dispose()
        self._reader_engine.dispose()
        if self._turnstile:
            self._turnstile.close()

    @property
    def writer_engine(self) -> Engine:
        """For migrations only, before any role runs."""
        return self._writer_engine

    def _engine(self, url: str, password: str | None, *, writing: bool) -> Engine:
        if self.is_sqlite:
            engine = create_engine(
                f"sqlite:///{self.path}",
                module=sqlite,
                paramstyle="named",
                connect_args={"timeout": 30, "check_same_thread": False, "cached_statements": 512},
                pool_size=1 if writing else 8,
                max_overflow=0 if writing else 24,
                # The writer's transactions end by themselves, one way or the other.
                pool_reset_on_return=None if writing else "rollback",
            )
            event.listen(engine, "connect", _set_up_sqlite)
            event.listen(engine, "begin", _begin_immediate if writing else _begin_deferred)
            return engine
        options: dict[str, Any] = {"options": "-c synchronous_commit=on"}
        if password is not None:
            options["password"] = password
        return create_engine(url, connect_args=options, pool_size=2 if writing else 8, pool_pre_ping=True)

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            if not self._commit_group(job):
                self._drain()
                return

    def _commit_group(self, first: _Job) -> bool:
        """One commit for what has queued, within bounds. False ends the writer."""
        taken: list[_Job] = []
        ended = False
        job: _Job | None = first
        try:
            with (
                self._turnstile.turn() if self._turnstile else nullcontext(),
                self._writer_engine.begin() as core,
            ):
                connection = Connection(core)
                if not self.is_sqlite:
                    connection.exec_driver_sql(ONE_WRITER)
                deadline = time.monotonic() + GROUP_SECONDS
                while job is not None:
                    taken.append(job)
                    job.value, job.failure = _attempt(connection, job.change)
                    if len(taken) >= GROUP_CHANGES or time.monotonic() >= deadline:
                        break
                    try:
                        job = self._jobs.get_nowait()
                    except queue.Empty:
                        break
                    if job is None:
                        ended = True
        except Exception as fault:  # noqa: BLE001 - whoever waits is told, whatever it is
            error = self._meaning(fault)
            broken = isinstance(error, StoreBroken)
            if broken:
                self._break(error)
            self._note(error)
            for one in taken or [first]:
                one.end(error)
            return not (broken or ended)
        self._note(None)
        for one in taken:
            one.end(one.failure)
        return not ended

    def _meaning(self, fault: Exception) -> BridgeError:
        """Our word for a database error: a failed sync is the end of the process, the rest may pass."""
        name = _error_name(fault)
        if name.startswith("SQLITE_IOERR") and _read_only(self.path.parent):
            # Nothing can be promised any more, and what was promised stands: whoever only reads goes on.
            return StoreUnavailable("the database's disk has become read-only", where="read-only")
        if name.startswith(("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return StoreBroken("the database file cannot be trusted", where=name)
        return StoreUnavailable("the database did not take the change", where=name or type(fault).__name__)

    def _break(self, error: BridgeError) -> None:
        """Never go on after a failed sync: the kernel may have dropped what it could not write."""
        with self._gate:
            self._ended = True
        log.critical("a sync failed: this process must end", extra={"fields": _words(error)})
        self._on_broken()

    def _note(self, error: BridgeError | None) -> None:
        """Say it once when the store ceases to take changes, and once when it takes them again."""
        if self.takes_changes is (error is None):
            return
        self.takes_changes = error is None
        if error is None:
            log.warning("the store takes changes again")
        else:
            log.error("the store takes no changes", extra={"fields": _words(error)})

    def _drain(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            if job is not None:
                job.end(StoreUnavailable("the store takes no changes"))


class _Job:
    """A change and whoever waits for it: a future without its price, for there is one waiter and no callback."""

    __slots__ = ("_done", "change", "failure", "value")

    def __init__(self, change: Change[Any]) -> None:
        self.change = change
        self.value: Any = None
        self.failure: BaseException | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def end(self, failure: BaseException | None) -> None:
        self.failure = failure
        self._done.release()

    def result(self) -> Any:
        with self._done:
            if self.failure is not None:
                raise self.failure
            return self.value


def _attempt(connection: Connection, change: Change[Any]) -> tuple[Any, BaseException | None]:
    connection.set_savepoint()
    try:
        value = change(connection)
        connection.release_savepoint()
    except OperationalError as fault:
        if _error_name(fault) not in ITS_OWN_FAULT:
            raise  # the disk, not the change: the whole group fails
        connection.undo_to_savepoint()
        return None, fault
    except Exception as fault:  # noqa: BLE001 - handed to the caller, whatever it is
        connection.undo_to_savepoint()
        return None, fault
    return value, None


def _error_name(fault: Exception) -> str:
    cause = getattr(fault, "orig", None)
    return str(getattr(cause, "sqlite_errorname", "") or (getattr(cause, "sqlstate", "") or "")[:2])


def _read_only(folder: Path) -> bool:
    """Asked of the file system by a write: one that turned read-only by itself does not say so."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return False
    except OSError as fault:
        return fault.errno == errno.EROFS


def _words(error: BridgeError) -> dict[str, str]:
    return {"error": error.code, "where": error.where}


def _set_up_sqlite(dbapi_connection: Any, _record: Any) -> None:
    dbapi_connection.isolation_level = None
    cursor = dbapi_connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "busy_timeout=30000",
        "wal_autocheckpoint=0",
        "mmap_size=268435456",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(core: sqlalchemy.Connection) -> None:
    core.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_deferred(core: sqlalchemy.Connection) -> None:
    core.exec_driver_sql("BEGIN")
