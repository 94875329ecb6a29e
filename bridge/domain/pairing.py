"""Which procedure and which step of an order a message means when it names them by no id.

A sender without ids tells the same exams again in its next message. They are known by what they are: the code of the
procedure, the modality and protocol of a step, and only then by their place. What could be one or another is UNCLEAR,
for a person to say: to guess would write one exam over another.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from bridge.domain.order import ProcedureRequest, StepRequest, left

UNCLEAR = -1


@dataclass(frozen=True, slots=True)
class ProcedureKey:
    """What a known procedure can be told by; `procedure_id` is '' while no sender has named it."""

    procedure_id: str = ""
    study_instance_uid: str = ""
    code: tuple[str, str] | None = None
    step_ids: frozenset[str] = frozenset()


def procedure_key(request: ProcedureRequest) -> ProcedureKey:
    code = left(request.code)
    steps = frozenset(step.step_id for step in request.steps if step.step_id)
    told = (code.value, code.scheme) if code else None
    return ProcedureKey(request.procedure_id, request.study_instance_uid, told, steps)


def find_procedure(known: Sequence[ProcedureKey], wanted: ProcedureKey, *, alone: bool) -> int | None:
    """The place of the procedure in `known`, None for a new one, UNCLEAR. `alone`: its message tells no other."""
    if wanted.procedure_id:
        for place, one in enumerate(known):
            if one.procedure_id == wanted.procedure_id:
                return place
    places = [place for place, one in enumerate(known) if not (one.procedure_id and wanted.procedure_id)]
    if not places:
        return None
    if alone and len(known) == 1:
        return places[0]  # one exam, told again: whatever of it has changed
    for same in (
        lambda one: wanted.study_instance_uid and one.study_instance_uid == wanted.study_instance_uid,
        lambda one: wanted.step_ids & one.step_ids,
        lambda one: wanted.code and one.code == wanted.code,
    ):
        found = [place for place in places if same(known[place])]
        if len(found) == 1:
            return found[0]
    if not alone or wanted.procedure_id:
        return None
    return UNCLEAR


@dataclass(frozen=True, slots=True)
class StepKey:
    """What a step can be told by. `named`: the id is its sender's, not one that we made."""

    step_id: str = ""
    named: bool = False
    modality: str = ""
    codes: tuple[str, ...] = ()


def step_key(step: StepRequest) -> StepKey:
    """`modality_sent` stands in for a modality that no table knows: it is a word as good as another."""
    codes = tuple(code.value for code in left(step.protocol_codes))
    return StepKey(step.step_id, bool(step.step_id), step.modality or step.modality_sent, codes)


_LIKENESS: tuple[Callable[[StepKey], Hashable], ...] = (
    lambda step: (step.modality, step.codes) if step.modality and step.codes else None,
    lambda step: step.modality or None,
)


def pair_steps(known: Sequence[StepKey], sent: Sequence[StepKey]) -> list[int | None]:
    """For each step that was sent its place in `known`, None for a new one, UNCLEAR."""
    found: list[int | None] = [None] * len(sent)
    by_id = {step.step_id: place for place, step in enumerate(known) if step.step_id}
    for number, step in enumerate(sent):
        found[number] = by_id.get(step.step_id)
    taken = {place for place in found if place is not None}
    free = [place for place in range(len(known)) if place not in taken]
    # An id that nobody has used yet names a new step, or one that was never named.
    named = [n for n, step in enumerate(sent) if found[n] is None and step.named]
    unnamed = [n for n, step in enumerate(sent) if found[n] is None and not step.named]
    free = _pair(known, sent, named, [place for place in free if not known[place].named], found) + [
        place for place in free if known[place].named
    ]
    free = _pair(known, sent, [n for n in unnamed if found[n] is None], sorted(free), found)
    left = [n for n in unnamed if found[n] is None]
    for place in free:
        # More of a kind than are known: the first ones are those. Fewer of it, or another kind: which one is meant?
        alike = [n for n in left if sent[n].modality == known[place].modality]
        if len(left) < len(free) or not alike:
            return [UNCLEAR if n in left else one for n, one in enumerate(found)]
        found[alike[0]] = place
        left.remove(alike[0])
    return found


def _pair(
    known: Sequence[StepKey], sent: Sequence[StepKey], waiting: list[int], free: list[int], found: list[int | None]
) -> list[int]:
    """Pair what is alike in equal numbers, then what is left over in equal numbers; returns the places left."""
    for likeness in _LIKENESS:
        for word in dict.fromkeys(likeness(sent[n]) for n in waiting):
            alike = [n for n in waiting if likeness(sent[n]) == word]
            there = [place for place in free if likeness(known[place]) == word]
            if word is not None and len(alike) == len(there):
                for number, place in zip(alike, there, strict=True):
                    found[number] = place
        waiting = [n for n in waiting if found[n] is None]
        free = [place for place in free if place not in found]
    if len(waiting) == len(free):
        for number, place in zip(waiting, free, strict=True):
            found[number] = place
        return []
    return free
