"""Which character set answers: the device's row says, else its query, else the site."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from bridge.config import Dicom, DicomPeer
from bridge.dicom.charset import chosen
from bridge.domain.patient import PersonName
from tests.unit.dicom.support import MWL, FakeServices, associated, entry, serving

IMPLICIT = "1.2.840.10008.1.2"
SITE = Dicom(
    character_set="ISO_IR 101",
    peer=(DicomPeer(ae_title="OLD", character_set="ISO_IR 100"), DicomPeer(ae_title="NEW")),
    unknown_peers=frozenset({"worklist"}),
)


def query(*character_set: str) -> Dataset:
    data = Dataset()
    if character_set:
        data.SpecificCharacterSet = list(character_set)
    return data


def test_the_one_that_the_row_names_stands_whatever_a_query_says() -> None:
    assert chosen(SITE.peer_of("OLD"), query("ISO_IR 192")) == "ISO_IR 100"


@pytest.mark.parametrize("title", ["NEW", "STRANGER"])
@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (("ISO_IR 192",), "ISO_IR 192"),
        (("ISO_IR 144 ",), "ISO_IR 144"),
        (("", "ISO 2022 IR 87"), "\\ISO 2022 IR 87"),
        (("ISO 2022 IR 6", "ISO 2022 IR 87"), "ISO 2022 IR 6\\ISO 2022 IR 87"),
        (("GB18030",), "GB18030"),
    ],
)
def test_without_one_in_the_row_the_querys_own_is_taken(title: str, asked: tuple[str, ...], answered: str) -> None:
    assert chosen(SITE.peer_of(title), query(*asked)) == answered


@pytest.mark.parametrize(
    "asked",
    [(), ("",), ("ISO_IR 6",), ("ISO 2022 IR 6",), ("KLINGON",), ("ISO 2022 IR 87",), ("ISO_IR 192", "ISO_IR 100")],
    ids=str,
)
def test_one_that_says_nothing_or_cannot_be_written_is_the_sites(asked: tuple[str, ...]) -> None:
    assert chosen(SITE.peer_of("NEW"), query(*asked)) == "ISO_IR 101"


def test_a_site_that_sets_nothing_answers_in_utf8() -> None:
    assert chosen(Dicom().peer_of("ANY"), query()) == "ISO_IR 192"


@pytest.mark.parametrize(("row", "answered"), [({}, "ISO_IR 100"), ({"character_set": "ISO_IR 192"}, "ISO_IR 192")])
def test_over_the_wire_a_query_in_latin_1_is_answered_so(tmp_path: Path, row: dict[str, str], answered: str) -> None:
    services = FakeServices()
    services.worklist.entries = [entry(patient_name=PersonName("MÜLLER^JÜRGEN"))]
    peer = DicomPeer.model_validate({"ae_title": "CT1", **row})
    request = query("ISO_IR 100")
    request.PatientName = "Müller*"
    with serving(tmp_path, services, peer=(peer,)) as server, associated(server, (MWL, IMPLICIT)) as modality:
        (_, found), _ = list(modality.send_c_find(request, MWL))
    assert (found.SpecificCharacterSet, str(found.PatientName)) == (answered, "MÜLLER^JÜRGEN")
