"""F37: a sync that fails is the end of the role that asked for it: no answer, exit 70, a start from what is on disk.

strace makes the sync fail in a role that runs (EIO); the trace tells which file it was.
"""

from __future__ import annotations

import itertools
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from bridge.run.role import STORE_BROKEN
from bridge.sandbox.hospital import Hospital, wait_for
from tests.faults.disk_site import NOBODY, Peers, seconds_until
from tests.faults.order_proof import ptrace_works
from tests.peers.available import missing, need
from tests.results import Record

RESTARTED = 10.0
NUMBERS = itertools.count(1, 1000)
Scope = Literal["function", "module"]
WAL, DATABASE = "/bridge.db-wal", "/bridge.db"
FILE, FOLDER = "/archive/incoming/", r"/archive/[0-9a-f]{2}(/[0-9a-f])?>"
pytestmark = pytest.mark.timeout(180)


@contextmanager
def failing(pid: int, folder: Path, *only: str) -> Iterator[Callable[[], str]]:
    """From here on the process's syncs fail as `only` says; gives a look at the calls that did."""
    trace = folder / "trace"
    strace = ["strace", "-f", "-y", "-p", str(pid), "-o", str(trace), "-e", "trace=fsync,fdatasync", *only]
    process = subprocess.Popen(strace, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "attached" in process.stderr.readline()
    threading.Thread(target=process.stderr.read, daemon=True).start()
    try:
        yield lambda: "\n".join(line for line in trace.read_text().splitlines() if "(INJECTED)" in line)
    finally:
        process.terminate()
        process.wait(20)


def eio(when: str) -> str:
    return f"--inject=fsync,fdatasync:error=EIO:when={when}"


def lives(fixture_name: str, config: pytest.Config) -> Scope:
    """A bridge for all, where each role dies but a few times: a fifth death within a minute would end it."""
    return "function" if config.getoption("--full") else "module"


@pytest.fixture(scope=lives)
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    need("strace")
    folder = tmp_path_factory.mktemp("syncs")
    if not ptrace_works(folder):
        missing("strace is not allowed to trace here: F37 was NOT proved")
    with Hospital(folder, fhir_base=NOBODY, imaging_study="off") as running:
        yield running


# The role, the file whose sync fails, and which of the role's syncs that is: calls are counted by thread, and of the
# one that stores an image the first is the file's and the second its folder's.
@pytest.mark.parametrize(
    ("role", "where", "when"),
    [
        ("hl7", WAL, "1+"),
        ("dicom", WAL, "1+"),
        ("dicom", FILE, "1"),
        ("dicom", FOLDER, "2"),
        ("worker", DATABASE, "1+"),
    ],
    ids=["the-wal-of-a-message", "the-wal-of-an-image", "an-image-file", "an-image-folder", "a-checkpoint"],
)
def test_F37_a_failed_sync_ends_the_role_unanswered_and_the_next_one_finds_all_whole(
    hospital: Hospital, tmp_path: Path, full: bool, record: Record, role: str, where: str, when: str
) -> None:
    peers = Peers(hospital, first=next(NUMBERS))
    for _ in range(4 if full else 1):
        image, pid, ended = peers.image(), hospital.role_pid(role), endings(hospital, role)
        assert pid is not None
        paths = ("-P", f"{hospital.data}{where}") if where in (WAL, DATABASE) else ()
        with failing(pid, tmp_path, *paths, eio(when)) as injected:
            if role == "hl7":
                assert peers.order() is None
            if role == "dicom":
                assert peers.store(image) != 0x0000
            assert wait_for(lambda: endings(hospital, role) == ended + 1, 20)  # noqa: B023
            assert re.search(where, injected()), injected()
        restarted = seconds_until(lambda: hospital.role_pid(role) not in (None, pid), 60)  # noqa: B023
        record("F37", "seconds from the role's death until it serves again", restarted, RESTARTED)
        assert restarted <= (RESTARTED if full else 60)
        assert peers.order() is not None
        assert peers.store(image) == 0x0000
    peers.assert_nothing_lost()


def endings(hospital: Hospital, role: str) -> int:
    """How often the supervisor has seen the role end by a failed sync."""
    return hospital.log.read_text().count(f'"role": "{role}", "status": {STORE_BROKEN}')
