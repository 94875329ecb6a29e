"""What one message would come to: its fate, what is parked and why, and what each modality would be told.

The reading, the intake, the station table and the worklist's answer are those that run; only the store is another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click

from bridge.clock import Clock
from bridge.config import Feed, Settings
from bridge.dicom.worklist_user import CHARACTER_SET, STEP_NAME, Told, keys_of, question, tell
from bridge.domain.message import Envelope
from bridge.hl7.header import header_of
from bridge.hl7.policy import read_raw
from bridge.mapping import Mappings
from bridge.workflow.preview import Parked, Rehearsal


@dataclass(frozen=True, slots=True)
class Device:
    """An AE title and the entries it would get; `may_ask` is False where no `[[dicom.peer]]` lets it."""

    ae_title: str
    character_set: str
    may_ask: bool
    entries: tuple[Told, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    fate: str
    told: tuple[str, ...]
    parked: tuple[Parked, ...]
    devices: tuple[Device, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return asdict(self)


def envelope_of(raw: bytes, feed: str, clock: Clock, peer: str = "file") -> Envelope:
    """A message as the listener of a feed would hand it on."""
    header = header_of(raw)
    return Envelope(
        feed=feed,
        raw=raw,
        peer=peer,
        received=clock.now(),
        sending_application=header.sending_application,
        sending_facility=header.sending_facility,
        control_id=header.control_id,
        message_type=header.message_type[:64],
    )


def devices(
    rehearsal: Rehearsal, mappings: Mappings, *, titles: Sequence[str] = (), dates: str = ""
) -> tuple[Device, ...]:
    """What each station would be told if it asked for its own list now; `titles` () = every one that has work."""
    settings = rehearsal.settings
    found: list[Device] = []
    for title in titles or rehearsal.stations():
        peer = settings.dicom.peer_of(title)
        asked = question(station=title, dates=dates)
        entries = rehearsal.find(keys_of(asked, settings.issuers), peer)
        answers = tuple(tell(entry, asked, peer, settings.issuers, mappings.transliteration) for entry in entries)
        found.append(Device(title, peer.character_set, "worklist" in peer.may, answers))
    return tuple(found)


def preview(raw: bytes, settings: Settings, feed: Feed, mappings: Mappings, clock: Clock) -> Preview:
    """Try one message by itself, as the first of an empty hospital."""
    with Rehearsal(settings, clock, every_date=True) as rehearsal:
        outcome = rehearsal.take(envelope_of(raw, feed.name, clock), read_raw(raw, feed, mappings))
        return Preview(outcome.fate.value, outcome.told, tuple(rehearsal.parked()), devices(rehearsal, mappings))


def render(found: Preview) -> str:
    """For a terminal, under headings."""
    lines = ["", click.style("what would come of it", bold=True), f"  {found.fate}"]
    lines += [f"  {printable(text)}" for text in found.told]
    for parked in found.parked:
        hints = ", ".join(f"{name} {value!r}" for name, value in parked.details.items() if value)
        lines.append(click.style(f"  parked: {parked.reason}{f' ({printable(hints)})' if hints else ''}", fg="yellow"))
    for device in found.devices:
        charset = device.character_set or "ISO 646"
        lines += ["", click.style(f"{device.ae_title} would be told ({charset})", bold=True)]
        if not device.may_ask:
            lines.append(click.style("  ! no [[dicom.peer]] lets it ask for a worklist", fg="red"))
        for number, entry in enumerate(device.entries, 1):
            lines += [f"  entry {number}", *render_told(entry)]
    return "\n".join(lines)


def render_told(told: Told) -> list[str]:
    """One entry, attribute by attribute."""
    if told.withheld:
        return [click.style(f"    ! not shown to it: {told.withheld}", fg="red")]
    shown = {_short(name): text for name, text in told.attributes.items()}
    width = max(map(len, shown), default=0)
    lines = [f"    {name.ljust(width)}  {printable(text)}" for name, text in shown.items()]
    for name, whole in told.lost.items():
        charset = told.attributes.get(CHARACTER_SET, "ISO 646")
        lines.append(click.style(f"    ! {_short(name)}: {charset} cannot carry {printable(whole)}", fg="red"))
    return lines


def _short(name: str) -> str:
    """The one item of the step sequence is told by its own attributes."""
    return name.removeprefix(f"{STEP_NAME}.")


def printable(text: str) -> str:
    """A sender's text on a terminal: no control byte moves the cursor."""
    return "".join(c if c.isprintable() else "·" for c in text)
