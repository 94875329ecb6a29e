"""Does a message keep to HL7's own structures? hl7apy judges and builds here (`show.py` asks it for names), and is
never on the acknowledgement path.

It takes tens of milliseconds a message and drops what it cannot place, so it judges and builds, and never reads for
us: its findings are remarks for `bridge explain` and for tests of what the pretend RIS sends, and nothing that it
finds fault with leaves the bridge.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hl7apy.consts import VALIDATION_LEVEL  # type: ignore[import-untyped]
from hl7apy.core import Message  # type: ignore[import-untyped]
from hl7apy.exceptions import HL7apyException  # type: ignore[import-untyped]
from hl7apy.parser import parse_message, parse_segment  # type: ignore[import-untyped]
from hl7apy.validation import Validator  # type: ignore[import-untyped]

from bridge.errors import BadValue, NotReadable
from bridge.hl7.charset import choose
from bridge.hl7.header import header_of

_FAULTS = (HL7apyException, ValueError)
"""hl7apy lets ValueError through for what is no date or number."""


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
    return _findings(message)


Node = str | tuple[str, Sequence["Node"]]
"""A segment as text with its values escaped, or a group by its name in the structure and what it holds."""


def build(structure: str, version: str, header: Sequence[str], nodes: Sequence[Node]) -> str:
    """A message of `version`, made and judged by hl7apy at its strictest; segments end in CR.

    `header` holds MSH-3, MSH-4 and so on. Raises `BadValue` (code `hl7-not-conformant`, `where` a segment): what
    does not conform never leaves.
    """
    message = Message(structure, version=version, validation_level=VALIDATION_LEVEL.STRICT)
    try:
        for number, value in enumerate(header, 3):
            if value:
                setattr(message.msh, f"msh_{number}", value)
    except _FAULTS:
        raise BadValue("does not conform", where="MSH", code="hl7-not-conformant") from None
    for node in nodes:
        _add(message, node, version)
    findings = _findings(message)
    if findings:
        raise BadValue(f"does not conform: {findings[0]}", where=structure, code="hl7-not-conformant")
    built = iter(str(message.to_er7()).rstrip("\r").split("\r"))
    # hl7apy takes no Z-segment with components into a group: ours stand where they belong all the same.
    lines = [next(built), *(node if node.startswith("Z") else next(built) for node in _segments(nodes))]
    return "".join(line + "\r" for line in lines)


def _add(parent: Any, node: Node, version: str) -> None:
    if isinstance(node, tuple):
        group = parent.add_group(node[0])
        for child in node[1]:
            _add(group, child, version)
    elif not node.startswith("Z"):
        try:
            parent.add(parse_segment(node, version=version, validation_level=VALIDATION_LEVEL.STRICT))
        except _FAULTS:  # its text holds the value
            raise BadValue("does not conform", where=node[:3], code="hl7-not-conformant") from None


def _segments(nodes: Sequence[Node]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, tuple):
            yield from _segments(node[1])
        else:
            yield node


def _findings(message: Any) -> list[str]:
    """What the validator says of the parsed or built message."""
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
