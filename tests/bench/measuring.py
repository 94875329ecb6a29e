"""What every benchmark of running processes needs: the machine, CPU, memory and syncs of a process, and the report.

Figures of one process come from /proc (Linux). Syncs are counted by `perf stat` where it may, else by `strace -c`.
"""

from __future__ import annotations

import math
import os
import platform
import re
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pysqlite3.dbapi2 as sqlite  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
_TICK = os.sysconf("SC_CLK_TCK")


def end_cleanly() -> None:
    """SIGTERM ends as Ctrl-C does: what was started is stopped, and the folder goes."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))


@contextmanager
def work_folder(name: str) -> Iterator[Path]:
    """A folder on the project's disk (a sync on a tmpfs costs nothing and says nothing), gone afterwards."""
    CACHE.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"bench-{name}-", dir=CACHE))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# -- figures ----------------------------------------------------------------------------------------------------------
def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank: a value that was measured. 0 of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def span(values: Sequence[float], form: str = ",.0f") -> str:
    """Median (lowest–highest)."""
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})" if values else "–"


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares: units of y a unit of x."""
    x, y = statistics.fmean(p[0] for p in points), statistics.fmean(p[1] for p in points)
    return sum((p[0] - x) * (p[1] - y) for p in points) / sum((p[0] - x) ** 2 for p in points)


# -- a process --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds of a process so far, all its threads."""

    user: float
    system: float

    @property
    def total(self) -> float:
        return self.user + self.system

    def since(self, before: Cpu) -> Cpu:
        return Cpu(self.user - before.user, self.system - before.system)


def cpu_of_process(pid: int) -> Cpu:
    """/proc/PID/stat 14 and 15: user and system time of all threads, also of those that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Cpu(int(fields[11]) / _TICK, int(fields[12]) / _TICK)


def cpu_of_machine() -> tuple[float, float]:
    """(busy, idle) seconds of all cores since boot."""
    fields = [int(word) / _TICK for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, idle


@dataclass(frozen=True, slots=True)
class Memory:
    """kB. `private` is what the process alone holds (RssAnon): pages of the mapped database file are not in it."""

    resident: int
    private: int


def memory_of(pid: int) -> Memory:
    text = Path(f"/proc/{pid}/status").read_text()
    found = {name: int(value) for name, value in re.findall(r"^(VmRSS|RssAnon):\s+(\d+) kB", text, re.MULTILINE)}
    return Memory(found["VmRSS"], found["RssAnon"])


def fdatasync_rate(folder: Path, seconds: float = 0.5) -> float:
    """The limit of one commit a message: append 1,200 bytes + fdatasync, times a second."""
    path, count = folder / "limit", 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        begun = time.perf_counter()
        while (now := time.perf_counter()) - begun < seconds:
            os.write(descriptor, b"x" * 1200)
            os.fdatasync(descriptor)
            count += 1
        return count / (now - begun)
    finally:
        os.close(descriptor)
        path.unlink()


def fixed_work_ms() -> float:
    """CPU ms of the same Python work, the quickest of five: what this core gives at this minute."""
    line = "PID|1||4711815^^^HOSPITAL&1.2.276.0.76.3.1.1&ISO^MR||Doe^Jane^^^^^L||19610504|F"
    best = math.inf
    for _ in range(5):
        begun = time.process_time()
        for number in range(2000):
            fields = line.split("|")
            kept = {f"PID-{n}": field.split("^") for n, field in enumerate(fields) if field}
            kept["n"] = [str(number)]
        best = min(best, time.process_time() - begun)
    return best * 1000


# -- syncs ------------------------------------------------------------------------------------------------------------
_CALLS = ("fdatasync", "fsync", "sync_file_range", "msync")
_EVENTS = ",".join(f"syscalls:sys_enter_{call}" for call in _CALLS)


def _perf_works() -> bool:
    if not shutil.which("perf"):
        return False
    done = subprocess.run(["perf", "stat", "-e", _EVENTS, "true"], capture_output=True, check=False)
    return done.returncode == 0 and b"not supported" not in done.stderr


def sync_counters() -> tuple[str, ...]:
    """The tools that can count here; perf first, which slows nothing."""
    return (*(("perf",) if _perf_works() else ()), *(("strace",) if shutil.which("strace") else ()))


class SyncCounter:
    """Counts the syncs of one process, all its threads, between enter and exit: `.count`."""

    def __init__(self, pid: int, tool: str) -> None:
        self._pid, self._tool = pid, tool
        self.count = 0

    def __enter__(self) -> SyncCounter:
        self._out = Path(tempfile.mkstemp(prefix="syncs-")[1])
        calls = ",".join(_CALLS)
        command = {
            "perf": ["perf", "stat", "-x", ";", "-e", _EVENTS, "-o", str(self._out), "-p", str(self._pid)],
            "strace": ["strace", "-f", "-c", "-e", f"trace={calls}", "-o", str(self._out), "-p", str(self._pid)],
        }[self._tool]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE)
        if self._tool == "strace":
            assert self._process.stderr is not None
            line = self._process.stderr.readline()
            if b"attached" not in line:
                raise OSError(f"strace: {line.decode()}")
        time.sleep(0.5)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.communicate(timeout=20)
        text = self._out.read_text()
        self._out.unlink()
        if self._tool == "perf":
            found = re.findall(r"^(\d+);;syscalls:sys_enter_", text, re.MULTILINE)
        else:
            found = re.findall(rf"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+).*?(?:{'|'.join(_CALLS)})$", text, re.MULTILINE)
        self.count = sum(map(int, found))


# -- the report -------------------------------------------------------------------------------------------------------
def machine() -> list[str]:
    """What ran where, in words."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    total = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    memory = f"{int(total[1]) / 2**20:.0f} GiB" if total else "?"
    disk = subprocess.run(
        ["stat", "-f", "-c", "%T", str(ROOT)], capture_output=True, text=True, check=False
    ).stdout.strip()
    load = " ".join(f"{one:.2f}" for one in os.getloadavg())
    return [
        f"{model[1] if model else platform.machine()}, {os.cpu_count()} CPUs, {memory}, {disk}, {platform.release()}",
        f"Python {platform.python_version()}, SQLite {sqlite.sqlite_version}; load average before: {load}",
    ]


def commit() -> str:
    """The commit that was measured, and whether the tree had changes beside it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False).stdout

    changed = " with uncommitted changes" if git("status", "--porcelain", "--", "bridge", "mappings").strip() else ""
    return git("rev-parse", "--short", "HEAD").strip() + changed


class Report:
    """Prints as it goes, and writes the same as one Markdown file in the end."""

    def __init__(self, title: str, module: str) -> None:
        self._lines: list[str] = []
        words = shlex.join(["python", "-m", module, *_without_out(sys.argv[1:])])
        self.line(f"# {title}")
        self.line()
        self.line(f"- {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit()}")
        for one in machine():
            self.line(f"- {one}")
        self.line(f"- repeat: `{words}`")

    def line(self, text: str = "") -> None:
        self._lines.append(text)
        print(text, flush=True)

    def heading(self, text: str) -> None:
        self.line()
        self.line(f"## {text}")

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Padded, so that it reads in a terminal too."""
        cells = [list(head), *map(list, rows)]
        widths = [max(len(row[n]) for row in cells) for n in range(len(head))]
        cells.insert(1, ["-" * max(3, width) for width in widths])
        self.line()
        for row in cells:
            self.line("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
        self.line()

    def goal(self, what: str, value: float, limit: float, *, least: bool = False, form: str = ",.2f") -> None:
        """One line that says whether a goal is met."""
        met = value >= limit if least else value <= limit
        sign = "≥" if least else "≤"
        self.line(f"- {'met' if met else '**NOT met**'}: {what}: {value:{form}} (goal {sign} {limit:{form}})")

    def write(self, path: Path | None) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(self._lines).strip() + "\n")
            print(f"\nwritten: {path}")


def _without_out(words: list[str]) -> list[str]:
    kept = list(words)
    while "--out" in kept:
        at = kept.index("--out")
        del kept[at : at + 2]
    return [word for word in kept if not word.startswith("--out=")]


class Progress:
    """A bar on standard error that names what is done; without a terminal a line at the start and the end."""

    def __init__(self, what: str, total: float) -> None:
        self._what, self._total, self._drawn = what, total, -1.0
        self._tty = sys.stderr.isatty()
        self.show(0)

    def show(self, done: float, more: str = "") -> None:
        now = time.monotonic()
        last = done >= self._total
        if not self._tty:
            if done == 0 or last:
                print(f"{self._what}: {done:,.0f}/{self._total:,.0f} {more}", file=sys.stderr, flush=True)
            return
        if not last and now - self._drawn < 0.1:
            return
        self._drawn = now
        filled = int(30 * min(done / max(self._total, 1), 1))
        bar = "█" * filled + "·" * (30 - filled)
        text = f"\r\033[K{self._what:<28.28} [{bar}] {done:,.0f}/{self._total:,.0f} {more}"
        print(text, end="\n" if last else "", file=sys.stderr, flush=True)
