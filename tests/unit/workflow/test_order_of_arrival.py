"""F28: what an order is does not depend on which of its messages came first."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from itertools import permutations
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.domain.folding import OrderEvent, fold
from bridge.domain.order import OrderRequest, StepRequest, order_of
from bridge.store.types import Json
from tests.unit.workflow.house import House, at, ct_step, order

MOVED = datetime(2026, 11, 26, 9, 30)
SIX = (
    order("NW", "SC", event_time=at(8), sent_time=at(8), department="Radiology"),
    order("XO", "SC", event_time=at(9), sent_time=at(9), steps=(ct_step(start=MOVED),)),
    order("SC", "IP", event_time=at(10), sent_time=at(10), steps=(), accession=""),
    order("XO", "", event_time=at(10, 30), sent_time=at(10, 30), steps=(ct_step(description="with contrast"),)),
    order("OC", "CA", event_time=at(11), sent_time=at(11), steps=()),
    order("NW", "SC", event_time=at(12), sent_time=at(12), steps=(ct_step(location="ROOM 9"),)),
)
"""One order's day: ordered, moved, begun, changed, cancelled, ordered anew."""


def numbered(requests: tuple[OrderRequest, ...], number: int) -> list[OrderRequest]:
    """The same messages for another order."""
    return [
        replace(
            r,
            placer=replace(r.placer, value=f"P{number}") if r.placer else None,
            accession=replace(r.accession, value=f"A{number}") if r.accession else None,
            procedure=replace(
                r.procedure, study_instance_uid=f"1.2.{number}" if r.procedure.study_instance_uid else ""
            ),
        )
        for r in requests
    ]


def states(house: House) -> dict[str, tuple[Any, ...]]:
    """All that is stored of each order, but for keys and the times of our own clock."""
    ours = {"id", "version", "created_at", "updated_at", "order_id", "patient_id", "requested_procedure_id"}

    def plain(row: Any, number: str) -> tuple[tuple[str, str], ...]:
        return tuple(sorted((k, str(v).replace(number, "#")) for k, v in row._mapping.items() if k not in ours))

    found: dict[str, tuple[Any, ...]] = {}
    procedures, steps = house.rows("requested_procedure"), house.rows("scheduled_procedure_step")
    for row in house.rows("imaging_order"):
        number = row.placer_order_number.removeprefix("P")
        own = [p for p in procedures if p.order_id == row.id]
        keys = {p.id for p in own}
        of_own = [s for s in steps if s.requested_procedure_id in keys]
        found[number] = (
            plain(row, number), *(plain(p, number) for p in own), *(plain(s, number) for s in of_own),
        )  # fmt: skip
    return found


def test_all_720_orders_of_arrival_end_in_one_state(house: House) -> None:
    for number, arrival in enumerate(permutations(SIX), 10_001):
        house.order(*numbered(arrival, number))
    found = states(house)
    assert len(found) == 720
    assert len(set(found.values())) == 1
    (entry,) = house.worklist(accession_number="A10001")
    assert (entry.start_date, entry.step_description, entry.step_location) == ("20261125", "with contrast", "ROOM 9")


def test_the_fold_of_all_720_is_one() -> None:
    def event(r: OrderRequest) -> OrderEvent:
        assert r.event_time and r.sent_time
        return OrderEvent(r.event_time, r.sent_time, r.control, r.status, "", r)

    assert len({fold(map(event, arrival)) for arrival in permutations(SIX)}) == 1


def test_an_order_survives_its_stored_form() -> None:
    for request in SIX:
        kept = Json().process_bind_param(request, None)  # type: ignore[arg-type]
        back = order_of(Json().process_result_value(kept, None))  # type: ignore[arg-type]
        assert replace(back, patient=request.patient) == request


TIMES = st.integers(0, 3).map(lambda hour: at(8 + hour))
EVENTS = st.builds(
    OrderEvent,
    TIMES,
    TIMES,
    st.sampled_from(["NW", "XO", "SC", "CA", "OC", "DC", "HD", "RL", "MPPS"]),
    st.sampled_from(["SC", "IP", "CM"]),
    st.text("ABC", min_size=1, max_size=4),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(EVENTS, max_size=6, unique_by=lambda e: e.control_id), st.randoms())
def test_the_fold_does_not_look_at_the_order_of_arrival(events: list[OrderEvent], random: Any) -> None:
    shuffled = events[:]
    random.shuffle(shuffled)
    assert fold(events) == fold(shuffled)


def test_a_step_without_an_id_is_the_one_that_is_known() -> None:
    first = order("NW", event_time=at(8), steps=(ct_step(step_id="S1"),))
    later = order("XO", event_time=at(9), steps=(StepRequest(description="later"),))
    folded = fold(OrderEvent(at(8 + n), at(8), r.control, "", "", r) for n, r in enumerate((first, later)))
    assert folded.request is not None
    assert [(s.step_id, s.description) for s in folded.request.procedure.steps] == [("S1", "later")]
