"""The writer thread: what a group commit, a fault and an end of the process mean to whoever waits for an answer."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError

from bridge.errors import StoreBroken, StoreUnavailable
from bridge.store import audit
from bridge.store.db import Connection, Database, sqlite_sound_for_processes
from bridge.store.schema import patient_identifier

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def note(subject: str) -> Callable[[Connection], str]:
    def change(connection: Connection) -> str:
        audit.write_audit(connection, at=NOW, who="test", action="noted", subject=subject)
        return subject

    return change


def noted(database: Database) -> set[str]:
    with database.read() as connection:
        return set(connection.execute(text("SELECT subject FROM audit")).scalars())


class Grouped:
    """Holds the writer in a first change until others wait behind it: they share its commit."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.pool = ThreadPoolExecutor(16)
        self.entered, self.go = threading.Event(), threading.Event()
        self.first = self.pool.submit(database.write, self._hold)

    def _hold(self, connection: Connection) -> str:
        self.entered.set()
        assert self.go.wait(30)
        return "first"

    def run(self, *changes: Callable[[Connection], Any]) -> list[Future[Any]]:
        assert self.entered.wait(30)
        futures = []
        for change in changes:
            waiting = self.database._jobs.qsize()
            futures.append(self.pool.submit(self.database.write, change))
            while self.database._jobs.qsize() == waiting:
                time.sleep(0.001)
        self.go.set()
        return [self.first, *futures]


def fault_of(future: Future[Any]) -> BaseException | None:
    return future.exception(timeout=10)


@pytest.fixture
def patient_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.store.db.GROUP_SECONDS", 60.0)


def test_a_result_comes_after_the_commit_that_makes_it_true(database: Database) -> None:
    assert database.write(note("one")) == "one"
    assert noted(database) == {"one"}


@pytest.mark.usefixtures("patient_group")
def test_one_bad_change_never_undoes_its_neighbours(database: Database) -> None:
    def bad(connection: Connection) -> None:
        note("bad")(connection)
        raise RuntimeError("ours")

    futures = Grouped(database).run(note("before"), bad, note("after"))
    assert [type(fault_of(f)) for f in futures] == [type(None), type(None), RuntimeError, type(None)]
    assert noted(database) == {"before", "after"}


@pytest.mark.usefixtures("patient_group")
def test_one_change_that_breaks_a_rule_of_the_tables_never_undoes_its_neighbours(database: Database) -> None:
    def bad(connection: Connection) -> None:
        connection.execute(patient_identifier.insert().values(patient_id=99, value="1", issuer=""))

    futures = Grouped(database).run(note("before"), bad, note("after"))
    assert isinstance(fault_of(futures[2]), IntegrityError)
    assert noted(database) == {"before", "after"}


@pytest.mark.usefixtures("patient_group")
def test_a_statement_that_the_database_does_not_know_is_that_changes_own_fault(database: Database) -> None:
    futures = Grouped(database).run(note("before"), lambda c: c.execute(text("SELECT nothing")), note("after"))
    assert fault_of(futures[2]) is not None
    assert noted(database) == {"before", "after"}


class Fault(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.sqlite_errorname = name


def failing(name: str) -> Callable[[Connection], None]:
    def change(connection: Connection) -> None:
        raise OperationalError("INSERT", {}, Fault(name))

    return change


@pytest.mark.usefixtures("patient_group")
def test_a_full_disk_fails_the_whole_group_and_leaves_nobody_waiting(sqlite: Database) -> None:
    futures = Grouped(sqlite).run(note("before"), failing("SQLITE_FULL"))
    assert [type(fault_of(f)) for f in futures] == [StoreUnavailable] * 3
    assert noted(sqlite) == set()
    assert sqlite.write(note("later")) == "later"


@pytest.mark.parametrize("name", ["SQLITE_IOERR_FSYNC", "SQLITE_IOERR_WRITE", "SQLITE_CORRUPT", "SQLITE_NOTADB"])
def test_a_failed_sync_ends_the_process_and_every_later_change(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    called: list[bool] = []
    monkeypatch.setattr(sqlite, "_on_broken", lambda: called.append(True))
    with pytest.raises(StoreBroken):
        sqlite.write(failing(name))
    with pytest.raises(StoreUnavailable):
        sqlite.write(note("later"))
    assert called == [True]


@pytest.mark.usefixtures("patient_group")
def test_a_failed_sync_leaves_nobody_waiting(sqlite: Database) -> None:
    futures = Grouped(sqlite).run(failing("SQLITE_IOERR_FSYNC"), note("behind"))
    assert [type(fault_of(f)) for f in futures] == [StoreBroken, StoreBroken, StoreUnavailable]
    assert noted(sqlite) == set()


def test_a_lock_that_cannot_be_taken_is_told_and_not_waited_for(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OSError("no locks left")

    with monkeypatch.context() as patch:
        patch.setattr(sqlite._turnstile, "turn", refuse)
        with ThreadPoolExecutor(1) as pool, pytest.raises(StoreUnavailable):
            pool.submit(sqlite.write, note("one")).result(timeout=10)
    assert sqlite.write(note("later")) == "later"


def test_what_a_lost_race_breaks_is_decided_again(database: Database) -> None:
    tries: list[int] = []

    def change(connection: Connection) -> str:
        tries.append(1)
        if len(tries) == 1:
            raise IntegrityError("INSERT", {}, Exception("another node was first"))
        return "decided anew"

    assert database.write(change) == "decided anew"


@pytest.mark.usefixtures("patient_group")
def test_closing_finishes_what_has_queued(sqlite: Database) -> None:
    held = Grouped(sqlite)
    futures = held.run(note("queued"))
    sqlite.close()
    assert [f.result(timeout=10) for f in futures] == ["first", "queued"]


def test_a_closed_store_takes_no_change(sqlite: Database) -> None:
    sqlite.close()
    with pytest.raises(StoreUnavailable):
        sqlite.write(note("late"))


def test_changes_of_many_threads_at_once_all_come_true(database: Database) -> None:
    with ThreadPoolExecutor(16) as pool:
        names = [str(n) for n in range(200)]
        assert list(pool.map(lambda n: database.write(note(n)), names)) == names
    assert noted(database) == set(names)


def test_a_reader_sees_one_moment_however_long_it_looks(sqlite: Database) -> None:
    with sqlite.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM audit")).scalar_one() == 0
        sqlite.write(note("meanwhile"))
        assert connection.execute(text("SELECT count(*) FROM audit")).scalar_one() == 0


def test_a_read_that_fails_says_so_in_our_words(database: Database) -> None:
    with pytest.raises(StoreUnavailable), database.read() as connection:
        connection.execute(text("SELECT nothing"))


def test_a_checkpoint_moves_the_log_into_the_file(sqlite: Database) -> None:
    sqlite.write(note("one"))
    before = sqlite.path.stat().st_size
    sqlite.write(lambda c: [note("x" * 500)(c) for _ in range(500)])
    assert sqlite.checkpoint() == 0
    assert sqlite.path.stat().st_size > before


def test_a_commit_is_on_the_disk_before_it_is_told(sqlite: Database) -> None:
    found = sqlite.write(
        lambda c: [c.exec_driver_sql(f"PRAGMA {p}").scalar_one() for p in ("synchronous", "foreign_keys")]
    )
    assert found == [2, 1]
    with sqlite.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar_one() == 0


def test_postgresql_waits_for_its_disk_too(postgres_url: str, tmp_path: Path) -> None:
    database = Database(postgres_url, tmp_path, on_broken=lambda: None)
    assert database.write(lambda c: c.execute(text("SHOW synchronous_commit")).scalar_one()) == "on"
    database.close()


def test_the_library_of_this_machine_may_be_shared_by_processes() -> None:
    assert sqlite_sound_for_processes()


def _second_node(request: pytest.FixtureRequest, database: Database) -> Database:
    if database.is_sqlite:
        return Database("", database.path.parent, on_broken=lambda: None)
    return Database(request.getfixturevalue("postgres_url"), Path("/"), on_broken=lambda: None)


def test_two_nodes_that_decide_on_what_they_read_lose_nothing(
    database: Database, request: pytest.FixtureRequest
) -> None:
    """A cancel and a status of one order at once: each reads what was said before, and writes what it is then."""
    other = _second_node(request, database)

    def one_more(connection: Connection) -> None:
        known = connection.execute(text("SELECT count FROM activity WHERE kind = 'x'")).scalar_one()
        connection.execute(text("UPDATE activity SET count = :n WHERE kind = 'x'"), {"n": known + 1})

    database.write(lambda c: audit.note_activity(c, "x", "x", NOW))
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(one.write, one_more) for _ in range(60) for one in (database, other)]:
            done.result()
    other.close()
    with database.read() as connection:
        assert connection.execute(text("SELECT count FROM activity WHERE kind = 'x'")).scalar_one() == 121


def test_a_value_that_postgresql_cannot_index_fails_its_own_change_alone(postgres_url: str) -> None:
    database = Database(postgres_url, Path("/"), on_broken=lambda: None)
    endless = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=9000))
    with ThreadPoolExecutor(4) as pool:
        good = [pool.submit(database.write, _note(f"n{n}")) for n in range(8)]
        with pytest.raises(OperationalError):
            database.write(_note(endless))
        assert [one.result() for one in good] == [None] * 8
    database.close()


def _note(name: str) -> Callable[[Connection], None]:
    return lambda connection: audit.note_activity(connection, "x", name, NOW)
