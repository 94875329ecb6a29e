"""The folder of an installed viewer: its manifest says which files there are; nothing else is ever served."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

MANIFEST = "bridge-viewer.json"  # OHIF has a manifest.json of its own
COMPRESSED = frozenset({".js", ".css", ".wasm", ".svg", ".json", ".html"})

Report = Callable[[str, int, int], None]
"""Called with (step, done, total); total 0 = not known."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: the SHA-256 of its bytes (hex), and whether `<name>.gz` stands beside it."""

    sha256: str
    gzip: bool


@dataclass(frozen=True, slots=True)
class Manifest:
    """`version` of @ohif/app, `integrity` (SRI) of its archive, `recipe` that trimmed it; files by relative path."""

    version: str
    integrity: str
    recipe: int
    files: dict[str, Entry]


def read_manifest(root: Path) -> Manifest | None:
    """None when there is no viewer, or not a whole one."""
    try:
        data = json.loads((root / MANIFEST).read_bytes())
        files = {name: Entry(entry["sha256"], entry["gzip"]) for name, entry in data["files"].items()}
        return Manifest(data["version"], data["integrity"], data["recipe"], files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def seal(root: Path, version: str, integrity: str, recipe: int, report: Report) -> None:
    """Compresses every text file of `root` (gzip 9, beside it) and writes the manifest: the last step of an install."""
    names = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
    files: dict[str, Entry] = {}
    # zlib and hashlib free the interpreter lock: threads suffice
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, entry in zip(names, pool.map(lambda name: _seal_file(root / name), names), strict=True):
            files[name] = entry
            report("compress", len(files), len(names))
    manifest = {
        "package": "@ohif/app",
        "version": version,
        "integrity": integrity,
        "recipe": recipe,
        "files": {name: {"sha256": entry.sha256, "gzip": entry.gzip} for name, entry in files.items()},
    }
    (root / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _seal_file(path: Path) -> Entry:
    data = path.read_bytes()
    small = gzip.compress(data, 9, mtime=0) if path.suffix in COMPRESSED else data
    worth = len(small) < len(data) * 0.9
    if worth:
        path.with_name(path.name + ".gz").write_bytes(small)
    return Entry(hashlib.sha256(data).hexdigest(), worth)
