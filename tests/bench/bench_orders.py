"""Orders a second, from the frame to the ACK after the commit, beside hl7v2-fhir-bridge and orthanc-tools.

    python -m tests.bench.bench_orders                         all of it, about 4 minutes
    python -m tests.bench.bench_orders --only rates --seconds 2 --rounds 3
    python -m tests.bench.bench_orders --memory 200000         that alone

The service runs as anyone runs it: `bridge run`, all roles. Every message is made before the clock runs, is distinct,
and counts only if it is answered AA with its own MSH-10; afterwards each order is looked up in the database with its
procedure, step, history, event and outbox row, and each change, cancel, rename and report with what it changed.
Peers run beside it in the same minutes, round by round; CPU is user + system time of the hl7 role's process.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.bench import mllp_peers
from tests.bench.measuring import (
    Memory,
    Progress,
    Report,
    SyncCounter,
    cpu_of_process,
    end_cleanly,
    fdatasync_rate,
    fixed_work_ms,
    memory_of,
    percentile,
    slope,
    span,
    sync_counters,
    work_folder,
)
from tests.bench.mllp_load import Load, LoadClient, Sent
from tests.bench.order_stream import OMI_FULL, OMI_O23, ORM_FULL, ORM_O01, Expected, Prepared, Stream
from tests.bench.profiling import Profile
from tests.bench.running import LoadedHospital

OURS = "imaging-bridge"
MIXED = "mix"
KINDS = (ORM_FULL, OMI_FULL, ORM_O01, OMI_O23)
PARTS = ("rates", "mix", "syncs", "profile")
MOST_A_SECOND = 4000
"""So many messages are made for each second and not more: nothing may run dry before the time is over."""


@dataclass
class Figures:
    """Runs of one server with one kind of message and so many connections."""

    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    cpu: float = 0.0
    accepted: int = 0
    refused: list[str] = field(default_factory=list)

    def take(self, sent: Sent, cpu: float) -> None:
        self.rates.append(sent.rate)
        self.latencies += sent.latencies
        self.cpu += cpu
        self.accepted += sent.accepted
        self.refused += sent.refused

    @property
    def cpu_ms(self) -> float:
        return self.cpu / max(self.accepted, 1) * 1000

    def cells(self) -> list[str]:
        p50, p99 = (percentile(self.latencies, share) * 1000 for share in (0.5, 0.99))
        return [span(self.rates), f"{p50:.2f}", f"{p99:.2f}", f"{self.cpu_ms:.2f}", f"{self.accepted:,}"]


Key = tuple[str, str, int]
"""(server, kind of message, connections)."""


class Bench:
    """One bridge, one sender, and all that was sent."""

    def __init__(self, hospital: LoadedHospital, client: LoadClient, report: Report) -> None:
        self.hospital, self.client, self.report = hospital, client, report
        self.expected = Expected()
        self.figures: defaultdict[Key, Figures] = defaultdict(Figures)
        self._speed: dict[tuple[str, str], float] = {}

    def prepare(self, server: str, kind: str, connections: int, seconds: float) -> list[list[Prepared]]:
        """Enough for the time, by the speed seen so far."""
        most = min(self._speed.get((server, kind), 400.0) * 2 + 100, MOST_A_SECOND)
        each = int(most * seconds / connections) + 20
        streams = [Stream() for _ in range(connections)]
        return [s.mixed(each) if kind == MIXED else s.orders(each, kind) for s in streams]

    def ours(self, kind: str, connections: int, seconds: float) -> tuple[Sent, float]:
        """One run against the bridge: (what was answered, CPU seconds of the hl7 role)."""
        made = self.prepare(OURS, kind, connections, seconds)
        self.client.connect(self.hospital.feed_ports() * connections)
        pid = self.hospital.pid("hl7")
        before = cpu_of_process(pid).total
        sent = self.client.run(Load([[p.frame for p in one] for one in made], seconds))
        cpu = cpu_of_process(pid).total - before
        self._note(OURS, kind, made, sent)
        for line, done in zip(made, sent.done, strict=True):
            self.expected.take(line[:done])
        return sent, cpu

    def theirs(self, peer: mllp_peers.Peer, kind: str, connections: int, seconds: float) -> tuple[Sent, float]:
        made = self.prepare(peer.name, kind, connections, seconds)
        self.client.connect([peer.port] * connections, reconnect=peer.reconnect)
        before = cpu_of_process(peer.pid).total
        sent = self.client.run(Load([[p.frame for p in one] for one in made], seconds))
        peer.accepted += sent.accepted
        self._note(peer.name, kind, made, sent)
        return sent, cpu_of_process(peer.pid).total - before

    def _note(self, server: str, kind: str, made: list[list[Prepared]], sent: Sent) -> None:
        self._speed[server, kind] = max(self._speed.get((server, kind), 0.0), sent.rate)
        if any(len(line) == done for line, done in zip(made, sent.done, strict=True)):
            self.report.line(f"- **{server}, {kind}: the prepared messages ran out; the rate is too low by that**")


def measure_rates(bench: Bench, peers: list[mllp_peers.Peer], rounds: int, seconds: float, folder: Path) -> None:
    """Interleaved: in each round every server, kind and number of connections once."""
    turns: list[tuple[Key, Callable[[], tuple[Sent, float]]]] = []
    for kind in KINDS:
        for connections in (1, 8, 32):
            turns.append(((OURS, kind, connections), partial(bench.ours, kind, connections, seconds)))
            for peer in peers:
                if kind.startswith(peer.kinds) and connections < 32:
                    run = partial(bench.theirs, peer, kind, connections, seconds)
                    turns.append(((peer.name, kind, connections), run))
    for peer in peers:  # not measured: what is imported at the first message
        bench.theirs(peer, ORM_O01, 1, 0.5)
    bench.ours(ORM_O01, 1, 0.5)
    limits, fixed = [], []
    progress = Progress("rates", rounds * len(turns))
    for number in range(rounds):
        limits.append(fdatasync_rate(folder))
        fixed.append(fixed_work_ms())
        for at, (key, turn) in enumerate(turns, 1):
            bench.figures[key].take(*turn())
            progress.show(number * len(turns) + at, f"{key[0]}, {key[1]}, {key[2]} conn.")
    report = bench.report
    report.heading("New orders")
    report.line(f"{rounds} interleaved rounds of {seconds:g} s; only AA with the message's own MSH-10 counts.")
    report.line(
        f"In the same minutes, append 1,200 bytes + fdatasync: {span(limits)} a second; a fixed piece of Python: "
        f"{span(fixed, '.1f')} ms CPU (compare CPU figures of two runs by it, for the neighbours slow a shared core)."
    )
    head = ("server", "message", "connections", "orders/s", "ACK p50 ms", "p99 ms", "CPU ms an order", "orders")
    report.table(head, [[k[0], k[1], str(k[2]), *f.cells()] for k, f in bench.figures.items()])
    _ratios(bench, peers)
    for peer in peers:
        word = "all" if peer.made >= peer.accepted else f"**only {peer.made:,}**"
        report.line(f"- {peer.name}: {word} of its {peer.accepted:,} AA left a file ({peer.pattern})")


def _ratios(bench: Bench, peers: list[mllp_peers.Peer]) -> None:
    report = bench.report
    for peer in peers:
        for kind in KINDS:
            for connections in (1, 8):
                theirs = bench.figures.get((peer.name, kind, connections))
                if theirs is None:
                    continue
                what = f"{kind}, {connections} connections: orders/s, times {peer.name}"
                if not theirs.accepted:
                    report.line(f"- {what}: **it took none** ({theirs.refused[:1]})")
                    continue
                ours = bench.figures[OURS, kind, connections]
                ratio = statistics.median(a / b for a, b in zip(ours.rates, theirs.rates, strict=True))
                report.goal(what, ratio, 10, least=True, form=",.1f")
                report.line(f"  (by CPU: {theirs.cpu_ms / ours.cpu_ms:,.1f} times less an order)")
    for key, figures in bench.figures.items():
        if key[0] == OURS:
            report.goal(f"{key[1]}, {key[2]} connections: CPU ms an order, hl7 role", figures.cpu_ms, 1.2)


def measure_mix(bench: Bench, rounds: int, seconds: float) -> None:
    progress = Progress("mix", rounds * 3)
    for number in range(rounds):
        for at, connections in enumerate((1, 8, 32), 1):
            bench.figures[OURS, MIXED, connections].take(*bench.ours(MIXED, connections, seconds))
            progress.show(number * 3 + at)
    report = bench.report
    report.heading("A mix of messages")
    report.line("New orders 60 % (ORM and OMI), changes 15 %, cancels 10 %, ADT^A08 10 %, ORU^R01 5 %.")
    head = ("connections", "messages/s", "ACK p50 ms", "p99 ms", "CPU ms a message", "messages")
    report.table(head, [[str(n), *bench.figures[OURS, MIXED, n].cells()] for n in (1, 8, 32)])


def measure_syncs(bench: Bench, seconds: float) -> None:
    """Runs of their own, for strace slows what it counts."""
    report = bench.report
    report.heading("Syncs a message (hl7 role)")
    tools = sync_counters()
    if not tools:
        report.line("- not counted: neither perf nor strace is here")
        return
    rows = []
    runs = [(tool, n) for tool in tools for n in (1, 8, 32)]
    progress = Progress("syncs", len(runs))
    for at, (tool, connections) in enumerate(runs, 1):
        with SyncCounter(bench.hospital.pid("hl7"), tool) as counter:
            sent, _ = bench.ours(OMI_FULL, connections, seconds)
        each = counter.count / max(sent.accepted, 1)
        rows.append((tool, str(connections), f"{counter.count:,}", f"{sent.accepted:,}", f"{each:.3f}"))
        progress.show(at)
        if connections == 32 and tool == tools[0]:
            at_32 = each
    report.table(("counted by", "connections", "syncs", "orders", "syncs an order"), rows)
    report.goal(f"syncs a message at 32 connections ({tools[0]})", at_32, 0.2)


def measure_profile(bench: Bench, seconds: float) -> None:
    report, pid = bench.report, bench.hospital.pid("hl7")
    report.heading(f"Where the hl7 role's time goes (8 connections, {OMI_FULL})")
    profile = Profile(pid, seconds)
    naming = threading.Timer(seconds / 2, profile.name_threads)
    naming.start()
    before = cpu_of_process(pid)
    sent, _ = bench.ours(OMI_FULL, 8, seconds)
    used = cpu_of_process(pid).since(before)
    naming.join()
    profile.tell(report)
    each = [part / sent.accepted * 1000 for part in (used.user, used.system)]
    report.line(f"- of {sum(each):.2f} ms CPU an order: {each[0]:.2f} user, {each[1]:.2f} system (sampled meanwhile)")
    report.line(
        f"- the role kept {used.total / sent.seconds:.0%} of a core busy, the sender {sent.cpu / sent.seconds:.0%}"
    )


def measure_memory(bench: Bench, messages: int, patients: int, step: int) -> None:
    """The mix over 8 connections about a fixed set of patients; the role's memory after each `step`."""
    streams = [Stream(patients=max(1, patients // 8)) for _ in range(8)]
    bench.client.connect(bench.hospital.feed_ports() * 8)
    pid, report = bench.hospital.pid("hl7"), bench.report
    points: list[tuple[int, Memory]] = [(0, memory_of(pid))]
    rates: list[float] = []
    done, progress = 0, Progress("messages", messages)
    while done < messages:
        size = min(step, messages - done)
        for piece in range(10):  # so that the bar moves
            made = [stream.mixed(max(1, size // 80)) for stream in streams]
            sent = bench.client.run(Load([[p.frame for p in one] for one in made]))
            if sent.refused:
                report.line(f"- **{len(sent.refused)} messages were not accepted**: {sent.refused[:1]}")
            for line in made:
                bench.expected.control_ids.update(p.control_id for p in line)
            done += sent.accepted
            rates.append(sent.rate)
            progress.show(done, f"{sent.rate:,.0f}/s, {memory_of(pid).private / 1024:.0f} MB private")
            if piece == 9 or done >= messages:
                break
        points.append((done, memory_of(pid)))
    report.heading(f"Memory of the hl7 role over {done:,} messages")
    report.line(f"The mix, 8 connections, {patients:,} patients; {span(rates)} messages a second.")
    rows = [(f"{n:,}", f"{m.resident / 1024:,.1f}", f"{m.private / 1024:,.1f}") for n, m in points]
    report.table(("messages", "RSS MB", "private MB"), rows)
    half = [p for p in points if p[0] >= done / 2]
    for what, name in (("private", "private"), ("RSS (with mapped pages of the database)", "resident")):
        rise = slope([(n / 10_000, getattr(m, name) / 1024) for n, m in half]) if len(half) > 1 else 0.0
        report.line(f"- {what}: {rise:+.3f} MB per 10,000 messages over the last half")
        if name == "private":
            grown = rise * (half[-1][0] - half[0][0]) / 10_000 / (half[0][1].private / 1024)
            report.goal("growth of private memory over the last half", grown, 0.05, form=".1%")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=3.0, help="of each run")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--only", choices=PARTS, action="append", help="this part (may be said again)")
    options.add_argument("--no-peers", action="store_true")
    options.add_argument("--no-outbox", action="store_true", help="without a destination that is owed an answer")
    options.add_argument("--memory", type=int, metavar="MESSAGES", help="only the memory over so many messages")
    options.add_argument("--patients", type=int, default=1000, help="of --memory")
    options.add_argument("--every", type=int, default=10_000, help="of --memory: a figure after so many messages")
    options.add_argument("--out", type=Path, help="a Markdown file for the results")
    given = options.parse_args()
    end_cleanly()
    title = "Memory of the HL7 role" if given.memory else "Orders: from the frame to the ACK after its commit"
    report = Report(title, "tests.bench.bench_orders")
    parts = () if given.memory else tuple(given.only or PARTS)
    with ExitStack() as stack:
        folder = stack.enter_context(work_folder("orders"))
        peers = [] if given.no_peers or "rates" not in parts else _peers(stack, folder, report)
        if "profile" in parts and given.no_peers:
            mllp_peers.install()
        client = stack.enter_context(LoadClient())
        hospital = LoadedHospital(
            folder / "bridge", fhir_base="http://127.0.0.1:9/fhir", time_zone="UTC", outbox=not given.no_outbox
        )
        bench = Bench(hospital, client, report)
        with hospital:
            if given.memory:
                measure_memory(bench, given.memory, given.patients, given.every)
            if "rates" in parts:
                measure_rates(bench, peers, given.rounds, given.seconds, folder)
            if "mix" in parts:
                measure_mix(bench, given.rounds, given.seconds)
            if "syncs" in parts:
                measure_syncs(bench, given.seconds)
            if "profile" in parts:
                measure_profile(bench, max(given.seconds, 5.0))
        failed = _verdict(bench, outbox=not given.no_outbox)
    report.write(given.out)
    sys.exit(1 if failed else 0)


def _peers(stack: ExitStack, folder: Path, report: Report) -> list[mllp_peers.Peer]:
    lacking = mllp_peers.install()
    running = []
    for name in (mllp_peers.FHIR_BRIDGE, mllp_peers.ORTHANC_TOOLS):
        try:
            if name in lacking:
                raise OSError(lacking[name])
            peer = mllp_peers.start(name, folder)
        except OSError as fault:
            report.line(f"- **{name} is not compared with**: {fault}")
            continue
        stack.callback(peer.stop)
        running.append(peer)
    if not running:
        report.line("- **no peer runs: the ratios are missing**")
    return running


def _verdict(bench: Bench, *, outbox: bool) -> bool:
    """What the database says of all that was answered; whether anything is wrong."""
    report = bench.report
    report.heading("Looked up afterwards")
    faults = bench.expected.faults(bench.hospital.database, outbox=outbox)
    sent = f"{len(bench.expected.control_ids):,} messages"
    if bench.expected.orders:
        sent += f", {bench.expected.orders:,} orders by what was said of them"
    for fault in faults:
        report.line(f"- **{fault}**")
    refused = [one for figures in bench.figures.values() for one in figures.refused]
    if refused:
        report.line(f"- **{len(refused)} messages were not answered AA**, the first: {refused[0]!r}")
    if not faults and not refused:
        row = ", outbox row" if outbox else ""
        report.line(f"- {sent}: all are in the database (an order with procedure, placed step, history, event{row})")
    return bool(faults or refused)


if __name__ == "__main__":
    main()
