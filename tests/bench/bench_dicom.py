"""DICOM: worklist queries and stored objects, beside DCMTK, Orthanc and a plain pynetdicom server (issue 6).

`python -m tests.bench.bench_dicom [--short] [--out FILE]`. All servers run at once; the rounds go over them in turn, so
that what disturbs one disturbs all. Judged are ratios of medians of one run, and CPU per operation, which other load on
the machine moves little. DCMTK and Orthanc run as installed and with TCP_NODELAY=1. The product runs as it is
installed: real roles, its database on disk, each object synced, its folder synced, its row committed. storescp syncs
nothing, Orthanc syncs the file, the plain script syncs the file.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from pydicom.dataset import Dataset

from bridge.sandbox.hospital import Ports
from tests.bench.dicom_entries import A_DAY, CT, MARK, encode, first_day, image, query
from tests.bench.dicom_peers import ORTHANC, Bridge, Server, orthanc, plain, settled, storescp, wlmscpfs
from tests.bench.measuring import Report, end_cleanly, fdatasync_rate, percentile, span, work_folder
from tests.fakes.raw_peer import RawPeer, association_request, message
from tests.peers.available import need

MWL, VERIFICATION = "1.2.840.10008.5.1.4.31", "1.2.840.10008.1.1"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
PRODUCT, STOCK, PLAIN = "the product", "the product on pynetdicom's listener", "plain pynetdicom script"
PDU = 16_384
"""What each receiver takes: Orthanc ends the association at more."""
SMALL, LARGE, HUGE = 10_000, 500_000, 200_000_000


@dataclass(slots=True)
class Figures:
    """Of one server in one task: a rate a round, latencies and CPU seconds of all operations."""

    rates: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    cpu: float = 0.0
    count: int = 0

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def cpu_ms(self) -> float:
        return self.cpu / self.count * 1000

    def row(self, name: str) -> list[str]:
        p50, p99 = (percentile(self.seconds, share) * 1000 for share in (0.5, 0.99))
        return [name, span(self.rates, ",.1f"), f"{p50:,.2f}", f"{p99:,.2f}", f"{self.cpu_ms:,.2f}"]


Task = Callable[[Server], list[float]]
"""Runs some operations against a server; the seconds of each."""


def interleaved(servers: dict[str, Server], task: Task, rounds: int) -> dict[str, Figures]:
    figures = {name: Figures() for name in servers}
    for _ in range(rounds):
        for name, server in servers.items():
            before, begin = server.cpu(), time.perf_counter()
            seconds = task(server)
            elapsed = time.perf_counter() - begin
            one = figures[name]
            one.rates.append(len(seconds) / elapsed)
            one.seconds += seconds
            one.cpu += server.cpu() - before
            one.count += len(seconds)
    return figures


def finds(count: int, most_seconds: float, entries: int) -> Task:
    """`count` queries over one open association, each another day of ten entries; fewer for a slow server."""
    days = max(1, entries // A_DAY)
    asked = _command(MWL, 0x0020)
    requests = [message(1, asked, query(first_day() + timedelta(days=day))) for day in range(days)]

    def task(server: Server) -> list[float]:
        seconds: list[float] = []
        with RawPeer(server.port) as peer:
            answer = peer.associate(association_request([(MWL, [IMPLICIT])], most=131_072))
            assert answer[:1] == b"\x02", answer
            until = time.perf_counter() + most_seconds
            for number in range(count):
                begin = time.perf_counter()
                _, statuses = peer.ask(requests[number % days])
                seconds.append(time.perf_counter() - begin)
                if statuses != [0xFF00] * A_DAY + [0x0000]:
                    raise RuntimeError(f"{len(statuses)} answers, {statuses[-1:]}")
                if time.perf_counter() > until:
                    break
            peer.release()
        return seconds

    return task


class Objects:
    """C-STOREs by raw senders without Nagle; every object has a UID of its own."""

    def __init__(self, size: int, count: int, associations: int) -> None:
        self._data = encode(image(size))
        self._count, self._associations = count, associations
        self._numbers = iter(range(10**9))

    def __call__(self, server: Server) -> list[float]:
        seconds: list[float] = []
        sets = [[self._request() for _ in range(self._count)] for _ in range(self._associations)]
        threads = [threading.Thread(target=self._send, args=(server.port, one, seconds)) for one in sets]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if len(seconds) != self._count * self._associations:
            raise RuntimeError("an object was not stored")
        return seconds

    def _request(self) -> bytes:
        uid = f"{MARK[:-16]}{next(self._numbers):016}"
        asked = _command(CT, 0x0001, uid)
        return message(1, asked, self._data.replace(MARK.encode(), uid.encode()), most=PDU)

    @staticmethod
    def _send(port: int, requests: list[bytes], seconds: list[float]) -> None:
        with RawPeer(port) as peer:
            peer.associate(association_request([(CT, [EXPLICIT])]))
            for request in requests:
                begin = time.perf_counter()
                _, statuses = peer.ask(request)
                if statuses == [0x0000]:
                    seconds.append(time.perf_counter() - begin)
            peer.release()


def storescu(path: Path, count: int) -> Task:
    """DCMTK's sender as installed: a header alone, then its PDU, which Nagle holds until we acknowledge.

    The time of one that sends a single object is taken off.
    """

    def send(server: Server, number: int) -> float:
        options = ["-aet", "CT1", "-aec", "BRIDGE", "+II", "+IR", "100000", "--repeat", str(number)]
        begin = time.perf_counter()
        subprocess.run(
            [need("storescu"), *options, "127.0.0.1", str(server.port), str(path)], check=True, capture_output=True
        )
        return time.perf_counter() - begin

    def task(server: Server) -> list[float]:
        alone = send(server, 1)
        each = max(1e-6, (send(server, count + 1) - alone) / count)
        return [each] * count

    return task


def rate_of(figures: Figures) -> float:
    """Of storescu: by its own seconds, for the round holds the start of two processes."""
    return 1 / statistics.median(figures.seconds)


def _command(sop_class: str, kind: int, instance: str = "") -> bytes:
    """An encoded command set with a data set to follow (PS3.7 9.3)."""
    data = Dataset()
    data.AffectedSOPClassUID, data.CommandField, data.MessageID = sop_class, kind, 1
    data.Priority, data.CommandDataSetType = 0, 1
    if instance:
        data.AffectedSOPInstanceUID = instance
    inner = encode(data, implicit=True)
    return bytes.fromhex("0000 0000 04000000") + len(inner).to_bytes(4, "little") + inner


@contextmanager
def running(servers: dict[str, Server]) -> Iterator[dict[str, Server]]:
    with ExitStack() as stack:
        for server in servers.values():
            stack.callback(server.close)
        for server in servers.values():
            server.ready()
        yield servers


def ports() -> Iterator[int]:
    while True:
        one = Ports.free()
        yield from (one.hl7, one.dicom, one.public, one.viewer)


def worklist(report: Report, folder: Path, bridges: dict[int, Server], stock: Server, *, short: bool) -> None:
    """`bridges` by the number of their entries, ten first; `stock` holds ten."""
    free = ports()
    for entries in bridges:
        home = folder / f"worklist{entries}"
        servers: dict[str, Server] = {
            "wlmscpfs": wlmscpfs(next(free), home / "dcmtk", entries, no_delay=False),
            "wlmscpfs NODELAY": wlmscpfs(next(free), home / "dcmtk", entries, no_delay=True),
            PLAIN: plain(next(free), home / "plain", entries),
        }
        if ORTHANC:
            servers["Orthanc"] = orthanc(next(free), home / "orthanc", entries, no_delay=False)
            servers["Orthanc NODELAY"] = orthanc(next(free), home / "orthanc2", entries, no_delay=True)
        with running(servers):
            beside = {STOCK: stock} if entries == 10 else {}
            everyone = {PRODUCT: bridges[entries], **beside, **servers}
            task = finds(60 if short else 300, 3 if short else 6, entries)
            task(bridges[entries])  # the first answers of a day are encoded once
            figures = interleaved(everyone, task, 2 if short else 3)
        report.heading(f"MWL C-FIND: 10 of {entries:,} entries, one open association, raw client")
        head = ("server", "queries/s: median (lowest to highest)", "p50 ms", "p99 ms", "CPU ms a query")
        report.table(head, [one.row(name) for name, one in figures.items()])
        product = figures[PRODUCT]
        default, tuned = figures["wlmscpfs"].rate, figures["wlmscpfs NODELAY"].rate
        if entries == 10:
            at_ten = product
            report.goal("10 entries: times wlmscpfs", product.rate / default, 5, least=True)
            report.goal("10 entries: times wlmscpfs NODELAY", product.rate / tuned, 1, least=True)
        else:
            report.goal(f"{entries:,} entries: times wlmscpfs", product.rate / default, 100, least=True)
            report.goal(f"{entries:,} entries: times wlmscpfs NODELAY", product.rate / tuned, 100, least=True)
            for name in ("Orthanc", "Orthanc NODELAY"):
                if name in figures:
                    report.goal(
                        f"{entries:,} entries: times {name}", product.rate / figures[name].rate, 100, least=True
                    )
            report.goal(f"{entries:,} entries: times the {PLAIN}", product.rate / figures[PLAIN].rate, 10, least=True)
            report.goal(f"CPU of an answer at {entries:,} entries to that at 10", product.cpu_ms / at_ten.cpu_ms, 1.5)
            report.goal(f"{entries:,} entries: p99, ms", percentile(product.seconds, 0.99) * 1000, 20)


def storage(report: Report, folder: Path, product: Server, stock: Server, *, short: bool) -> None:
    free = ports()
    servers: dict[str, Server] = {
        "storescp": storescp(next(free), folder / "storescp", no_delay=False),
        "storescp NODELAY": storescp(next(free), folder / "storescp2", no_delay=True),
        PLAIN: plain(next(free), folder / "plainstore", 0),
    }
    if ORTHANC:
        servers["Orthanc NODELAY"] = orthanc(next(free), folder / "orthancstore", 0, no_delay=True)
    rounds = 2 if short else 3
    head = ("receiver", "objects/s: median (lowest to highest)", "p50 ms", "p99 ms", "CPU ms an object")
    with running(servers):
        everyone = {PRODUCT: product, STOCK: stock, **servers}
        for size, name, least, count in ((LARGE, "0.5 MB", 8, 30), (SMALL, "10 kB", 10, 40)):
            path = folder / f"{size}.dcm"
            image(size).save_as(path, enforce_file_format=True)
            figures = interleaved(everyone, storescu(path, count // 2 if short else count), rounds)
            report.heading(f"C-STORE, {name}, storescu as installed (start-up taken off)")
            rows = [[n, f"{rate_of(f):,.1f}", f"{1000 / rate_of(f):,.2f}"] for n, f in figures.items()]
            report.table(("receiver", "objects/s", "ms an object"), rows)
            times = rate_of(figures[PRODUCT]) / rate_of(figures["storescp"])
            report.goal(f"{name} from storescu as installed: times storescp", times, least, least=True)
        for size, name, associations in ((LARGE, "0.5 MB", 1), (LARGE, "0.5 MB", 4), (SMALL, "10 kB", 1)):
            figures = interleaved(everyone, Objects(size, 15 if short else 40, associations), rounds)
            report.heading(f"C-STORE, {name}, raw sender without Nagle, {associations} association(s)")
            report.table(head, [one.row(n) for n, one in figures.items()])
            if associations == 4:
                rate = figures[PRODUCT].rate
                tuned = figures["storescp NODELAY"].rate
                report.goal("4 associations, 0.5 MB: times storescp NODELAY", rate / tuned, 0.5, least=True)
                if ORTHANC:
                    other = figures["Orthanc NODELAY"].rate
                    report.goal("4 associations, 0.5 MB: times Orthanc NODELAY", rate / other, 1.3, least=True)
                report.goal(f"4 associations, 0.5 MB: times the {PLAIN}", rate / figures[PLAIN].rate, 2, least=True)
        huge(report, product, servers[PLAIN])


def huge(report: Report, product: Server, other: Server) -> None:
    rows, rates, grown = [], {}, {}
    sender = Objects(HUGE, 1, 1)
    for name, server in ((PRODUCT, product), (PLAIN, other)):
        server.forget()
        before = server.resident()
        (seconds,) = sender(server)
        rates[name], grown[name] = HUGE / 1e6 / seconds, server.highest() - before
        rows.append([name, f"{rates[name]:,.0f}", f"{grown[name]:,.1f}"])
    report.heading("One object of 200 MB")
    report.table(("receiver", "MB/s", "resident memory grows by, MB"), rows)
    report.goal("200 MB: resident memory grows by, MB", grown[PRODUCT], 32)
    report.goal(f"200 MB: times the {PLAIN}", rates[PRODUCT] / rates[PLAIN], 2.5, least=True)


def idle(report: Report, servers: dict[str, Server]) -> None:
    rows, shares = [], {}
    for name, server in servers.items():
        with ExitStack() as stack:
            alone = settled(server, 3)
            for number in range(40):
                peer = stack.enter_context(RawPeer(server.port))
                calling = f"IDLE{number}"
                peer.associate(association_request([(VERIFICATION, [IMPLICIT])], calling=calling))
            time.sleep(0.5)
            shares[name] = settled(server, 3) - alone
        rows.append([name, f"{shares[name] * 100:,.1f}"])
        time.sleep(1)
    report.heading("40 idle associations")
    report.table(("server", "% of a core more"), rows)
    report.goal("40 idle associations, % of a core", shares[PRODUCT] * 100, 5)


def main() -> None:
    end_cleanly()
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    report = Report("DICOM: worklist and storage", "tests.bench.bench_dicom")
    with work_folder("dicom") as folder:
        most = 1_000 if given.short else 10_000
        many = Bridge(folder / "many", most)
        few = Bridge(folder / "few", 10)
        stock = Bridge(folder / "stock", 10, "pynetdicom")
        with running({"many": many, "few": few, "stock": stock}):
            report.line(f"append + fdatasync before: {fdatasync_rate(folder):,.0f}/s.")
            worklist(report, folder, {10: few, most: many}, stock, short=given.short)
            storage(report, folder, few, stock, short=given.short)
            idle(report, {PRODUCT: few, STOCK: stock})
            report.line(f"append + fdatasync after: {fdatasync_rate(folder):,.0f}/s.")
    report.write(given.out)


if __name__ == "__main__":
    sys.exit(main())
