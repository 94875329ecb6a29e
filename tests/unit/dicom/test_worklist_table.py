"""The table of the worklist's attributes: every row by every kind of key, and the two halves of it that must agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset

from bridge.dicom.header import read_data_set
from bridge.dicom.model import KEY_TAGS, STEP, TOP, Row, lines
from bridge.dicom.query import read_query, response
from bridge.domain.keys import Items, Kind
from bridge.domain.worklist import Matcher, Telling, WorklistEntry, WorklistKeys
from bridge.domain.worklist_attributes import ATTRIBUTES
from bridge.errors import BadValue
from tests.unit.dicom.support import encoded
from tests.unit.dicom.worklist_cases import FULL, ISSUERS, KeyCase, Path, empty, held, key_cases, query_of

IMPLICIT = "1.2.840.10008.1.2"
ROWS = {**TOP, **STEP}


def finds(data: Dataset, of: WorklistEntry = FULL) -> bool:
    """Whether an identifier, sent and read, finds the entry."""
    data.SpecificCharacterSet = "ISO_IR 192"
    read = read_query(read_data_set(encoded(data, implicit=True), IMPLICIT), ISSUERS)
    assert not read.warn
    return Matcher(read.keys, Telling(ISSUERS)).matches(of)


def name(case: KeyCase | Path) -> str:
    path = case.path if isinstance(case, KeyCase) else case
    told = ">".join(keyword_for_tag(tag) for tag in path if tag != 0x00400100)
    return f"{told}={case.value!r}" if isinstance(case, KeyCase) else told


@pytest.mark.parametrize("case", list(key_cases()), ids=name)
def test_a_key_of_each_kind_finds_by_its_rule(case: KeyCase) -> None:
    assert finds(query_of((case.path, case.value))) is case.finds


def sequence_paths() -> list[Path]:
    return [path for path, _, kind, _ in held() if not isinstance(kind, Kind)]


@pytest.mark.parametrize("path", sequence_paths(), ids=name)
def test_a_sequence_key_with_an_empty_item_asks_for_everything(path: Path) -> None:
    data = query_of(((*path, 0x00080000), "x"))
    item = data
    for tag in path:
        item = item[tag].value[0]
    item.clear()
    assert finds(data) and finds(data, empty(KEY_NAMES[path[-1] if path[-1] in KEY_NAMES else path[-2]]))


KEY_NAMES = {tag: key for key, tag in KEY_TAGS.items()}
REAL = [case for case in key_cases() if case.finds and case.value.strip("*^=\\ ")]


@pytest.mark.parametrize("case", [case for case in REAL if "*\\" not in case.value], ids=name)
def test_a_value_that_is_not_known_satisfies_no_real_key(case: KeyCase) -> None:
    top = next(tag for tag in case.path if tag in KEY_NAMES)
    if KEY_NAMES[top] == "step_status":
        pytest.skip("a step without a status is told as SCHEDULED")
    if all(text.strip("*^= ") == "" for text in case.value.split("=")):
        return
    assert not finds(query_of((case.path, case.value)), empty(KEY_NAMES[top]))


@pytest.mark.parametrize("path", sequence_paths(), ids=name)
def test_two_items_in_a_sequence_key_are_refused_by_its_tag(path: Path) -> None:
    data = query_of(((*path, 0x00080000), "x"))
    item = data
    for tag in path[:-1]:
        item = item[tag].value[0]
    item[path[-1]].value = [Dataset(), Dataset()]
    with pytest.raises(BadValue) as refused:
        read_query(data, ISSUERS)
    assert refused.value.where == f"({path[-1] >> 16:04X},{path[-1] & 0xFFFF:04X})"


def not_held(rows: Any, *before: int) -> Iterator[Path]:
    for tag, row in rows.items():
        if row.vr != "SQ" and row.match and (row.match == "-" or not row.name):
            yield (*before, tag)
        elif row.match:
            yield from not_held(row.items, *before, tag)


NOT_HELD = [*not_held(TOP), *not_held(STEP, 0x00400100)]


@pytest.mark.parametrize("path", NOT_HELD, ids=name)
@pytest.mark.parametrize("value", ["20250101", "anything at all", "9" * 4000])
def test_a_key_of_what_the_bridge_does_not_hold_warns_and_narrows_nothing(path: Path, value: str) -> None:
    read = read_query(query_of((path, value)), ISSUERS)
    assert read.warn and read.keys == WorklistKeys()


@pytest.mark.parametrize("path", NOT_HELD, ids=name)
@pytest.mark.parametrize("value", ["", "*", "**"])
def test_a_universal_key_of_it_warns_of_nothing(path: Path, value: str) -> None:
    assert not read_query(query_of((path, value)), ISSUERS).warn


@pytest.mark.parametrize("tag", [tag for tag, row in ROWS.items() if row.vr == "SQ" and not row.name], ids=hex)
def test_a_value_in_a_sequence_that_the_bridge_does_not_hold_warns(tag: int) -> None:
    before = (0x00400100,) if tag in STEP else ()
    read = read_query(query_of(((*before, tag, 0x00080100), "X")), ISSUERS)
    assert read.warn and read.keys == WorklistKeys()


# -- the two halves -----------------------------------------------------------------------------------------------


def test_every_key_has_a_row_and_every_row_its_attribute() -> None:
    assert set(KEY_TAGS) == set(ATTRIBUTES) == {key.name for key in fields(WorklistKeys)} - {"fuzzy"}


def parts(rows: Any, items: Items) -> Iterator[tuple[set[str], set[str]]]:
    yield {row.name for row in rows.values() if row.name and row.match != "-"}, set(items)
    for row in rows.values():
        inner = items.get(row.name)
        if inner is not None and not isinstance(inner, Kind):
            yield from parts(row.items, inner)


@pytest.mark.parametrize("key", [key for key, one in ATTRIBUTES.items() if one.items], ids=str)
def test_every_part_of_a_sequence_has_a_row(key: str) -> None:
    for rows, items in parts(ROWS[KEY_TAGS[key]].items, ATTRIBUTES[key].items or {}):
        assert rows == items


@pytest.mark.parametrize("line", list(lines()), ids=lambda line: f"{line.tag:08X}")
def test_every_row_has_the_vr_of_the_dictionary(line: Any) -> None:
    assert dictionary_has_tag(line.tag) and line.row.vr == dictionary_VR(line.tag)


def test_what_table_k6_1_requires_is_matched() -> None:
    required = {tag for tag, row in ROWS.items() if row.match == "R"}
    assert required == {0x00100010, 0x00100020, 0x00400001, 0x00400002, 0x00400003, 0x00400006, 0x00080060}


def test_the_whole_table_is_listed_once() -> None:
    assert len([line for line in lines() if line.depth < 2]) >= len(TOP) + len(STEP) + 1


def everything(rows: Any) -> Dataset:
    data = Dataset()
    for tag, row in rows.items():
        data.add_new(tag, row.vr, [] if row.vr == "SQ" else None)
    return data


def test_every_attribute_that_is_held_is_answered_when_known() -> None:
    asked = everything(TOP)
    asked.ScheduledProcedureStepSequence = [everything(STEP)]
    found = response(FULL, asked, "ISO_IR 192", ISSUERS)
    (step,) = found.ScheduledProcedureStepSequence
    for rows, data in ((TOP, found), (STEP, step)):
        missing = [f"{tag:08X}" for tag, row in rows.items() if row.name and not data.get(tag)]
        assert not missing


@pytest.mark.parametrize(("tag", "row"), ROWS.items(), ids=lambda one: f"{one:08X}" if isinstance(one, int) else "")
def test_an_attribute_that_is_not_known_is_answered_by_its_type(tag: int, row: Row) -> None:
    of = empty(row.name) if row.name else FULL
    data = response(of, everything({tag: row}), "ISO_IR 192", ISSUERS) if tag in TOP else of_step(of, tag, row)
    if row.name in ("step_status", "requested_procedure_description", "step_description"):
        return  # always known
    assert (tag in data) is row.required
    if tag in data:
        assert not data[tag].value


def of_step(of: WorklistEntry, tag: int, row: Row) -> Dataset:
    asked = Dataset()
    asked.ScheduledProcedureStepSequence = [everything({tag: row})]
    found = response(of, asked, "ISO_IR 192", ISSUERS)
    return found.ScheduledProcedureStepSequence[0]  # type: ignore[no-any-return]
