"""CPU time of reading HL7: ours beside hl7apy, python-hl7 and hl7lw.

    pip install -e '.[bench]' && python -m tests.bench.bench_hl7 [--rounds 9]

hl7lw's bare parse cuts segments and fields and no more: `Message.read` is its like. "+ 30 values" reads 30 paths with
it; ours with "all mapped fields" walks every rule of the shipped tables and builds the order of the domain. "ours is"
and "bare is" say how many times faster the full reading and `Message.read` are. CPU time, interleaved rounds; ratios
are taken round by round. Then the messages that a quadratic reader would choke on: goal 0.5 s each.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import hl7  # type: ignore[import-not-found, import-untyped, unused-ignore]
import hl7lw  # type: ignore[import-not-found, import-untyped, unused-ignore]
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message

from bridge.domain.identity import Issuer, Issuers
from bridge.hl7.ack import AckCode, write_ack
from bridge.hl7.header import header_of
from bridge.hl7.message import Message
from bridge.hl7.read import read_message
from bridge.mapping import MappingContext, Mappings, default_directory
from tests.bench.bench_common import OMI, ORM, Figure, cpu_of, interleaved
from tests.unit.hl7.bad_cases import BAD_CASES

OURS, HL7APY, HL7LW, HL7LW_VALUES = "read + all mapped fields", "hl7apy", "hl7lw parse", "hl7lw parse + 30 values"
BARE = "Message.read alone"
ISSUERS = Issuers((Issuer("HOSPITAL", "HOSPITAL", "1.2.276.0.76.3.1.1", "ISO"), Issuer("RIS", "RIS")))
NOW = datetime(2026, 3, 1, 9, 15, tzinfo=UTC)
VALUES = (
    *("MSH-3", "MSH-4", "MSH-7", "MSH-9", "MSH-10", "PID-3", "PID-5.1", "PID-5.2", "PID-7", "PID-8", "PV1-2", "PV1-3"),
    *("PV1-8.2", "PV1-19.1", "ORC-1", "ORC-2.1", "ORC-3.1", "ORC-5", "ORC-9", "OBR-4.1", "OBR-4.2", "OBR-4.3"),
    *("OBR-13", "OBR-16.2", "OBR-18", "OBR-24", "OBR-30", "OBR-31.2", "AL1-3.2", "NTE-3"),
)


def load_mappings() -> Mappings:
    """The shipped tables."""
    return Mappings.load(default_directory(), None, MappingContext(ZoneInfo("Europe/Berlin"), ISSUERS))


def subjects(raw: bytes, encoding: str, orders: int, steps: int) -> dict[str, Callable[[], object]]:
    """What is measured on one message, each looked at once before: a reader that fails quickly is not fast."""
    mappings = load_mappings()
    text = raw.decode(encoding)
    light = hl7lw.Hl7Parser()

    def with_values() -> object:
        message = light.parse_message(raw, encoding=encoding)
        return [message[path] for path in VALUES]

    def ours() -> object:
        return read_message(Message.read(raw), mappings)

    reading = read_message(Message.read(raw), mappings)
    assert reading.refusal is None and not reading.warnings, reading
    assert len(reading.orders) == orders and len(reading.orders[0].procedure.steps) == steps, reading
    assert text.startswith("MSH") and light.parse_message(raw, encoding=encoding)["PID-8"] in "MF"
    return {
        HL7APY: lambda: parse_message(text, validation_level=VALIDATION_LEVEL.TOLERANT, find_groups=True),
        "python-hl7": lambda: hl7.parse(text),
        HL7LW: lambda: light.parse_message(raw, encoding=encoding),
        HL7LW_VALUES: with_values,
        BARE: lambda: Message.read(raw),
        OURS: ours,
        "write the ACK": lambda: write_ack(header_of(raw), AckCode.AA, control_id="B1", now=NOW),
    }


def table(title: str, figures: dict[str, Figure]) -> str:
    ours, bare = figures[OURS], figures[BARE]
    lines = [title, f"  {'':26}{'us (low .. high)':>26}{'/s':>9}{'ours is':>10}{'bare is':>10}"]
    for name, one in figures.items():
        span = f"{one.median * 1e6:.1f} ({one.low * 1e6:.1f} .. {one.high * 1e6:.1f})"
        faster = f"{ours.times_faster_than(one):>9.2f}x{bare.times_faster_than(one):>9.2f}x"
        lines.append(f"  {name:26}{span:>26}{1 / one.median:>9,.0f}{faster}")
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=9)
    rounds = options.parse_args().rounds
    print(f"Python {platform.python_version()}, {platform.machine()}; CPU time a message, {rounds} interleaved rounds")
    print("repeat: pip install -e '.[bench]' && " + "python -m tests.bench.bench_hl7 " + " ".join(sys.argv[1:]))
    for title, raw, encoding, steps in (("OMI^O23", OMI, "utf-8", 2), ("ORM^O01 + ZDS", ORM, "latin-1", 1)):
        segments = raw.count(b"\r")
        figures = interleaved(subjects(raw, encoding, 1, steps), rounds)
        print("\n" + table(f"{title}, {segments} segments, {len(raw):,} bytes", figures))
    mappings = load_mappings()
    print("\nbad messages, Message.read + read_message, CPU seconds (goal 0.5)")
    for name, text in BAD_CASES.items():
        raw = text.encode()
        seconds = min(cpu_of(lambda raw=raw: read_message(Message.read(raw), mappings), 1) for _ in range(3))  # type: ignore[misc]
        print(f"  {name:40}{len(raw):>11,} bytes{seconds:>8.3f}")


if __name__ == "__main__":
    main()
