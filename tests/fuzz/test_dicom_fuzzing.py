"""Whatever a scanner sends, it gets a status: no crash, no hang, no input that costs more than a second."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.test_F21_fuzzing import fuzz, runs


@pytest.mark.timeout(800)
def test_no_object_query_or_step_crashes_or_holds_up_the_bridge(tmp_path: Path, full: bool) -> None:
    done, broken = fuzz(tmp_path, 600 if full else 5, what="dicom")
    assert (done.returncode, broken) == (0, []), done.stderr[-4000:]
    assert runs(done) > 200


@pytest.mark.parametrize("plant", ["crash", pytest.param("slow", marks=pytest.mark.full)])
def test_a_fault_that_is_planted_is_found(tmp_path: Path, plant: str) -> None:
    done, broken = fuzz(tmp_path, 30, plant, what="dicom")
    assert done.returncode != 0
    assert [b"\x40\x00\x02\x00DA" in path.read_bytes() for path in broken] == [True]
