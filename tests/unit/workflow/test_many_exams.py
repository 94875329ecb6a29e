"""Several exams and steps of one order: none is written over another (IHE RAD-4, RAD-13)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from itertools import permutations
from time import process_time

import pytest

from bridge.domain.coding import Code
from bridge.domain.identity import Identifier
from bridge.domain.message import Fate, Reading
from bridge.domain.order import OrderRequest, StepRequest
from bridge.workflow.replaying import Replaying
from tests.unit.workflow.house import House, at, ct_step, order, who

HEAD, CHEST = Code("C1", "L", "CT head"), Code("C2", "L", "CT chest")


def exam(code: Code | None, control: str = "NW", *, further: bool = False, alone: bool = False, hour: int = 8,
         start: int = 13, uid: str = "") -> OrderRequest:  # fmt: skip
    """One of several procedures of order P1, without an id of its own."""
    one = order(control, event_time=at(hour), uid=uid, steps=(ct_step(start=datetime(2026, 11, 25, start)),))
    procedure = replace(one.procedure, code=code, description=code.meaning if code else "")
    return replace(one, procedure=procedure, alone=alone, further=further)


def both(control: str = "NW", hour: int = 8, start: int = 13) -> tuple[OrderRequest, OrderRequest]:
    return exam(HEAD, control, hour=hour, start=start), exam(CHEST, control, further=True, hour=hour, start=start)


def shown(house: House) -> list[tuple[str, str]]:
    return sorted((e.requested_procedure_description, e.start_time) for e in house.worklist())


def test_two_exams_without_ids_are_two_entries_with_ids_of_their_own(house: House) -> None:
    fate, told = house.order(*both())
    assert fate is Fate.APPLIED
    assert shown(house) == [("CT chest", "130000"), ("CT head", "130000")]
    assert len({e.requested_procedure_id for e in house.worklist()}) == 2
    assert len({e.study_instance_uid for e in house.worklist()}) == 2
    assert "the order is known: taken as a change" not in told


def test_a_change_of_both_moves_both(house: House) -> None:
    house.order(*both())
    house.order(*both("XO", 9, 15))
    assert shown(house) == [("CT chest", "150000"), ("CT head", "150000")]


def test_a_change_of_one_leaves_the_other(house: House) -> None:
    house.order(*both())
    house.order(exam(CHEST, "XO", alone=True, hour=9, start=16))
    assert shown(house) == [("CT chest", "160000"), ("CT head", "130000")]


def test_a_change_that_could_mean_either_is_parked(house: House) -> None:
    house.order(*both())
    assert house.order(exam(None, "XO", alone=True, hour=9, start=16))[0] is Fate.PARKED
    assert shown(house) == [("CT chest", "130000"), ("CT head", "130000")]
    assert house.reviews() == {("order-conflict", "exam-unclear")}


def test_the_only_exam_may_change_its_code(house: House) -> None:
    house.order(exam(HEAD, alone=True))
    house.order(exam(CHEST, "XO", alone=True, hour=9))
    assert shown(house) == [("CT chest", "130000")]


@pytest.mark.parametrize("arrival", list(permutations((8, 9, 10))))
def test_both_exams_are_there_whatever_came_first(house: House, arrival: tuple[int, ...]) -> None:
    said = {8: both(), 9: (exam(HEAD, "XO", alone=True, hour=9, start=15),), 10: both("XO", 10, 17)}
    for hour in arrival:
        house.order(*said[hour])
    assert shown(house) == [("CT chest", "170000"), ("CT head", "170000")]


def test_another_exam_with_another_accession_number_is_parked(house: House) -> None:
    house.order(order(procedure_id="RP1", accession="A1"))
    fate, told = house.order(order("XO", procedure_id="RP2", accession="A2", uid="1.2.4"))
    assert (fate, told) == (Fate.PARKED, ["accession-numbers-of-two-exams"])
    assert [e.accession_number for e in house.worklist()] == ["A1"]


def test_a_late_change_to_another_exam_with_another_number_is_parked_also_when_the_order_has_ended(
    house: House,
) -> None:
    house.order(order(procedure_id="RP1", accession="A1", event_time=at(8)))
    house.order(order("CA", steps=(), event_time=at(10)))
    late = order("XO", procedure_id="RP2", accession="A2", uid="1.2.4", event_time=at(9))
    assert house.order(late)[1] == ["accession-numbers-of-two-exams"]
    house.order(order(procedure_id="RP1", accession="A1", event_time=at(11)))
    assert [e.requested_procedure_id for e in house.worklist()] == ["RP1"]


def test_a_late_new_order_of_another_exam_is_no_re_order(house: House) -> None:
    house.order(order(procedure_id="RP1", accession="A1", event_time=at(8)))
    house.order(order("CA", steps=(), event_time=at(10)))
    late = order(procedure_id="RP2", accession="A2", uid="1.2.4", event_time=at(9))
    assert house.order(late)[1] == ["accession-numbers-of-two-exams"]


def test_a_re_order_of_another_exam_with_another_number_is_parked(house: House) -> None:
    """It would show the exam that was cancelled too, under the number of the new one."""
    house.order(order(procedure_id="RP1", accession="A1", event_time=at(8)))
    house.order(order("CA", steps=(), event_time=at(10)))
    again = order(procedure_id="RP2", accession="A2", uid="1.2.4", event_time=at(11))
    assert house.order(again)[1] == ["accession-numbers-of-two-exams"]
    assert house.worklist() == []


def test_a_message_that_is_parked_makes_nobodys_order_not_its_patients(house: House) -> None:
    house.order(order("XO", procedure_id="RP1", accession="A1", patient=who(identifiers=())))
    nobody = house.order_row().patient_id
    assert house.order(order(procedure_id="RP2", accession="A2"))[0] is Fate.PARKED
    assert house.order_row().patient_id == nobody


def test_an_accession_number_may_be_corrected(house: House) -> None:
    house.order(order(procedure_id="RP1", accession="A1"))
    house.order(order("XO", procedure_id="RP1", accession="A2"))
    assert [e.accession_number for e in house.worklist()] == ["A2"]


def test_a_message_that_ends_and_changes_one_order_is_parked(house: House) -> None:
    house.order(order())
    fate, _ = house.order(*(replace(order(c), contradiction="groups-contradict") for c in ("CA", "XO")))
    assert (fate, len(house.worklist())) == (Fate.PARKED, 1)


def test_a_cancel_whose_obr_names_another_known_order_is_parked(house: House) -> None:
    house.order(order(), order(placer="P2", accession="A2", uid="1.2.4"))
    fate, told = house.order(replace(order("CA", steps=()), detail_placer=Identifier("P2", "RIS")))
    assert (fate, told) == (Fate.PARKED, ["order-numbers-of-two-orders"])
    assert len(house.worklist()) == 2


# -- a hundred exams: the writer is held by one message at a time ----------------------------------------------------

MANY = 100


def hundred(control: str, hour: int, **changes: str) -> list[OrderRequest]:
    def one(number: int) -> OrderRequest:
        made = order(
            control, event_time=at(hour), procedure_id=f"R{number}", uid=f"1.2.3.{number}",
            steps=(ct_step(step_id=f"S{number}"),),
        )  # fmt: skip
        return replace(made, procedure=replace(made.procedure, **changes), alone=False, further=number > 0)

    return [one(number) for number in range(MANY)]


def seconds_of(act: Callable[[], object]) -> float:
    before = process_time()
    act()
    return process_time() - before


def test_a_late_change_of_a_hundred_exams_is_folded_once(house: House) -> None:
    house.order(*hundred("NW", 8))
    house.order(*hundred("XO", 10))
    assert seconds_of(lambda: house.order(*hundred("XO", 9, comments="fasting"))) < 4
    assert [row.comments for row in house.rows("requested_procedure")] == ["fasting"] * MANY


def test_a_replay_of_a_hundred_exams_folds_them_once(house: House) -> None:
    first, *others = hundred("NW", 8)
    unknown = replace(first.procedure, steps=(StepRequest(modality_sent="ROE"),))
    house.order(replace(first, procedure=unknown), *others)
    house.order(*hundred("XO", 10))
    again = Replaying(house.context, lambda envelope: Reading(orders=(first, *others)))
    assert seconds_of(lambda: again.replay(1, "cli:a", dry_run=False)) < 4
    assert len(house.worklist()) == MANY


def test_a_late_message_of_several_exams_parks_the_one_with_a_number_of_its_own(house: House) -> None:
    one, other = hundred("NW", 8)[:2]
    house.order(one)
    house.order(replace(one, control="XO", event_time=at(10), further=False))
    late = replace(other, control="XO", event_time=at(9), accession=Identifier("A9", "RIS"))
    told = replace(one, control="XO", event_time=at(9), accession=None)
    assert house.order(told, late)[0] is Fate.PARKED
    assert [(e.accession_number, e.requested_procedure_id) for e in house.worklist()] == [("A1", "R0")]


# -- steps without ids --------------------------------------------------------------------------------------------


def step(modality: str, start: int = 13, **changes: object) -> StepRequest:
    when = datetime(2026, 11, 25, start)
    return replace(StepRequest(modality=modality, modality_sent=modality, start=when), **changes)


def steps(control: str, hour: int, *of_it: StepRequest) -> OrderRequest:
    return order(control, "SC", event_time=at(hour), steps=of_it)


def due(house: House) -> list[tuple[str, str]]:
    return sorted((e.modality, e.start_time[:2]) for e in house.worklist())


def test_a_change_of_the_second_step_does_not_overwrite_the_first(house: House) -> None:
    house.order(steps("NW", 8, step("CT", 9), step("MR", 10)))
    house.order(steps("XO", 9, step("MR", 15)))
    assert due(house) == [("CT", "09"), ("MR", "15")]


@pytest.mark.parametrize("arrival", list(permutations((8, 9, 10))))
def test_steps_without_ids_are_the_same_whatever_came_first(house: House, arrival: tuple[int, ...]) -> None:
    said = {
        8: steps("NW", 8, step("CT", 9), step("MR", 10)),
        9: steps("XO", 9, step("CT", 11), step("MR", 12)),
        10: steps("XO", 10, step("MR", 15)),
    }
    for hour in arrival:
        house.order(said[hour])
    assert due(house) == [("CT", "11"), ("MR", "15")]


def test_steps_of_one_modality_are_told_apart_by_their_protocol(house: House) -> None:
    one, other = step("CT", 9, protocol_codes=(HEAD,)), step("CT", 10, protocol_codes=(CHEST,))
    house.order(steps("NW", 8, one, other))
    house.order(steps("XO", 9, replace(other, start=datetime(2026, 11, 25, 15))))
    assert due(house) == [("CT", "09"), ("CT", "15")]


def test_like_steps_in_equal_number_are_told_apart_by_their_place(house: House) -> None:
    house.order(steps("NW", 8, step("CT", 9), step("CT", 10)))
    house.order(steps("XO", 9, step("CT", 11), step("CT", 12)))
    assert due(house) == [("CT", "11"), ("CT", "12")]


def test_one_of_several_like_steps_is_parked(house: House) -> None:
    house.order(steps("NW", 8, step("CT", 9), step("CT", 10)))
    assert house.order(steps("XO", 9, step("CT", 15)))[0] is Fate.PARKED
    assert due(house) == [("CT", "09"), ("CT", "10")]
    assert house.reviews() == {("order-conflict", "step-unclear")}


def test_one_step_more_is_one_step_more(house: House) -> None:
    house.order(steps("NW", 8, step("CT", 9)))
    house.order(steps("XO", 9, step("CT", 9), step("CT", 10)))
    assert due(house) == [("CT", "09"), ("CT", "10")]


def test_ids_that_come_later_name_the_steps_by_what_they_are(house: House) -> None:
    house.order(steps("NW", 8, step("CT", 9), step("MR", 10)))
    house.order(steps("SC", 9, step("MR", 10, step_id="S2"), step("CT", 9, step_id="S1")))
    assert due(house) == [("CT", "09"), ("MR", "10")]


def test_a_change_that_leaves_a_step_out_leaves_it_on_the_worklist(house: House) -> None:
    house.order(order(steps=(step("CT", 9, step_id="S1"), step("CT", 10, step_id="S2")), event_time=at(8)))
    house.order(order("XO", "SC", steps=(step("CT", 15, step_id="S2"),), event_time=at(9)))
    assert due(house) == [("CT", "09"), ("CT", "15")]
