"""F63: hostile wild cards: what a reference matcher finds, and never more than 100 ms a query.

The reference is the plain table of dynamic programming: every place of the pattern against every place of the value.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom.association import Association

from bridge.domain.coding import Code
from bridge.domain.identity import Identifier
from bridge.domain.keys import Kind, name_matches, text_matches, value_test
from bridge.domain.patient import PersonName
from bridge.domain.worklist import Matcher, WorklistKeys
from tests.unit.dicom.support import MWL, FakeServices, associated, entry, serving

IMPLICIT = "1.2.840.10008.1.2"
PATTERNS = 500
MOST_SECONDS = 0.1
HOSTILE = ["*a" * 31 + "b", "*a" * 127 + "b", "?*" * 128, "*" * 255 + "b", "*a*a*a*a*a*a*a*ab", "*?" * 100 + "x"]


def reference(pattern: str, value: str) -> bool:
    row = [True] + [False] * len(value)
    for sign in pattern:
        if sign == "*":
            for at in range(1, len(row)):
                row[at] = row[at] or row[at - 1]
        else:
            row = [False, *(row[at] and sign in ("?", value[at]) for at in range(len(value)))]
    return row[-1]


def random_key(dice: random.Random, stars: int) -> str:
    signs = ["*"] * stars + dice.choices("ab?", k=dice.randint(1, 24))
    dice.shuffle(signs)
    return "".join(signs)


@pytest.mark.parametrize("stars", range(1, 17))
def test_F63_random_wild_cards_find_what_the_reference_finds(stars: int) -> None:
    dice = random.Random(stars)
    for _ in range(PATTERNS):
        key, value = random_key(dice, stars), "".join(dice.choices("ab", k=dice.randint(1, 64)))
        assert text_matches(key, value) is reference(key, value), (key, value)
        assert name_matches(key, PersonName(value)) is reference(key, value), (key, value)


@pytest.mark.parametrize("stars", [1, 2, 3])
def test_F63_a_list_of_wild_cards_finds_what_any_of_them_does(stars: int) -> None:
    dice = random.Random(stars)
    for _ in range(PATTERNS):
        keys = [random_key(dice, stars)[:8] for _ in range(dice.randint(2, 5))]
        value = "".join(dice.choices("ab", k=dice.randint(1, 12)))
        found = value_test(Kind.TEXT, "\\".join(keys))(value)
        assert found is any(reference(key, value) for key in keys), (keys, value)


LONG = "a" * 64
COSTLY = entry(
    patient_location=LONG, allergies=(LONG,) * 5, comments="a" * 256, patient_name=PersonName("a " * 15 + "b"),
    protocol_codes=tuple(Code("a" * 16, "a" * 16, "") for _ in range(5)),
    other_patient_ids=(Identifier(LONG, LONG),) * 5,
)  # fmt: skip
LISTED = "\\".join(["*a*a*b"] * 36)
COSTLY_KEYS = {
    "a list": WorklistKeys(patient_location=LISTED),
    "a list against several": WorklistKeys(allergies=LISTED),
    "long words": WorklistKeys(comments="*a" * 127 + "c"),
    "codes": WorklistKeys(protocol_codes=(("code", "*a" * 31 + "b"), ("scheme", "*a" * 31 + "b"))),
    "other numbers": WorklistKeys(other_patient_ids=(("patient_id", LISTED), ("issuer", LISTED))),
    "resembling names": WorklistKeys(patient_name=" ".join(["a*?*c"] * 12), fuzzy=True),
    "one long resembling name": WorklistKeys(patient_name="ab" * 350, fuzzy=True),
    "thousands of studies": WorklistKeys(study_instance_uids=tuple(f"1.2.{n}" for n in range(4000))),
}


@pytest.mark.parametrize("keys", COSTLY_KEYS.values(), ids=COSTLY_KEYS)
def test_F63_a_costly_key_of_any_kind_costs_a_full_worklist_no_time(keys: WorklistKeys) -> None:
    def spent() -> float:
        began = time.process_time()
        wanted = Matcher(keys)
        assert not any(wanted.matches(COSTLY) for _ in range(500))
        return time.process_time() - began

    assert min(spent() for _ in range(3)) < MOST_SECONDS


def seconds(modality: Association, asked: Dataset) -> float:
    began = time.perf_counter()
    statuses = [status.Status for status, _ in modality.send_c_find(asked, MWL)]
    assert statuses[-1] == 0
    return time.perf_counter() - began


@pytest.mark.parametrize("key", HOSTILE)
def test_F63_a_hostile_wild_card_costs_a_full_worklist_no_time(tmp_path: Path, key: str) -> None:
    services = FakeServices()
    services.worklist.entries = [entry(patient_id="a" * 64, patient_name=PersonName("a" * 64))] * 500
    by_id, by_name = Dataset(), Dataset()
    by_id.PatientID, by_name.PatientName = key[-255:] + "c", key + "c"
    with serving(tmp_path, services) as server, associated(server, (MWL, IMPLICIT)) as modality:
        assert min(seconds(modality, by_id) for _ in range(3)) < MOST_SECONDS
        assert min(seconds(modality, by_name) for _ in range(3)) < MOST_SECONDS
