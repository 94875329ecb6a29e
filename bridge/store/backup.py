"""The database's part of a backup: the lock that keeps its files from being deleted, the copy, and what goes in it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TypeAlias

import pysqlite3.dbapi2 as sqlite  # type: ignore[import-untyped]
from sqlalchemy import delete
from sqlalchemy.engine import make_url

from bridge.config import Settings
from bridge.errors import ConfigurationError, StateConflict, StoreUnavailable
from bridge.store.connection import Connection, Prepared
from bridge.store.db import Database
from bridge.store.schema import hand_over, launch_pending

LOCK = "backup.lock"
PATIENCE_SECONDS = 30.0
SQLITE_FILE, POSTGRESQL_FILE = "bridge.db", "postgresql.dump"
PAGES = 2048
"""Of 4 kB, a step of the copy: between two steps its progress is told."""

Reader: TypeAlias = Callable[[], AbstractContextManager[Connection]]
Progress: TypeAlias = Callable[[str, int, int], None]

# What a login under way holds in clear (nonce, PKCE verifier): of no use to anybody but its browser.
_SECRETS = (launch_pending, hand_over)
_FORGET = tuple(Prepared(delete(table)) for table in _SECRETS)


@contextmanager
def holding(run: Path) -> Iterator[None]:
    """The lock of a backup, in the folder `run`: nothing that a row owned is deleted meanwhile.

    Waits for a deletion in hand. Raises `StateConflict` when another backup has it.
    """
    with _opened(run) as descriptor:
        pause = threading.Event()
        for _ in range(int(PATIENCE_SECONDS / 0.1)):
            if _locked(descriptor, fcntl.LOCK_EX):
                break
            pause.wait(0.1)
        else:
            raise StateConflict("another backup runs", where=LOCK)
        yield


@contextmanager
def deleting(run: Path) -> Iterator[bool]:
    """For a deletion's single piece, rows and files both: False while a backup runs, and nothing may be deleted."""
    with _opened(run) as descriptor:
        yield _locked(descriptor, fcntl.LOCK_SH)


@contextmanager
def _opened(run: Path) -> Iterator[int]:
    descriptor = os.open(run / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)  # the kernel frees the lock, of the dead too


def _locked(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def snapshot(database: Database, settings: Settings, folder: Path, progress: Progress) -> Iterator[Reader]:
    """Copy the database, as it is at one moment, into `folder`; gives what reads the rows of that moment.

    The roles go on meanwhile: SQLite's online backup and PostgreSQL's exported snapshot are readers. Raises
    `StoreUnavailable`, `StoreBroken`, `ConfigurationError` (no pg_dump).
    """
    if database.is_sqlite:
        copy_sqlite(database.path, folder / SQLITE_FILE, progress)
        copied = Database("", folder, on_broken=lambda: None)
        try:
            copied.write(_forget_secrets)
            yield copied.read
        finally:
            copied.close()
            for name in ("writer.next", "writer.main"):
                (folder / name).unlink(missing_ok=True)
        return
    with database.read() as connection:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        name = connection.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one()
        progress("database", 0, 1)
        without = [f"--exclude-table-data={table.name}" for table in _SECRETS]
        file = str(folder / POSTGRESQL_FILE)
        _postgresql(
            settings, "pg_dump", "--format=custom", "--no-owner", f"--snapshot={name}", f"--file={file}", *without
        )
        progress("database", 1, 1)
        yield lambda: nullcontext(connection)


def copy_sqlite(source: Path, target: Path, progress: Progress) -> None:
    """SQLite's online backup inside one reading transaction: what is committed meanwhile is not in the copy."""
    reading = sqlite.connect(str(source), isolation_level=None, timeout=30)
    writing = sqlite.connect(str(target), isolation_level=None)
    try:
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM sqlite_master").fetchone()  # from here on it is this moment
        writing.execute("PRAGMA synchronous=OFF")  # synced as a whole when it is there
        reading.backup(
            writing, pages=PAGES, progress=lambda _status, left, total: progress("database", total - left, total)
        )
        reading.execute("ROLLBACK")
    except sqlite.Error as fault:
        raise StoreUnavailable("the database could not be copied", where=type(fault).__name__) from None
    finally:
        writing.close()
        reading.close()


def load_postgresql(settings: Settings, file: Path) -> None:
    """Fill an empty PostgreSQL database from a dump, whole or not at all."""
    _postgresql(settings, "pg_restore", "--no-owner", "--exit-on-error", "--single-transaction", str(file))


def _postgresql(settings: Settings, program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs on the site's database; its password goes by the environment only."""
    found = shutil.which(program)
    if found is None:
        raise ConfigurationError([f"{program} is not here: install the PostgreSQL client of the server's version"])
    url = make_url(settings.database.url).set(drivername="postgresql")
    secret = settings.database.password_file
    password = secret.read_text().strip() if secret else url.password
    environment: Mapping[str, str] = {**os.environ, **({"PGPASSWORD": password} if password else {})}
    address = url.set(password=None).render_as_string()
    done = subprocess.run(  # noqa: S603
        [found, f"--dbname={address}", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        # Of what it says only the kind: a line may quote a row.
        told = next((line for line in done.stderr.splitlines() if "version" in line), "see the server's log")
        raise StoreUnavailable(f"{program} failed: {told}", where=program)


def _forget_secrets(connection: Connection) -> None:
    connection.exec_driver_sql("PRAGMA secure_delete=ON")
    for statement in _FORGET:
        connection.execute(statement)
