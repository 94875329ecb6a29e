"""Which order a study belongs to: by evidence, with the patient always cross-checked (`never by guess`).

A study is linked without a person only when strong evidence (the Study Instance UID we gave, the accession number
with its issuer, the ids in Request Attributes) leads to one order **and** the patient's identifier is the order's.
Patient, modality and time alone name candidates, never a match; nor does evidence that contradicts itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

from bridge.domain.patient import PersonName, folded
from bridge.domain.performed import ScheduledReference
from bridge.domain.study import MatchState, StudyFacts

Spell: TypeAlias = Callable[[str], str]
"""A name as the plainest device may show it and send it back (MUELLER for MÜLLER)."""


class Rule(StrEnum):
    """How a study was tied to an order, strongest first."""

    STUDY_INSTANCE_UID = "study-instance-uid"
    ACCESSION_NUMBER = "accession-number"
    REQUEST_ATTRIBUTES = "request-attributes"
    PERFORMED_STEP = "performed-step"
    PERSON = "person"
    CANDIDATE = "patient-modality-date"

    @property
    def strong(self) -> bool:
        return self is not Rule.CANDIDATE


class Verdict(StrEnum):
    EQUAL = "equal"
    NEAR = "near"
    MISSING = "missing"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """A requested procedure as matching sees it; `accession_number` is the one that scanners were told,
    `patient_identifiers` are (value, issuer) of the patient and of
    every record merged into it."""

    procedure_id: int
    order_id: int
    study_instance_uid: str
    accession_number: str
    accession_issuer: str
    requested_procedure_id: str
    step_ids: tuple[str, ...]
    modalities: tuple[str, ...]
    scheduled_dates: tuple[str, ...]
    patient_pk: int
    patient_identifiers: frozenset[tuple[str, str]]
    patient_name: PersonName
    birth_date: str
    sex: str
    ended: bool = False
    generated_uid: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """One compared thing: what it is, its verdict, in words that hold no patient data."""

    what: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Candidate:
    order: OrderFacts
    rules: tuple[Rule, ...]
    evidence: tuple[Evidence, ...]
    standing: bool = False
    """The study is linked to it already: the patient may have got another name since, but not another identifier."""

    @property
    def patient_named(self) -> bool:
        return self.evidence[0].verdict is not Verdict.MISSING

    @property
    def patient_agrees(self) -> bool:
        """The identifier is the same, and nothing else of the patient differs."""
        identifier, *rest = (e.verdict for e in self.evidence if e.what.startswith("patient"))
        return identifier is Verdict.EQUAL and (self.standing or Verdict.DIFFERS not in rest)

    @property
    def strong(self) -> bool:
        return any(r.strong for r in self.rules)


@dataclass(frozen=True, slots=True)
class Decision:
    """`links` are the candidates to tie the study to; `reason` is a stable word for the review list."""

    state: MatchState
    reason: str
    links: tuple[Candidate, ...] = ()
    candidates: tuple[Candidate, ...] = ()


def judge(
    study: StudyFacts,
    orders: tuple[OrderFacts, ...],
    performed: frozenset[int] = frozenset(),
    standing: frozenset[int] = frozenset(),
    spell: Spell = str,
    group: frozenset[int] = frozenset(),
) -> Decision:
    """Decide for one study among the orders that share anything with it.

    `performed` holds the procedure ids that the study's own performed steps named and that resolved to one order,
    `standing` those that it is linked to at present, `group` those that one performed step named together.
    """
    weighed = (_weigh(study, o, o.procedure_id in performed, o.procedure_id in standing, spell) for o in orders)
    candidates = tuple(c for c in weighed if c is not None)
    strong = tuple(c for c in candidates if c.strong)
    if not strong:
        return Decision(MatchState.UNMATCHED, "no-order" if not candidates else "weak-evidence", (), candidates)
    if not all(c.patient_named for c in strong):
        return Decision(MatchState.AMBIGUOUS, "patient-missing", (), candidates)
    if not all(c.patient_agrees for c in strong):
        return Decision(MatchState.AMBIGUOUS, "patient-differs", (), candidates)
    if len({c.order.patient_pk for c in strong}) > 1:
        return Decision(MatchState.AMBIGUOUS, "several-patients", (), candidates)
    together = _live(tuple(c for c in strong if c.order.procedure_id in group))
    best = _group(together, strong, group) if len(together) > 1 else _best(study, strong)
    if not best:
        return Decision(MatchState.AMBIGUOUS, "several-orders", (), candidates)
    return Decision(MatchState.MATCHED, best[0].rules[0].value, best, candidates)


def _best(study: StudyFacts, strong: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """The orders to link: all that the study names itself (group case), else the one that the strongest rule leaves.

    Nothing when the evidence leaves several, or when some of it speaks for an order that would not be linked.
    """
    named = {
        (r.accession_number, r.accession_issuer, r.requested_procedure_id): r
        for r in study.requests
        if r.accession_number or (r.requested_procedure_id and r.scheduled_step_id)
    }
    found: list[tuple[Candidate, ...]] = []
    if len(named) > 1:
        found = [_live(tuple(c for c in strong if _request_names(r, study, c.order))) for r in named.values()]
    else:
        found = [next(h for h in (_live(tuple(c for c in strong if rule in c.rules)) for rule in Rule) if h)]
    if any(len(one) != 1 for one in found):
        return ()
    best = tuple({one[0].order.procedure_id: one[0] for one in found}.values())
    said = {rule for c in best for rule in c.rules}
    others = (c for c in strong if c not in best and not c.order.ended)
    return () if any(set(c.rules) - said for c in others) else best


def _group(
    together: tuple[Candidate, ...], strong: tuple[Candidate, ...], group: frozenset[int]
) -> tuple[Candidate, ...]:
    """One acquisition for several procedures (PS3.4 F.7.2.1): the device says for which. Nothing when the images speak
    for another order besides."""
    others = (c for c in strong if c.order.procedure_id not in group and not c.order.ended)
    return () if any(others) else together


def _live(candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    return tuple(c for c in candidates if not c.order.ended) or candidates


def _weigh(study: StudyFacts, order: OrderFacts, performed: bool, standing: bool, spell: Spell) -> Candidate | None:
    rules: list[Rule] = []
    if order.study_instance_uid == study.study_instance_uid:
        rules.append(Rule.STUDY_INSTANCE_UID)
    accession = _accession(study, order)
    if accession is Verdict.EQUAL:
        rules.append(Rule.ACCESSION_NUMBER)
    if any(_request_names(r, study, order) for r in study.requests):
        rules.append(Rule.REQUEST_ATTRIBUTES)
    if performed:
        rules.append(Rule.PERFORMED_STEP)
    patient = _patient_evidence(study, order, spell)
    modality = bool(set(study.modalities) & set(order.modalities))
    if not rules:
        same_patient = (study.patient_id, study.patient_issuer) in order.patient_identifiers
        same_day = not order.scheduled_dates or study.study_date in order.scheduled_dates
        if not (same_patient and modality and same_day and not order.ended):
            return None
        rules.append(Rule.CANDIDATE)
    evidence = (
        *patient,
        Evidence("accession number", accession),
        Evidence(
            "modality",
            Verdict.EQUAL if modality else Verdict.DIFFERS if order.modalities else Verdict.MISSING,
        ),
    )
    return Candidate(order, tuple(rules), evidence, standing)


def _accession(study: StudyFacts, order: OrderFacts) -> Verdict:
    if not study.accession_number or not order.accession_number:
        return Verdict.MISSING
    same = study.accession_number == order.accession_number and study.accession_issuer == order.accession_issuer
    return Verdict.EQUAL if same else Verdict.DIFFERS


def _request_names(request: ScheduledReference, study: StudyFacts, order: OrderFacts) -> bool:
    """By accession number, else by procedure and step id together: those are often plain counters, and name nothing
    against an accession number that says otherwise."""
    procedure, step = request.requested_procedure_id, request.scheduled_step_id
    if request.accession_number:
        return (
            request.accession_number == order.accession_number
            and request.accession_issuer == order.accession_issuer
            and procedure in ("", order.requested_procedure_id)
        )
    named = bool(procedure and step) and procedure == order.requested_procedure_id and step in order.step_ids
    return named and _accession(study, order) is not Verdict.DIFFERS


def _patient_evidence(study: StudyFacts, order: OrderFacts, spell: Spell) -> tuple[Evidence, ...]:
    """Identifier, name, birth date and sex: an identifier that differs is never made good by a name that agrees."""
    identifier = Verdict.MISSING
    if study.patient_id:
        same = (study.patient_id, study.patient_issuer) in order.patient_identifiers
        identifier = Verdict.EQUAL if same else Verdict.DIFFERS
    return (
        Evidence("patient identifier", identifier),
        Evidence("patient name", _names(study.patient_name, order.patient_name, identifier, spell)),
        Evidence("patient birth date", _plain(study.birth_date, order.birth_date)),
        Evidence("patient sex", _plain(study.sex, order.sex)),
    )


def _names(study: PersonName, order: PersonName, identifier: Verdict, spell: Spell) -> Verdict:
    """As they are; else both spelt plainly, for the device may have been told the order's so."""
    verdict = _name(study, order, identifier)
    if verdict is not Verdict.DIFFERS:
        return verdict
    told, known = (replace(name, alphabetic=spell(name.alphabetic)) for name in (study, order))
    return Verdict.DIFFERS if _name(told, known, identifier) is Verdict.DIFFERS else Verdict.NEAR


def _name(study: PersonName, order: PersonName, identifier: Verdict) -> Verdict:
    if not study or not order:
        return Verdict.MISSING
    if study == order:
        return Verdict.EQUAL
    pairs = zip(
        (study.alphabetic, study.ideographic, study.phonetic),
        (order.alphabetic, order.ideographic, order.phonetic),
        strict=True,
    )
    both = [(folded(a), folded(b)) for a, b in pairs if a and b]
    if both and all(a == b for a, b in both):
        return Verdict.NEAR
    # A modality may hold only family and given name, or a name from before a correction: with an equal
    # identifier the first two components decide.
    short = [(a.split("^")[:2], b.split("^")[:2]) for a, b in both]
    return Verdict.NEAR if identifier is Verdict.EQUAL and short and all(a == b for a, b in short) else Verdict.DIFFERS


def _plain(study: str, order: str) -> Verdict:
    if not study or not order:
        return Verdict.MISSING
    return Verdict.EQUAL if study == order else Verdict.DIFFERS
