"""Coverage-guided runs (atheris): `python -m tests.fuzz.atheris_<what> SECONDS FOLDER [PLANT]`.

The input that breaks a promise is left in FOLDER, and the exit status is not 0. PLANT (`crash`, `slow`, `hang`) breaks
one on purpose when the input holds the caller's mark, to show that it would be found.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import atheris  # type: ignore[import-untyped]

MOST_SECONDS = 1.0
HANG_SECONDS = 10


class Promise(Exception):
    """A promise that was broken."""


def run(one_input: Callable[[bytes], None], seeds: Mapping[str, bytes], mark: bytes, arguments: list[str]) -> None:
    """Fuzz for so many seconds; no input may cost more than a second of CPU, whatever else is promised."""
    seconds, folder, plant = (*arguments, "")[:3]

    def target(data: bytes) -> None:
        begun = time.process_time()
        if plant and mark in data:
            _planted(plant)
        one_input(data)
        if time.process_time() - begun > MOST_SECONDS:
            raise Promise(f"more than {MOST_SECONDS} s")

    found, sown = Path(folder) / "found", Path(folder) / "seeds"
    for one in (found, sown):
        one.mkdir(parents=True)
    for name, data in seeds.items():
        (sown / name).write_bytes(data)
    options = [
        f"-max_total_time={seconds}", f"-timeout={HANG_SECONDS}", "-max_len=8192", "-rss_limit_mb=2048",
        f"-artifact_prefix={folder}/", "-print_final_stats=1",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(found), str(sown)], target)
    atheris.Fuzz()


def _planted(what: str) -> None:
    if what == "crash":
        raise RuntimeError("planted")
    end = time.process_time() + (1.2 if what == "slow" else 3600)
    while time.process_time() < end:
        pass
