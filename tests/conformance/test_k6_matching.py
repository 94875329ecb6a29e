"""PS3.4 K.4.1.1.3, K.6.1.2 and C.2.2.2 over the wire: what each kind of key finds of three entries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom.association import Association

from bridge.domain.coding import Code
from bridge.domain.identity import Identifier
from bridge.domain.patient import PersonName
from tests.unit.dicom.support import MWL, FakeServices, asking, entry, serving
from tests.unit.dicom.worklist_cases import query_of

ENTRIES = [
    entry(accession_number="A1"),
    entry(accession_number="A2", patient_id="P2", patient_name=PersonName("Yamada^Tarou", "山田^太郎", "やまだ^たろう"),
          birth_date="19991231", sex="X", start_date="20250302", start_time="0900", modality="MR",
          station_ae_titles=("MR1",), study_instance_uid="1.2.3.2", patient_weight_kg="60", patient_state="ISOLATED",
          other_patient_ids=(Identifier("N88", "national"),),
          protocol_codes=(Code("P1", "99OTHER", ""), Code("P2", "99LOCAL", "")), step_description="KNEE " * 20),
    entry(accession_number="A3", patient_id="P3", patient_name=PersonName("MÜLLER^JÜRGEN"), start_date="20250303",
          start_time="1900", birth_date="", sex="", allergies=(), patient_weight_kg="", protocol_codes=(),
          performing_physician=PersonName("CURIE^MARIE"), station_ae_titles=("CT2",), other_patient_ids=()),
]  # fmt: skip
ALL = "A1 A2 A3"
STEP = 0x00400100
TITLE, DATE, TIME = (STEP, 0x00400001), (STEP, 0x00400002), (STEP, 0x00400003)
MODALITY, PERFORMER, DESCRIPTION = (STEP, 0x00080060), (STEP, 0x00400006), (STEP, 0x00400007)
PROTOCOL, SCHEME = (STEP, 0x00400008, 0x00080100), (STEP, 0x00400008, 0x00080102)
NAME, NUMBER, BORN, SEX, WEIGHT = (0x00100010,), (0x00100020,), (0x00100030,), (0x00100040,), (0x00101030,)
ISSUER, STATE, ALLERGIES, STUDY, ACCESSION = (0x00100021,), (0x00380500,), (0x00102110,), (0x0020000D,), (0x00080050,)
OTHER, OTHER_ISSUER = (0x00101002, 0x00100020), (0x00101002, 0x00100021)
OTHER_UID = (0x00101002, 0x00100024, 0x00400032)


@pytest.fixture(scope="module")
def modality(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Association]:
    services = FakeServices()
    services.worklist.entries = list(ENTRIES)
    with serving(tmp_path_factory.mktemp("k6"), services) as server, asking(server) as one:
        yield one


def find(modality: Association, request: Dataset) -> tuple[list[int], list[Dataset]]:
    request.SpecificCharacterSet = "ISO_IR 192"
    answers = list(modality.send_c_find(request, MWL))
    return [status.Status for status, _ in answers], [data for _, data in answers if data is not None]


def accessions(modality: Association, *keys: tuple[Any, str]) -> str:
    request = query_of(*keys)
    if ACCESSION[0] not in request:
        request.AccessionNumber = ""
    statuses, found = find(modality, request)
    assert set(statuses) <= {0xFF00, 0}
    return " ".join(str(data.AccessionNumber) for data in found)


def test_single_values(modality: Association) -> None:  # C.2.2.2.1
    assert accessions(modality, (NUMBER, "P2")) == "A2"
    assert accessions(modality, (NUMBER, "p2")) == ""
    assert accessions(modality, (MODALITY, "CT")) == "A1 A3"
    assert accessions(modality, (BORN, "19991231")) == "A2"


def test_any_of_several_stored_values(modality: Association) -> None:  # C.2.2.2.1
    assert accessions(modality, (TITLE, "CT2")) == "A1 A3"
    assert accessions(modality, (ALLERGIES, "IODINE")) == "A1 A2"


def test_any_of_several_values_asked_for(modality: Association) -> None:
    assert accessions(modality, (MODALITY, "MR\\US")) == "A2"


@pytest.mark.parametrize("uids", ["1.2.3.2", "1.9\\1.2.3.2"])
def test_a_list_of_uids(modality: Association, uids: str) -> None:  # C.2.2.2.2
    assert accessions(modality, (STUDY, uids)) == "A2"


@pytest.mark.parametrize("key", ["", "*", "**"])
@pytest.mark.parametrize(
    "path", [NAME, NUMBER, BORN, SEX, WEIGHT, STUDY, TITLE, DATE, TIME, MODALITY, PERFORMER, PROTOCOL, OTHER, STATE]
)
def test_a_universal_key_asks_for_everything_also_what_is_empty(modality: Association, path: Any, key: str) -> None:
    assert accessions(modality, (path, key)) == ALL  # C.2.2.2.3


@pytest.mark.parametrize("key", ["*^*", "*=*=*", "==", "^"])
def test_a_name_of_delimiters_alone_is_universal(modality: Association, key: str) -> None:
    assert accessions(modality, (NAME, key)) == ALL


def test_wild_cards(modality: Association) -> None:  # C.2.2.2.4
    assert accessions(modality, (ACCESSION, "A?")) == ALL
    assert accessions(modality, (TITLE, "?R*")) == "A2"
    assert accessions(modality, (STATE, "ISO*")) == "A2"
    assert accessions(modality, (STATE, "[IJ]SOLATED")) == ""


def test_ranges(modality: Association) -> None:  # C.2.2.2.5
    assert accessions(modality, (DATE, "20250302-")) == "A2 A3"
    assert accessions(modality, (DATE, "-20250302")) == "A1 A2"
    assert accessions(modality, (TIME, "0930-1030")) == "A1"
    assert accessions(modality, (BORN, "19700101-19991231")) == "A1 A2"


def test_two_ranges_of_start_are_one_interval(modality: Association) -> None:  # K.4.1.1.3
    assert accessions(modality, (DATE, "20250301-20250303"), (TIME, "1000-1200")) == "A1 A2"
    assert accessions(modality, (DATE, "20250301-20250303"), (TIME, "1100-2000")) == "A2 A3"


def test_a_single_day_and_a_range_of_times_are_two_tests(modality: Association) -> None:
    assert accessions(modality, (DATE, "20250302"), (TIME, "0800-1000")) == "A2"
    assert accessions(modality, (DATE, "20250302"), (TIME, "1000-1200")) == ""


@pytest.mark.parametrize("key", ["60", "60.0", "+60"])
def test_a_number_by_its_value(modality: Association, key: str) -> None:
    assert accessions(modality, (WEIGHT, key)) == "A2"


def test_all_keys_of_an_item_on_one_stored_item(modality: Association) -> None:  # C.2.2.2.6
    assert accessions(modality, (PROTOCOL, "P1"), (SCHEME, "99LOCAL")) == "A1"
    assert accessions(modality, (PROTOCOL, "P?"), (SCHEME, "99LOCAL")) == "A1 A2"
    assert accessions(modality, (PROTOCOL, "P1")) == "A1 A2"


def test_another_patient_id_with_its_issuer(modality: Association) -> None:
    assert accessions(modality, (OTHER, "N88"), (OTHER_ISSUER, "NAT")) == "A2"
    assert accessions(modality, (OTHER, "N88"), (OTHER_ISSUER, "HOSP")) == ""
    assert accessions(modality, (OTHER, "P3"), (OTHER_ISSUER, "HOSP")) == "A3"
    assert accessions(modality, (OTHER, "P3"), (OTHER_UID, "1.2.3.4")) == "A3"


def test_a_patient_id_with_its_issuer(modality: Association) -> None:
    assert accessions(modality, (NUMBER, "P2"), (ISSUER, "HOSP")) == "A2"
    assert accessions(modality, (NUMBER, "P2"), (ISSUER, "NAT")) == ""


@pytest.mark.parametrize(
    ("key", "found"),
    [("yamada*", "A2"), ("=山田*", "A2"), ("==やまだ*", "A2"), ("山田*", "A2"), ("=Yamada*", ""), ("muller*", "A3"),
     ("MÜLLER^JÜRGEN", "A3"), ("D?E^*", "A1")],
)  # fmt: skip
def test_names_in_all_groups(modality: Association, key: str, found: str) -> None:
    assert accessions(modality, (NAME, key)) == found


def test_what_is_not_known_satisfies_no_real_key(modality: Association) -> None:
    assert accessions(modality, (PERFORMER, "C*")) == "A3"
    assert accessions(modality, (SEX, "?")) == "A1"  # a sex that no device can be told is empty for it
    assert accessions(modality, (BORN, "-20251231")) == "A1 A2"


def test_a_text_is_found_as_it_is_told(modality: Association) -> None:
    told = ("KNEE " * 20)[:61].rstrip() + "..."
    assert accessions(modality, (DESCRIPTION, told)) == "A2"


@pytest.mark.parametrize(
    ("path", "key"),
    [(BORN, "2025????"), (DATE, "-"), (TIME, "25"), (WEIGHT, "heavy"), (WEIGHT, "6?"), (STUDY, "1.2.?"),
     (NUMBER, "9" * 257), (STATE, "x" * 257), (NAME, "x" * 777), (PROTOCOL, "x" * 65)],
)  # fmt: skip
def test_a_key_that_cannot_be_meant_is_a900_with_its_tag(modality: Association, path: Any, key: str) -> None:
    ((status, _),) = list(modality.send_c_find(query_of((path, key)), MWL))
    assert (status.Status, status.OffendingElement) == (0xA900, path[-1])
    assert len(status.ErrorComment) <= 64


@pytest.mark.parametrize("path", [PROTOCOL, OTHER, OTHER_UID], ids=["code", "other id", "nested"])
def test_two_items_in_a_sequence_are_a900(modality: Association, path: Any) -> None:
    request = query_of((path, "X"))
    item = request
    for tag in path[:-2]:
        item = item[tag].value[0]
    item[path[-2]].value = [Dataset(), Dataset()]
    ((status, _),) = list(modality.send_c_find(request, MWL))
    assert (status.Status, status.OffendingElement) == (0xA900, path[-2])


def test_a_refused_query_harms_no_other(modality: Association) -> None:
    list(modality.send_c_find(query_of((BORN, "never")), MWL))
    assert accessions(modality, (NUMBER, "P2")) == "A2"


@pytest.mark.parametrize("key", ["WHEELCHAIR", "*CHAIR"])
def test_a_key_of_what_is_not_held_is_ff01_and_narrows_nothing(modality: Association, key: str) -> None:  # K.4-1
    statuses, _ = find(modality, query_of(((0x00380050,), key)))
    assert statuses == [0xFF01] * 3 + [0]


def test_a_zone_in_the_query_is_no_key(modality: Association) -> None:
    statuses, _ = find(modality, query_of(((0x00080201,), "+0900")))
    assert statuses == [0xFF00] * 3 + [0]
