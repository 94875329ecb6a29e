"""The pretend RIS's messages, read back by a splitter of our own."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.sandbox.ris import (
    DemoOrder,
    DemoPatient,
    adt_a04,
    adt_a08,
    adt_a40,
    cancel,
    change,
    escape,
    late_order,
    omi_o23,
    orm_o01,
)

WHEN = datetime(2026, 11, 25, 8, 15, tzinfo=UTC)


def read(raw: bytes) -> dict[str, list[str]]:
    """Segments by name, fields by number (MSH shifted so that numbers fit)."""
    text = raw.decode("utf-8")
    assert text.endswith("\r")
    assert "\n" not in text
    found = {}
    for line in text.rstrip("\r").split("\r"):
        fields = line.split("|")
        found[fields[0]] = ["MSH", "|", *fields[1:]] if fields[0] == "MSH" else fields
    return found


def unescape(text: str) -> str:
    words = {"F": "|", "S": "^", "T": "&", "R": "~", "E": "\\", ".br": "\n"}
    return re.sub(r"\\(F|S|T|R|E|\.br)\\", lambda m: words[m[1]], text)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r"), max_size=60))
def test_escaped_text_has_no_separator_and_comes_back(text: str) -> None:
    assert not set(escape(text)) & set("|^&~\r\n")
    assert unescape(escape(text)) == text


def test_header_says_utf_8_version_and_type(patient: DemoPatient) -> None:
    msh = read(adt_a04(patient, WHEN, "C1"))["MSH"]
    assert msh[2:3] + msh[7:8] + msh[9:13] + msh[18:19] == [
        "^~\\&", "20261125081500+0000", "ADT^A04^ADT_A01", "C1", "P", "2.5.1", "UNICODE UTF-8",
    ]  # fmt: skip


def test_registration_identifies_the_patient(patient: DemoPatient) -> None:
    pid = read(adt_a04(patient, WHEN, "C1"))["PID"]
    number = pid[3].split("^")
    assert (number[0], number[3].split("&")[1:], number[4]) == ("100234", [patient.authority.oid, "ISO"], "MR")
    assert [unescape(part) for part in pid[5].split("^")][:3] == ["O'Brien & Sons^Jr", "Amara", "N"]
    assert pid[5].split("^")[6] == "L"
    assert pid[7:9] == ["19680412", "F"]


def test_name_in_three_scripts_is_three_repetitions() -> None:
    yamada = DemoPatient(
        "1", "Yamada", "Tarou", date(1990, 1, 30), "M", ideographic=("山田", "太郎"), phonetic=("やまだ", "たろう")
    )
    names = read(adt_a08(yamada, WHEN, "C1"))["PID"][5].split("~")
    assert [n.split("^")[7] for n in names] == ["A", "I", "P"]
    assert names[1].split("^")[:2] == ["山田", "太郎"]


def test_visit_number_stands_in_pv1_else_an_account_in_pid(patient: DemoPatient) -> None:
    without, with_visit = read(adt_a04(patient, WHEN, "C")), read(adt_a04(replace(patient, visit="V7"), WHEN, "C"))
    assert without["PID"][18].startswith("ACC100234^")
    assert with_visit["PV1"][19].startswith("V7^")


def test_merge_names_the_prior_number(patient: DemoPatient) -> None:
    prior = replace(patient, mrn="999", family="Smith")
    message = read(adt_a40(patient, prior, WHEN, "C1"))
    assert message["MSH"][9] == "ADT^A40^ADT_A39"
    assert message["PID"][3].startswith("100234^")
    assert message["MRG"][1].startswith("999^")


def test_orm_carries_the_study_uid_in_zds(order: DemoOrder) -> None:
    message = read(orm_o01(order, WHEN, "C1"))
    assert list(message) == ["MSH", "PID", "PV1", "ORC", "OBR", "ZDS"]
    assert (message["MSH"][9], message["MSH"][12]) == ("ORM^O01", "2.3.1")
    assert message["ZDS"][1] == "2.25.4711^100^Application^DICOM"


def test_orm_carries_the_worklist_in_obr(order: DemoOrder) -> None:
    message = read(orm_o01(order, WHEN, "C1"))
    orc, obr = message["ORC"], message["OBR"]
    assert [orc[1], orc[2].split("^")[0], orc[3].split("^")[0], orc[5]] == ["NW", "P1001", "F1001", "SC"]
    assert orc[7].split("^")[3] == "20261125093000"
    assert [unescape(p) for p in obr[4].split("^")] == [
        "CTCH", "CT chest | contrast", "L", "CTCH1", "Chest\\standard", "L",
    ]  # fmt: skip
    assert [*obr[18:21], obr[24]] == ["A26112501", "RP1", "SPS1", "CT"]
    assert unescape(obr[31]) == "^line one\nline two"


def test_omi_carries_the_worklist_in_ipc_and_the_time_in_tq1(order: DemoOrder) -> None:
    message = read(omi_o23(order, WHEN, "C1"))
    assert list(message) == ["MSH", "PID", "PV1", "ORC", "TQ1", "OBR", "IPC"]
    ipc = [field.split("^")[0] for field in message["IPC"]]
    assert ipc[1:] == ["A26112501", "RP1", "2.25.4711", "SPS1", "CT", "CTCH1", "CT-A", "Room 1", "CT1"]
    assert message["TQ1"][7] == "20261125093000"
    assert message["ORC"][7] == ""


@pytest.mark.parametrize("version", ["2.3.1", "2.5.1"])
@pytest.mark.parametrize(
    ("build", "control", "status"), [(cancel, "CA", "CA"), (change, "XO", "SC"), (late_order, "NW", "SC")]
)
def test_order_control_and_status(order: DemoOrder, build: object, control: str, status: str, version: str) -> None:
    assert callable(build)
    message = read(build(order, WHEN, "C1", version))
    assert (message["ORC"][1], message["ORC"][5], message["MSH"][12]) == (control, status, version)


def test_late_order_names_the_study_that_is_already_there(order: DemoOrder) -> None:
    message = read(late_order(replace(order, study_uid="1.2.840.99"), WHEN, "C1"))
    assert message["ZDS"][1].split("^")[0] == "1.2.840.99"
