"""A real memory limit round a program: a control group, version 1 or 2. An overrun ends with SIGKILL."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.peers.available import not_here

ROOT = Path("/sys/fs/cgroup")


class Group:
    """The processes that are started in it, and theirs, share the limit; the page cache of what they write counts."""

    def __init__(self, mebibytes: int) -> None:
        self.folder, self._limit, self._events = _place()
        try:
            self.folder.mkdir()
            (self.folder / self._limit).write_text(str(mebibytes * 1024**2))
        except OSError as fault:
            not_here(f"no memory control group can be made here ({fault.strerror})")

    def popen(self, command: Sequence[str], **options: object) -> subprocess.Popen[bytes]:
        """As `subprocess.Popen`, in the group from its first instruction on."""
        enter = f'echo $$ > "{self.folder}/cgroup.procs" && exec "$@"'
        return subprocess.Popen(["sh", "-c", enter, "sh", *command], **options)  # type: ignore[call-overload,no-any-return]

    @property
    def killed(self) -> int:
        """How many of its processes the kernel has killed for want of memory."""
        lines = (self.folder / self._events).read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    @property
    def anonymous(self) -> int:
        """MiB that are no file's: what cannot be taken back."""
        words = dict(line.split()[:2] for line in (self.folder / "memory.stat").read_text().splitlines())
        return int(words.get("total_rss") or words["anon"]) // 1024**2

    def close(self) -> None:
        for _ in range(50):
            try:
                self.folder.rmdir()
            except OSError:  # its last process is still going
                time.sleep(0.1)
            else:
                return


def _place() -> tuple[Path, str, str]:
    name = f"bridge-test-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    if (ROOT / "memory" / "memory.limit_in_bytes").exists():
        return ROOT / "memory" / name, "memory.limit_in_bytes", "memory.oom_control"
    if not (ROOT / "cgroup.controllers").exists():
        not_here("no memory control groups here")
    return ROOT / name, "memory.max", "memory.events"


@contextmanager
def limited(mebibytes: int) -> Iterator[Group]:
    group = Group(mebibytes)
    try:
        yield group
    finally:
        group.close()
