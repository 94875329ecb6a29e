"""A device that frees its disk: images by storescu, storage commitment by dcmjs-dimse, told by the worker's process."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.sandbox import ris as messages
from tests.e2e.story import Site, dimse_start, pictures, storescu
from tests.peers.commitment import ask, modality

pytestmark = [pytest.mark.peer("dcmtk"), pytest.mark.peer("dimse")]


def test_a_scanner_is_told_of_each_image_whether_it_may_delete_it(site: Site, tmp_path: Path) -> None:
    story = site.story("CT")
    story.send(messages.orm_o01)
    item = story.worklist(tmp_path / "before")[0]
    images = pictures(item, 3, dimse_start(site.hospital, item, story.station))
    storescu(site.hospital, tmp_path / "images", images, story.station)
    made = [(str(one.SOPClassUID), str(one.SOPInstanceUID)) for one in images]
    never_sent = (made[0][0], f"{made[0][1]}.9")
    with modality(site.hospital.ports.scanner) as scanner:
        port = site.hospital.ports.dicom
        assert ask(port, "2.25.1010", [*made, never_sent], calling=story.station)["status"] == 0x0000
        told = scanner.report(seconds=30)
    assert told["type"] == 2
    assert {tuple(one) for one in told["committed"]} == set(made)
    assert [tuple(one) for one in told["failed"]] == [(*never_sent, 0x0112)]
    assert "Every device has our word." in site.hospital.run("commitment").stdout
