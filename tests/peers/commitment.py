"""A modality that is not ours: dcmjs-dimse (Node) asks for storage commitment, and listens for what becomes of it."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bridge.sandbox.hospital import wait_for
from tests.peers.available import DIMSE, need


def ask(
    port: int,
    transaction: str,
    instances: Sequence[tuple[str, str]],
    *,
    calling: str = "CT1",
    called: str = "BRIDGE",
    **more: Any,
) -> dict[str, Any]:
    """N-ACTION; answers {"status": 0, ...} or {"error": "..."}. `action` and `instance` may be told otherwise."""
    need("dimse")
    wanted = json.dumps({"transaction": transaction, "instances": instances, **more})
    command = [need("node"), str(DIMSE / "commit.js"), "127.0.0.1", str(port), calling, called, "ask", "-"]
    done = subprocess.run(command, input=wanted, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout, done.stderr[-500:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


class Modality:
    """Listens in a process of its own. `reports` are those that it has got, in order."""

    def __init__(self, port: int, status: int = 0) -> None:
        need("dimse")
        self.port = port
        self.reports: list[dict[str, Any]] = []
        command = [need("node"), str(DIMSE / "commit.js"), str(port), "listen", str(status)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert json.loads(self._process.stdout.readline()) == {"listening": port}
        assert wait_for(self._listens, 10, every=0.02)
        threading.Thread(target=self._read, daemon=True).start()

    def _listens(self) -> bool:
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", self.port)) == 0

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.reports.append(json.loads(line))

    def report(self, number: int = 0, seconds: float = 15) -> dict[str, Any]:
        """The report of that number, waited for."""
        assert wait_for(lambda: len(self.reports) > number, seconds, every=0.02), "no report came"
        return self.reports[number]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


@contextmanager
def modality(port: int = 0, *, status: int = 0) -> Iterator[Modality]:
    one = Modality(port or free_port(), status)
    try:
        yield one
    finally:
        one.close()


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
