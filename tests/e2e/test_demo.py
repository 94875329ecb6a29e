"""`make demo ONCE=1`, as anyone runs it: a whole day at the pretend hospital, judged by its end state."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge.sandbox.day import day
from bridge.sandbox.narrate import Narrator
from bridge.sandbox.story import Story
from tests.peers.available import need

pytestmark = pytest.mark.timeout(240)

STEPS = (
    "bridge init: config/bridge.toml and secrets/smart-client.jwk, mode 0600",
    "register the bridge's public key for private_key_jwt",
    "ADT^A04",
    "ORM^O01  CT",
    "OMI^O23  MR",
    "C-ECHO",
    "C-FIND .* for CT",
    "C-STORE  CT",
    "N-ACTION  storage commitment",
    "N-EVENT-REPORT .*32 of 32 images committed",
    "waits, will try again: waiting-for-patient",
    "ImagingStudy  CT .*basedOn ServiceRequest",
    "C-FIND .* for MR",
    "C-STORE  MR",
    "ImagingStudy  MR .*basedOn ServiceRequest",
    "C-STORE  one clip",
    "study-unmatched: no-order",
    "SMART EHR launch .*CT",
    "signed link .*MR",
    "ORM^O01  Echo",
    "ImagingStudy  US .*basedOn ServiceRequest",
    "SMART EHR launch .*Echo",
    "as it should be",
)
"""What must be told, each once, in this order."""
LINE = re.compile(r"\+ *\d+\.\ds  .+ → .+  .+  \[.+\]")


@dataclass(frozen=True)
class Played:
    status: int
    output: str
    folder: Path

    @property
    def lines(self) -> list[str]:
        return [line for line in self.output.splitlines() if line.startswith("+")]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    viewer = need("viewer")
    folder = tmp_path_factory.mktemp("day") / "demo"
    command = [sys.executable, "-m", "bridge.cli", "sandbox", "day", "--once", "--folder", str(folder)]
    done = subprocess.run([*command, "--viewer", viewer], capture_output=True, text=True, timeout=200, check=False)
    return Played(done.returncode, done.stdout + done.stderr, folder)


def test_the_day_goes_right(played: Played) -> None:
    assert played.status == 0, played.output


def test_every_step_is_told_once_and_in_order(played: Played) -> None:
    told = [[n for n, line in enumerate(played.lines) if re.search(step.replace("^", r"\^"), line)] for step in STEPS]
    assert all(len(where) == 1 for where in told), dict(zip(STEPS, told, strict=True))
    assert told == sorted(told)


def test_every_line_says_who_whom_what_the_answer_and_how_long(played: Played) -> None:
    assert [line for line in played.lines if not LINE.fullmatch(line)] == []


def test_the_bridge_logged_no_error(played: Played) -> None:
    log = (played.folder / "bridge.log").read_text()
    assert [line for line in log.splitlines() if '"level": "ERROR"' in line or not line.startswith("{")] == []


def test_no_process_is_left(played: Played) -> None:
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(played.folder) not in running


def test_only_its_owner_reads_the_configuration(played: Played) -> None:
    assert (played.folder / "config" / "bridge.toml").stat().st_mode & 0o077 == 0
    assert (played.folder / "secrets").stat().st_mode & 0o077 == 0
    assert (played.folder / "secrets" / "smart-client.jwk").stat().st_mode & 0o777 == 0o600


def test_one_image_is_no_plural(played: Played) -> None:
    assert "1 images" not in re.sub(r"\d\d+ images", "", played.output)
    assert "available, 1 image, basedOn" in played.output


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day whose last order never comes."""
    monkeypatch.setattr(Story, "late_order", lambda _: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)  # pytest keeps its own Ctrl-C


@pytest.mark.usefixtures("forgetful")
def test_a_day_that_goes_wrong_says_what_and_where_to_look(tmp_path: Path) -> None:
    out = io.StringIO()
    status = day(tmp_path / "demo", once=True, viewer=Path(need("viewer")), narrator=Narrator(out))
    text = out.getvalue()
    assert status == 1
    assert "✗ FHIR ImagingStudy: modalities ['CT', 'MR'], expected ['CT', 'MR', 'US']" in text
    assert "✗ bridge review: study:3 study-unmatched (no-order), expected nothing" in text
    assert f"The bridge's log: {tmp_path / 'demo' / 'bridge.log'}" in text
