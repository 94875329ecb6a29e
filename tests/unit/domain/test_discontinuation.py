"""Why a device discontinued a step (CID 9301), and whether its entry waits again."""

from __future__ import annotations

import pytest

from bridge.domain.coding import Code
from bridge.domain.performed import waits_again

WRONG_PICK, PATIENT_DIED, UNSPECIFIED = Code("110514", "DCM"), Code("110504", "DCM"), Code("110513", "DCM")


@pytest.mark.parametrize("unknown", [True, False])
@pytest.mark.parametrize(("reasons", "again"), [
    ((WRONG_PICK,), True),
    ((PATIENT_DIED,), False),
    ((PATIENT_DIED, WRONG_PICK), True),
    ((UNSPECIFIED, WRONG_PICK), True),
    ((UNSPECIFIED, PATIENT_DIED), False),
    ((Code("110514"),), True),
    ((Code("110514", "dcm"),), True),
])  # fmt: skip
def test_a_reason_that_is_known_decides_by_itself(reasons: tuple[Code, ...], again: bool, unknown: bool) -> None:
    assert waits_again(reasons, unknown) is again


@pytest.mark.parametrize("unknown", [True, False])
@pytest.mark.parametrize(
    "reasons",
    [(), (UNSPECIFIED,), (Code("110514", "99SITE"),), (Code("110504", "99SITE"),), (Code("95384003", "SCT"),)],
)
def test_no_reason_that_is_known_is_for_the_site_to_decide(reasons: tuple[Code, ...], unknown: bool) -> None:
    assert waits_again(reasons, unknown) is unknown
