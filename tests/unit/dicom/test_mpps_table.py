"""PS3.4 Table F.7.2-1, row by row: what deviates, what is refused, and what only a strict site refuses."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.dicom import mpps
from bridge.dicom.mpps_table import FIXED, TABLE, Attributes, Row, Stage, date_of, deviations, time_of
from bridge.domain.performed import PerformedStatus
from bridge.errors import BadValue, MissingField
from tests.unit.dicom.test_dicom_mpps import DEFAULTS, UID, value

STRICT = DEFAULTS._replace(strict=True)
VALUES: dict[str, Any] = {"UI": "1.2.3.1", "DA": "20250301", "TM": "1031", "CS": "IN PROGRESS", "AE": "CT1"}
VALUES["PN"] = {"Alphabetic": "DOE"}
Path = tuple[Row, ...]


def paths(rows: tuple[Row, ...] = TABLE, above: Path = ()) -> Iterator[Path]:
    for row in rows:
        yield (*above, row)
        yield from paths(row.items, (*above, row))


PATHS = tuple(paths())
TOP = tuple(path for path in PATHS if len(path) == 1)


def whole(rows: tuple[Row, ...] = TABLE) -> Attributes:
    """A step that holds every attribute of the table."""
    return {row.tag: filled(row) for row in rows}


def filled(row: Row) -> dict[str, Any]:
    if row.vr == "SQ":
        return {"vr": "SQ", "Value": [whole(row.items) or {"00080100": value("SH", "X")}]}
    return {"vr": row.vr, "Value": [VALUES.get(row.vr, "1")]}


def at(attributes: Attributes, path: Path) -> Attributes:
    """The attributes that hold the path's last row."""
    for row in path[:-1]:
        attributes = attributes[row.tag]["Value"][0]
    return attributes


def named(path: Path) -> str:
    return ">".join(row.tag for row in path)


def without(path: Path) -> Attributes:
    attributes = copy.deepcopy(whole())
    del at(attributes, path)[path[-1].tag]
    return attributes


def emptied(path: Path) -> Attributes:
    attributes = copy.deepcopy(whole())
    at(attributes, path)[path[-1].tag] = {"vr": path[-1].vr}
    return attributes


def found(attributes: Attributes, stage: Stage = Stage.CREATED) -> list[tuple[str, str]]:
    return [(one.what, one.where.replace(",", "").strip("()")) for one in deviations(attributes, stage)]


def test_a_whole_step_deviates_in_nothing() -> None:
    assert found(whole()) == []
    assert mpps.create(UID, whole(), STRICT).deviates == ()


@pytest.mark.parametrize("path", PATHS, ids=named)
def test_what_is_missing_deviates_by_its_type(path: Path) -> None:
    expected = [("missing", path[-1].tag)] if path[-1].create in ("1", "2") else []
    assert found(without(path)) == expected


@pytest.mark.parametrize("path", PATHS, ids=named)
def test_what_is_empty_deviates_only_where_type_1(path: Path) -> None:
    expected = [("empty", path[-1].tag)] if path[-1].create == "1" else []
    assert found(emptied(path)) == expected


@pytest.mark.parametrize("path", [path for path in PATHS if path[-1].create in ("1", "2")], ids=named)
def test_a_strict_site_refuses_what_is_missing(path: Path) -> None:
    with pytest.raises(MissingField) as refused:
        mpps.create(UID, without(path), STRICT)
    assert (refused.value.code, refused.value.where) == ("missing-field", f"({path[-1].tag[:4]},{path[-1].tag[4:]})")


@pytest.mark.parametrize("path", [path for path in PATHS if path[-1].create == "1"], ids=named)
def test_a_strict_site_refuses_an_empty_type_1(path: Path) -> None:
    with pytest.raises(MissingField) as refused:
        mpps.create(UID, emptied(path), STRICT)
    assert refused.value.code == "missing-value"


@pytest.mark.parametrize("path", [path for path in PATHS if path[-1].create in ("1", "2")], ids=named)
def test_any_other_site_refuses_only_what_the_schedule_hangs_on(path: Path) -> None:
    if path[-1].vital:
        with pytest.raises(MissingField):
            mpps.create(UID, without(path), DEFAULTS)
    else:
        assert [one.where for one in mpps.create(UID, without(path), DEFAULTS).deviates] == [
            f"({path[-1].tag[:4]},{path[-1].tag[4:]})"
        ]


@pytest.mark.parametrize("path", [path for path in PATHS if path[-1].vr != "SQ"], ids=named)
def test_another_vr_is_told_and_refused_by_a_strict_site(path: Path) -> None:
    attributes = copy.deepcopy(whole())
    at(attributes, path)[path[-1].tag]["vr"] = "UN" if path[-1].vr != "UN" else "LO"
    assert found(attributes) == [("vr", path[-1].tag)]
    with pytest.raises(BadValue):
        mpps.create(UID, attributes, STRICT)


def test_a_long_code_value_stands_in_for_a_short_one() -> None:
    attributes = copy.deepcopy(whole())
    code = attributes["00081032"]["Value"][0]
    del code["00080100"]
    code["00080119"] = value("UC", "a code of more than sixteen characters")
    assert found(attributes) == []


@pytest.mark.parametrize("date", ["20251341", "20250229", "2025-03-01", "tomorrow", "250301", "2025030"])
def test_a_start_that_is_no_date_is_0106_everywhere(date: str) -> None:
    with pytest.raises(BadValue) as refused:
        mpps.create(UID, whole() | {"00400244": value("DA", date)}, DEFAULTS)
    assert refused.value.where == "(0040,0244)"


@pytest.mark.parametrize("time", ["2460", "9", "noon", "10-31", "1031.x"])
def test_a_start_that_is_no_time_is_0106_everywhere(time: str) -> None:
    with pytest.raises(BadValue):
        mpps.create(UID, whole() | {"00400245": value("TM", time)}, DEFAULTS)


@pytest.mark.parametrize(("told", "meant"), [("20250301", "20250301"), ("2025.03.01", "20250301"), ("20250299", "")])
def test_a_date_of_either_form(told: str, meant: str) -> None:
    assert date_of(told) == meant


@pytest.mark.parametrize(("told", "meant"), [
    ("10", "100000"), ("1031", "103100"), ("103107", "103107"), ("103160", "103160"), ("103107.123456", "103107"),
    ("10:31:07", "103107"), ("10:31", "103100"), ("25", ""), ("103", ""), ("10:31:", ""),
])  # fmt: skip
def test_a_time_of_either_form(told: str, meant: str) -> None:
    assert time_of(told) == meant


def test_an_end_that_is_no_date_is_taken_and_left_out() -> None:
    asked = {"00400252": value("CS", "COMPLETED"), "00400250": value("DA", "soon"), "00400251": value("TM", "1045"),
             "00400340": filled(next(row for row in TABLE if row.tag == "00400340"))}  # fmt: skip
    done = mpps.change(UID, PerformedStatus.IN_PROGRESS, whole(), asked, DEFAULTS)
    assert (done.step.end, [(one.what, one.where) for one in done.deviates]) == ("", [("value", "(0040,0250)")])


# -- N-SET --------------------------------------------------------------------------------------------------------


def end(**more: Any) -> dict[str, Any]:
    asked = {row.tag: filled(row) for row in TABLE if row.final == "1"}
    return {**asked, "00400252": value("CS", "COMPLETED"), **more}


def change(asked: Attributes, defaults: mpps.Defaults = STRICT) -> mpps.Change:
    created = {tag: element for tag, element in whole().items() if tag not in ("00400250", "00400251", "00400340")}
    return mpps.change(UID, PerformedStatus.IN_PROGRESS, created, asked, defaults)


def test_an_end_with_all_that_is_asked_deviates_in_nothing() -> None:
    assert change(end()).deviates == ()


@pytest.mark.parametrize("tag", ["00400250", "00400251", "00400340"])
def test_an_end_that_lacks_what_is_asked_is_refused_by_a_strict_site_only(tag: str) -> None:
    asked = {name: element for name, element in end().items() if name != tag}
    with pytest.raises(MissingField) as refused:
        change(asked)
    assert refused.value.code == "missing-field"
    assert change(asked, DEFAULTS).step.status is PerformedStatus.COMPLETED


def test_an_end_with_an_empty_list_of_series_is_0121_at_a_strict_site() -> None:
    with pytest.raises(MissingField) as refused:
        change(end(**{"00400340": {"vr": "SQ"}}))
    assert refused.value.code == "missing-value"


def test_a_step_that_goes_on_is_asked_for_nothing_of_its_end() -> None:
    assert change({"00400280": value("ST", "NEXT SERIES")}).deviates == ()


def test_a_series_without_a_uid_is_never_taken() -> None:
    with pytest.raises(MissingField):
        change({"00400340": {"vr": "SQ", "Value": [{"00181030": value("LO", "HEAD")}]}}, DEFAULTS)


@pytest.mark.parametrize("row", [row for row in TABLE if not row.settable], ids=lambda row: row.tag)
def test_what_stands_from_the_creation_on_is_not_changed(row: Row) -> None:
    other = {"vr": row.vr, "Value": [whole(row.items) | {"00080104": value("LO", "OTHER")}]} if row.vr == "SQ" else (
        {"vr": row.vr, "Value": [{"Alphabetic": "ROE"} if row.vr == "PN" else "2"]}
    )  # fmt: skip
    done = change({row.tag: other})
    assert (done.ignored, done.attributes[row.tag]) == ((f"({row.tag[:4]},{row.tag[4:]})",), whole()[row.tag])


def test_the_patient_the_step_and_the_start_stand() -> None:
    assert {"00100010", "00100020", "00400270", "00400253", "00400244", "00080060"} <= FIXED
    assert not {"00400252", "00400340", "00400281", "00400250"} & FIXED


def test_an_answer_to_n_get_tells_the_type_that_the_end_makes() -> None:
    told = {row.tag: row.get for row in TABLE}
    assert (told["00400253"], told["00400340"], told["00400280"]) == ("1", "2, 1 once ended", "3")
