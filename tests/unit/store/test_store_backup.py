"""The database's part of a backup: its lock, and a copy of one moment."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from bridge.errors import StateConflict
from bridge.store import backup


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
