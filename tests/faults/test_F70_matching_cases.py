"""F70: a study with no match, with two, of the wrong patient. Never linked when the evidence does not decide; what is
linked without a person is right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.domain.coding import Code
from bridge.domain.identity import Identifier
from bridge.domain.matching import Decision, judge
from bridge.domain.patient import PatientData, PersonName
from bridge.domain.performed import ScheduledReference
from bridge.domain.study import MatchState
from bridge.workflow import matching
from tests.unit.workflow.house import JANE, JOHN, House, ct_step, order

CORPUS = Path(__file__).parents[1] / "corpus" / "dicom"
WHO: dict[str, dict[str, str]] = {
    "jane": {"number": "1001", "name": "DOE^JANE", "birth": "19800101", "sex": "F"},
    "john": {"number": "2002", "name": "ROE^JOHN", "birth": "19750505", "sex": "M"},
}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.database.close()


def corpus() -> list[Any]:
    """Every case, as text alone: `010` is no number."""
    return [
        pytest.param(case, id=f"{path.stem}: {case['case']}")
        for path in sorted(CORPUS.glob("*.yaml"))
        for case in yaml.load(path.read_text(), Loader=yaml.BaseLoader)
    ]


CASES = corpus()


class Exam:
    """A case, played into a bridge."""

    def __init__(self, house: House, case: dict[str, Any]) -> None:
        self.house, self.case = house, case
        self.study = case["images"][0].get("study", "1.2.3")

    def orders(self) -> None:
        for placer, told in self.case["orders"].items():
            self.house.order(self._order(placer, told))
        for number, whose in self.case.get("merged", {}).items():
            survivor = {"jane": JANE, "john": JOHN}[whose]
            self.house.adt("A40", survivor, prior=(Identifier(number, "HOSP"),))
        for placer in self.case.get("cancelled", ()):
            self.house.order(self._order(placer, self.case["orders"][placer], "OC"))

    def _order(self, placer: str, told: dict[str, Any], control: str = "NW") -> Any:
        date = datetime.strptime(told.get("date", "20261125"), "%Y%m%d").replace(hour=13)
        modality = told.get("modality", "CT")
        step = ct_step(step_id=told.get("step", ""), start=date, modality=modality, modality_sent=modality)
        return order(
            control,
            placer=placer,
            accession=told.get("accession", "A1"),
            uid=told.get("uid", "1.2.3"),
            procedure_id=told.get("procedure", ""),
            patient=self._person(told),
            steps=(step,),
        )

    def _person(self, told: dict[str, Any]) -> PatientData:
        whose = {**WHO[told.get("patient", "jane")], **told}
        number = Identifier(whose["number"], told.get("authority", "HOSP"))
        return PatientData((number,), PersonName(whose["name"]), whose["birth"], whose["sex"])

    def exam(self) -> None:
        for step in self.case.get("mpps", ()):
            whose = self._person(step).identifiers[0]
            items = [_reference(item) for item in step["items"]]
            patient = {"patient_id": whose.value, "patient_issuer": whose.issuer}
            self.house.mpps(step.get("uid", "1.1"), *items, modality="CT", **patient)
        for image in self.case["images"]:
            self.house.image(**self._image(image))
        for step in self.case.get("mpps", ()):
            reasons = (Code(step["reason"], "DCM"),) if "reason" in step else ()
            self.house.mpps_end(step.get("uid", "1.1"), step.get("end", "COMPLETED"), discontinuation=reasons)

    def _image(self, told: dict[str, Any]) -> dict[str, Any]:
        person, study = self._person(told), told.get("study", "1.2.3")
        number = person.identifiers[0]
        return {
            "study_instance_uid": study,
            "series_instance_uid": told.get("series", f"{study}.1"),
            "accession_number": told.get("accession", "A1"),
            "accession_issuer": told.get("issuer", "RIS") if told.get("accession", "A1") else "",
            "modality": told.get("modality", "CT"),
            "patient_id": number.value,
            "patient_issuer": number.issuer if number.value else "",
            "patient_name": person.name,
            "birth_date": person.birth_date,
            "sex": person.sex,
            "requests": tuple(_reference(item) for item in told.get("requests", ())),
            "performed_step_uid": told.get("performed", ""),
        }

    def linked(self) -> list[str]:
        by_id = {self.house.order_row(placer).id: placer for placer in self.case["orders"]}
        return sorted(by_id[link.order_id] for link in self.house.links(self.study))

    def reason(self) -> str:
        """Of the study's own entry."""
        (found,) = [reason for kind, reason in self.house.reviews() if kind in ("study-unmatched", "study-ambiguous")]
        return found


def _reference(item: dict[str, str]) -> ScheduledReference:
    return ScheduledReference(
        item.get("study", ""),
        item.get("accession", ""),
        "RIS" if item.get("accession") else "",
        item.get("procedure", ""),
        item.get("step", ""),
        item.get("planned", ""),
    )


def played(house: House, case: dict[str, Any], first: str) -> Exam:
    exam = Exam(house, case)
    words = [exam.orders, exam.exam]
    for word in words if first == "order" else words[::-1]:
        word()
    house.complete()
    house.matching.judge_due()
    return exam


def test_the_corpus_has_fifty_cases_of_every_kind() -> None:
    assert len(CASES) >= 50
    kinds = {p.stem for p in CORPUS.glob("*.yaml")}
    assert kinds == {"group_cases", "no_match", "rightly_linked", "two_matches", "wrong_patient"}


@pytest.mark.parametrize("first", ["order", "exam"])
@pytest.mark.parametrize("case", CASES)
def test_what_is_linked_is_right_and_the_rest_is_in_sight(house: House, case: dict[str, Any], first: str) -> None:
    exam = played(house, case, first)
    assert set(exam.linked()) <= set(case["is"]), "a wrong link"
    assert exam.linked() == sorted(case.get("links", ()))
    if "links" not in case:
        assert exam.reason() == case["reason"]
    (study,) = [row for row in house.rows("study") if row.study_instance_uid == exam.study]
    owed = [row for row in house.rows("publication") if row.study_id == study.id]
    assert bool(owed) == bool(exam.linked()), "published and linked are one"


def test_a_bridge_that_took_its_best_guess_would_link_wrongly(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the corpus tempts, and a wrong link would be seen."""
    name = "the study of one order, the accession number of another"
    (case,) = (param.values[0] for param in CASES if param.values[0]["case"] == name)

    def guess(*facts: Any) -> Decision:
        decision = judge(*facts)
        return replace(decision, state=MatchState.MATCHED, links=decision.links or decision.candidates[:1])

    monkeypatch.setattr(matching, "judge", guess)
    exam = played(house, case, "order")
    assert not set(exam.linked()) <= set(case["is"])
