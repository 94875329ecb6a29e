"""Where a process spends its CPU: by thread and library (perf, true CPU samples), and by place in Python (py-spy).

perf sees every thread on a CPU, in whatever library, but no Python; py-spy sees who holds the interpreter's lock, and
so nothing of what runs without it (SQLite's own work, syncs, sockets). Each is used where it is there.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from tests.bench.measuring import Report
from tests.bench.mllp_peers import VENV

_FRAME = re.compile(r"^(?P<function>.*) \((?P<file>[^()]*?)(?::\d+)?\)$")
_BRIDGE = re.compile(r".*?/bridge/((?:\w+/)*\w+)\.py$")
_LIBRARIES = (("sqlite", "SQLite"), ("[kernel", "kernel"), ("python", "interpreter"))
"""The first that the library's name holds: pysqlite3 is a `_sqlite3.cpython-...`."""
_COLUMNS = ("interpreter", "SQLite", "kernel", "other libraries")


class Profile:
    """Samples a process for so long from now; `tell` waits for the end."""

    def __init__(self, pid: int, seconds: float) -> None:
        self._pid, self._seconds = pid, seconds
        self._folder = Path(tempfile.mkdtemp(prefix="profile-"))
        own = VENV / "bin" / "py-spy"
        self._py_spy = str(own) if own.exists() else shutil.which("py-spy")
        self._running: list[subprocess.Popen[bytes]] = []
        self._threads: dict[str, str] = {}
        whole = f"{seconds:.0f}"
        if self._py_spy:
            command = [self._py_spy, "record", "--pid", str(pid), "--duration", whole, "--rate", "200", "--gil"]
            self._begin(
                [*command, "--nonblocking", "--full-filenames", "--format", "raw", "--output", self._file("py")]
            )
        if shutil.which("perf"):
            command = ["perf", "record", "-e", "cpu-clock", "-F", "499", "-p", str(pid), "-o", self._file("perf")]
            self._begin([*command, "--", "sleep", whole])

    def _file(self, name: str) -> str:
        return str(self._folder / name)

    def _begin(self, command: list[str]) -> None:
        self._running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def name_threads(self) -> None:
        """While it runs: which thread is which."""
        if self._py_spy:
            command = [self._py_spy, "dump", "--nonblocking", "--pid", str(self._pid)]
            text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
            self._threads |= dict(re.findall(r'^Thread (\d+) \(.*?\): "(.*)"$', text, re.MULTILINE))

    def tell(self, report: Report) -> None:
        for one in self._running:
            one.wait()
        self._tell_perf(report)
        self._tell_py_spy(report)
        shutil.rmtree(self._folder)

    def _tell_perf(self, report: Report) -> None:
        command = ["perf", "report", "-i", self._file("perf"), "--stdio", "-q", "--sort", "pid,dso", "-t", ";"]
        text = ""
        if Path(self._file("perf")).exists():
            text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        shares: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for share, thread, library in re.findall(r"^\s*([\d.]+)%\s*;\s*(\d+):.*?;(.*?)\s*$", text, re.MULTILINE):
            where = next((name for part, name in _LIBRARIES if part in library), _COLUMNS[-1])
            shares[_kind(self._threads.get(thread, "threads that have ended"))][where] += float(share)  # type: ignore[assignment]
        if not shares:
            report.line("- perf took no samples")
            return
        rows = sorted(shares.items(), key=lambda row: -row[1].total())
        cells = [(n, f"{s.total():.1f} %", *(f"{s[c]:.1f} %" for c in _COLUMNS)) for n, s in rows]
        report.line()
        report.line("CPU by thread and library (perf):")
        report.table(("thread", "all", *_COLUMNS), cells)

    def _tell_py_spy(self, report: Report) -> None:
        rooms: Counter[str] = Counter()
        places: Counter[str] = Counter()
        path = Path(self._file("py"))
        for line in path.read_text().splitlines() if path.exists() else ():
            stack, _, count = line.rpartition(" ")
            if count.isdigit():
                room, place = _attributed(stack.split(";"))
                rooms[room] += int(count)
                places[place] += int(count)
        total = rooms.total()
        if not total:
            report.line("- py-spy took no samples")
            return
        report.line("Who holds the interpreter's lock, by the innermost frame of the bridge (py-spy):")
        report.table(("room", "share"), [(room, f"{n / total:.1%}") for room, n in rooms.most_common(12)])
        report.table(("place", "share"), [(place, f"{n / total:.1%}") for place, n in places.most_common(25)])


def _kind(thread: str) -> str:
    """Threads of one kind under one name: 'hl7-ris-17' and 'hl7-ris-18' are one."""
    return re.sub(r"[-_ (:]+\d.*$", "", thread) or thread


def _attributed(stack: Sequence[str]) -> tuple[str, str]:
    """(room, place) of the innermost frame of the bridge; marked when the time went into SQLAlchemy below it."""
    files: list[str] = []
    for text in reversed(stack):
        frame = _FRAME.match(text)
        if not frame:
            continue
        own = _BRIDGE.match(frame["file"])
        if own and "site-packages" not in frame["file"]:
            below = " → SQLAlchemy" if any("sqlalchemy" in file for file in files) else ""
            room = own[1].rpartition("/")[0] or own[1]
            return room + below, f"{own[1]}.py {frame['function']}{below}"
        files.append(frame["file"])
    return "outside the bridge", "outside the bridge"
