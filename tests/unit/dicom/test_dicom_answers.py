"""Kept answers are those of the entry at hand, and never many."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from bridge.dicom import query
from bridge.dicom.answers import Answers, Kept, Told, outline
from bridge.domain.worklist import WorklistEntry
from tests.fakes.raw_peer import RawPeer, association_request, message
from tests.unit.dicom.support import ENTRY, MWL, FakeServices, command, encoded, serving

TOLD = Told(b"answer", "", False)
EXPLICIT = "1.2.840.10008.1.2.1"


def test_an_answer_is_found_again_in_its_form_alone() -> None:
    answers = Answers()
    answers.put(ENTRY, "form", TOLD)
    assert answers.get(replace(ENTRY), "form") == TOLD
    assert answers.get(ENTRY, "another") is None


@pytest.mark.parametrize("name", [f.name for f in fields(WorklistEntry)])
def test_an_answer_is_stale_when_anything_of_its_entry_has_changed(name: str) -> None:
    answers = Answers()
    answers.put(ENTRY, "form", TOLD)
    changed: Any = {name: "something else"}
    assert answers.get(replace(ENTRY, **changed), "form") is None


def test_the_oldest_go_when_there_are_too_many() -> None:
    kept: Kept[int] = Kept(3)
    for number in range(3):
        kept.put(number, number)
    kept.get(0)
    kept.put(3, 3)
    assert [kept.get(number) for number in range(4)] == [0, None, 2, 3] and len(kept) == 3


def test_what_is_put_again_weighs_once() -> None:
    kept: Kept[int] = Kept(3)
    for _ in range(10):
        kept.put("one", 1, 2)
    kept.put("two", 2, 1)
    assert kept.get("one") == 1 and kept.get("two") == 2


def keys(**step: str) -> Dataset:
    data, item = Dataset(), Dataset()
    data.PatientName, data.PatientID = "DOE*", ""
    for keyword, value in step.items():
        setattr(item, keyword, value)
    data.ScheduledProcedureStepSequence = Sequence([item])
    return data


def test_an_outline_is_what_is_asked_for_and_not_what_it_must_match() -> None:
    assert outline(keys(Modality="CT")) == outline(keys(Modality="MR"))
    assert outline(keys(Modality="CT")) != outline(keys(Modality="CT", ScheduledProcedureStepID=""))


def test_an_answer_is_written_once_for_all_who_ask_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    write = query.response

    def counted(*arguments: Any, **options: Any) -> Dataset:
        written.append(1)
        return write(*arguments, **options)

    monkeypatch.setattr("bridge.dicom.worklist.response", counted)
    services = FakeServices()
    ask = message(1, command(MWL, 0x0020), encoded(keys(Modality="CT")))
    with serving(tmp_path, services, transport="own") as server, RawPeer(server.port) as peer:
        peer.associate(association_request([(MWL, [EXPLICIT])]))
        first = peer.ask(ask)
        assert peer.ask(ask) == first and len(written) == 1
        services.worklist.entries = [replace(ENTRY, patient_id="P200")]
        assert peer.ask(ask) != first and len(written) == 2
