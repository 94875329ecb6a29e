"""RAD-8 Modality Images Stored, over the wire: on disk, then a row, then 0000 (PS3.4 B)."""

from __future__ import annotations

import errno
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE

from bridge.config import Storage
from bridge.dicom import files
from bridge.dicom.ae import DicomServer
from bridge.errors import StoreBroken, StoreUnavailable
from tests.unit.dicom.support import (
    CT,
    FakeServices,
    associated,
    command,
    encoded,
    files_under,
    image,
    pdu,
    sends,
    serving,
)

pytestmark = pytest.mark.usefixtures("transport")

EXPLICIT, JPEG, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.1.99"


@pytest.fixture
def modality(server: DicomServer) -> Iterator[Association]:
    with associated(server, (CT, EXPLICIT)) as association:
        yield association


def send_raw(modality: Association, uid: str, data: bytes, sop_class: str = CT) -> int | None:
    """A C-STORE of any bytes under any UID; the status, or None when the association ended."""
    request = C_STORE()
    request.MessageID, request.Priority, request.AffectedSOPClassUID = 1, 2, sop_class
    request.AffectedSOPInstanceUID, request.DataSet = uid, BytesIO(data)
    modality._reactor_checkpoint.clear()
    modality.dimse.send_msg(request, modality.accepted_contexts[0].context_id or 1)
    _, answer = modality.dimse.get_msg(block=True)
    modality._reactor_checkpoint.set()
    return None if answer is None else answer.Status


def test_a_stored_image_is_on_disk_as_it_came(
    modality: Association, server: DicomServer, services: FakeServices
) -> None:
    sent = image()
    assert modality.send_c_store(sent).Status == 0x0000
    _, file = services.acquiring.stored["1.2.3.1.1.1"]
    path = server.archive.path(file.name)
    assert path.read_bytes().endswith(encoded(sent)) and dcmread(path).file_meta.TransferSyntaxUID == EXPLICIT


def test_the_same_image_again_is_0000_and_keeps_one_file(modality: Association, server: DicomServer) -> None:
    assert [modality.send_c_store(image()).Status for _ in "12"] == [0x0000, 0x0000]
    assert len(files_under(server)) == 1


@pytest.mark.parametrize("harm", ["gone", "short", "flipped"])
def test_the_same_image_again_replaces_a_file_that_is_gone_or_damaged(
    modality: Association, server: DicomServer, services: FakeServices, harm: str
) -> None:
    modality.send_c_store(image())
    path = server.archive.path(services.acquiring.stored["1.2.3.1.1.1"][1].name)
    whole = path.read_bytes()
    path.unlink()
    if harm != "gone":
        path.write_bytes(whole[:-8] if harm == "short" else whole[:-1] + bytes([whole[-1] ^ 1]))
    assert modality.send_c_store(image()).Status == 0x0000
    kept = server.archive.path(services.acquiring.stored["1.2.3.1.1.1"][1].name)
    assert kept != path and kept.read_bytes().endswith(encoded(image()))


def test_the_same_uid_with_other_bytes_is_0000_and_keeps_both(modality: Association, server: DicomServer) -> None:
    modality.send_c_store(image())
    assert modality.send_c_store(image(PatientID="OTHER")).Status == 0x0000
    assert len(files_under(server)) == 2


def test_an_image_of_another_class_than_its_command_is_a900(modality: Association, server: DicomServer) -> None:
    data = encoded(image(SOPClassUID="1.2.840.10008.5.1.4.1.1.4"))
    assert send_raw(modality, "1.2.3.1.1.1", data) == 0xA900
    assert files_under(server) == []


def test_what_is_no_data_set_is_c000(modality: Association, server: DicomServer) -> None:
    assert send_raw(modality, "1.2.3.1.1.1", b"%PDF-1.7 no DICOM here") == 0xC000
    assert files_under(server) == []


@pytest.mark.parametrize("uid", ["../../../../tmp/evil", "/etc/passwd", "1.2.3/../4", "..", "1.2.3\\4"])
def test_a_uid_that_is_a_path_makes_no_file(
    modality: Association, server: DicomServer, tmp_path: Path, uid: str
) -> None:
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert send_raw(modality, uid, encoded(image(SOPInstanceUID=uid))) in (0xA900, None)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before and files_under(server) == []


def test_66_nested_sequences_are_c000_and_the_next_image_is_stored(modality: Association) -> None:
    inner = Dataset()
    for _ in range(66):
        outer = Dataset()
        outer.ContentSequence = [inner]
        inner = outer
    deep = image(PixelData=None)
    deep.ContentSequence = inner.ContentSequence
    assert send_raw(modality, "1.2.3.1.1.1", encoded(deep)) == 0xC000
    assert modality.send_c_store(image()).Status == 0x0000


def test_a_deflated_transfer_syntax_is_not_accepted(server: DicomServer) -> None:
    with associated(server, (CT, [DEFLATED]), (CT, [EXPLICIT])) as modality:
        assert [str(context.transfer_syntax[0]) for context in modality.accepted_contexts] == [EXPLICIT]


def test_too_little_room_is_a700_and_leaves_nothing(tmp_path: Path, services: FakeServices) -> None:
    with (
        serving(tmp_path, services, storage=Storage(min_free_bytes=1 << 60)) as server,
        associated(server, (CT, EXPLICIT)) as modality,
    ):
        assert modality.send_c_store(image()).Status == 0xA700
        assert files_under(server) == []


def test_a_disk_that_fills_up_is_a700_and_leaves_nothing(
    modality: Association, server: DicomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rename(*_: object) -> Path:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(Path, "rename", rename)
    assert modality.send_c_store(image()).Status == 0xA700
    assert files_under(server) == []


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What the kernel refuses to write, as on a full disk: `EFBIG` from every write past `size`."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_while_an_object_comes_in_is_a700_and_leaves_nothing(
    modality: Association, server: DicomServer
) -> None:
    with files_of_at_most(1_000_000):
        assert modality.send_c_store(image(PixelData=bytes(3_000_000))).Status == 0xA700
    assert files_under(server) == []


def test_after_an_object_that_found_no_room_the_next_one_is_stored(modality: Association) -> None:
    with files_of_at_most(1_000_000):
        modality.send_c_store(image(PixelData=bytes(3_000_000)))
    assert modality.send_c_store(image()).Status == 0x0000


def test_an_object_for_which_no_file_can_be_made_is_a700(modality: Association, server: DicomServer) -> None:
    server.archive.incoming.rmdir()
    assert modality.send_c_store(image()).Status == 0xA700
    server.archive.incoming.mkdir()
    assert modality.send_c_store(image()).Status == 0x0000


def test_an_object_larger_than_the_room_left_is_a700_before_the_disk_is_full(
    tmp_path: Path, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LOOK_BYTES", 100_000)
    with (
        serving(tmp_path, services, storage=Storage(min_free_bytes=1000)) as server,
        associated(server, (CT, EXPLICIT)) as modality,
    ):
        room = iter([5000, 4000, 999])
        monkeypatch.setattr(server.archive, "free_bytes", lambda: next(room))
        assert modality.send_c_store(image(PixelData=bytes(1_000_000))).Status == 0xA700
        assert files_under(server) == []


def test_objects_that_wait_when_their_sender_goes_leave_nothing(server: DicomServer, services: FakeServices) -> None:
    services.acquiring.hold = threading.Event()
    with associated(server, (CT, EXPLICIT)) as modality:
        one = [pdu(1, 3, command(CT, 1)), pdu(1, 2, encoded(image()))]
        sends(modality, one * 3, 0.3)
        modality.abort()
        services.acquiring.hold.set()
        for _ in range(100):
            if not server.associations:
                break
            time.sleep(0.05)
    assert list(server.archive.incoming.iterdir()) == []


def test_a_row_that_cannot_be_written_is_a700_and_leaves_nothing(
    modality: Association, server: DicomServer, services: FakeServices
) -> None:
    services.acquiring.fault = StoreUnavailable("locked")
    assert modality.send_c_store(image()).Status == 0xA700
    assert files_under(server) == []


def test_an_unexpected_failure_is_c000_and_leaves_nothing(
    modality: Association, server: DicomServer, services: FakeServices
) -> None:
    services.acquiring.fault = RuntimeError("bug")
    assert modality.send_c_store(image()).Status == 0xC000
    assert files_under(server) == []


@pytest.mark.parametrize("where", ["file", "row"])
def test_a_failed_sync_is_never_answered(
    modality: Association, services: FakeServices, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    if where == "file":

        def fsync(_: int) -> None:
            raise OSError(errno.EIO, "I/O error")

        monkeypatch.setattr(os, "fsync", fsync)
    else:
        services.acquiring.fault = StoreBroken("fsync")
    assert "Status" not in modality.send_c_store(image())
    assert services.was_broken


def test_an_object_over_the_limit_ends_the_association(tmp_path: Path, services: FakeServices) -> None:
    limit = Storage(min_free_bytes=0, max_object_bytes=100_000)
    with serving(tmp_path, services, storage=limit) as server, associated(server, (CT, EXPLICIT)) as modality:
        answer = modality.send_c_store(image(PixelData=bytes(2_000_000)))
        assert "Status" not in answer and services.acquiring.stored == {}
        assert files_under(server) == []


def test_a_sender_that_is_gone_in_mid_object_leaves_nothing(server: DicomServer, services: FakeServices) -> None:
    with associated(server, (CT, EXPLICIT)) as modality:
        request = C_STORE()
        request.MessageID, request.Priority, request.AffectedSOPClassUID = 1, 2, CT
        request.AffectedSOPInstanceUID, request.DataSet = "1.2.3.1.1.1", BytesIO(encoded(image()))
        message = C_STORE_RQ()
        message.primitive_to_message(request)
        pieces = list(message.encode_msg(modality.accepted_contexts[0].context_id or 1, 200))
        for piece in pieces[:-1]:
            modality.dul.send_pdu(piece)
        time.sleep(0.3)
        plain: Any = modality.dul.socket
        plain.socket.shutdown(socket.SHUT_RDWR)
    for _ in range(100):
        if not server.associations:
            break
        time.sleep(0.05)
    assert services.acquiring.stored == {} and files_under(server) == []


def test_draining_finishes_the_running_object_and_takes_no_other(server: DicomServer, services: FakeServices) -> None:
    services.acquiring.hold = threading.Event()
    answers: list[int] = []
    with associated(server, (CT, EXPLICIT)) as modality:
        sender = threading.Thread(target=lambda: answers.append(modality.send_c_store(image()).Status))
        sender.start()
        while not server.operations.running:
            time.sleep(0.01)
        drained = threading.Thread(target=server.drain, args=(10,))
        drained.start()
        services.acquiring.hold.set()
        sender.join()
        drained.join()
        assert answers == [0x0000]
        assert modality.send_c_store(image("1.2.3.9")).Status == 0xA700
