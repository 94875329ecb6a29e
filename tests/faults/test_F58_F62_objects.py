"""F58-F62, objects made to hurt: a right status, bounded memory, honest peers unharmed."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom.association import Association

from bridge.dicom.files import Archive
from bridge.uids import is_uid
from tests.faults.dicom_apart import MIB, OBJECT_BYTES, Apart
from tests.faults.whole_site import until
from tests.unit.dicom.support import (
    CT,
    MPPS,
    MWL,
    answer,
    associated,
    command,
    encoded,
    image,
    part10,
    pdu,
    sends,
)

EXPLICIT, IMPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"
STORE, FIND, CREATE = 0x0001, 0x0020, 0x0140
CONTEXTS = {STORE: CT, FIND: MWL, CREATE: MPPS}
PIECE = 120_000
EXTRA = 64  # MiB that a hostile message may cost


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apart]:
    started = Apart(tmp_path_factory.mktemp("apart"))
    yield started
    started.close()


@pytest.fixture
def modality(apart: Apart) -> Iterator[Association]:
    with associated(apart, *((sop_class, EXPLICIT) for sop_class in CONTEXTS.values())) as association:
        yield association


def context_id(field: int) -> int:
    return 1 + 2 * list(CONTEXTS).index(field)


def message(field: int, data: bytes, **more: Any) -> Iterator[bytes]:
    """A whole operation in PDUs."""
    context = context_id(field)
    yield pdu(context, 3, command(CONTEXTS[field], field, **more))
    for at in range(0, len(data) or 1, PIECE):
        yield pdu(context, 2 if at + PIECE >= len(data) else 0, data[at : at + PIECE])


# -- F58: an endless data set -------------------------------------------------------------------------------------


def endless(field: int, size: int) -> Iterator[bytes]:
    piece = pdu(context_id(field), 0, bytes(PIECE))
    return itertools.chain(
        [pdu(context_id(field), 3, command(CONTEXTS[field], field))], itertools.repeat(piece, size // PIECE)
    )


@pytest.mark.parametrize("field", CONTEXTS)
def test_F58_an_endless_data_set_ends_its_association(
    apart: Apart, modality: Association, field: int, full: bool
) -> None:
    size = (2048 if full else 256) * MIB
    assert size > OBJECT_BYTES
    with apart.within(EXTRA), apart.while_another_echoes() as honest:
        assert sends(modality, endless(field, size))
    until(lambda: apart.files == [])
    assert honest.slowest < 2


def test_F58_an_endless_command_set_ends_its_association(apart: Apart, modality: Association) -> None:
    with apart.within(EXTRA), apart.while_another_echoes() as honest:
        assert sends(modality, itertools.repeat(pdu(1, 1, bytes(PIECE)), 256 * MIB // PIECE))
    assert honest.slowest < 2


def test_F58_endless_requests_without_waiting_harm_nobody(apart: Apart, modality: Association) -> None:
    """Our listener leaves them in the network until their turn; pynetdicom's ends their association."""
    query = list(message(FIND, encoded(Dataset()) + bytes(7 * MIB)))
    with apart.within(EXTRA), apart.while_another_echoes() as honest:
        sends(modality, itertools.chain.from_iterable(itertools.repeat(query, 40)), 0)
    assert honest.slowest < 2


# -- F59: a deflate bomb ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """A gibibyte of zeros in a mebibyte, as the deflated transfer syntax would carry it."""
    squeeze, block = zlib.compressobj(9, wbits=-zlib.MAX_WBITS), bytes(MIB)
    return b"".join([*(squeeze.compress(block) for _ in range(1024)), squeeze.flush()])


def test_F59_the_deflated_transfer_syntax_is_not_accepted(apart: Apart) -> None:
    with associated(apart, (CT, [DEFLATED])) as modality:
        assert modality.accepted_contexts == []


@pytest.mark.parametrize("before", [b"", encoded(image(PixelData=None))])
def test_F59_a_bomb_under_another_name_is_c000(apart: Apart, modality: Association, bomb: bytes, before: bytes) -> None:
    with apart.within(EXTRA), apart.while_another_echoes():
        assert answer(modality, *message(STORE, before + bomb)) == 0xC000
    until(lambda: apart.files == [])


# -- F60: deep and crowded sequences ------------------------------------------------------------------------------


def nested(depth: int) -> bytes:
    inner = b""
    for _ in range(depth):
        item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + inner + b"\xfe\xff\x0d\xe0\0\0\0\0"
        inner = b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff" + item + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return inner


def crowd(count: int) -> bytes:
    """A sequence of empty items, eight bytes each."""
    items = b"\xfe\xff\x00\xe0\0\0\0\0" * count
    return b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff" + items + b"\xfe\xff\xdd\xe0\0\0\0\0"


def crowd_of_elements(count: int) -> bytes:
    return b"".join(struct.pack("<HH2sH", 0x4001 + 2 * (n >> 16), n & 0xFFFF, b"LO", 0) for n in range(count))


def test_F60_64_levels_are_stored(apart: Apart, modality: Association) -> None:
    data = encoded(image("1.2.3.64", PixelData=None)) + nested(64)
    assert answer(modality, *message(STORE, data, AffectedSOPInstanceUID="1.2.3.64")) == 0x0000
    for name in list(apart.archive.names()):
        apart.archive.remove(name)


@pytest.mark.parametrize(("field", "status"), [(STORE, 0xC000), (FIND, 0xA900), (CREATE, 0x0110)])
@pytest.mark.parametrize("depth", [65, 200, 10_000])
def test_F60_deeper_ones_are_refused(apart: Apart, modality: Association, depth: int, field: int, status: int) -> None:
    data = (encoded(image(PixelData=None)) if field == STORE else b"") + nested(depth)
    with apart.within(EXTRA):
        assert answer(modality, *message(field, data)) == status
    until(lambda: apart.files == [])


@pytest.mark.parametrize("make", [crowd, crowd_of_elements])
@pytest.mark.parametrize(("field", "status"), [(FIND, 0xA900), (CREATE, 0x0110)])
def test_F60_a_message_of_a_million_elements_is_refused(
    apart: Apart, modality: Association, field: int, status: int, make: Any
) -> None:
    with apart.within(EXTRA), apart.while_another_echoes() as honest:
        assert answer(modality, *message(field, make(1_000_000))) == status
    assert honest.slowest < 2


@pytest.mark.parametrize(("count", "status"), [(1_900_000, 0x0000), (3_000_000, 0xC000)])
def test_F60_an_object_of_millions_of_items_costs_no_memory(
    apart: Apart, modality: Association, count: int, status: int
) -> None:
    data = encoded(image(f"1.2.3.{count}", PixelData=None)) + crowd(count)
    with apart.within(EXTRA), apart.while_another_echoes() as honest:
        assert answer(modality, *message(STORE, data, AffectedSOPInstanceUID=f"1.2.3.{count}")) == status
    assert honest.slowest < 2
    for name in list(apart.archive.names()):
        apart.archive.remove(name)
    until(lambda: apart.files == [])


# -- F61: UIDs and titles that are paths --------------------------------------------------------------------------

HOSTILE = [
    *("", ".", "..", "...", "../", "../..", "../../../../../../tmp/evil", "..\\..\\evil", "/etc/passwd", "/", "//"),
    *("1.2.3/4", "1.2.3/../../4", "1.2.3\\4", "1.2.3.dcm", "1.2.3\0", "1.2.3\0/../4", "\0", "1.2.3\n", "~", "~root"),
    *("1." + "2" * 63, "1." * 40, "9" * 200, "1" * 5000, "-1.2", "1.2.3 ; rm -rf", "$(touch evil)", "%2e%2e%2fevil"),
    "C:\\evil",
]


def test_F61_there_are_thirty_of_them() -> None:
    assert len(set(HOSTILE)) == 30


@pytest.fixture
def nothing_elsewhere(apart: Apart) -> Iterator[None]:
    """What lies in the data folder's parent stays as it is, but for objects under names of our own."""

    def others() -> set[Path]:
        root = apart.archive.root.parent.parent
        mine = {apart.archive.path(name) for name in apart.archive.names()}
        return {path for path in root.rglob("*") if path.is_file()} - mine

    before = others()
    yield
    until(lambda: others() == before)
    for name in list(apart.archive.names()):
        apart.archive.remove(name)


@pytest.mark.parametrize("where", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.usefixtures("nothing_elsewhere")
def test_F61_a_uid_that_is_a_path_writes_nothing_elsewhere(apart: Apart, where: str) -> None:
    for uid in HOSTILE:
        data = encoded(image(**{where: uid}))
        named = {f"Affected{where}": uid} if where.startswith("SOP") else {}
        with associated(apart, *((sop_class, EXPLICIT) for sop_class in CONTEXTS.values())) as modality:
            said = answer(modality, *message(STORE, data, **named))
        # A NUL or space at the end pads (PS3.5 9.1), and pydicom takes a line's end for one.
        padded = where != "SOPClassUID" and is_uid(uid.rstrip("\0\n"))
        good = (0x0000,) if padded else (0xA900, 0xC000, 0x0122, None)
        assert said in good, uid
    assert apart.alive


@pytest.mark.usefixtures("nothing_elsewhere")
def test_F61_a_performed_step_whose_uid_is_a_path_writes_nothing_elsewhere(apart: Apart) -> None:
    for uid in HOSTILE:
        with associated(apart, *((sop_class, EXPLICIT) for sop_class in CONTEXTS.values())) as modality:
            assert answer(modality, *message(CREATE, encoded(Dataset()), AffectedSOPInstanceUID=uid)) != 0x0000
    assert apart.alive


@pytest.mark.parametrize("title", ["../../tmp/evil", "/etc/passwd", "..", "$(touch evil)", "a;touch evil"])
@pytest.mark.usefixtures("nothing_elsewhere")
def test_F61_a_title_that_is_a_path_writes_nothing_elsewhere(apart: Apart, title: str) -> None:
    with (
        associated(apart, (CT, EXPLICIT), title=title) as calling,
        associated(apart, (CT, EXPLICIT), called=title) as two,
    ):
        assert calling.is_rejected and two.is_rejected


# -- F62: preambles that are programs -----------------------------------------------------------------------------

PREAMBLES = {
    "MZ": b"MZ\x90\0" + bytes(56) + b"\x80\0\0\0",
    "ELF": b"\x7fELF\x02\x01\x01",
    "Mach-O": b"\xcf\xfa\xed\xfe\x07\0\0\x01",
    "universal Mach-O": b"\xca\xfe\xba\xbe\0\0\0\x02",
    "TIFF": b"II*\0\x08\0\0\0",
    "HTML": b"<script>alert(1)</script>",
}


@pytest.mark.parametrize("kind", PREAMBLES)
def test_F62_a_preamble_that_is_a_program_is_zeroed(tmp_path: Path, kind: str) -> None:
    archive = Archive(tmp_path / "archive")
    path = part10(archive.temporary(), image())
    whole = path.read_bytes()
    path.write_bytes(PREAMBLES[kind].ljust(128, b"\x90") + whole[128:])
    stored = archive.commit(path)
    assert archive.path(stored.name).read_bytes() == bytes(128) + whole[128:]


@pytest.mark.parametrize("kind", PREAMBLES)
def test_F62_a_whole_file_sent_as_a_data_set_is_c000(
    apart: Apart, modality: Association, tmp_path: Path, kind: str
) -> None:
    whole = part10(tmp_path / "a", image()).read_bytes()
    data = PREAMBLES[kind].ljust(128, b"\0") + whole[128:]
    assert answer(modality, *message(STORE, data)) == 0xC000
    until(lambda: apart.files == [])
