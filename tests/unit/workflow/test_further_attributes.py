"""What a site's mapping hands on to devices that ask for it: from the message to the answer."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from bridge import app
from bridge.dicom.query import response
from bridge.domain.identity import Issuers
from bridge.hl7.message import Message
from bridge.hl7.read import read_message
from tests.unit.workflow.house import House

HEAD = "MSH|^~\\&|RIS|NORTH|BRIDGE|IB|{time}||ORM^O01|{time}|P|2.5.1"
ORDER = """PID|1||4711^^^HOSP||DOE^JANE||{birth}|F|||||||{language}
PV1|1|I||||||||||||||||V1^^^HOSP
PV2|||{reason}
ORC|NW|P1^EHR|F1^RIS||SC|||||{entered}|||WARD 7|555-17|||NORTH^North hospital|||||1 Long Road^^Town
OBR|1|P1^EHR|F1^RIS|CTH^CT head^L||{issued}||||||||||||A1||||||CT|||1^once^^20261126093000^^S|{copies}
"""
SAID = {
    "birth": "19800101041500", "language": "de^German^ISO639", "reason": "R07^Chest pain^I10",
    "entered": "77^CLERK^ANNA", "copies": "9^COPY^CARL", "issued": "20261124101500",
}  # fmt: skip


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def send(house: House, time: str = "20261125110000", **said: str) -> list[str]:
    """The order at a time, and what its sender is told."""
    text = "\r".join([HEAD.format(time=time), *ORDER.format(**{**SAID, **said}).splitlines()])
    reading = read_message(Message.read(text.encode()), app.load_mappings(house.settings))
    return house.send(reading, raw=text.encode(), control=time)[1]


def asked(house: House, *tags: int) -> Dataset:
    request = Dataset()
    for tag in tags:
        request.add_new(tag, "LO", "")
    (entry,) = house.worklist()
    return response(entry, request, "ISO_IR 192", Issuers(()))


@pytest.mark.parametrize(
    ("tag", "told"),
    [
        (0x00402008, "CLERK^ANNA"),
        (0x00402009, "WARD 7"),
        (0x00402010, "555-17"),
        (0x00402004, "20261124"),
        (0x00402005, "101500"),
        (0x00401010, "COPY^CARL"),
        (0x00100032, "041500"),
        (0x00080080, "North hospital"),
        (0x00080081, "1 Long Road Town"),
        (0x00321066, "Chest pain"),
    ],
)
def test_a_device_that_asks_is_told(house: House, tag: int, told: str) -> None:
    send(house)
    assert str(asked(house, tag)[tag].value) == told


@pytest.mark.parametrize(("tag", "code"), [(0x00100101, "de"), (0x00321067, "R07"), (0x00080082, "NORTH")])
def test_a_code_is_told_as_one_item(house: House, tag: int, code: str) -> None:
    send(house)
    (item,) = asked(house, tag)[tag].value
    assert item.CodeValue == code


def test_a_device_that_does_not_ask_is_told_nothing_of_it(house: House) -> None:
    send(house)
    assert set(asked(house, 0x00100010).keys()) <= {0x00080005, 0x00100010}


def test_what_no_message_tells_is_left_out(house: House) -> None:
    send(house, entered="")
    assert 0x00402008 not in asked(house, 0x00402008)


def test_a_birth_date_without_a_time_tells_no_midnight(house: House) -> None:
    send(house, birth="19800101")
    assert 0x00100032 not in asked(house, 0x00100032)


def test_an_empty_field_keeps_and_another_takes_its_place(house: House) -> None:
    send(house)
    send(house, "20261125120000", entered="", copies="8^OTHER^OLGA")
    answer = asked(house, 0x00402008, 0x00401010)
    assert (str(answer[0x00402008].value), str(answer[0x00401010].value)) == ("CLERK^ANNA", "OTHER^OLGA")


def test_the_null_makes_it_empty(house: House) -> None:
    send(house)
    send(house, "20261125120000", entered='""')
    answer = asked(house, 0x00402008)
    assert 0x00402008 in answer and not answer[0x00402008].value


@pytest.mark.parametrize("arrival", list(itertools.permutations(range(3))))
def test_the_order_of_arrival_changes_nothing(house: House, arrival: tuple[int, ...]) -> None:
    messages = [
        ("20261125110000", {}),
        ("20261125120000", {"entered": '""', "copies": ""}),
        ("20261125130000", {"entered": "", "reason": "J18^Pneumonia^I10"}),
    ]
    for place in arrival:
        time, said = messages[place]
        send(house, time, **said)
    answer = asked(house, 0x00402008, 0x00401010, 0x00321066)
    told = [str(answer[tag].value or "") for tag in (0x00402008, 0x00401010, 0x00321066)]
    assert told == ["", "COPY^CARL", "Pneumonia"]


def test_a_value_that_cannot_be_used_is_left_out_with_a_warning(house: House) -> None:
    assert any("OBR-6" in word for word in send(house, issued="soon"))
    assert 0x00402004 not in asked(house, 0x00402004)
