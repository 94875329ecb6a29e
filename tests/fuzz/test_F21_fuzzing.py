"""F21: whatever bytes come, framing and reader neither crash nor hang, and no input costs more than a second."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("atheris", reason="atheris has no wheel for this platform: F21 runs with hypothesis only")


def fuzz(
    folder: Path, seconds: int, plant: str = "", what: str = "hl7"
) -> tuple[subprocess.CompletedProcess[str], list[Path]]:
    """How it ended, and the inputs that broke a promise."""
    command = [sys.executable, "-m", f"tests.fuzz.atheris_{what}", str(seconds), str(folder), *filter(None, [plant])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 90, check=False)
    return done, [path for path in folder.iterdir() if path.is_file()]


def runs(done: subprocess.CompletedProcess[str]) -> int:
    found = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    return int(found[1]) if found else 0


@pytest.mark.timeout(800)
def test_F21_no_input_crashes_or_holds_up_the_reader(tmp_path: Path, full: bool) -> None:
    """The fault's own figure is ten minutes."""
    done, broken = fuzz(tmp_path, 600 if full else 5)
    assert (done.returncode, broken) == (0, []), done.stderr[-4000:]
    assert runs(done) > 500


@pytest.mark.parametrize("plant", ["crash", pytest.param("slow", marks=pytest.mark.full)])
def test_F21_a_fault_that_is_planted_is_found(tmp_path: Path, plant: str) -> None:
    done, broken = fuzz(tmp_path, 30, plant)
    assert done.returncode != 0
    assert [b"\x1c\r\x0bM" in path.read_bytes() for path in broken] == [True]


@pytest.mark.full
def test_F21_a_hang_is_found(tmp_path: Path) -> None:
    done, broken = fuzz(tmp_path, 60, "hang")
    assert done.returncode != 0
    assert [path.name.startswith("timeout-") for path in broken] == [True]
