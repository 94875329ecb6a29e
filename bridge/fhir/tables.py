"""The code tables of `mappings/fhir/`: read once, at first use."""

from __future__ import annotations

from functools import cache

from bridge.errors import ConfigurationError
from bridge.mapping import default_directory
from bridge.mapping.load import Scalar, load


@cache
def table(name: str) -> dict[str, str]:
    """`mappings/fhir/<name>.yaml`, flat and textual; raise `ConfigurationError`."""
    faults: list[str] = []
    shown = f"mappings/fhir/{name}.yaml"
    root = load(default_directory() / "fhir" / f"{name}.yaml", shown, faults)
    entries = root.entries if root else {}
    faults += [f"{node.mark}: '{key}' must be text" for key, node in entries.items() if not isinstance(node, Scalar)]
    if faults:
        raise ConfigurationError(faults)
    return {key: node.text for key, node in entries.items() if isinstance(node, Scalar)}
