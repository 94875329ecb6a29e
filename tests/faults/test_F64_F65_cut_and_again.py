"""F64, a sender that goes in the middle of an object; F65, the same object again: what is on disk is what has a row."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, select

from bridge.store import schema
from tests.faults.whole_site import WholeSite, until, whole_site
from tests.peers.available import need
from tests.unit.dicom.support import CT, associated, command, encoded, files_under, image, part10, pdu

EXPLICIT = "1.2.840.10008.1.2.1"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[WholeSite]:
    with whole_site(tmp_path) as started:
        yield started


def rows(site: WholeSite, table: Table) -> list[Any]:
    with site.database.read() as connection:
        return list(connection.execute(select(table)))


def kept(site: WholeSite) -> list[str]:
    """The files that rows own."""
    return sorted(row.file for table in (schema.instance, schema.instance_aside) for row in rows(site, table))


def send_cut(site: WholeSite, whole: bytes, at: int) -> None:
    with associated(site.dicom, (CT, EXPLICIT)) as modality:
        wrapped: Any = modality.dul.socket
        wrapped.socket.sendall(whole[:at])
        wrapped.socket.shutdown(socket.SHUT_RDWR)
        until(lambda: not modality.is_established)


# -- F64 ----------------------------------------------------------------------------------------------------------


def test_F64_an_object_cut_anywhere_leaves_no_row_and_no_file(site: WholeSite, full: bool) -> None:
    data = encoded(image(PixelData=bytes(200_000)))
    pieces = [data[at : at + 16_000] for at in range(0, len(data), 16_000)]
    body = b"".join(pdu(1, 2 if piece is pieces[-1] else 0, piece) for piece in pieces)
    whole = pdu(1, 3, command(CT, 0x0001)) + body
    count = 200 if full else 20
    for number in range(count):
        send_cut(site, whole, 1 + number * (len(whole) - 2) // (count - 1))
    until(lambda: files_under(site.dicom) == [])
    assert rows(site, schema.instance) == rows(site, schema.study) == []


def test_F64_a_sender_that_does_not_wait_for_its_answer_leaves_a_file_only_with_its_row(site: WholeSite) -> None:
    for number in range(10):
        uid = f"1.2.3.{number}"
        send_cut(site, pdu(1, 3, command(CT, 1, AffectedSOPInstanceUID=uid)) + pdu(1, 2, encoded(image(uid))), 10**6)
    until(lambda: not site.dicom.operations.running and list(site.dicom.archive.incoming.iterdir()) == [])
    assert sorted(site.dicom.archive.names()) == kept(site)


# -- F65 ----------------------------------------------------------------------------------------------------------


def storescu(site: WholeSite, file: Path) -> str:
    port = str(site.dicom.port)
    arguments = [need("storescu"), "-v", "-aet", "CT1", "-aec", "BRIDGE", "127.0.0.1", port, str(file)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def hashes(site: WholeSite) -> dict[str, str]:
    return {
        name: hashlib.sha256(site.dicom.archive.path(name).read_bytes()).hexdigest()
        for name in site.dicom.archive.names()
    }


@pytest.mark.parametrize("other", [{}, {"PatientComments": "sent again"}])
def test_F65_the_first_object_stays_as_it_was(site: WholeSite, tmp_path: Path, other: dict[str, str]) -> None:
    storescu(site, part10(tmp_path / "a.dcm", image()))
    before = hashes(site)
    for _ in range(2):
        assert "Success" in storescu(site, part10(tmp_path / "b.dcm", image(**other)))
    assert before.items() <= hashes(site).items()
    assert [row.file for row in rows(site, schema.instance)] == list(before)
    assert len(rows(site, schema.instance_aside)) == len(other) and kept(site) == sorted(hashes(site))


def test_F65_other_bytes_are_on_the_review_list(site: WholeSite, tmp_path: Path) -> None:
    storescu(site, part10(tmp_path / "a.dcm", image()))
    storescu(site, part10(tmp_path / "b.dcm", image(PatientComments="sent again")))
    assert "instance-differs" in {row.kind for row in rows(site, schema.review)}


def test_F65_of_twenty_senders_at_once_one_object_is_kept(site: WholeSite) -> None:
    answers: list[int] = []

    def send() -> None:
        with associated(site.dicom, (CT, EXPLICIT)) as modality:
            answers.append(modality.send_c_store(image()).Status)

    senders = [threading.Thread(target=send) for _ in range(20)]
    for one in senders:
        one.start()
    for one in senders:
        one.join()
    assert answers == [0x0000] * 20
    assert len(rows(site, schema.instance)) == 1 and kept(site) == list(site.dicom.archive.names())
