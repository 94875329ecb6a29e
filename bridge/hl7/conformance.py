"""Does a message keep to HL7's own structures? hl7apy's only door, and never on the acknowledgement path.

It takes tens of milliseconds a message and drops what it cannot place, so it judges and never reads for us: its
findings are remarks for `bridge explain` and for tests of what we and the pretend RIS send.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from hl7apy.consts import VALIDATION_LEVEL  # type: ignore[import-untyped]
from hl7apy.exceptions import HL7apyException  # type: ignore[import-untyped]
from hl7apy.parser import parse_message  # type: ignore[import-untyped]
from hl7apy.validation import Validator  # type: ignore[import-untyped]

from bridge.errors import NotReadable
from bridge.hl7.charset import choose
from bridge.hl7.header import header_of


def remarks(raw: bytes) -> list[str]:
    """What the strict reading of the message's own version finds; [] when it conforms.

    Z-segments are the sender's right and are left out of the judgement. Raises `NotReadable` like any reader.
    """
    header = header_of(raw)
    if not header.usable:
        raise NotReadable("there is no MSH", where="MSH")
    text = choose(header.character_sets.split("~")).decode(raw)
    lines = [line for line in text.replace("\n", "\r").split("\r") if line.strip() and not line.startswith("Z")]
    try:
        message = parse_message("\r".join(lines), validation_level=VALIDATION_LEVEL.TOLERANT, find_groups=True)
    except HL7apyException as fault:
        return [f"not readable by the standard's structures: {type(fault).__name__}"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        try:
            Validator.validate(message, report_file=str(report))
        except HL7apyException:
            lines = [
                line.removeprefix("Error: ") for line in report.read_text().splitlines() if line.startswith("Error")
            ]
            # hl7apy asks for every branch of a choice at once.
            return [line for line in lines if "_CHOICE." not in line]
    return []
