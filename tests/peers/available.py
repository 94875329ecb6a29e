"""Which foreign programs are here: a test that needs one skips loudly at home and fails under CI."""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
HAPI = CACHE / "hapi"
VIEWER = CACHE / "viewer"
DIMSE = Path(__file__).parent / "dimse"
MLLP = Path(__file__).parent / "mllp"


def need(name: str) -> str:
    """The path of a command (`findscu`, `chromium`, ...) or what install.sh builds (hapi, dimse, mllp, viewer)."""
    found = _built(name) if name in ("hapi", "dimse", "mllp", "viewer") else shutil.which(name)
    if not found:
        missing(f"MISSING PEER {name}: this test did not run. Provide it with: tests/peers/install.sh")
    return found


def missing(reason: str) -> NoReturn:
    """A loud skip at home, a failure under CI."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    warnings.warn(reason, stacklevel=3)
    pytest.skip(reason)


def not_here(why: str) -> NoReturn:
    """A loud skip, under CI too: no package can provide what a kernel lacks or a container forbids."""
    reason = f"NOT RUN: {why}"
    warnings.warn(reason, stacklevel=3)
    pytest.skip(reason)


def _built(name: str) -> str | None:
    if name == "viewer":
        return str(VIEWER) if (VIEWER / "bridge-viewer.json").is_file() else None
    if name in ("dimse", "mllp"):
        folder = {"dimse": DIMSE, "mllp": MLLP}[name]
        stamp, sources = folder / "node_modules" / ".stamp", [folder / "package-lock.json"]
    else:
        java = DIMSE.parent / "hapi"
        stamp, folder = HAPI / ".stamp", HAPI
        sources = [java / "pom.xml", *sorted(p for p in (java / "src").rglob("*") if p.is_file())]
    wanted = hashlib.sha256(b"".join(p.read_bytes() for p in sources)).hexdigest()
    return str(folder) if stamp.is_file() and stamp.read_text().strip() == wanted else None
