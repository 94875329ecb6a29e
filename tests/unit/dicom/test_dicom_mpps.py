"""Performed procedure steps: what N-CREATE must hold, and what N-SET may change (PS3.4 Table F.7.2-1)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from bridge.dicom import mpps
from bridge.domain.coding import Code
from bridge.domain.identity import Issuer, Issuers
from bridge.domain.performed import ListedInstance, PerformedStatus, ScheduledReference
from bridge.errors import BadValue, MissingField, StateConflict

DEFAULTS = mpps.Defaults("HOSP", "HOSP", Issuers([Issuer("hospital", "HOSP")]))
UID = "1.2.3.7"
IMAGES = {"vr": "SQ", "Value": [{"00081150": {"Value": ["1.2.840.10008.5.1.4.1.1.2"]}, "00081155": {"Value": ["1.5"]}}]}
REPORTS = {"vr": "SQ", "Value": [{"00081155": {"Value": ["1.6"]}}, {"00081150": {"Value": ["1.2.840.10008.1"]}}]}
SERIES = {
    "vr": "SQ",
    "Value": [{"0020000E": {"vr": "UI", "Value": ["1.2.5"]}, "00081140": IMAGES, "00400220": REPORTS}],
}
CREATED: dict[str, Any] = {
    "00080060": {"vr": "CS", "Value": ["CT"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "DOE^JANE"}]},
    "00100020": {"vr": "LO", "Value": ["P100"]},
    "00400241": {"vr": "AE", "Value": ["CT1"]},
    "00400244": {"vr": "DA", "Value": ["20250301"]},
    "00400245": {"vr": "TM", "Value": ["1031"]},
    "00400252": {"vr": "CS", "Value": ["IN PROGRESS"]},
    "00400253": {"vr": "SH", "Value": ["PPS1"]},
    "00400270": {
        "vr": "SQ",
        "Value": [
            {
                "0020000D": {"vr": "UI", "Value": ["1.2.3.1"]},
                "00080050": {"vr": "SH", "Value": ["ACC1"]},
                "00401001": {"vr": "SH", "Value": ["RP1"]},
                "00400009": {"vr": "SH", "Value": ["SPS1"]},
            }
        ],
    },
}


def created(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(CREATED) | changes


def value(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def change(asked: dict[str, Any], current: PerformedStatus = PerformedStatus.IN_PROGRESS) -> mpps.Change:
    return mpps.change(UID, current, created(), asked, DEFAULTS)


def test_a_new_step_tells_what_it_belongs_to() -> None:
    step = mpps.create(UID, created(), DEFAULTS).step
    assert step.scheduled == (ScheduledReference("1.2.3.1", "ACC1", "hospital", "RP1", "SPS1"),)
    assert (step.start, step.modality, step.station_ae_title) == ("20250301103100", "CT", "CT1")
    assert (step.patient_id, step.patient_issuer) == ("P100", "hospital")


def test_a_group_names_the_study_that_was_planned_for_each_of_its_steps() -> None:
    def item(*planned: str) -> dict[str, Any]:
        studies = value("SQ", *({"00081155": value("UI", uid)} for uid in planned))
        return {"0020000D": value("UI", "1.2.9"), "00400009": value("SH", "S1"), "00081110": studies}

    scheduled = value("SQ", item("1.2.3"), item("1.2.9"), item("1.2.3", "1.2.4"), item())
    step = mpps.create(UID, created(**{"00400270": scheduled}), DEFAULTS).step
    assert [one.original_study_uid for one in step.scheduled] == ["1.2.3", "", "", ""]


@pytest.mark.parametrize("tag", ["00400270", "00400253", "00400241", "00400244", "00400245", "00400252", "00080060"])
def test_a_missing_type_1_attribute_is_refused(tag: str) -> None:
    attributes = created()
    del attributes[tag]
    with pytest.raises(MissingField) as refused:
        mpps.create(UID, attributes, DEFAULTS)
    assert refused.value.code == "missing-field"


@pytest.mark.parametrize("tag", ["00400270", "00400253", "00400241", "00400244", "00400245", "00400252", "00080060"])
def test_an_empty_type_1_attribute_is_refused(tag: str) -> None:
    with pytest.raises(MissingField) as refused:
        mpps.create(UID, created(**{tag: {"vr": CREATED[tag]["vr"]}}), DEFAULTS)
    assert refused.value.code == "missing-value"


@pytest.mark.parametrize("status", ["COMPLETED", "DISCONTINUED", "STARTED", "in progress"])
def test_a_new_step_must_be_in_progress(status: str) -> None:
    with pytest.raises(BadValue):
        mpps.create(UID, created(**{"00400252": value("CS", status)}), DEFAULTS)


def test_a_scheduled_item_needs_its_study() -> None:
    with pytest.raises(MissingField):
        mpps.create(UID, created(**{"00400270": value("SQ", {"00400009": value("SH", "S1")})}), DEFAULTS)


def test_absent_type_2_attributes_are_taken() -> None:
    attributes = created()
    del attributes["00100020"]
    assert mpps.create(UID, attributes, DEFAULTS).step.patient_id == ""


def test_a_step_uid_that_is_none_is_refused() -> None:
    with pytest.raises(BadValue) as refused:
        mpps.create("../1.2", created(), DEFAULTS)
    assert refused.value.code == "bad-uid"


def test_a_set_completes_the_step() -> None:
    done = change({"00400252": value("CS", "COMPLETED"), "00400250": value("DA", "20250301"),
                   "00400251": value("TM", "1045"), "00400340": SERIES})  # fmt: skip
    assert (done.step.status, done.step.end) == (PerformedStatus.COMPLETED, "20250301104500")
    assert done.step.series_instance_uids == ("1.2.5",)
    assert done.step.instances == (ListedInstance("1.5", "1.2.840.10008.5.1.4.1.1.2"), ListedInstance("1.6"))


def test_a_set_without_status_leaves_it() -> None:
    assert change({"00400340": SERIES}).step.status is PerformedStatus.IN_PROGRESS


def test_a_set_replaces_a_sequence_whole() -> None:
    other = value("SQ", {"0020000E": value("UI", "1.2.6")})
    first = change({"00400340": SERIES}).attributes
    second = mpps.change(UID, PerformedStatus.IN_PROGRESS, first, {"00400340": other}, DEFAULTS)
    assert second.step.series_instance_uids == ("1.2.6",)


@pytest.mark.parametrize("final", [PerformedStatus.COMPLETED, PerformedStatus.DISCONTINUED])
def test_a_final_step_takes_no_change(final: PerformedStatus) -> None:
    with pytest.raises(StateConflict):
        change({"00400280": value("ST", "LATE")}, final)


def test_a_set_to_no_known_status_is_refused() -> None:
    with pytest.raises(BadValue):
        change({"00400252": value("CS", "FINISHED")})


def test_a_completion_without_series_and_end_is_taken_and_named() -> None:
    done = change({"00400252": value("CS", "COMPLETED")})
    assert done.step.status is PerformedStatus.COMPLETED
    assert [(one.what, one.where) for one in done.deviates] == [
        ("missing", "(0040,0250)"), ("missing", "(0040,0251)"), ("missing", "(0040,0340)"),
    ]  # fmt: skip


def test_a_set_never_changes_the_patient() -> None:
    done = change({"00100020": value("LO", "P999")})
    assert (done.step.patient_id, done.ignored) == ("P100", ("(0010,0020)",))


def test_a_set_that_repeats_what_was_created_is_no_fault() -> None:
    assert change(created()).ignored == ()


def test_every_reason_of_a_discontinuation_is_read_with_its_scheme() -> None:
    given = (("X1", "99A"), ("110514", "DCM"))
    reason = value("SQ", *({"00080100": value("SH", c), "00080102": value("SH", scheme)} for c, scheme in given))
    done = change({"00400252": value("CS", "DISCONTINUED"), "00400281": reason})
    assert done.step.discontinuation == (Code("X1", "99A"), Code("110514", "DCM"))
