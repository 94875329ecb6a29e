"""Everything at once: a worker that drains 20,000 rows, 4 associations storing, 8 feeds, a scanner that asks.

    python -m tests.bench.bench_mix                    60 s of it, about 2 minutes in all
    python -m tests.bench.bench_mix --seconds 15 --rows 2000

The service runs as anyone runs it: `bridge run`, all roles. Messages (the mix of bench_orders, 100 a second together)
and C-FINDs (10 matches) come on a fixed schedule, and a latency counts from the time at which one was due. DCMTK's
storescu sends 0.5 MB objects as fast as they are taken, an invented SOP Instance UID each. The rows are publications
of complete, linked studies; the EHR answers at once. What was answered is looked up in the database afterwards.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pysqlite3.dbapi2 as sqlite  # type: ignore[import-untyped]
from pydicom import dcmwrite

from bridge.sandbox.hospital import ROLES
from bridge.sandbox.images import ct_phantom
from tests.bench.due_rows import fill
from tests.bench.find_load import FindClient, Found
from tests.bench.measuring import (
    Progress,
    Report,
    cpu_of_machine,
    cpu_of_process,
    end_cleanly,
    fdatasync_rate,
    memory_of,
    percentile,
    work_folder,
)
from tests.bench.mllp_load import Load, LoadClient, Sent
from tests.bench.order_stream import OMI_O23, Expected, Prepared, Stream
from tests.bench.quick_ehr import QuickEhr, Written
from tests.bench.running import LoadedHospital

WARM_UP = 5.0
MATCHES = 10
STATIONS = (("CT1", "CT"), ("MR1", "MR"), ("US1", "US"))


@dataclass(frozen=True, slots=True)
class Window:
    """The measured seconds: by the schedule's clock and by the machine's."""

    seconds: float
    begun: datetime
    ended: datetime

    def holds(self, due: float) -> bool:
        return WARM_UP <= due < WARM_UP + self.seconds


@dataclass(frozen=True, slots=True)
class Cpu:
    """Cores kept busy over the window, by name."""

    shares: dict[str, float]
    machine: float


class CpuWatch:
    def __init__(self, pids: dict[str, list[int]]) -> None:
        self._pids = pids
        self._before, self._machine, self._at = self._now(), cpu_of_machine()[0], time.perf_counter()

    def _now(self) -> dict[str, float]:
        return {name: sum(cpu_of_process(pid).total for pid in pids) for name, pids in self._pids.items()}

    def end(self) -> Cpu:
        seconds = time.perf_counter() - self._at
        shares = {name: (now - self._before[name]) / seconds for name, now in self._now().items()}
        return Cpu(shares, (cpu_of_machine()[0] - self._machine) / seconds)


@contextmanager
def storing(hospital: LoadedHospital, folder: Path, associations: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """So many storescu, each with the image of an order of its own; they end with the block."""
    running: list[subprocess.Popen[bytes]] = []
    items = hospital.scanner("CT1").worklist(station="CT1")
    for number in range(associations):
        (image,) = ct_phantom(items[number % len(items)], 1)
        path = folder / f"image{number}.dcm"
        dcmwrite(path, image, enforce_file_format=True)
        # Each repetition invents a SOP Instance UID; study and series stay the order's.
        command = ["storescu", "-v", "-aet", "CT1", "-aec", "BRIDGE", "-xe", "+II", "+IR", "1000000", "+IS", "1000000"]
        command += ["+IP", "1000000", "--repeat", "1000000", "127.0.0.1", str(hospital.ports.dicom), str(path)]
        with (folder / f"storescu{number}.log").open("wb") as log:
            running.append(subprocess.Popen(command, stdout=log, stderr=log))
    try:
        yield running
    finally:
        for one in running:
            one.send_signal(signal.SIGTERM)
        for one in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.wait(10)


def stored(folder: Path) -> tuple[int, list[str]]:
    """(objects that storescu was told are stored, other answers)."""
    good, bad = 0, []
    for path in folder.glob("storescu*.log"):
        for status in re.findall(r"Received Store Response \((.*)\)$", path.read_text(errors="replace"), re.MULTILINE):
            if status == "Success":
                good += 1
            else:
                bad.append(status)
    return good, bad


def schedule(feeds: int, rate: float, seconds: float) -> list[list[float]]:
    """`rate` a second together, evenly: the feeds take turns."""
    return [[(n * feeds + feed) / rate for n in range(int(seconds * rate / feeds))] for feed in range(feeds)]


@dataclass
class Run:
    """All that one run gave."""

    window: Window
    sent: Sent
    found: Found
    cpu: Cpu
    written: Written
    memory: dict[str, float]
    stored: tuple[int, list[str]]
    syncs: list[tuple[float, float]]
    """(seconds since the start, seconds that a sync beside it all took): what the disk itself costs."""


class SyncProbe:
    """Appends 1,200 bytes and syncs them, ten times a second, in the data folder."""

    def __init__(self, folder: Path) -> None:
        self.syncs: list[tuple[float, float]] = []
        self._ending = threading.Event()
        self._path, self._begun = folder / "probe", time.perf_counter()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._path.open("ab", buffering=0) as file:
            while not self._ending.wait(0.1):
                begun = time.perf_counter()
                file.write(b"x" * 1200)
                os.fdatasync(file.fileno())
                self.syncs.append((begun - self._begun, time.perf_counter() - begun))

    def __enter__(self) -> SyncProbe:
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()


def run(hospital: LoadedHospital, ehr: QuickEhr, folder: Path, given: argparse.Namespace, expected: Expected) -> Run:
    whole = WARM_UP + given.seconds
    due = schedule(given.feeds, given.rate, whole)
    streams = [Stream(station=STATIONS[1 + n % 2], days=1) for n in range(given.feeds)]
    made = [stream.mixed(len(times)) for stream, times in zip(streams, due, strict=True)]
    with ExitStack() as stack:
        client = stack.enter_context(LoadClient())
        client.connect(hospital.feed_ports())
        day = (datetime.now().date()) + timedelta(days=1)
        scanner = FindClient(hospital.ports.dicom, "CT1", day, MATCHES, given.finds)
        senders = stack.enter_context(storing(hospital, folder, given.stores))
        pids = {role: [hospital.pid(role)] for role in ROLES}
        pids |= {"EHR": [ehr.pid], "feeds and scanner": [client.pid, scanner.pid], "storescu": [s.pid for s in senders]}
        probe = stack.enter_context(SyncProbe(folder))
        scanner.start()
        client.start(Load([[p.frame for p in one] for one in made], schedule=due))
        _wait(WARM_UP, "warm-up")
        watch, begun = CpuWatch(pids), datetime.now(UTC)
        _wait(given.seconds, "measured")
        cpu, ended = watch.end(), datetime.now(UTC)
        memory = {role: memory_of(hospital.pid(role)).private / 1024 for role in ROLES}
        found = scanner.stop()
        sent = client.finish()
    for line, count in zip(made, sent.done, strict=True):
        expected.take(line[:count])
    window = Window(given.seconds, begun, ended)
    return Run(window, sent, found, cpu, ehr.written(), memory, stored(folder), probe.syncs)


def _wait(seconds: float, what: str) -> None:
    progress, begun = Progress(f"{what} (s)", seconds), time.monotonic()
    while (gone := time.monotonic() - begun) < seconds:
        progress.show(gone)
        time.sleep(min(0.2, max(0.0, seconds - gone)))
    progress.show(seconds)


def tell(report: Report, given: argparse.Namespace, result: Run, database: Path) -> None:
    window, cpu = result.window, result.cpu
    acks = [latency for _, due, latency in result.sent.answers if window.holds(due)]
    finds = [latency for due, latency in result.found.answers if window.holds(due)]
    report.heading(f"{given.seconds:g} s of everything at once")
    rows = []
    disk = [seconds for due, seconds in result.syncs if window.holds(due)]
    named = (("ACK of a feed's message", acks), ("C-FIND, 10 matches", finds), ("append + fdatasync meanwhile", disk))
    for what, values in named:
        shares = [f"{percentile(values, share) * 1000:,.1f}" for share in (0.5, 0.95, 0.99, 1.0)]
        rows.append((what, f"{len(values):,}", f"{len(values) / given.seconds:,.1f}", *shares))
    report.table(("from the time it was due", "count", "a second", "p50 ms", "p95", "p99", "max"), rows)
    with sqlite.connect(f"file:{database}?mode=ro", uri=True) as connection:
        objects, size = _counted(connection, "instance", "received_at", window, "AND file NOT LIKE 'due/%'", "size")
        drained, _ = _counted(connection, "publication", "updated_at", window, "AND state = 'done'", "1")
        states = dict(connection.execute("SELECT state, count(*) FROM publication GROUP BY state"))
        kept = connection.execute("SELECT count(*) FROM instance WHERE file NOT LIKE 'due/%'").fetchone()[0]
    report.line(
        f"- stored: {objects:,} objects, {objects / given.seconds:,.1f} a second, "
        f"{size / given.seconds / 1e6:,.1f} MB/s"
    )
    report.line(f"- rows drained: {drained:,}, {drained / given.seconds:,.1f} a second; after the run: {_told(states)}")
    if states.get("done", 0) >= given.rows:
        report.line("- **the rows ran out: the worker was not busy to the end**")
    report.table(
        ("process", "cores kept busy", "private MB"),
        [
            *((n, f"{s:.2f}", f"{result.memory[n]:,.0f}" if n in result.memory else "") for n, s in cpu.shares.items()),
            ("others on this machine", f"{max(0.0, cpu.machine - sum(cpu.shares.values())):.2f}", ""),
        ],
    )
    report.goal("ACK p99, ms", percentile(acks, 0.99) * 1000, 150, form=",.1f")
    report.goal("C-FIND p99, ms", percentile(finds, 0.99) * 1000, 50, form=",.1f")
    written = result.written
    report.line(f"- the EHR got {written.studies:,} studies ({written.again:,} again): {_told(written.calls)}")
    report.line(
        f"- storescu was told {result.stored[0]:,} times that an object is stored; {kept:,} are in the database"
    )


def _told(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))


def _counted(
    connection: sqlite.Connection, table: str, column: str, window: Window, more: str, value: str
) -> tuple[int, int]:
    """(rows of the window, sum of `value`)."""
    text = f"SELECT count(*), coalesce(sum({value}), 0) FROM {table} WHERE {column} >= ? AND {column} < ? {more}"
    form = "%Y-%m-%d %H:%M:%S.%f"
    found = connection.execute(text, (window.begun.strftime(form), window.ended.strftime(form))).fetchone()
    return int(found[0]), int(found[1])


def faults(result: Run, expected: Expected, database: Path) -> list[str]:
    """What makes the figures worthless."""
    told = expected.faults(database, outbox=True)
    if result.sent.refused:
        told.append(f"{len(result.sent.refused)} messages were not answered AA: {result.sent.refused[0]!r}")
    if result.found.wrong:
        told.append(f"{len(result.found.wrong)} C-FINDs were answered wrongly: {result.found.wrong[0]}")
    if result.stored[1]:
        told.append(f"{len(result.stored[1])} objects were refused: {result.stored[1][0]}")
    with sqlite.connect(f"file:{database}?mode=ro", uri=True) as connection:
        kept = connection.execute("SELECT count(*) FROM instance WHERE file NOT LIKE 'due/%'").fetchone()[0]
        done = connection.execute("SELECT count(*) FROM publication WHERE state = 'done'").fetchone()[0]
    if kept < result.stored[0]:
        told.append(f"{result.stored[0]} objects were said to be stored, {kept} are")
    if not kept:
        told.append("nothing was stored")
    if done < result.written.studies - 8:  # what was in flight when it ended
        told.append(f"the EHR has {result.written.studies} studies, {done} rows say so")
    return told


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=60.0, help=f"measured, after {WARM_UP:g} s of warm-up")
    options.add_argument("--rows", type=int, default=20_000, help="publications that are due")
    options.add_argument("--feeds", type=int, default=8)
    options.add_argument("--rate", type=float, default=100.0, help="messages a second, all feeds together")
    options.add_argument("--stores", type=int, default=4, help="associations that store")
    options.add_argument("--finds", type=float, default=5.0, help="C-FINDs a second")
    options.add_argument("--out", type=Path, help="a Markdown file for the results")
    given = options.parse_args()
    end_cleanly()
    if not shutil.which("storescu"):
        sys.exit("storescu (DCMTK) is not here: tests/peers/install.sh")
    report = Report("Everything at once", "tests.bench.bench_mix")
    expected = Expected()
    with work_folder("mix") as folder, QuickEhr() as ehr:
        report.line(f"- append 1,200 bytes + fdatasync, before: {fdatasync_rate(folder):,.0f} a second")
        hospital = LoadedHospital(
            folder / "bridge", feeds=given.feeds, fhir_base=ehr.base, time_zone="UTC", quiet_seconds=300,
            create_service_request=False,
        )  # fmt: skip
        known = Stream().orders(MATCHES, OMI_O23)
        with hospital, LoadClient() as client:
            _take(hospital, client, known, expected)
        fill(hospital, known, given.rows)
        with hospital:
            result = run(hospital, ehr, folder, given, expected)
        report.line(
            f"- {given.rows:,} due rows, {given.stores} associations, {given.feeds} feeds at {given.rate:g} messages/s "
            f"together, {given.finds:g} C-FINDs/s"
        )
        tell(report, given, result, hospital.database)
        report.heading("Looked up afterwards")
        told = faults(result, expected, hospital.database)
    for one in told:
        report.line(f"- **{one}**")
    if not told:
        report.line(
            f"- all {len(expected.control_ids):,} messages with what they say, every stored object and every "
            f"publication that the EHR has are in the database; each C-FIND had its {MATCHES} matches"
        )
    report.write(given.out)
    sys.exit(1 if told else 0)


def _take(hospital: LoadedHospital, client: LoadClient, known: list[Prepared], expected: Expected) -> None:
    """The scanner's own orders, before everything else."""
    client.connect(hospital.feed_ports()[:1])
    sent = client.run(Load([[p.frame for p in known]]))
    if sent.accepted != len(known):
        raise RuntimeError(f"the scanner's orders were not taken: {sent.refused[:1]}")
    expected.take(known)


if __name__ == "__main__":
    main()
