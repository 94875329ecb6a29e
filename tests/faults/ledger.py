"""The senders' ledger: a process of its own that writes what was sent and every answer, each line synced before more.

Its file lies outside what a test breaks; `bridge verify --ledger FILE` reads it (its form: `bridge/domain/ledger.py`).

    with Ledger(folder / "ledger.jsonl") as ledger:
        ledger.sent("hl7", "MSG1", order="P1")
        ledger.answered("hl7", "MSG1", "AA")
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from bridge.sandbox.hospital import Hospital

ZERO = {"acked_lost": 0, "double_effect": 0, "orphans": 0, "stuck": 0}


class Ledger:
    """For any number of threads; each call returns once its line is on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._writer = subprocess.Popen(
            [sys.executable, "-S", __file__, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def sent(self, kind: str, identity: str, **facts: str) -> None:
        self._write({"kind": kind, "id": identity, "sent": True, **facts})

    def answered(self, kind: str, identity: str, answer: str | int, **facts: str) -> None:
        """`answer` is MSA-1, a DIMSE status (a number) or an HTTP status (text)."""
        told = answer if isinstance(answer, str) else f"{answer:04X}"
        self._write({"kind": kind, "id": identity, "answer": told, **facts})

    def close(self) -> None:
        assert self._writer.stdin is not None
        self._writer.stdin.close()
        assert self._writer.wait(10) == 0

    def _write(self, line: dict[str, Any]) -> None:
        assert self._writer.stdin is not None and self._writer.stdout is not None
        with self._lock:
            self._writer.stdin.write(json.dumps(line).encode() + b"\n")
            self._writer.stdin.flush()
            assert self._writer.stdout.readline() == b"ok\n", "the ledger has died"

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def verdict(hospital: Hospital, ledger: Path | None = None, *, deep: bool = True) -> dict[str, Any]:
    """What `bridge verify` says of a bridge, running or not; what hangs for 5 s is stuck."""
    given = ["--ledger", str(ledger)] if ledger else []
    done = hospital.run("verify", "--json", "--stuck-after", "5s", *(["--deep"] if deep else []), *given)
    assert done.returncode in (0, 1), done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode == 0) == (told["found"] == [])
    return told


def assert_all_zero(hospital: Hospital, ledger: Path | None = None) -> dict[str, Any]:
    """Nothing lost, doubled, orphaned or stuck, and nothing else found either."""
    told = verdict(hospital, ledger)
    assert told["found"] == []
    assert {name: told[name] for name in ZERO} == ZERO
    return told


def main(path: str, lines: BinaryIO, acknowledge: BinaryIO) -> None:
    with open(path, "ab", buffering=0) as file:
        for line in lines:
            file.write(line)
            os.fsync(file.fileno())
            acknowledge.write(b"ok\n")
            acknowledge.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.stdin.buffer, sys.stdout.buffer)
