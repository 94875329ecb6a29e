"""`bridge init`: the configuration and what must exist before the first start. Nothing that exists is changed."""

from __future__ import annotations

import os
from pathlib import Path

from bridge.mapping import default_directory
from bridge.smart.client_key import new_key

FOLDERS = ("data", "data/run", "data/archive", "secrets")


def default_config() -> Path:
    """The complete, commented default: in a checkout at the top level, in a wheel beside the mappings."""
    beside = default_directory().parent
    for candidate in (beside / "config" / "bridge.toml", beside / "_config" / "bridge.toml"):
        if candidate.exists():
            return candidate
    raise FileNotFoundError("config/bridge.toml")


def initialise(folder: Path) -> list[tuple[Path, str]]:
    """Returns (path, "made" or "kept") for each thing. Secrets: mode 0600, in a folder 0700."""
    done: list[tuple[Path, str]] = []
    for name in FOLDERS:
        path = folder / name
        done.append((path, "kept" if path.exists() else "made"))
        path.mkdir(parents=True, exist_ok=True, mode=0o700 if name == "secrets" else 0o750)
    config = folder / "config" / "bridge.toml"
    if config.exists():
        done.append((config, "kept"))
    else:
        config.parent.mkdir(parents=True, exist_ok=True)
        text = default_config().read_text()
        write_private(config, text.replace('data = "data"', 'data = "../data"', 1))
        done.append((config, "made"))
    key = folder / "secrets" / "smart-client.jwk"
    done.append((key, "kept" if key.exists() else "made"))
    if not key.exists():
        write_private(key, new_key())
    return done


def write_private(path: Path, text: str) -> None:
    """A new file that only its owner reads."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
