"""RAD-8: objects of every storage SOP class are taken, also retired and private ones (PS3.4 B.5; PS3.6 A)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bridge.config import Storage
from bridge.dicom.ae import DicomServer
from bridge.dicom.classes import STORAGE
from tests.unit.dicom.support import FakeServices, associated, image, serving

pytestmark = pytest.mark.usefixtures("transport")

EXPLICIT = "1.2.840.10008.1.2.1"
US_RETIRED, CSA, OTHER = "1.2.840.10008.5.1.4.1.1.6", "1.3.12.2.1107.5.9.1", "1.2.840.113619.4.30"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DicomServer]:
    storage = Storage(min_free_bytes=0, private_sop_classes=(CSA,))
    with serving(tmp_path_factory.mktemp("classes"), FakeServices(), storage=storage) as started:
        yield started


@pytest.mark.parametrize("sop_class", sorted(STORAGE | {CSA}))
def test_an_object_of_the_class_is_stored(server: DicomServer, sop_class: str) -> None:
    uid = f"{sop_class}.1"
    with associated(server, (sop_class, EXPLICIT)) as modality:
        assert modality.send_c_store(image(uid, SOPClassUID=sop_class)).Status == 0x0000


def test_what_old_ultrasound_sends_is_among_them() -> None:
    assert US_RETIRED in STORAGE


def test_a_private_class_that_the_site_does_not_name_is_not_accepted(server: DicomServer) -> None:
    with associated(server, (OTHER, EXPLICIT), (US_RETIRED, EXPLICIT)) as modality:
        assert [str(context.abstract_syntax) for context in modality.accepted_contexts] == [US_RETIRED]


@pytest.mark.parametrize("uid", ["1.2.840.10008.5.1.4.31", "Siemens CSA", "1.2.03"])
def test_a_private_class_is_no_class_of_the_standard(uid: str) -> None:
    with pytest.raises(ValueError, match="private"):
        Storage(private_sop_classes=(uid,))
