"""The database's part of a backup: its lock, and a copy of one moment."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bridge.clock import ManualClock
from bridge.config import Settings
from bridge.config.site import DatabaseSettings
from bridge.dicom.files import Archive
from bridge.errors import ConfigurationError, StateConflict
from bridge.store import audit, backup
from bridge.store.db import Connection, Database
from bridge.workflow.acquiring import Acquiring
from bridge.workflow.backup import Backup
from bridge.workflow.context import Context
from bridge.workflow.restoring import Restore
from tests.unit.dicom.support import image, part10
from tests.unit.workflow.house import NOON, image_header, settings


def test_nothing_is_deleted_while_a_backup_runs(tmp_path: Path) -> None:
    with backup.holding(tmp_path), backup.deleting(tmp_path) as allowed:
        assert not allowed
    with backup.deleting(tmp_path) as allowed:
        assert allowed


def test_deletions_do_not_wait_for_one_another(tmp_path: Path) -> None:
    with backup.deleting(tmp_path), backup.deleting(tmp_path) as allowed:
        assert allowed


def test_a_backup_waits_for_the_deletion_in_hand(tmp_path: Path) -> None:
    held = threading.Event()

    def hold() -> None:
        with backup.holding(tmp_path):
            held.set()

    with backup.deleting(tmp_path):
        waiting = threading.Thread(target=hold)
        waiting.start()
        assert not held.wait(0.2)
    waiting.join(5)
    assert held.is_set()


def test_a_second_backup_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "PATIENCE_SECONDS", 0.1)
    with backup.holding(tmp_path), pytest.raises(StateConflict, match="another backup runs"), backup.holding(tmp_path):
        pass


# -- PostgreSQL, by its own programs --------------------------------------------------------------------------------


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the newest server that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_dump"))
    if found:
        monkeypatch.setenv("PATH", f"{found[-1].parent}{os.pathsep}{os.environ['PATH']}")
    assert shutil.which("pg_dump")


def on_postgres(url: str, data: Path) -> Settings:
    return settings(data, database=DatabaseSettings(url=url))


def open_database(given: Settings) -> Database:
    return Database(given.database.url, given.data, on_broken=lambda: None)


@pytest.fixture
def site(postgres_url: str, tmp_path: Path) -> Iterator[Context]:
    given = on_postgres(postgres_url, tmp_path / "first")
    given.data.mkdir()
    database = open_database(given)
    context = Context(database, given, ManualClock(NOON))
    archive = Archive(given.archive)
    file = archive.commit(part10(archive.temporary(), image("1.2.9.1")))
    Acquiring(context).take_instance(image_header(), file, "CT1")
    yield context
    database.close()


@pytest.mark.usefixtures("programs")
def test_a_postgresql_database_is_dumped_as_of_one_moment_and_comes_back_whole(
    site: Context, tmp_path: Path, postgres: str
) -> None:
    def later(what: str, done: int, total: int) -> None:
        """Committed after the snapshot was taken, and before the dump began."""
        if (what, done) == ("database", 0):
            site.database.write(lambda c: audit.note_activity(c, "role", "late", NOON))

    manifest = Backup(site, site.settings.data, Archive, later).take(tmp_path / "backup", "cli:test")
    with psycopg.connect(host=postgres, user="postgres", dbname="postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE elsewhere")
    given = on_postgres(f"postgresql+psycopg://postgres@/elsewhere?host={postgres}", tmp_path / "second")
    restored = Restore(tmp_path / "backup", given, site.clock, Archive, open_database).run("cli:test")
    assert (manifest.kind, manifest.files, restored.lost, restored.verdict.findings) == ("postgresql", 1, (), [])
    database = open_database(given)

    def names(connection: Connection) -> list[object]:
        return [row["name"] for row in audit.activities(connection)]

    with database.read() as connection:
        assert names(connection) == ["CT1"]
    database.close()
    with pytest.raises(StateConflict, match="empty"):
        Restore(tmp_path / "backup", given, site.clock, Archive, open_database).run("cli:test")


def test_without_pg_dump_it_is_told_what_to_install(
    site: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup.shutil, "which", lambda _: None)
    with pytest.raises(ConfigurationError, match="pg_dump is not here"):
        Backup(site, site.settings.data, Archive).take(tmp_path / "backup", "cli:test")
