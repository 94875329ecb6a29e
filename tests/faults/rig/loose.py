"""The bridge with `synchronous=NORMAL`, for the negative control: `python -m tests.faults.rig.loose --config ...`."""

from __future__ import annotations

from typing import Any

from bridge.cli import main
from bridge.store import db

_set_up = db._set_up_sqlite


def _loosely(connection: Any, record: Any) -> None:
    _set_up(connection, record)
    connection.execute("PRAGMA synchronous=NORMAL")


if __name__ == "__main__":
    db._set_up_sqlite = _loosely
    main()
