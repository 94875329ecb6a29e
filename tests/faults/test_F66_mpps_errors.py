"""F66: an MPPS told twice, of an unknown step, and after its end, over the wire and into a real store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom.association import Association

from bridge.config import DicomPeer
from tests.conformance.test_rad_6_7_procedure_step import UID, change, create, final
from tests.faults.whole_site import WholeSite, whole_site
from tests.unit.dicom.support import MPPS, associated

SYNTAX = "1.2.840.10008.1.2.1"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[WholeSite]:
    with whole_site(tmp_path, peers=(DicomPeer(ae_title="CT1"), DicomPeer(ae_title="CT2"))) as started:
        yield started


@pytest.fixture
def modality(site: WholeSite) -> Iterator[Association]:
    with associated(site.dicom, (MPPS, SYNTAX)) as association:
        yield association


def kept(site: WholeSite) -> list[tuple[str, str]]:
    return [(row.sop_instance_uid, row.status) for row in site.rows("performed_procedure_step")]


def reviews(site: WholeSite) -> list[str]:
    return [row.reason for row in site.rows("review")]


def test_a_step_told_twice_is_0111_and_one_step(modality: Association, site: WholeSite) -> None:
    assert [create(modality).Status for _ in range(3)] == [0x0000, 0x0111, 0x0111]
    assert kept(site) == [(UID, "IN PROGRESS")]
    assert reviews(site) == []


def test_a_step_told_again_after_its_end_does_not_begin_anew(modality: Association, site: WholeSite) -> None:
    create(modality)
    change(modality, final())
    assert create(modality).Status == 0x0111
    assert kept(site) == [(UID, "COMPLETED")]


def test_a_known_uid_of_another_device_is_0111_and_in_sight_of_a_person(modality: Association, site: WholeSite) -> None:
    create(modality)
    with associated(site.dicom, (MPPS, SYNTAX), title="CT2") as other:
        assert create(other).Status == 0x0111
    assert reviews(site) == ["uid-of-another-device"]


def test_an_unknown_step_is_0112_and_none_is_made(modality: Association, site: WholeSite) -> None:
    assert change(modality, final()).Status == 0x0112
    assert kept(site) == []


@pytest.mark.parametrize("end", ["COMPLETED", "DISCONTINUED"])
@pytest.mark.parametrize("after", ["", "IN PROGRESS", "COMPLETED", "DISCONTINUED"])
def test_whatever_comes_after_the_end_is_0110_with_a710(
    modality: Association, site: WholeSite, end: str, after: str
) -> None:
    create(modality)
    change(modality, final(end))
    late = final(after)
    if not after:
        del late.PerformedProcedureStepStatus
    answer = change(modality, late)
    assert (answer.Status, answer.ErrorID) == (0x0110, 0xA710)
    assert kept(site) == [(UID, end)]


def test_a_refused_change_changes_nothing_of_what_was_told(modality: Association, site: WholeSite) -> None:
    create(modality)
    change(modality, final())
    late = Dataset()
    late.CommentsOnThePerformedProcedureStep = "LATE"
    change(modality, late)
    assert "00400280" not in site.rows("performed_procedure_step")[0].attributes


def test_a_step_that_goes_on_takes_every_change(modality: Association) -> None:
    """The control: none of these answers comes of a step that is in progress."""
    create(modality)
    going = final()
    del going.PerformedProcedureStepStatus
    assert [change(modality, going).Status for _ in range(2)] == [0x0000, 0x0000]
    assert change(modality, final()).Status == 0x0000
