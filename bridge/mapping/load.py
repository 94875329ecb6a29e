"""YAML as text and nothing else: `NO` is not false, `010` is not 8, and every node knows its file and line.

PyYAML's own loaders resolve scalars by YAML 1.1 and take duplicate keys silently; here both are faults of the past.
Anchors and aliases are no part of the language of mappings.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a node stands: `file` relative to the folder above the mappings, `line` from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Scalar:
    text: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class Listing:
    items: tuple[Node, ...]
    mark: Mark


@dataclass(frozen=True, slots=True)
class Mapping:
    """`keys` holds the mark of each key."""

    entries: dict[str, Node]
    keys: dict[str, Mark]
    mark: Mark


Node = Scalar | Listing | Mapping


class _StringLoader(yaml.BaseLoader):
    """Every scalar is its text."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not used here", mark)
        return super().compose_node(parent, index)


def load(path: Path, shown_as: str, faults: list[str]) -> Mapping | None:
    """The file as nodes. Whatever is wrong with it goes to `faults` as `file:line: text`; then None."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        faults.append(f"{shown_as}:1: cannot be read: {type(fault).__name__}")
        return None
    try:
        root = yaml.compose(text, Loader=_StringLoader)
    except yaml.MarkedYAMLError as fault:
        line = fault.problem_mark.line + 1 if fault.problem_mark else 1
        faults.append(f"{shown_as}:{line}: not YAML: {fault.problem}")
        return None
    except yaml.YAMLError as fault:
        faults.append(f"{shown_as}:1: not YAML: {type(fault).__name__}")
        return None
    if root is None:
        return Mapping({}, {}, Mark(shown_as, 1))
    node = _convert(root, shown_as, faults)
    if not isinstance(node, Mapping):
        faults.append(f"{node.mark}: expected keys at the top of the file")
        return None
    return node


def _convert(node: yaml.Node, file: str, faults: list[str]) -> Node:
    mark = Mark(file, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode):
        return Scalar(str(node.value), mark)
    if isinstance(node, yaml.SequenceNode):
        return Listing(tuple(_convert(item, file, faults) for item in node.value), mark)
    entries: dict[str, Node] = {}
    keys: dict[str, Mark] = {}
    for key, value in node.value:
        at = Mark(file, key.start_mark.line + 1)
        if not isinstance(key, yaml.ScalarNode):
            faults.append(f"{at}: a key must be text")
        elif key.value in entries:
            faults.append(f"{at}: the key '{key.value}' stands already in line {keys[key.value].line}")
        else:
            entries[key.value], keys[key.value] = _convert(value, file, faults), at
    return Mapping(entries, keys, mark)


def merge(base: Mapping, over: Mapping) -> Mapping:
    """`over` laid upon `base` key by key; a list or a text replaces. What comes from `over` keeps its file and line."""
    entries, keys = dict(base.entries), dict(base.keys)
    for key, node in over.entries.items():
        below = entries.get(key)
        both = isinstance(below, Mapping) and isinstance(node, Mapping)
        entries[key] = merge(below, node) if both else node  # type: ignore[arg-type]
        keys[key] = over.keys[key]
    return Mapping(entries, keys, base.mark)
