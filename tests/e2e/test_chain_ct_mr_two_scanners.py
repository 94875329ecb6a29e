"""One order, a CT and an MR: two scanners, two exams; each does its own, and the RIS is told once of each turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from bridge.hl7.message import Message
from bridge.sandbox import ris as messages
from bridge.sandbox.hospital import Hospital
from bridge.sandbox.ris import DemoOrder
from tests.e2e.story import Site, Story, pictures, until
from tests.fakes.mllp_peer import MllpPeer

DESTINATION = """
[[hl7.destination]]
name = "{message}"
port = {port}
events = ["started", "completed", "discontinued"]
message = "{message}"
"""
MESSAGES = ("ORM^O01", "OMI^O23")


def both_steps(order: DemoOrder, when: datetime, control_id: str) -> bytes:
    """The RIS's OMI with a second IPC: the MR of the same procedure."""
    raw = messages.omi_o23(order, when, control_id)
    head, mark, ipc = raw.partition(b"IPC|")
    fields = ipc.rstrip(b"\r").split(b"|")
    second = [*fields]
    second[3], second[4], second[8] = fields[3].replace(b"SPS", b"MRS"), b"MR", b"MR1"
    return head + mark + b"|".join(fields) + b"\r" + mark + b"|".join(second) + b"\r"


@dataclass
class Told:
    """What two RIS were told, one by each kind of message."""

    site: Site
    peers: dict[str, MllpPeer]

    def of(self, story: Story) -> list[list[tuple[str, str, str]]]:
        """Of each: its message type, ORC-1 and ORC-5 of every message about the order, in turn."""
        return [self._of(story, peer) for peer in self.peers.values()]

    def _of(self, story: Story, peer: MllpPeer) -> list[tuple[str, str, str]]:
        said = [Message.read(raw) for raw in list(peer.received)]
        return [
            (one.get("MSH", 9), one.get("ORC", 1), one.get("ORC", 5))
            for one in said
            if one.get("ORC", 2).split("^")[0] == story.order.placer
        ]

    def both_say(self, story: Story, *statuses: str) -> bool:
        wanted = [[(message.partition("^")[0], "SC", status) for status in statuses] for message in MESSAGES]
        return until(lambda: self.of(story) == wanted, 20)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    peers = {message: MllpPeer() for message in MESSAGES}
    folder: Path = tmp_path_factory.mktemp("two-scanners")
    hospital = Hospital(folder, fhir_base="http://127.0.0.1:9/fhir", quiet_seconds=1, imaging_study="off")
    told = "".join(DESTINATION.format(port=peer.port, message=message) for message, peer in peers.items())
    hospital.config.write_text(hospital.config.read_text() + told)
    with hospital:
        yield Told(Site(hospital, "http://127.0.0.1:9/fhir"), peers)
    for peer in peers.values():
        peer.close()


def begun(told: Told) -> Story:
    story = told.site.story("CT")
    story.send(both_steps)
    return story


def on_the_lists(story: Story) -> tuple[int, int]:
    """Entries of the order that the CT and the MR are told."""
    hospital, key = story.site.hospital, {"AccessionNumber": story.order.accession}
    return tuple(len(hospital.scanner(title).worklist(**key)) for title in ("CT1", "MR1"))  # type: ignore[return-value]


def examine(story: Story, title: str, *, mpps: bool = True) -> None:
    scanner = story.site.hospital.scanner(title)
    (item,) = scanner.worklist(AccessionNumber=story.order.accession)
    step = scanner.start(item) if mpps else ""
    images = pictures(item, 2, step)
    assert scanner.send(images).failed == ()
    if mpps:
        scanner.complete(step, images)


@pytest.mark.parametrize("first", ["CT1", "MR1"])
def test_each_scanner_does_its_own_and_the_last_one_ends_the_order(told: Told, first: str) -> None:
    second = {"CT1": "MR1", "MR1": "CT1"}[first]
    story = begun(told)
    assert on_the_lists(story) == (1, 1)
    examine(story, first)
    assert on_the_lists(story) == ((0, 1) if first == "CT1" else (1, 0))
    assert told.both_say(story, "IP")
    assert story.order_row()["status"] == "IP"
    examine(story, second)
    assert on_the_lists(story) == (0, 0)
    assert told.both_say(story, "IP", "CM")
    assert story.order_row()["status"] == "CM"


def test_an_exam_of_which_one_half_was_refused_is_done_with_the_other(told: Told) -> None:
    story = begun(told)
    examine(story, "CT1")
    scanner = story.site.hospital.scanner("MR1")
    (item,) = scanner.worklist(AccessionNumber=story.order.accession)
    scanner.discontinue(scanner.start(item), (), ("110505", "Patient refused"))
    assert told.both_say(story, "IP", "CM")
    (entry,) = (one for one in story.site.hospital.reviews() if one["kind"] == "performed-discontinued")
    assert entry["reason"] == "cancel-proposed"


def test_an_order_that_is_broken_off_for_good_is_told_as_that(told: Told) -> None:
    story = told.site.story("CT")
    story.send()
    scanner = story.site.hospital.scanner("CT1")
    scanner.discontinue(scanner.start(story.item()), (), ("110503", "Patient allergic to media"))
    assert told.both_say(story, "IP", "DC")


def test_two_scanners_without_mpps_end_the_order_by_their_images(told: Told) -> None:
    story = begun(told)
    examine(story, "CT1", mpps=False)
    assert on_the_lists(story) == (0, 1)
    assert told.both_say(story, "IP")
    examine(story, "MR1", mpps=False)
    assert told.both_say(story, "IP", "CM")
    assert story.order_row()["status"] == "CM"
