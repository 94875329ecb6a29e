"""The DICOM listener in a process of its own, so that its memory and its life can be watched.

`python -m tests.faults.dicom_apart FOLDER` prints its port and runs until its standard input closes.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bridge.config import Storage
from bridge.dicom.files import Archive
from tests.unit.dicom.support import FakeServices, associated, serving

MIB = 1024**2
OBJECT_BYTES = 96 * MIB
ECHO = ("1.2.840.10008.1.1", "1.2.840.10008.1.2")


@dataclass
class Honest:
    """A peer that echoes all the while, each time over an association of its own."""

    answers: int = 0
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)


class Apart:
    def __init__(self, folder: Path) -> None:
        self.archive = Archive(folder / "archive")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.dicom_apart", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def threads(self) -> int:
        return len(list(Path(f"/proc/{self._process.pid}/task").iterdir()))

    @property
    def files(self) -> list[str]:
        return [*self.archive.names(), *(path.name for path in self.archive.incoming.iterdir())]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)

    @contextmanager
    def within(self, mebibytes: int) -> Iterator[None]:
        """The process grows by no more than that meanwhile, at its highest."""
        before = self._memory("VmRSS")
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")  # the highest begins anew
        yield
        assert self.alive
        grown = (self._memory("VmHWM") - before) / MIB
        assert grown <= mebibytes, f"{grown:.0f} MiB more"

    @contextmanager
    def while_another_echoes(self) -> Iterator[Honest]:
        honest, stop = Honest(), threading.Event()

        def echo() -> None:
            while not stop.is_set():
                began = time.monotonic()
                with associated(self, ECHO, title="HONEST") as peer:
                    status = peer.send_c_echo() if peer.is_established else None
                if status is None or "Status" not in status:
                    honest.faults.append("not answered")
                honest.answers += 1
                honest.slowest = max(honest.slowest, time.monotonic() - began)

        thread = threading.Thread(target=echo)
        thread.start()
        try:
            yield honest
        finally:
            stop.set()
            thread.join()
        assert honest.answers and not honest.faults

    def _memory(self, name: str) -> int:
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(name)


def main(folder: Path) -> None:
    storage = Storage(min_free_bytes=0, max_object_bytes=OBJECT_BYTES)
    with serving(folder, FakeServices(), storage=storage) as server:
        print(server.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
