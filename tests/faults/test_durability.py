"""A positive answer leaves only after the syncs that make it true: the order of the system calls proves it.

`kill -9` cannot: the page cache survives the process (reference: durability, section 2).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bridge.hl7.client import MllpClient
from bridge.sandbox import ris as messages
from bridge.sandbox.hospital import Hospital, wait_for
from bridge.uids import new_uid
from tests.e2e.story import pictures
from tests.faults.order_proof import SYNCS, Call, file_violation, ptrace_works, read_trace, strace, wal_violation
from tests.faults.stories import make_order

OPERATIONS = 20
# (0000,0900) US 2: Success, as a C-STORE-RSP says it
SUCCESS = b"\x00\x00\x00\x09\x02\x00\x00\x00\x00\x00"


@pytest.fixture(scope="module", autouse=True)
def tracer(tmp_path_factory: pytest.TempPathFactory) -> None:
    if shutil.which("strace") and ptrace_works(tmp_path_factory.mktemp("probe")):
        return
    reason = "MISSING strace, or ptrace is refused here: the order of syncs and answers was NOT proved"
    if os.environ.get("CI"):
        pytest.fail(reason)
    warnings.warn(reason, stacklevel=1)
    pytest.skip(reason)


@dataclass
class Traced:
    """The calls of one run, the control ids that were acknowledged and the SOP Instance UIDs that were stored."""

    calls: list[Call]
    control_ids: list[str]
    instances: list[str]


@contextmanager
def traced_bridge(folder: Path) -> Iterator[tuple[Hospital, Path]]:
    """The hl7 and dicom roles in one traced process; ended by SIGTERM, so that the trace is whole."""
    hospital, trace = Hospital(folder, fhir_base="http://127.0.0.1:9/fhir"), folder / "trace"
    command = strace(trace, hospital.command("run", "--role", "hl7", "--role", "dicom", "--in-process"))
    with hospital.log.open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    notice = hospital.data / "run" / "all.json"
    try:
        assert wait_for(notice.exists, 60), hospital.log.read_text()[-2000:]
        yield hospital, trace
        os.kill(json.loads(notice.read_text())["pid"], signal.SIGTERM)
        assert process.wait(40) == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Traced:
    control_ids, start = [f"DURABLE-{n:04}-{new_uid()[-12:]}" for n in range(OPERATIONS)], datetime.now()
    with traced_bridge(tmp_path_factory.mktemp("traced")) as (hospital, trace):
        with MllpClient("127.0.0.1", hospital.ports.hl7, 20) as client:
            for number, control_id in enumerate(control_ids):
                order = make_order(number, start + timedelta(minutes=number))
                answer = client.send(messages.omi_o23(order, datetime.now(UTC), control_id))
                assert f"MSA|AA|{control_id}".encode() in answer
        scanner = hospital.scanner("CT1")
        images = pictures(scanner.worklist()[0], OPERATIONS)
        assert scanner.send(images).failed == ()
    with trace.open() as text:
        return Traced(read_trace(text), control_ids, [str(image.SOPInstanceUID) for image in images])


def acknowledgement_faults(calls: list[Call], control_ids: list[str]) -> list[str]:
    return [wal_violation(calls, one.encode(), (f"MSA|AA|{one}".encode(),)) for one in control_ids]


def storage_faults(calls: list[Call], instances: list[str]) -> list[str]:
    return [file_violation(calls, one.encode(), (one.encode(), SUCCESS)) for one in instances]


def test_an_hl7_acknowledgement_leaves_after_the_sync_of_its_commit(traced: Traced) -> None:
    assert acknowledgement_faults(traced.calls, traced.control_ids) == [""] * OPERATIONS


def test_a_c_store_answer_leaves_after_file_folder_and_row_are_synced(traced: Traced) -> None:
    assert storage_faults(traced.calls, traced.instances) == [""] * OPERATIONS


MISSING: dict[str, Callable[[Call], bool]] = {
    "the file's sync": lambda call: call.name in SYNCS and "/incoming/" in call.path,
    "the rename": lambda call: call.name.startswith("rename"),
    "the folder's sync": lambda call: call.name in SYNCS and re.search("/archive/(?!incoming/)", call.path) is not None,
    "the row's sync": lambda call: call.name in SYNCS and call.path.endswith("-wal"),
}


@pytest.mark.parametrize("what", MISSING)
def test_the_same_check_finds_what_would_be_missing(traced: Traced, what: str) -> None:
    calls = [call for call in traced.calls if not MISSING[what](call)]
    assert "" not in storage_faults(calls, traced.instances)


def control(folder: Path, synchronous: str) -> list[str]:
    """The violations of OPERATIONS commits of the control program."""
    trace, identities = folder / "trace", [f"CONTROL-{n:04}" for n in range(OPERATIONS)]
    script = str(Path(__file__).with_name("answering.py"))
    command = strace(trace, [sys.executable, script, str(folder), synchronous])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().split()[1])
        with socket.create_connection(("127.0.0.1", port), 20) as sock:
            for identity in identities:
                sock.sendall(identity.encode())
                assert sock.recv(64) == b"MSA|AA|" + identity.encode()
        assert process.wait(20) == 0
    with trace.open() as text:
        calls = read_trace(text)
    return [wal_violation(calls, i.encode(), (f"MSA|AA|{i}".encode(),)) for i in identities]


def test_the_same_check_finds_every_answer_of_synchronous_normal(tmp_path: Path) -> None:
    assert [bool(fault) for fault in control(tmp_path, "NORMAL")] == [True] * OPERATIONS


def test_the_same_check_finds_nothing_at_synchronous_full(tmp_path: Path) -> None:
    assert control(tmp_path, "FULL") == [""] * OPERATIONS


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (['7 sendto(4<TCP:[1]>, "A1", 2) = 2'], "no write to the WAL"),
        (['7 pwrite64(3</d/b-wal>, "1", 1, 0) = 1', '7 sendto(4<TCP:[1]>, "A1", 2) = 2'], "no sync of the WAL"),
        (
            [
                '7 pwrite64(3</d/b-wal>, "1", 1, 0) = 1',
                "7 fdatasync(3</d/b-wal> <unfinished ...>",
                '8 sendto(4<TCP:[1]>, "A1", 2) = 2',
                "7 <... fdatasync resumed>) = 0",
            ],
            "the answer left before the sync",
        ),
        (
            [
                '7 pwrite64(3</d/b-wal>, "1", 1, 0) = 1',
                "7 fdatasync(3</d/b-wal>) = -1 EIO (Input/output error)",
                '7 sendto(4<TCP:[1]>, "A1", 2) = 2',
            ],
            "no sync of the WAL",
        ),
        (
            [
                '7 pwrite64(3</d/b-wal>, "1", 1, 0 <unfinished ...>',
                "8 fdatasync(3</d/b-wal>) = 0",
                "7 <... pwrite64 resumed>) = 1",
                '7 sendto(4<TCP:[1]>, "A1", 2) = 2',
            ],
            "no sync of the WAL",
        ),
        (
            [
                '7 pwrite64(3</d/b-wal>, "1", 1, 0) = 1',
                "7 fdatasync(3</d/b-wal>) = 0",
                '7 sendto(4<TCP:[1]>, "A1", 2) = 2',
            ],
            "",
        ),
    ],
)
def test_the_check_itself_reads_cut_and_failed_calls(lines: list[str], fault: str) -> None:
    hexed = [_hexed(line) for line in lines]
    assert wal_violation(read_trace(hexed), b"1", (b"A1",)) == fault


def _hexed(line: str) -> str:
    head, *rest = line.split('"')
    if not rest:
        return line
    return head + '"' + "".join(f"\\x{byte:02x}" for byte in rest[0].encode()) + '"' + '"'.join(rest[1:])
