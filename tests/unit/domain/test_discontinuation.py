"""Why a device discontinued a step (CID 9300, CID 9301), and what becomes of its entry and its study."""

from __future__ import annotations

import pytest

from bridge.domain.coding import Code
from bridge.domain.performed import Fate, fate_of
from tests.unit.workflow.house import shipped_mappings

WRONG_PICK, EQUIPMENT_FAILED = Code("110514", "DCM"), Code("110501", "DCM")
PATIENT_DIED, ALLERGIC, UNSPECIFIED = Code("110504", "DCM"), Code("110503", "DCM"), Code("110513", "DCM")


def fate(*reasons: Code) -> Fate | None:
    return fate_of(reasons, shipped_mappings().fate)


@pytest.mark.parametrize(("reason", "meant"), [
    (WRONG_PICK, Fate.WRONG_ENTRY), (EQUIPMENT_FAILED, Fate.AGAIN), (PATIENT_DIED, Fate.PROPOSE), (ALLERGIC, Fate.END),
])  # fmt: skip
def test_a_reason_that_is_known_decides(reason: Code, meant: Fate) -> None:
    assert fate(reason) is meant


def test_the_strongest_of_several_reasons_decides() -> None:
    assert fate(UNSPECIFIED, ALLERGIC) is Fate.END
    assert fate(ALLERGIC, PATIENT_DIED) is Fate.PROPOSE
    assert fate(PATIENT_DIED, EQUIPMENT_FAILED) is Fate.AGAIN
    assert fate(EQUIPMENT_FAILED, WRONG_PICK, PATIENT_DIED) is Fate.WRONG_ENTRY


@pytest.mark.parametrize("reason", [Code("110514"), Code("110514", "dcm")])
def test_a_device_that_names_no_scheme_or_a_small_one_means_dcm(reason: Code) -> None:
    assert fate(reason) is Fate.WRONG_ENTRY


@pytest.mark.parametrize("reasons", [
    (), (UNSPECIFIED,), (Code("110514", "99SITE"),), (Code("110504", "99SITE"),), (Code("95384003", "SCT"),),
])  # fmt: skip
def test_no_reason_that_is_known_is_for_the_site_to_decide(reasons: tuple[Code, ...]) -> None:
    assert fate(*reasons) is None


@pytest.mark.parametrize("code", [
    "110500", "110501", "110502", "110503", "110504", "110505", "110506", "110507", "110508", "110509", "110510",
    "110511", "110512", "110514", "110515", "110516", "110526", "110527", "110528", "110529",
])  # fmt: skip
def test_every_reason_of_the_two_lists_that_says_something_has_a_fate(code: str) -> None:
    assert fate(Code(code, "DCM")) is not None
