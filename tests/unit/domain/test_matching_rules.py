"""Which order a study belongs to (mpps-ian-storage.md section 11), and above all what is never linked by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.matching import Decision, OrderFacts, Rule, Verdict, judge
from bridge.domain.patient import PersonName
from bridge.domain.performed import ScheduledReference
from bridge.domain.study import MatchState, StudyFacts

STUDY = StudyFacts(
    study_id=1,
    study_instance_uid="1.2.3",
    patient_id="1001",
    patient_issuer="HOSP",
    patient_name=PersonName("DOE^JANE"),
    birth_date="19800101",
    sex="F",
    accession_number="A1",
    accession_issuer="RIS",
    study_date="20261125",
    modalities=("CT",),
)
ORDER = OrderFacts(
    procedure_id=1,
    order_id=1,
    study_instance_uid="1.2.3",
    accession_number="A1",
    accession_issuer="RIS",
    requested_procedure_id="RP1",
    step_ids=("S1",),
    modalities=("CT",),
    scheduled_dates=("20261125",),
    patient_pk=1,
    patient_identifiers=frozenset({("1001", "HOSP")}),
    patient_name=PersonName("DOE^JANE"),
    birth_date="19800101",
    sex="F",
)
OTHER = replace(
    ORDER, procedure_id=2, order_id=2, study_instance_uid="1.2.4", accession_number="A2", requested_procedure_id="RP2",
    step_ids=("S2",),
)  # fmt: skip
JOHNS = replace(
    OTHER, patient_pk=2, patient_identifiers=frozenset({("2002", "HOSP")}), patient_name=PersonName("ROE^JOHN"), sex="M"
)


def study(**changes: object) -> StudyFacts:
    return replace(STUDY, **changes)  # type: ignore[arg-type]


def ids(decision: Decision) -> list[int]:
    return sorted(c.order.procedure_id for c in decision.links)


# -- what links ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "performed", "rule"),
    [
        (study(accession_number=""), frozenset(), Rule.STUDY_INSTANCE_UID),
        (study(study_instance_uid="1.9"), frozenset(), Rule.ACCESSION_NUMBER),
        (
            study(
                study_instance_uid="1.9", accession_number="", requests=(ScheduledReference("", "A1", "RIS", "RP1"),)
            ),
            frozenset(),
            Rule.REQUEST_ATTRIBUTES,
        ),
        (
            study(
                study_instance_uid="1.9", accession_number="", requests=(ScheduledReference("", "", "", "RP1", "S1"),)
            ),
            frozenset(),
            Rule.REQUEST_ATTRIBUTES,
        ),
        (study(study_instance_uid="1.9", accession_number=""), frozenset({1}), Rule.PERFORMED_STEP),
    ],
)
def test_each_rule_links_by_itself_when_the_patient_agrees(
    facts: StudyFacts, performed: frozenset[int], rule: Rule
) -> None:
    decision = judge(facts, (ORDER, OTHER), performed)
    assert (decision.state, ids(decision), decision.reason) == (MatchState.MATCHED, [1], rule.value)


@pytest.mark.parametrize(
    "name",
    [
        PersonName("Doe^Jane"),
        PersonName("DOÉ^JANE^^"),
        PersonName("DOE^JANE", "道^ジェーン"),
        PersonName("DOE^JANE^Q^DR"),
    ],
)
def test_spelling_is_no_conflict(name: PersonName) -> None:
    assert judge(study(patient_name=name), (ORDER,)).state is MatchState.MATCHED


@pytest.mark.parametrize("missing", ["birth_date", "sex"])
def test_what_the_device_leaves_empty_does_not_differ(missing: str) -> None:
    assert judge(study(**{missing: ""}), (ORDER,)).state is MatchState.MATCHED


def test_a_group_is_linked_to_every_order_it_names() -> None:
    requests = (ScheduledReference("", "A1", "RIS", "RP1"), ScheduledReference("", "A2", "RIS", "RP2"))
    decision = judge(study(study_instance_uid="1.9", accession_number="", requests=requests), (ORDER, OTHER))
    assert (decision.state, ids(decision)) == (MatchState.MATCHED, [1, 2])


def test_a_group_named_by_procedure_and_step_is_linked_to_both() -> None:
    requests = (ScheduledReference("", "", "", "RP1", "S1"), ScheduledReference("", "", "", "RP2", "S2"))
    decision = judge(study(accession_number="", requests=requests), (ORDER, OTHER))
    assert ids(decision) == [1, 2]


def test_two_series_that_name_one_order_differently_are_one_order() -> None:
    requests = (ScheduledReference("", "A1", "RIS", "RP1", "S1"), ScheduledReference("", "A1", "RIS"))
    assert ids(judge(study(requests=requests), (ORDER, OTHER))) == [1]


def test_the_uid_chooses_between_two_orders_with_one_accession_number() -> None:
    twin = replace(OTHER, accession_number="A1")
    assert ids(judge(STUDY, (ORDER, twin))) == [1]


def test_an_order_that_ended_gives_way_to_its_re_order() -> None:
    assert ids(judge(STUDY, (replace(ORDER, ended=True), replace(ORDER, procedure_id=2, order_id=2)))) == [2]


# -- what never links by itself -----------------------------------------------------------------------------------

STRONG = {
    "uid": study(accession_number=""),
    "accession": study(study_instance_uid="1.9"),
    "request": study(
        study_instance_uid="1.9", accession_number="", requests=(ScheduledReference("", "A1", "RIS", "RP1"),)
    ),
}
WRONG = {
    "another number": {"patient_id": "2002"},
    "the same number of another authority": {"patient_issuer": "OTHER"},
    "a number without its authority": {"patient_issuer": ""},
    "another name": {"patient_name": PersonName("ROE^JOHN")},
    "another given name": {"patient_name": PersonName("DOE^JOHN")},
    "another birth date": {"birth_date": "19800102"},
    "another sex": {"sex": "M"},
    "no number": {"patient_id": "", "patient_issuer": ""},
    "nothing of the patient": {
        "patient_id": "", "patient_issuer": "", "patient_name": PersonName(), "birth_date": "", "sex": "",
    },
}  # fmt: skip


@pytest.mark.parametrize("evidence", STRONG)
@pytest.mark.parametrize("wrong", WRONG)
def test_no_evidence_is_strong_enough_against_the_patient(evidence: str, wrong: str) -> None:
    decision = judge(replace(STRONG[evidence], **WRONG[wrong]), (ORDER,))  # type: ignore[arg-type]
    assert (decision.state, decision.links) == (MatchState.AMBIGUOUS, ())


def test_a_name_of_another_person_in_kana_differs() -> None:
    order = replace(ORDER, patient_name=PersonName("カトウ^ハナ"))
    assert judge(study(patient_name=PersonName("ガトウ^ハナ")), (order,)).state is MatchState.AMBIGUOUS


def test_one_accession_number_of_two_patients_links_to_neither() -> None:
    decision = judge(study(study_instance_uid="1.9"), (ORDER, replace(JOHNS, accession_number="A1")))
    assert (decision.state, decision.reason) == (MatchState.AMBIGUOUS, "patient-differs")


def test_the_same_accession_number_of_another_issuer_is_no_evidence() -> None:
    foreign = replace(ORDER, accession_issuer="OTHER", study_instance_uid="1.8", scheduled_dates=("20260101",))
    assert judge(study(study_instance_uid="1.9"), (foreign,)).state is MatchState.UNMATCHED


def test_two_orders_with_one_accession_number_and_no_uid_are_left_to_a_person() -> None:
    twin = replace(OTHER, accession_number="A1")
    decision = judge(study(study_instance_uid="1.9"), (ORDER, twin))
    assert (decision.state, decision.reason) == (MatchState.AMBIGUOUS, "several-orders")


def test_a_uid_and_an_accession_number_that_name_two_orders_contradict_each_other() -> None:
    decision = judge(study(accession_number="A2"), (ORDER, OTHER))
    assert (decision.state, decision.reason) == (MatchState.AMBIGUOUS, "several-orders")


def test_request_attributes_that_name_another_order_than_the_header_contradict_it() -> None:
    decision = judge(study(requests=(ScheduledReference("", "A2", "RIS", "RP2"),)), (ORDER, OTHER))
    assert decision.state is MatchState.AMBIGUOUS


def test_a_performed_step_of_another_order_than_the_uid_says_contradicts_it() -> None:
    assert judge(STUDY, (ORDER, OTHER), frozenset({2})).state is MatchState.AMBIGUOUS


def test_a_group_of_which_one_order_is_unknown_is_left_to_a_person() -> None:
    requests = (ScheduledReference("", "A1", "RIS", "RP1"), ScheduledReference("", "A9", "RIS", "RP9"))
    assert judge(study(accession_number="", requests=requests), (ORDER, OTHER)).state is MatchState.AMBIGUOUS


def test_two_procedures_of_one_order_do_not_make_up_for_a_missing_one() -> None:
    second = replace(ORDER, procedure_id=3, requested_procedure_id="RP3", study_instance_uid="1.2.5")
    requests = (ScheduledReference("", "A1", "RIS"), ScheduledReference("", "A9", "RIS"))
    decision = judge(study(study_instance_uid="1.9", accession_number="", requests=requests), (ORDER, second))
    assert decision.links == ()


def test_a_group_across_two_patients_links_to_nobody() -> None:
    requests = (ScheduledReference("", "A1", "RIS", "RP1"), ScheduledReference("", "A2", "RIS", "RP2"))
    decision = judge(study(accession_number="", requests=requests), (ORDER, JOHNS))
    assert decision.state is MatchState.AMBIGUOUS


def test_counters_for_ids_do_not_speak_against_an_accession_number() -> None:
    """Procedure "1", step "1" in every order: they name this one only where no accession number says otherwise."""
    plain = {"requested_procedure_id": "1", "step_ids": ("1",)}
    orders = (replace(ORDER, **plain), replace(JOHNS, **plain))  # type: ignore[arg-type]
    decision = judge(study(requests=(ScheduledReference("", "", "", "1", "1"),)), orders)
    assert (decision.state, ids(decision)) == (MatchState.MATCHED, [1])


def test_patient_modality_and_day_make_a_candidate_and_no_link() -> None:
    decision = judge(study(study_instance_uid="1.9", accession_number=""), (ORDER,))
    assert (decision.state, decision.reason, decision.links) == (MatchState.UNMATCHED, "weak-evidence", ())
    assert [c.rules for c in decision.candidates] == [(Rule.CANDIDATE,)]


@pytest.mark.parametrize(
    "change",
    [{"modalities": ("MR",)}, {"scheduled_dates": ("20261126",)}, {"ended": True}],
    ids=["modality", "day", "ended"],
)
def test_less_than_that_is_not_even_a_candidate(change: dict[str, object]) -> None:
    order = replace(ORDER, **change)  # type: ignore[arg-type]
    assert judge(study(study_instance_uid="1.9", accession_number=""), (order,)).candidates == ()


# -- what was linked before ---------------------------------------------------------------------------------------


def test_a_link_outlives_a_new_name_of_the_same_patient() -> None:
    renamed = replace(ORDER, patient_name=PersonName("ROE^JANE"), birth_date="19790101")
    assert judge(STUDY, (renamed,), standing=frozenset({1})).state is MatchState.MATCHED
    assert judge(STUDY, (renamed,)).state is MatchState.AMBIGUOUS


def test_a_link_does_not_outlive_another_identifier() -> None:
    moved = replace(ORDER, patient_identifiers=frozenset({("2002", "HOSP")}))
    assert judge(STUDY, (moved,), standing=frozenset({1})).state is MatchState.AMBIGUOUS


def test_a_merged_patient_is_known_by_the_old_number_too() -> None:
    merged = replace(ORDER, patient_identifiers=frozenset({("1001", "HOSP"), ("3003", "HOSP")}))
    assert judge(STUDY, (merged,)).state is MatchState.MATCHED


# -- for every study and every order ------------------------------------------------------------------------------

few = st.sampled_from
references = st.builds(
    ScheduledReference,
    few(["", "1.1"]),
    few(["", "A1", "A2"]),
    few(["", "RIS"]),
    few(["", "RP1", "RP2"]),
    few(["", "S1"]),
)
NAMES = [PersonName(), PersonName("A^B"), PersonName("C^D")]
studies = st.builds(
    StudyFacts,
    st.just(1),
    few(["1.1", "1.2"]),
    few(["", "1", "2"]),
    few(["", "H"]),
    few(NAMES),
    few(["", "19800101", "19810101"]),
    few(["", "M", "F"]),
    few(["", "A1", "A2"]),
    few(["", "RIS"]),
    few(["20260101"]),
    few([("CT",), ("MR",)]),
    st.lists(references, max_size=3).map(tuple),
)


@st.composite
def order_lists(draw: st.DrawFn) -> tuple[OrderFacts, ...]:
    people = {
        1: (frozenset({("1", "H")}), PersonName("A^B"), "19800101", "F"),
        2: (frozenset({("2", "H"), ("1", "")}), PersonName("C^D"), "19810101", "M"),
    }
    found = []
    for number in range(1, draw(st.integers(0, 4)) + 1):
        who = draw(few([1, 2]))
        identifiers, name, birth, sex = people[who]
        found.append(
            OrderFacts(
                number,
                number,
                draw(few(["1.1", "1.2", "1.3"])),
                draw(few(["", "A1", "A2"])),
                draw(few(["", "RIS"])),
                draw(few(["RP1", "RP2"])),
                ("S1",),
                draw(few([("CT",), ("MR",)])),
                ("20260101",),
                who,
                identifiers,
                name,
                birth,
                sex,
                draw(st.booleans()),
            )
        )
    return tuple(found)


def test_a_name_that_the_device_was_told_in_plain_letters_agrees() -> None:
    mueller = replace(ORDER, patient_name=PersonName("MÜLLER^JÜRGEN"))
    sent = study(patient_name=PersonName("MUELLER^JUERGEN"))

    def spell(text: str) -> str:
        return text.replace("Ü", "UE")

    assert judge(sent, (mueller,)).reason == "patient-differs"
    assert judge(sent, (mueller,), spell=spell).state is MatchState.MATCHED
    other = study(patient_name=PersonName("MUELLER^HANS"))
    assert judge(other, (mueller,), spell=spell).reason == "patient-differs"


@given(studies, order_lists(), st.frozensets(st.integers(1, 4), max_size=2))
def test_whatever_comes_no_study_is_linked_to_two_people_or_to_the_wrong_one(
    facts: StudyFacts, orders: tuple[OrderFacts, ...], performed: frozenset[int]
) -> None:
    decision = judge(facts, orders, performed)
    assert (decision.state is MatchState.MATCHED) == bool(decision.links)
    assert len({c.order.patient_pk for c in decision.links}) <= 1
    for link in decision.links:
        assert link.strong
        assert (facts.patient_id, facts.patient_issuer) in link.order.patient_identifiers
        assert all(e.verdict is not Verdict.DIFFERS for e in link.evidence if e.what.startswith("patient"))


@given(studies, order_lists(), st.frozensets(st.integers(1, 4), max_size=2), st.randoms())
def test_the_decision_does_not_depend_on_the_order_of_the_rows(
    facts: StudyFacts, orders: tuple[OrderFacts, ...], performed: frozenset[int], random: object
) -> None:
    shuffled = list(orders)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = judge(facts, orders, performed), judge(facts, tuple(shuffled), performed)
    assert (first.state, first.reason, ids(first)) == (second.state, second.reason, ids(second))
