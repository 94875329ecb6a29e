"""Forward-only migrations by Alembic; `bridge run` brings the database up once, before any role starts."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from bridge.errors import ConfigurationError
from bridge.store.db import Database
from bridge.store.schema import metadata


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    return config


def newest() -> str:
    """The revision that this program writes."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def current(database: Database) -> str | None:
    with database.read() as connection:
        return MigrationContext.configure(connection.core).get_current_revision()


def migrate(database: Database) -> None:
    """Bring the schema to `newest`; refuse a database that a newer program has written."""
    known = {s.revision for s in ScriptDirectory.from_config(_config()).walk_revisions()}
    found = current(database)
    if found is not None and found not in known:
        raise ConfigurationError([f"the database is at revision {found}, which this version does not know"])
    with database.writer_engine.begin() as connection:
        command.upgrade(_config(connection), "head")


def differences(database: Database) -> list[object]:
    """What the tables in the database and `schema/` disagree about; nothing after `migrate`."""
    with database.read() as connection:
        context = MigrationContext.configure(connection.core, opts={"compare_type": False})
        return list(compare_metadata(context, metadata))
