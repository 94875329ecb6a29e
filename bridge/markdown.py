"""The few words of Markdown that the conformance statements are written in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def code(text: str) -> str:
    """As Markdown writes a word of a program."""
    return f"`{text}`"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table; a bar in a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
