"""Every test of the store runs on both databases."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bridge.store.db import Database
from bridge.store.migrate import migrate
from tests.unit.store.postgres import cluster
from tests.unit.workflow.house import new_database

_numbers = itertools.count(1)


def _url(host: str, name: str) -> str:
    return f"postgresql+psycopg://postgres@/{name}?host={host}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A cluster with one database that has all our tables, to copy from."""
    with cluster() as host:
        with psycopg.connect(host=host, user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE pattern")
        database = Database(_url(host, "pattern"), Path("/"), on_broken=lambda: None)
        migrate(database)
        database.close()
        yield host


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    name = f"test{next(_numbers)}"
    with psycopg.connect(host=postgres, user="postgres", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE pattern")
        yield _url(postgres, name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    (tmp_path / "bridge.db").write_bytes(new_database())
    database = Database("", tmp_path, on_broken=lambda: None)
    yield database
    database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite")
        return
    made = Database(request.getfixturevalue("postgres_url"), Path("/"), on_broken=lambda: None)
    yield made
    made.close()
