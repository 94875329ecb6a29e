"""Several processes write next to one SQLite file: all of it arrives, and nobody is starved."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

from sqlalchemy import text

from bridge.store.db import Database
from bridge.store.turnstile import Turnstile

WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from bridge.store import audit
from bridge.store.db import Database

folder, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
database = Database("", folder, on_broken=lambda: None)
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    database.write(lambda c: audit.write_audit(c, at=datetime.now(UTC), who=name, action="x", subject=str(number)))
database.close()
"""


def test_two_processes_write_at_once_and_every_row_is_there(sqlite: Database) -> None:
    folder = sqlite.path.parent
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), name, "150"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name in ("a", "b")
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for _ in range(50):
        sqlite.checkpoint()
        sqlite.write(lambda c: c.execute(text("SELECT 1")))
    assert [writer.wait(60) for writer in writers] == [0, 0]
    with sqlite.read() as connection:
        rows = connection.execute(text("SELECT who, count(*) FROM audit GROUP BY who ORDER BY who")).all()
        assert [tuple(r) for r in rows] == [("a", 150), ("b", 150)]
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"


def test_who_waits_has_the_next_turn_before_who_just_had_one(tmp_path: Path) -> None:
    """Without the queue one that commits without pause would take its own lock again and again."""
    mine, theirs = Turnstile(tmp_path), Turnstile(tmp_path)
    order: list[str] = []
    first, waiting = threading.Event(), threading.Event()

    def greedy() -> None:
        for turn in range(2):
            with mine.turn():
                order.append("greedy")
                first.set()
                if turn == 0:
                    waiting.wait(10)
                    _until_next_is_held(tmp_path)

    def patient() -> None:
        first.wait(10)
        waiting.set()
        with theirs.turn():
            order.append("patient")

    threads = [threading.Thread(target=t) for t in (greedy, patient)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    mine.close()
    theirs.close()
    assert order == ["greedy", "patient", "greedy"]


def _until_next_is_held(folder: Path) -> None:
    """Until the other stands in the queue: *next* is taken."""
    descriptor = os.open(folder / "writer.next", os.O_RDWR)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            threading.Event().wait(0.005)
    finally:
        os.close(descriptor)


def test_a_process_that_dies_in_its_turn_holds_nobody_up(tmp_path: Path) -> None:
    dying = (
        "import os, sys; from pathlib import Path; from bridge.store.turnstile import Turnstile\n"
        "with Turnstile(Path(sys.argv[1])).turn(): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", dying, str(tmp_path)], check=False).returncode == 9
    turnstile = Turnstile(tmp_path)
    with turnstile.turn():
        pass
    turnstile.close()
