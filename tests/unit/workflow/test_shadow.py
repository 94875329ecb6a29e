"""Two worklists side by side."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.workflow.shadow import Entry, compare

STEP = "ScheduledProcedureStepSequence."


def entry(accession: str = "A1", step: str = "S1", **more: str) -> dict[str, str]:
    plain = {"PatientName": "DOE^JANE", "PatientID": "1001", "StudyInstanceUID": "1.2.3"}
    found = {**plain, "AccessionNumber": accession, f"{STEP}ScheduledProcedureStepID": step, f"{STEP}Modality": "CT"}
    return {key: value for key, value in {**found, **more}.items() if value}


def test_equal_worklists_agree() -> None:
    found = compare([entry(), entry("A2")], [entry("A2"), entry()])
    assert found.agrees and found.same == 2


def test_an_entry_that_only_the_old_one_shows() -> None:
    found = compare([entry(), entry("A2", StudyInstanceUID="1.2.4", PatientID="7")], [entry()])
    assert [one["AccessionNumber"] for one in found.only_old] == ["A2"]


def test_an_entry_that_only_ours_shows() -> None:
    found = compare([], [entry()])
    assert len(found.only_ours) == 1 and not found.agrees


def test_an_attribute_that_differs_is_told_with_both_values() -> None:
    (one,) = compare([entry(PatientName="DOE^JANE^M")], [entry()]).different
    assert one.attributes == {"PatientName": ("DOE^JANE^M", "DOE^JANE")}


def test_a_value_that_ours_lacks_differs() -> None:
    (one,) = compare([entry(PatientSex="F")], [entry()]).different
    assert one.attributes == {"PatientSex": ("F", "")}


def test_steps_with_other_ids_are_the_same_step_when_the_accession_and_the_modality_are_theirs_alone() -> None:
    (one,) = compare([entry(step="OLD")], [entry(step="NEW")]).different
    assert list(one.attributes) == [f"{STEP}ScheduledProcedureStepID"]


def test_two_steps_under_one_accession_with_other_ids_are_not_guessed_at() -> None:
    old = [entry(step="X1", StudyInstanceUID="", PatientID=""), entry(step="X2", StudyInstanceUID="", PatientID="")]
    found = compare(old, [entry(step="S1"), entry(step="S2")])
    assert (len(found.only_old), len(found.only_ours)) == (2, 2)


def test_an_order_without_an_accession_is_known_by_its_patient_and_time() -> None:
    when = {f"{STEP}ScheduledProcedureStepStartDate": "20261126", f"{STEP}ScheduledProcedureStepStartTime": "093000"}
    old = entry("", "", StudyInstanceUID="1.9.9", **when)
    assert len(compare([old], [entry("", "", **when)]).different) == 1


def test_a_time_without_seconds_and_an_empty_tail_of_a_name_are_no_difference() -> None:
    time = f"{STEP}ScheduledProcedureStepStartTime"
    old, ours = entry(PatientName="DOE^JANE^^^", **{time: "0930"}), entry(PatientName="DOE^JANE", **{time: "093000"})
    assert compare([old], [ours]).agrees


def test_an_unknown_pregnancy_is_no_difference_to_an_untold_one() -> None:
    assert compare([entry(PregnancyStatus="4")], [entry()]).agrees
    assert not compare([entry(PregnancyStatus="3")], [entry()]).agrees


def test_the_character_set_is_no_difference() -> None:
    assert compare([entry(SpecificCharacterSet="ISO_IR 100")], [entry(SpecificCharacterSet="ISO_IR 192")]).agrees


def test_what_the_old_one_never_tells_is_counted_and_no_difference() -> None:
    found = compare([entry(), entry("A2")], [entry(Allergies="NUT"), entry("A2", Allergies="NUT")])
    assert found.agrees and found.untold == {"Allergies": 2}


NAMES = ("AccessionNumber", f"{STEP}ScheduledProcedureStepID", "PatientID", f"{STEP}Modality", "StudyInstanceUID")
ENTRIES = st.lists(st.dictionaries(st.sampled_from(NAMES), st.sampled_from("AB"), max_size=5), max_size=8)


@given(ENTRIES, ENTRIES)
def test_every_entry_is_told_once(old: list[Entry], ours: list[Entry]) -> None:
    found = compare(old, ours)
    pairs = found.same + len(found.different)
    assert pairs + len(found.only_old) == len(old)
    assert pairs + len(found.only_ours) == len(ours)


@given(ENTRIES)
def test_a_worklist_differs_from_itself_only_where_entries_cannot_be_told_apart(entries: list[Entry]) -> None:
    found = compare(entries, entries)
    assert not found.different or len({tuple(sorted(one.items())) for one in entries}) < len(entries)
